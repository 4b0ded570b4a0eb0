//! Work that only waits.

use std::{thread, time::Duration};

use super::RealJob;

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "waiting";
    vec![
        RealJob::new(family, "sleep", 12, sleep, |_, _| 10_000),
        RealJob::new(family, "sleep-1ms", 100, sleep, |_, _| 1_000),
    ]
}

pub(crate) fn sleep(micros: u64) -> u64 {
    thread::sleep(Duration::from_micros(micros));
    micros
}
