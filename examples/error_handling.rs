//! One job of several panics: its task is an error that says so, and its neighbours have their results.
//!
//! ```text
//! cargo run --release --example error_handling
//! ```
//!
//! The worker process survives the panic, whose usual message is on stderr.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use heavylift::{TaskError, gather, run_in_process_pool};

/// Panics if `b` is 0, as division in Rust does.
fn divide((a, b): (i64, i64)) -> i64 {
    a / b
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let divisions = [(10, 2), (20, 4), (30, 0), (40, 8)];

    // Everything, good or bad, in input order: Python's `gather(..., return_exceptions=True)`.
    let outcomes = gather(divisions.map(|pair| run_in_process_pool(divide, pair))).settled().await;
    for ((a, b), outcome) in divisions.iter().zip(outcomes) {
        match outcome {
            Ok(quotient) => println!("{a} / {b} = {quotient}"),
            Err(error) => println!("{a} / {b} fails: {}", error.panic_message().unwrap_or("not a panic")),
        }
    }

    // All or nothing: the first error ends it, and the others are cancelled.
    match gather(divisions.map(|pair| run_in_process_pool(divide, pair))).await {
        Ok(quotients) => println!("all of them: {quotients:?}"),
        Err(error) => println!("not all of them: {error}"),
    }
    Ok(())
}
