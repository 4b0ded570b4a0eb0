//! Work that waits and computes by turns.

use std::{fs, path::PathBuf};

use super::{
    RealJob,
    files::{LARGE, read_once},
    hashing::sha256,
    primes::count_primes,
    server::get,
    text::{document, parse},
    waiting::sleep,
};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "mixed";
    vec![
        RealJob::new(family, "read-hash", 80, read_and_hash, |yard, nth| yard.file(LARGE, nth)),
        RealJob::new(family, "read-hash-cold", 60, read_once_and_hash, |yard, nth| {
            yard.cold_file(LARGE, nth)
        }),
        RealJob::new(family, "half-and-half", 25, half_and_half, |_, _| (2_000, 56_500)),
        RealJob::new(family, "mostly-waiting", 30, half_and_half, |_, _| (3_000, 7_000)),
        RealJob::new(family, "fetch-parse", 50, fetch_and_parse, |yard, nth| {
            (yard.server(), document(nth, 500))
        }),
    ]
}

fn read_and_hash(path: PathBuf) -> [u8; 32] {
    sha256(fs::read(path).expect("the file is there"))
}

fn read_once_and_hash(path: PathBuf) -> [u8; 32] {
    sha256(read_once(path).expect("the file is there"))
}

/// Sleeps, and counts primes.
fn half_and_half((micros, limit): (u64, u64)) -> u64 {
    sleep(micros);
    count_primes(limit)
}

/// Waits for a server, and parses what it might have said.
fn fetch_and_parse((port, text): (u16, String)) -> u64 {
    let answer = get(port, 1_000).expect("the server is there");
    parse(text) + answer.len() as u64
}
