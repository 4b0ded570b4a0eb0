//! Real jobs: plain functions with a way to make their arguments. The example `guide` and the bench `advice` share them.
//!
//! 1. A job is a function of a payload, and captures nothing, so that every executor can run it. Whatever else it needs (a file, a
//!    port) is in its argument.
//! 2. Its arguments are made before the clock starts.
//! 3. It has so many calls that one after the other they take some 50 to 300 ms, on a machine of 2024.

mod allocation;
mod compression;
mod database;
mod files;
mod hashing;
mod images;
mod matrix;
mod memory;
mod mixed;
mod network;
mod payloads;
mod primes;
mod real;
mod server;
mod sorting;
mod text;
mod waiting;
mod yard;

pub(crate) use real::{Place, RealJob, Stage, Travel};
pub(crate) use yard::Yard;

/// All jobs, those of a family side by side.
pub(crate) fn all() -> Vec<RealJob> {
    let families = [
        hashing::jobs(),
        compression::jobs(),
        text::jobs(),
        images::jobs(),
        sorting::jobs(),
        matrix::jobs(),
        memory::jobs(),
        allocation::jobs(),
        primes::jobs(),
        waiting::jobs(),
        files::jobs(),
        network::jobs(),
        database::jobs(),
        mixed::jobs(),
        payloads::jobs(),
    ];
    families.into_iter().flatten().collect()
}
