//! A batch with bad records: successes and failures are collected apart, each failure with the record it belongs to.
//!
//! ```text
//! cargo run --release --example records
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use futures::StreamExt;
use heavylift::{JobError, ProcessPool, TaskError, fallible};

/// Reads `id,amount`. `anyhow::Error` cannot cross into another process; [`fallible`] makes a `JobError` of it.
fn parse(record: String) -> anyhow::Result<(u32, f64)> {
    let (id, amount) = record.split_once(',').ok_or_else(|| anyhow::anyhow!("no comma"))?;
    Ok((id.parse()?, amount.parse()?))
}

/// Makes 15 records, every fifth of them corrupted.
fn records() -> Vec<String> {
    let record = |n: u32| if n.is_multiple_of(5) { format!("{n},?!") } else { format!("{n},{}.50", 10 * n) };
    (1..=15).map(record).collect()
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let records = records();
    let (mut good, mut bad) = (Vec::new(), Vec::<(&String, JobError)>::new());

    let parsed = ProcessPool::global().map(fallible(parse), records.clone());
    let mut outcomes = parsed.zip(futures::stream::iter(&records)); // results come in input order
    while let Some((outcome, record)) = outcomes.next().await {
        match outcome? {
            Ok(values) => good.push(values),
            Err(error) => bad.push((record, error)),
        }
    }

    let sum: f64 = good.iter().map(|(_, amount)| amount).sum();
    println!("{} records are good, their sum is {sum:.2}", good.len());
    println!("{} records are bad:", bad.len());
    for (record, error) in bad {
        println!("  {record:?}: {error}");
    }
    Ok(())
}
