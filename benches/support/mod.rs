//! What the bench programs share: candidates that take turns, claims about their ratios, and the report.
#![allow(dead_code, unused_imports, reason = "each program uses the part that it needs")]

pub(crate) mod chart;
pub(crate) mod copies;
pub(crate) mod handoff;
pub(crate) mod line_peer;
pub(crate) mod machine;
pub(crate) mod monitor;
#[cfg(target_os = "linux")]
pub(crate) mod os;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
pub(crate) mod os;
pub(crate) mod plain_digest;
pub(crate) mod program;
pub(crate) mod race;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod spawn_blocking;
pub(crate) mod tree;
pub(crate) mod tried;
pub(crate) mod work;

pub(crate) use handoff::{Flavour, fan_out, round_trips};
pub(crate) use line_peer::{nats_raw, python, tokio_std};
pub(crate) use program::Program;
pub(crate) use race::{Answers, Race};
pub(crate) use record::Record;
pub(crate) use row::{Goal, Unit};
pub(crate) use spawn_blocking::SpawnBlocking;
pub(crate) use work::{Spin, spin};

/// The two builds of tokio: as most programs have it, and without its feature `parking_lot`.
pub(crate) const SPAWN_BLOCKING: &str = "spawn_blocking";
pub(crate) const SPAWN_BLOCKING_STD: &str = "spawn_blocking (no parking_lot)";
/// Goals speak of the faster of the two.
pub(crate) const TOKIO: &[&str] = &[SPAWN_BLOCKING, SPAWN_BLOCKING_STD];
pub(crate) const PROCSPAWN: &str = "procspawn pool";
pub(crate) const PYTHON: &str = "Python ProcessPoolExecutor";
/// Python's other process pools, by the name that the peer knows.
pub(crate) const PYTHONS: [&str; 4] = ["multiprocessing", "loky", "pebble", "mpire"];
