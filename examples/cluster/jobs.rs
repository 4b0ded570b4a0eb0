//! The functions that the example nodes serve. Programs that submit them include this file as well.
//!
//! Their names are given: by themselves they would be named after the program, and node and client are two.

#![allow(unreachable_pub, reason = "it belongs to several programs")]

use std::{
    fs::OpenOptions,
    io::Write,
    process,
    time::{Duration, Instant},
};

use bytes::Bytes;
use heavylift::job;
use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes, in hexadecimal.
#[job(name = "examples::sha256")]
pub(crate) fn sha256(bytes: Vec<u8>) -> String {
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of each of some files.
#[job(name = "examples::sha256_each")]
pub fn sha256_each(files: Vec<Bytes>) -> Vec<[u8; 32]> {
    files.iter().map(|file| Sha256::digest(file).into()).collect()
}

/// What it was given.
#[job(name = "examples::echo")]
pub(crate) fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// The process that it runs in.
#[job(name = "examples::pid")]
pub(crate) fn pid(_: ()) -> u32 {
    process::id()
}

/// Waits, and returns the process that it has waited in.
#[job(name = "examples::sleep")]
pub(crate) fn sleep(time: Duration) -> u32 {
    std::thread::sleep(time);
    process::id()
}

/// Computes for some time, and returns how often it went round.
#[job(name = "examples::spin")]
pub(crate) fn spin(time: Duration) -> u64 {
    let (begun, mut rounds) = (Instant::now(), 0);
    while begun.elapsed() < time {
        rounds = std::hint::black_box(rounds + 1);
    }
    rounds
}

/// Kills its worker.
#[job(name = "examples::crash")]
pub(crate) fn crash(_: ()) {
    process::abort();
}

/// Panics with these words.
#[job(name = "examples::complain")]
pub(crate) fn complain(words: String) {
    panic!("{words}");
}

/// Appends a line to a file when it begins, then waits: which job it is, which run of it, and in which process. Returns the run.
///
/// What was written tells how often a job has run, whatever became of it.
#[job(name = "examples::leave_a_line")]
pub(crate) fn leave_a_line((file, time): (String, Duration)) -> u32 {
    let this = job::current();
    let line = format!("{} {} {}\n", this.id(), this.attempt(), process::id());
    let opened = OpenOptions::new().create(true).append(true).open(&file);
    opened.and_then(|mut opened| opened.write_all(line.as_bytes())).expect("the file can be written");
    std::thread::sleep(time);
    this.attempt()
}

/// Leaves a file in a directory, and waits until so many are there: so many jobs run at the same time.
#[job(name = "examples::meet")]
pub(crate) fn meet((directory, name, count): (String, String, usize)) -> bool {
    std::fs::write(std::path::Path::new(&directory).join(name), "").expect("the file can be written");
    let end = Instant::now() + Duration::from_secs(20);
    let here = || std::fs::read_dir(&directory).map(Iterator::count).unwrap_or_default();
    while here() < count && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    here() >= count
}
