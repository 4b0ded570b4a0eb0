//! The functions that the suite has run. None captures, so any executor takes them.

use heavylift::{Payload, Task, is_cancelled};
use serde::{Deserialize, Serialize};

use crate::{
    subject::Subject,
    yard::{Spot, Yard},
};

pub(crate) fn double(n: u32) -> u32 {
    n * 2
}

/// Gives back what it gets.
pub(crate) fn echo<T: Payload>(value: T) -> T {
    value
}

/// Panics on every multiple of three.
pub(crate) fn no_threes(n: u32) -> u32 {
    assert!(!n.is_multiple_of(3), "{n} is a multiple of three");
    n
}

/// Adds its number to the log.
pub(crate) fn log((log, n): (Spot, u32)) -> u32 {
    log.write(n);
    n
}

pub(crate) fn mark(spot: Spot) {
    spot.mark();
}

/// What [`held`] is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) begun: Spot,
    pub(crate) open: Spot,
    pub(crate) ended: Spot,
}

impl Hold {
    pub(crate) fn new(yard: &Yard, name: &str) -> Self {
        let spot = |what| yard.spot(&format!("{name}.{what}"));
        Self { begun: spot("begun"), open: spot("open"), ended: spot("ended") }
    }
}

/// Says that it has begun, waits until it may go on, and says that it ends. Returns its process.
pub(crate) fn held(hold: Hold) -> u32 {
    hold.begun.mark();
    hold.open.wait();
    hold.ended.mark();
    std::process::id()
}

/// As [`held`], but waits until it is asked to stop.
pub(crate) fn stubborn(hold: Hold) -> u32 {
    hold.begun.mark();
    let end = std::time::Instant::now() + crate::drive::BOUND;
    while !is_cancelled() && !hold.open.is_marked() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    hold.ended.mark();
    std::process::id()
}

/// Starts a job that holds a worker until `open` is marked, and waits until it has begun.
pub(crate) async fn occupy<S: Subject>(pool: &S, yard: &Yard, name: &str) -> (Task<u32>, Hold) {
    let hold = Hold::new(yard, name);
    let mut task = pool.run(held, hold.clone());
    tokio::select! {
        biased;
        outcome = &mut task => panic!("it is to be held, and has ended: {outcome:?}"),
        () = hold.begun.marked() => {}
    }
    (task, hold)
}
