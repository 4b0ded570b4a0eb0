//! Files, from memory and from the disk.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
};

use super::{RealJob, yard::forget};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "files";
    vec![
        RealJob::new(family, "read", 40_000, read, |yard, nth| yard.file(SMALL, nth)),
        RealJob::new(family, "read-1m", 600, read, |yard, nth| yard.file(LARGE, nth)),
        RealJob::new(family, "read-cold", 1_000, checksum, |yard, nth| yard.cold_file(SMALL, nth)),
        RealJob::new(family, "read-cold-1m", 100, checksum, |yard, nth| yard.cold_file(LARGE, nth)),
        RealJob::new(family, "stat", 200_000, length, |yard, nth| yard.file(SMALL, nth)),
    ]
}

const SMALL: usize = 16 << 10;
pub(crate) const LARGE: usize = 1 << 20;

fn read(path: PathBuf) -> Vec<u8> {
    fs::read(path).expect("the file is there")
}

fn checksum(path: PathBuf) -> u32 {
    let bytes = read_once(path).expect("the file is there");
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add((*byte).into()))
}

/// Reads a file and has the kernel forget it, so that it lies on the disk only, the next time, too.
pub(crate) fn read_once(path: PathBuf) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    forget(&file)?;
    Ok(bytes)
}

fn length(path: PathBuf) -> u64 {
    fs::metadata(path).expect("the file is there").len()
}
