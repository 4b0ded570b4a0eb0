//! Results as they come, not in the order of submission: Python's `as_completed`.
//!
//! ```text
//! cargo run --release --example completion_order
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{thread, time::Duration};

use futures::StreamExt;
use heavylift::{TaskError, as_completed, run_in_thread_pool};

/// Blocks its thread, as a slow disk or database does.
fn wait_for(milliseconds: u64) -> u64 {
    thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let waits = [500, 400, 300, 200, 100];
    let mut done = as_completed(waits.map(|wait| run_in_thread_pool(move || wait_for(wait))));
    while let Some((position, waited)) = done.next().await {
        println!("job {position} is done after {} ms", waited?);
    }
    Ok(())
}
