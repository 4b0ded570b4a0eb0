//! From paths to digests: threads walk and read, an executor hashes, and what comes out is in the order of what went in.
//!
//! ```text
//! walk ──▶ admit ──▶ read (threads) ──▶ hash (executor) ──▶ digest, with its ticket
//!            └───────────── ticket: name, room ─────────────────┘
//! ```
//!
//! 1. A failure travels down the pipeline as a value, so that each stage keeps the order and every failure meets its name
//!    at the end.
//! 2. Files are admitted in order, each with its room in the [`BUDGET`]; so the one that is printed next never waits for
//!    those behind it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use futures::{Stream, StreamExt, channel::mpsc, stream};
use heavylift::{AnyExecutor, Executor, JobError, ThreadPool, checkpoint, run_in_thread_pool};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::walk::{Found, Walk};

/// Bytes of file contents that are in memory at a time, a copy in transit not counted.
const BUDGET: u32 = 32 << 20;
/// The largest file that is read whole. A larger one is read by the job that hashes it, piece by piece.
///
/// With 16 MiB it is no faster, and the allocator keeps 300 MiB of freed buffers, some for each thread that reads.
const WHOLE: u64 = 4 << 20;
/// What is read at a time from a larger one; also the least that is reserved for any file.
const PIECE: u32 = 128 << 10;
/// Files of which the walk is ahead.
const AHEAD: usize = 256;

/// One file at the end of the pipeline.
pub(crate) struct Digested {
    pub(crate) name: OsString,
    pub(crate) outcome: Step<Hashed>,
    /// Given back when the line is printed.
    _room: OwnedSemaphorePermit,
}

/// The digest of a file, and how many bytes it has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hashed {
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
}

type Step<T> = Result<T, JobError>;

/// Returns the digests of the files of a walk, in its order.
pub(crate) fn digests(executor: &AnyExecutor, walk: Walk) -> impl Stream<Item = Digested> {
    let (issue, tickets) = mpsc::unbounded();
    let files = admit(walked(walk), issue);
    let contents = ThreadPool::global().map_stream(read, files.boxed());
    let hashed = executor.map_stream(hash, contents.map(|read| read.unwrap_or_else(|lost| Err(lost.into()))));
    tickets.zip(hashed).map(|(Ticket { name, room }, hashed)| Digested {
        name,
        outcome: hashed.unwrap_or_else(|lost| Err(lost.into())),
        _room: room,
    })
}

/// The walk as a stream. Directories are read in jobs, each of which is handed the walk and hands it back.
fn walked(walk: Walk) -> impl Stream<Item = Found> {
    let batches = stream::unfold(Some(walk), async |walk| {
        let mut walk = walk?;
        let batch = run_in_thread_pool(move || (walk.by_ref().take(AHEAD).collect::<Vec<_>>(), walk));
        match batch.await {
            Ok((found, _)) if found.is_empty() => None,
            Ok((found, walk)) => Some((found, Some(walk))),
            Err(lost) => Some((vec![Found { name: "the walk".into(), size: Err(lost.into()) }], None)),
        }
    });
    batches.flat_map(stream::iter)
}

/// What stays behind while a file is read and hashed.
struct Ticket {
    name: OsString,
    room: OwnedSemaphorePermit,
}

/// A file to be read.
struct Admitted {
    name: OsString,
    /// Of how many bytes it was when it was found.
    size: u64,
    /// How much of the budget it holds, in bytes.
    room: u32,
}

/// Lets files into the pipeline, as far as the budget reaches.
fn admit(
    found: impl Stream<Item = Found>,
    issue: mpsc::UnboundedSender<Ticket>,
) -> impl Stream<Item = Step<Admitted>> {
    let budget = Arc::new(Semaphore::new(BUDGET as usize));
    found.then(move |Found { name, size }| {
        let (budget, issue) = (budget.clone(), issue.clone());
        async move {
            let room = room_for(*size.as_ref().unwrap_or(&0));
            let held = budget.acquire_many_owned(room).await.expect("nobody closes the budget");
            let _ = issue.unbounded_send(Ticket { name: name.clone(), room: held });
            Ok(Admitted { name, size: size?, room })
        }
    })
}

fn room_for(size: u64) -> u32 {
    match u32::try_from(size) {
        Ok(size) if u64::from(size) <= WHOLE => size.max(PIECE),
        _ => PIECE,
    }
}

/// A file on its way to be hashed.
#[derive(Serialize, Deserialize)]
enum Contents {
    Whole(Vec<u8>),
    /// Did not fit in its room: it is too large, or holds more than it says (a log that grows, a file in `/proc`).
    Unread(OsString),
}

fn read(file: Step<Admitted>) -> Step<Contents> {
    let Admitted { name, size, room } = file?;
    let file = File::open(&name)?;
    if size > u64::from(room) {
        return Ok(Contents::Unread(name));
    }
    let mut contents = Vec::with_capacity(size as usize);
    file.take(u64::from(room) + 1).read_to_end(&mut contents)?;
    Ok(if contents.len() > room as usize { Contents::Unread(name) } else { Contents::Whole(contents) })
}

fn hash(contents: Step<Contents>) -> Step<Hashed> {
    match contents? {
        Contents::Whole(contents) => {
            Ok(Hashed { digest: Sha256::digest(&contents).into(), bytes: contents.len() as u64 })
        }
        Contents::Unread(name) => Ok(hash_in_pieces(File::open(name)?)?),
    }
}

fn hash_in_pieces(mut file: impl Read) -> io::Result<Hashed> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE as usize];
    loop {
        checkpoint()?; // a thread cannot be stopped, and this may take minutes
        match file.read(&mut piece) {
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
