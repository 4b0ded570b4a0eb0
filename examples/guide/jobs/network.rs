//! Requests to a server on this machine, by a library that blocks.

use super::{RealJob, server::get};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "network";
    vec![
        RealJob::new(family, "http", 30, fetch, |yard, nth| (yard.server(), 1_000 + nth as u64 % 5 * 1_000)),
        RealJob::new(family, "http-1ms", 100, fetch, |yard, _| (yard.server(), 1_000)),
        RealJob::new(family, "http-at-once", 1_000, fetch, |yard, _| (yard.server(), 0)),
    ]
}

/// The bytes of an answer that takes so many microseconds.
fn fetch((port, micros): (u16, u64)) -> Vec<u8> {
    get(port, micros).expect("the server is there")
}
