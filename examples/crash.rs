//! A job that segfaults, among healthy ones: it takes down its own process, and nothing else.
//!
//! ```text
//! cargo run --release --example crash
//! ```
//!
//! So can a bug in a C library be kept out of the program that needs it.
#![allow(clippy::print_stdout, reason = "an example shows its results")]
#![allow(unsafe_code, reason = "it takes unsafe code to crash")]

use heavylift::{TaskError, gather, run_in_process_pool};

/// Doubles `n`; a buggy library crashes at 3.
fn double(n: u64) -> u64 {
    if n == 3 {
        let nowhere = std::ptr::without_provenance_mut::<u64>(64);
        // SAFETY: there is none: this is the bug. No page is ever mapped at that address, so the kernel ends the process.
        unsafe { nowhere.write_volatile(n) };
    }
    2 * n
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let outcomes = gather((0..6).map(|n| run_in_process_pool(double, n))).settled().await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(doubled) => println!("job {n}: {doubled}"),
            Err(error) => println!("job {n}: {error}"),
        }
    }

    println!("and the pool goes on: {}", run_in_process_pool(double, 21).await?);
    Ok(())
}
