//! A time limit on a job that never ends: `tokio::time::timeout` drops its task, and that kills the process it runs in.
//!
//! ```text
//! cargo run --release --example timeout_kills
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{path::PathBuf, process, time::Duration};

use heavylift::ProcessPool;
use tokio::time::{sleep, timeout};

/// Keeps a core busy for ever, and asks nobody whether it may.
fn spin(mut n: u64) -> u64 {
    loop {
        n = std::hint::black_box(n.wrapping_mul(3));
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = ProcessPool::builder().max_workers(1).build()?;
    let pid = pool.run(|()| process::id(), ()).await?;
    println!("the worker is process {pid}");

    match timeout(Duration::from_millis(300), pool.run(spin, 1)).await {
        Ok(outcome) => anyhow::bail!("an endless loop has ended: {outcome:?}"),
        Err(elapsed) => println!("the endless loop: {elapsed}"),
    }

    let process = PathBuf::from(format!("/proc/{pid}"));
    timeout(Duration::from_secs(2), async {
        while process.exists() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await?;
    println!("process {pid} is gone");

    let next = pool.run(|()| process::id(), ()).await?;
    println!("the pool goes on with process {next}");
    Ok(())
}
