//! A program that works, and shows its pools on a page of its own.
//!
//! ```text
//! cargo run --release --example dashboard --features dashboard -- [ADDRESS]
//! ```
//!
//! The address is 127.0.0.1:8787 by default. Jobs come in waves; some fail, some are too slow, and now and then one takes its worker
//! process with it, which costs that job alone.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{env, thread, time::Duration};

use heavylift::{ProcessPool, ThreadPool, dashboard};
use tokio::time::{Instant, sleep_until};

/// A row of numbers that looks like chance, and is the same in each run.
struct Chance(u64);

impl Chance {
    /// The next number, below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Waits, as for a server that answers.
fn fetch(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis
}

/// Stands for a decoder of pictures that strangers send.
fn decode((picture, millis): (u64, u64)) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    match picture % 197 {
        13 => panic!("picture {picture} ends in the middle of a line"),
        87 => std::process::abort(),
        151 => thread::sleep(Duration::from_secs(60)),
        _ => {}
    }
    picture
}

/// Computes a little.
fn digest(rounds: u64) -> u64 {
    (0..rounds).fold(0, |sum, n| std::hint::black_box(sum ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let page = dashboard::serve(address).listen().await?;
    println!("listening on http://{}", page.address());
    tokio::spawn(async { page.await });

    let fetching = ThreadPool::builder().name("fetch").max_workers(12).build()?;
    let decoding = ProcessPool::builder().name("decode").max_workers(4).run_timeout(Duration::from_secs(2));
    let decoding = decoding.kill_grace(Duration::from_millis(100)).build()?;
    let digesting = ThreadPool::builder().name("digest").max_workers(2).build()?;
    let (mut chance, mut picture, start) = (Chance(1), 0, Instant::now());
    for tenth in 0.. {
        sleep_until(start + Duration::from_millis(100) * tenth).await;
        // A wave of twenty seconds.
        let wave = 1.0 + (f64::from(tenth) / 200.0 * std::f64::consts::TAU).sin();
        for _ in 0..(6.0 * wave) as u64 {
            let millis = 20 + chance.below(280);
            fetching.job(move || fetch(millis)).name("fetch a page").run().detach();
        }
        for _ in 0..=(1.4 * wave) as u64 {
            picture += 1;
            let job = decoding.job(decode, (picture, 40 + chance.below(160)));
            job.name(format!("picture-{picture}.jpg")).run().detach();
        }
        for _ in 0..(20.0 * wave) as u64 {
            digesting.run(|| digest(20_000)).detach();
        }
    }
    Ok(())
}
