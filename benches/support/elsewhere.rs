//! What `os` is on systems without process pools: an error.

use std::{fs::File, path::Path};

const WHY: &str = "needs Linux";

pub(crate) fn cache_line_round_trips(_: usize) -> Result<[f64; 2], String> {
    Err(WHY.to_owned())
}

pub(crate) fn fork_exit_wait() -> Result<f64, String> {
    Err(WHY.to_owned())
}

pub(crate) fn memory_of_a_bare_fork() -> Result<f64, String> {
    Err(WHY.to_owned())
}

pub(crate) fn kill(_: u32) -> Result<(), String> {
    Err(WHY.to_owned())
}

pub(crate) fn tidy_heap() {}

pub(crate) fn give_each_thread_a_heap() {}

pub(crate) fn shut_gate(_: &Path) -> Result<File, String> {
    Err(WHY.to_owned())
}

pub(crate) fn wait_at_gate(_: &Path) -> Result<(), String> {
    Err(WHY.to_owned())
}

pub(crate) fn private_memory(_: u32) -> Result<f64, String> {
    Err(WHY.to_owned())
}

pub(crate) fn family() -> Vec<u32> {
    Vec::new()
}

pub(crate) fn ticks(_: &[u32]) -> f64 {
    f64::NAN
}

pub(crate) fn grandchildren() -> Vec<u32> {
    Vec::new()
}
