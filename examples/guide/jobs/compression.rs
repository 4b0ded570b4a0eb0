//! gzip of text, and back.

use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{RealJob, Yard, text::prose};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "compression";
    vec![
        RealJob::new(family, "gzip", 12, gzip, |yard, nth| (6, piece::<{ 256 << 10 }>(yard, nth))),
        RealJob::new(family, "gzip-fast-4k", 3_000, gzip, |yard, nth| (1, piece::<4096>(yard, nth))),
        RealJob::new(family, "gzip-best-64k", 40, gzip, |yard, nth| (9, piece::<{ 64 << 10 }>(yard, nth))),
        RealJob::new(family, "gunzip", 150, gunzip, |yard, nth| gzip((6, piece::<{ 256 << 10 }>(yard, nth)))),
    ]
}

fn gzip((level, text): (u32, String)) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text.as_bytes()).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn gunzip(bytes: Vec<u8>) -> String {
    let mut text = String::new();
    GzDecoder::new(&*bytes).read_to_string(&mut text).expect("it is what `gzip` made");
    text
}

fn piece<const BYTES: usize>(_: &Yard, nth: usize) -> String {
    prose(nth, BYTES)
}
