//! Digests of whole trees, computed on the nodes of a cluster: threads read the files here, what is in them travels to whichever node
//! has a free slot, and the lines stream out in order.
//!
//! ```text
//! nats-server -js &
//! cargo run --release --features nats --example cluster_node &        # here, and on as many machines as you like
//! cargo run --release --features nats --example cluster_digest -- [--server URL] [PATH…]
//! ```
//!
//! It prints what `digest` prints. To send files about in order to hash them pays only where the network is faster than a processor: it is
//! here to show that the call site stays, and what is different: payloads travel, so they are bounded.

#[path = "cluster/jobs.rs"]
mod jobs;
#[path = "digest/name.rs"]
mod name;
#[path = "digest/pipeline.rs"]
#[allow(dead_code, reason = "what is sent to executors on this machine is not used")]
mod pipeline;
#[path = "digest/report.rs"]
mod report;
#[path = "digest/walk.rs"]
mod walk;

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    num::NonZeroUsize,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use heavylift::{ClusterPool, JobError, Shutdown, cluster::ClusterErrorKind, run_in_thread_pool};
use jobs::sha256_each;
use pipeline::{Digested, Hashed, PIECE, Step, batches, hash, readable, with_names};
use report::{Report, complain, exit_code, wrong_usage};
use tokio::{sync::Semaphore, time::timeout};
use walk::{Found, Walk};

/// What is larger does not travel: it is hashed here.
const LARGEST: u64 = 64 << 20;
/// How much of what was read may be under way, in units of a KiB.
const MEMORY: u32 = 128 << 10;
/// Batches of lines that are printed at once, when that many are ready.
const BATCHES: usize = 16;
/// For how long it may be quiet before somebody should look whether there is a node.
const QUIET: Duration = Duration::from_secs(5);

const HELP: &str = "\
Prints the SHA-256 of every regular file below each PATH, as sha256sum does, in the byte order of the names. Nodes of a cluster
(`cluster_node`) compute them; start one of those first.

usage: cluster_digest [--server URL]… [--prefix NAME] [--queue NAME] [--in-flight N] [--] [PATH…]

  --server URL   a server of the cluster (default: nats://127.0.0.1:4222)
  --prefix NAME  before the names of all streams (default: heavylift)
  --queue NAME   which nodes are to do it (default: default)
  --in-flight N  how many jobs may be under way, of up to 256 files or 4 MiB each, or of one that is larger (default: 64)
  -h, --help     print this

Files of more than 64 MiB are hashed here, with a note. Without a PATH: the current directory without its own `target` and `.git`.
Exit status: 0, or 1 if anything could not be read or there is no cluster, or 2 if the arguments are wrong.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match parse(env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(message) => return wrong_usage(message),
    };
    let pool = match connect(&args).await {
        Ok(pool) => pool,
        Err(error) if error.kind() == ClusterErrorKind::Setting => return wrong_usage(error),
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    let outcome = digest(&pool, &args).await;
    // All that was started has ended, unless whoever reads has seen enough: then it is taken back.
    pool.shutdown(Shutdown::Kill).await;
    exit_code(outcome)
}

async fn connect(args: &Args) -> Result<ClusterPool, heavylift::cluster::ClusterError> {
    let pool = ClusterPool::builder().name("digest").servers(args.servers.clone());
    // Beside what is in the files there are their lengths.
    let pool = pool.max_payload(LARGEST + (1 << 20)).in_flight(args.in_flight.get());
    pool.prefix(args.prefix.clone()).queue(args.queue.clone()).connect().await
}

fn walk(args: &Args) -> Walk {
    match &args.paths[..] {
        [] => Walk::here_without(&["target", ".git"]),
        paths => Walk::new(paths.iter().cloned()),
    }
}

/// Prints all digests. Returns whether nothing failed; the error is that of stdout.
async fn digest(pool: &ClusterPool, args: &Args) -> io::Result<bool> {
    let mut report = Report::new(walk(args));
    let digests = digests(pool, walk(args), args.in_flight.get());
    let mut digests = pin!(digests.ready_chunks(BATCHES).peekable());
    if timeout(QUIET, digests.as_mut().peek()).await.is_err() {
        let queue = &args.queue;
        complain(format_args!("nothing has come back for {QUIET:?}: does a node serve the queue {queue:?}?"));
    }
    while let Some(ready) = digests.next().await {
        report.print(ready.iter().flatten())?;
        for Digested { name, outcome } in ready.iter().flatten() {
            if outcome.as_ref().is_ok_and(|hashed| hashed.bytes > LARGEST) {
                report.note(name, format_args!("more than {} MiB: hashed here", LARGEST >> 20));
            }
        }
    }
    Ok(report.finish("on a cluster"))
}

/// Returns the digests of the files of a walk, in its order.
///
/// A batch is read once there is room for it in memory, which it leaves when its digests have come.
fn digests(pool: &ClusterPool, walk: Walk, in_flight: usize) -> impl Stream<Item = Vec<Digested>> + use<> {
    let (pool, room) = (pool.clone(), Arc::new(Semaphore::new(MEMORY as usize)));
    let one = move |batch: Vec<Found>| {
        let (pool, room) = (pool.clone(), room.clone());
        async move {
            let _held = room.acquire_many(needs(&batch)).await;
            let names: Vec<OsString> = readable(&batch).cloned().collect();
            let outcomes = match hash_there(&pool, names).await {
                Ok(outcomes) => outcomes,
                // The whole job is lost, and with it each file.
                Err(lost) => readable(&batch).map(|_| Err(lost.clone())).collect(),
            };
            with_names(batch, outcomes)
        }
    };
    batches(walk).map(one).buffered(in_flight)
}

/// How much memory a batch takes, in units of a KiB. What does not travel takes next to none.
fn needs(batch: &[Found]) -> u32 {
    let sizes = batch.iter().filter_map(|found| found.size.as_ref().ok());
    let travel: u64 = sizes.filter(|size| **size <= LARGEST).sum();
    u32::try_from(travel >> 10).unwrap_or(MEMORY).clamp(1, MEMORY)
}

/// Reads files here, and has a node hash what is in them. The error is that of the whole job.
async fn hash_there(pool: &ClusterPool, names: Vec<OsString>) -> Result<Vec<Step<Hashed>>, JobError> {
    let files = run_in_thread_pool(move || read_all(names)).await?;
    let contents: Vec<Bytes> = files.iter().filter_map(|file| file.as_ref().ok()?.to_send()).collect();
    let digests = match contents.is_empty() {
        true => Vec::new(),
        false => pool.run(sha256_each, contents).await?,
    };
    let mut digests = digests.into_iter();
    let mut hashed = |content| match content {
        Content::Hashed(hashed) => hashed,
        Content::Travels(contents) => Hashed {
            digest: digests.next().expect("a node returns a digest for each file"),
            bytes: contents.len() as u64,
        },
    };
    Ok(files.into_iter().map(|file| file.map(&mut hashed)).collect())
}

/// What became of a file that was read.
enum Content {
    Travels(Bytes),
    /// It is too large to travel.
    Hashed(Hashed),
}

impl Content {
    fn to_send(&self) -> Option<Bytes> {
        match self {
            Self::Travels(contents) => Some(contents.clone()),
            Self::Hashed(_) => None,
        }
    }
}

/// Reads files, of which no more than [`LARGEST`] bytes are to travel together.
fn read_all(names: Vec<OsString>) -> Vec<Step<Content>> {
    let mut room = LARGEST;
    names.into_iter().map(|name| Ok(read(File::open(name)?, &mut room)?)).collect()
}

fn read(mut file: File, room: &mut u64) -> io::Result<Content> {
    let mut contents = Vec::new();
    if file.metadata()?.len() <= *room {
        // Its length may be wrong: files grow, and those of the kernel say that they are empty.
        (&mut file).take(*room + 1).read_to_end(&mut contents)?;
        if contents.len() as u64 <= *room {
            *room -= contents.len() as u64;
            return Ok(Content::Travels(contents.into()));
        }
    }
    hash(contents.chain(file), &mut vec![0; PIECE]).map(Content::Hashed)
}

/// What the user asked for.
#[derive(Debug)]
struct Args {
    servers: Vec<String>,
    prefix: String,
    queue: String,
    in_flight: NonZeroUsize,
    paths: Vec<OsString>,
}

/// Reads the arguments, without the program's name. `None` if help was asked for; the error is a message for the user.
fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Option<Args>, String> {
    let mut args = Args {
        servers: Vec::new(),
        prefix: "heavylift".to_owned(),
        queue: "default".to_owned(),
        in_flight: NonZeroUsize::new(64).expect("64 is not 0"),
        paths: Vec::new(),
    };
    while let Some(word) = words.next() {
        let option = word.to_string_lossy();
        let mut value = || {
            let value = words.next().ok_or(format!("{option} needs a value"))?;
            value.into_string().map_err(|value| format!("{option} {value:?}: not UTF-8"))
        };
        match &*option {
            "-h" | "--help" => return Ok(None),
            "--server" => args.servers.push(value()?),
            "--prefix" => args.prefix = value()?,
            "--queue" => args.queue = value()?,
            "--in-flight" => {
                args.in_flight = value()?.parse().map_err(|why| format!("--in-flight: {why}"))?;
            }
            "--" => args.paths.extend(words.by_ref()),
            _ if option.starts_with('-') && option != "-" => {
                return Err(format!("unknown option {option:?}"));
            }
            _ => args.paths.push(word),
        }
    }
    if args.servers.is_empty() {
        args.servers.push("nats://127.0.0.1:4222".to_owned());
    }
    Ok(Some(args))
}
