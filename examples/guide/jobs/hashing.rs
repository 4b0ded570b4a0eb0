//! SHA-256 of what a program hashes: a key, a page, a file.

use sha2::{Digest, Sha256};

use super::{RealJob, Yard, yard::noise};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "hashing";
    vec![
        RealJob::new(family, "sha256", 100, sha256, buffer::<MIB>),
        RealJob::new(family, "sha256-64", 500_000, sha256, buffer::<64>),
        RealJob::new(family, "sha256-4k", 20_000, sha256, buffer::<4096>),
    ]
}

const MIB: usize = 1 << 20;

pub(crate) fn sha256(bytes: Vec<u8>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn buffer<const BYTES: usize>(_: &Yard, nth: usize) -> Vec<u8> {
    noise(nth as u64, BYTES)
}
