//! The functions that the suite has run. None captures, so any executor takes them.

use heavylift::{Payload, Task, is_cancelled};
use serde::{Deserialize, Serialize};

use crate::{
    subject::Subject,
    yard::{Spot, Yard},
};

pub fn double(n: u32) -> u32 {
    n * 2
}

/// Gives back what it gets.
pub fn echo<T: Payload>(value: T) -> T {
    value
}

/// Panics on every multiple of three.
pub fn no_threes(n: u32) -> u32 {
    assert!(n % 3 != 0, "{n} is a multiple of three");
    n
}

/// Adds its number to the log.
pub fn log((log, n): (Spot, u32)) -> u32 {
    log.write(n);
    n
}

pub fn mark(spot: Spot) {
    spot.mark();
}

/// What [`held`] is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hold {
    pub begun: Spot,
    pub open: Spot,
    pub ended: Spot,
}

impl Hold {
    pub fn new(yard: &Yard, name: &str) -> Self {
        let spot = |what| yard.spot(&format!("{name}.{what}"));
        Self { begun: spot("begun"), open: spot("open"), ended: spot("ended") }
    }
}

/// Says that it has begun, waits until it may go on, and says that it ends. Returns its process.
pub fn held(hold: Hold) -> u32 {
    hold.begun.mark();
    hold.open.wait();
    hold.ended.mark();
    std::process::id()
}

/// As [`held`], but waits until it is asked to stop.
pub fn stubborn(hold: Hold) -> u32 {
    hold.begun.mark();
    let end = std::time::Instant::now() + crate::drive::BOUND;
    while !is_cancelled() && !hold.open.is_marked() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    hold.ended.mark();
    std::process::id()
}

/// Starts a job that holds a worker until `open` is marked, and waits until it has begun.
pub async fn occupy<S: Subject>(pool: &S, yard: &Yard, name: &str) -> (Task<u32>, Hold) {
    let hold = Hold::new(yard, name);
    let task = pool.run(held, hold.clone());
    hold.begun.marked().await;
    (task, hold)
}
