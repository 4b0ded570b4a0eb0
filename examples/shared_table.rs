//! One large table for all child processes: written once into shared memory, searched by every job without a copy, and a
//! result that comes back the same way.
//!
//! ```text
//! cargo run --release --example shared_table
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use bytes::Bytes;
use futures::TryStreamExt;
use heavylift::{ProcessPool, Shared, SharedBytes};

/// How many numbers the table has: 64 MiB of them.
const LEN: usize = 8 << 20;

/// Returns how many numbers of a part of the table are larger than `limit`.
fn count_above((table, part, limit): (Shared<[f64]>, usize, f64)) -> usize {
    let part = &table[part * LEN / 64..(part + 1) * LEN / 64];
    part.iter().filter(|&&number| number > limit).count()
}

/// Returns the table as bytes of 0 to 255, in new shared memory.
fn quantise(table: Shared<[f64]>) -> SharedBytes {
    let quantised = SharedBytes::create(table.len(), |bytes| {
        for (byte, number) in bytes.iter_mut().zip(table.iter()) {
            *byte = (number * 255.0) as u8;
        }
    });
    quantised.expect("there is memory for it")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = Shared::create(LEN, |table: &mut [f64]| {
        for (n, number) in table.iter_mut().enumerate() {
            *number = n as f64 / LEN as f64;
        }
    })?;
    let pool = ProcessPool::global();

    let parts = (0..64).map(|part| (table.clone(), part, 0.75));
    let above: Vec<usize> = pool.map(count_above, parts).try_collect().await?;
    println!("{} of {LEN} numbers are above 0.75", above.iter().sum::<usize>());

    // `Bytes` over the very memory that the job has written.
    let picture = Bytes::from(pool.run(quantise, table).await?);
    println!("{} bytes came back, the middle one is {}", picture.len(), picture[LEN / 2]);
    Ok(())
}
