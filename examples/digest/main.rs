//! Digests of whole trees: a thread walks, child processes read and hash the files, and the lines stream out in order.
//!
//! ```text
//! cargo run --release --example digest -- [--executor threads|processes|inline] [--workers N] [PATH…]
//! ```
//!
//! It prints what `find PATH -type f | LC_ALL=C sort | xargs -d '\n' sha256sum` prints, while later files are still in
//! work, in memory that does not grow with the tree. Its heart is a walk on threads that feeds a map on processes, in
//! `pipeline.rs`.

mod args;
mod name;
mod pipeline;
mod report;
mod walk;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use args::{Args, Command, Kind};
use futures::StreamExt;
use heavylift::{AnyExecutor, BuildError, Executor, Inline, ProcessPool, ThreadPool};
use report::{Report, exit_code, wrong_usage};
use walk::Walk;

/// Batches of lines that are printed at once, when that many are ready.
const BATCHES: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Digest(args)) => args,
        Ok(Command::Help) => {
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(message) => return wrong_usage(message),
    };
    let executor = match executor(&args) {
        Ok(executor) => executor,
        Err(error) => return wrong_usage(error),
    };
    exit_code(digest(&executor, &args).await)
}

fn executor(args: &Args) -> Result<AnyExecutor, BuildError> {
    Ok(match (args.executor, args.workers) {
        (Kind::Inline, _) => Inline.into(),
        (Kind::Threads, None) => ThreadPool::cpu().clone().into(),
        (Kind::Threads, Some(n)) => ThreadPool::builder().name("hash").max_workers(n.get()).build()?.into(),
        (Kind::Processes, None) => ProcessPool::global().clone().into(),
        (Kind::Processes, Some(n)) => {
            ProcessPool::builder().name("hash").max_workers(n.get()).build()?.into()
        }
    })
}

fn walk(args: &Args) -> Walk {
    match &args.paths[..] {
        [] => Walk::here_without(&["target", ".git"]),
        paths => Walk::new(paths.iter().cloned()),
    }
}

/// Prints all digests. Returns whether nothing failed; the error is that of stdout.
async fn digest(executor: &AnyExecutor, args: &Args) -> io::Result<bool> {
    let mut report = Report::new(walk(args));
    // An inline job runs while the stream is polled, so nothing may wait for the next one.
    let most = if args.executor == Kind::Inline { 1 } else { BATCHES };
    let mut digests = pipeline::digests(executor, walk(args)).ready_chunks(most);
    while let Some(ready) = digests.next().await {
        report.print(ready.iter().flatten())?;
    }
    Ok(report.finish(format_args!("{} workers", executor.metrics().workers)))
}
