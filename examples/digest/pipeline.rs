//! From paths to digests: a thread walks, an executor reads and hashes, and what comes out is in the order of what went in.
//!
//! ```text
//! walk (thread pool) ──▶ batch ──names──▶ hash (executor) ──▶ digests ──▶ with their names
//!                          └─────────────── what was found ──────────────────┘
//! ```
//!
//! 1. A failure travels down the pipeline as a value, so that each stage keeps the order and every failure meets its name
//!    at the end.
//! 2. Only names and digests travel between processes: whoever hashes a file reads it. To have threads read the files and send
//!    what is in them took almost three times as long.
//! 3. A batch is so small that its lines come soon, and a file that is larger is a batch of its own, so that those before it are
//!    printed while it is in work.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    iter::Peekable,
};

use futures::{Stream, StreamExt, channel::mpsc, stream};
use heavylift::{AnyExecutor, Executor, JobError, checkpoint, run_in_thread_pool};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::walk::{Found, Walk};

/// The most files in a batch.
const FILES: usize = 256;
/// The most bytes in the files of a batch, if there are several.
pub(crate) const BYTES: u64 = 4 << 20;
/// What is read at a time.
pub(crate) const PIECE: usize = 128 << 10;

/// One file at the end of the pipeline.
pub(crate) struct Digested {
    pub(crate) name: OsString,
    pub(crate) outcome: Step<Hashed>,
}

/// The digest of a file, and how many bytes it has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hashed {
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
}

pub(crate) type Step<T> = Result<T, JobError>;

/// Returns the digests of the files of a walk, in its order, as many at a time as were hashed by one job.
///
/// It is never far ahead of whoever reads it: a map takes no more input than it has results to give.
pub(crate) fn digests(executor: &AnyExecutor, walk: Walk) -> impl Stream<Item = Vec<Digested>> {
    let (stay, stayed) = mpsc::unbounded();
    let names = batches(walk).map(move |batch| {
        let names: Vec<OsString> = readable(&batch).cloned().collect();
        let _ = stay.unbounded_send(batch);
        names
    });
    let hashed = executor.map_stream(hash_all, names.boxed());
    stayed.zip(hashed).map(|(batch, hashed)| match hashed {
        Ok(outcomes) => with_names(batch, outcomes),
        // The whole job is lost, and with it each file.
        Err(lost) => {
            let lost = JobError::from(lost);
            let outcomes = readable(&batch).map(|_| Err(lost.clone())).collect();
            with_names(batch, outcomes)
        }
    })
}

/// The files of a batch that are there to be read.
pub(crate) fn readable(batch: &[Found]) -> impl Iterator<Item = &OsString> {
    batch.iter().filter(|found| found.size.is_ok()).map(|found| &found.name)
}

/// Gives each outcome its name, in the order of a batch; and what could not be looked at its own.
pub(crate) fn with_names(batch: Vec<Found>, outcomes: Vec<Step<Hashed>>) -> Vec<Digested> {
    let mut outcomes = outcomes.into_iter();
    let mut outcome = |size: io::Result<u64>| match size {
        Ok(_) => outcomes.next().expect("a job has an outcome for each name"),
        Err(error) => Err(error.into()),
    };
    batch.into_iter().map(|Found { name, size }| Digested { name, outcome: outcome(size) }).collect()
}

/// The walk as a stream. It goes on in jobs on threads, each of which is handed the walk and hands it back.
pub(crate) fn batches(walk: Walk) -> impl Stream<Item = Vec<Found>> {
    stream::unfold(Some(walk.peekable()), async |walk| {
        let mut walk = walk?;
        match run_in_thread_pool(move || (next_batch(&mut walk), walk)).await {
            Ok((batch, _)) if batch.is_empty() => None,
            Ok((batch, walk)) => Some((batch, Some(walk))),
            Err(lost) => Some((vec![Found { name: "the walk".into(), size: Err(lost.into()) }], None)),
        }
    })
}

/// Takes files from the walk, of which there are neither too many nor too many bytes.
fn next_batch(walk: &mut Peekable<Walk>) -> Vec<Found> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < FILES
        && let Some(found) = walk.next_if(|found| batch.is_empty() || bytes + length(found) <= BYTES)
    {
        bytes += length(&found);
        batch.push(found);
    }
    batch
}

fn length(found: &Found) -> u64 {
    *found.size.as_ref().unwrap_or(&0)
}

/// The job: reads files and hashes what is in them.
fn hash_all(names: Vec<OsString>) -> Vec<Step<Hashed>> {
    let mut piece = vec![0; PIECE];
    names.into_iter().map(|name| Ok(hash(File::open(name)?, &mut piece)?)).collect()
}

/// Hashes what can be read.
pub(crate) fn hash(mut file: impl Read, piece: &mut [u8]) -> io::Result<Hashed> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        checkpoint()?; // a thread cannot be stopped, and this may take minutes
        match file.read(piece) {
            Ok(0) => return Ok(Hashed { digest: hasher.finalize().into(), bytes }),
            Ok(read) => {
                hasher.update(&piece[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
