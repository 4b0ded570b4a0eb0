//! A function over many inputs, in child processes, results in input order: Python's `executor.map(square, range(10))`.
//!
//! ```text
//! cargo run --release --example squares
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{collections::BTreeSet, process};

use futures::TryStreamExt;
use heavylift::{ProcessPool, TaskError};

/// Returns the square, and the process that computed it.
fn square(n: u64) -> (u64, u32) {
    (n * n, process::id())
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let mut pids = BTreeSet::new();
    let mut squares = ProcessPool::global().map(square, 0..10);
    while let Some((square, pid)) = squares.try_next().await? {
        println!("{square} from process {pid}");
        pids.insert(pid);
    }
    println!("this is process {}, the workers were {pids:?}", process::id());
    Ok(())
}
