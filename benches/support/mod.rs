//! What the bench programs share: candidates that take turns, claims about their ratios, and the report.
#![allow(dead_code, unused_imports, reason = "each program uses the part that it needs")]

#[cfg(target_os = "linux")]
pub(crate) mod cache_line;
pub(crate) mod chart;
pub(crate) mod handoff;
pub(crate) mod line_peer;
pub(crate) mod machine;
pub(crate) mod program;
pub(crate) mod race;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod spawn_blocking;
pub(crate) mod work;

pub(crate) use handoff::{Flavour, fan_out, round_trips};
pub(crate) use line_peer::{python, tokio_std};
pub(crate) use program::Program;
pub(crate) use race::{Answers, Race};
pub(crate) use row::{Goal, Unit};
pub(crate) use spawn_blocking::SpawnBlocking;
