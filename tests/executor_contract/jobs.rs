//! The functions that the suite has run. None captures, so any executor takes them; and each has a name, by which a cluster knows it.

use heavylift::{JobError, Task, is_cancelled};
use serde::{Deserialize, Serialize};

use crate::{
    subject::Subject,
    yard::{Spot, Yard},
};

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn double(n: u32) -> u32 {
    n * 2
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn successor(n: u32) -> u32 {
    n + 1
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn difference((a, b): (u32, u32)) -> u32 {
    a - b
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn nothing(_: ()) {}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn six(_: u32) -> u32 {
    6
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn exclaim(text: String) -> String {
    text + "!"
}

/// Gives back what it gets, as do the next two.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn echo_shapes(shapes: Vec<Shape>) -> Vec<Shape> {
    shapes
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn echo_bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn echo_text(text: String) -> String {
    text
}

/// A value of any shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Nothing,
    Circle { radius: f64 },
    Named(String, Vec<Option<i8>>),
}

/// An error that is a value.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn refuse(n: u32) -> Result<u32, u32> {
    Err(n)
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn parse(text: String) -> Result<u32, JobError> {
    heavylift::fallible(|text: String| text.parse::<u32>())(text)
}

/// Panics with its number.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn panics(n: u32) -> u32 {
    panic!("{n}")
}

/// Panics with words, where [`UNLUCKY`] says.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn unlucky(n: u32) -> u32 {
    panic!("no luck with {n}")
}

/// Where [`unlucky`] panics.
pub(crate) const UNLUCKY: (&str, u32) = (file!(), line!() - 4);

/// Panics with what is no text.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn panics_with_number(n: u32) -> u32 {
    std::panic::panic_any(n)
}

/// Panics on every multiple of three.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn no_threes(n: u32) -> u32 {
    assert!(!n.is_multiple_of(3), "{n} is a multiple of three");
    n
}

/// Adds its number to the log.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn log((log, n): (Spot, u32)) -> u32 {
    log.write(n);
    n
}

#[cfg_attr(feature = "nats", heavylift::job)]
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
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn held(hold: Hold) -> u32 {
    hold.begun.mark();
    hold.open.wait();
    hold.ended.mark();
    std::process::id()
}

/// As [`held`], but waits until it is asked to stop.
#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn stubborn(hold: Hold) -> u32 {
    hold.begun.mark();
    let end = std::time::Instant::now() + crate::drive::BOUND;
    while !is_cancelled() && !hold.open.is_marked() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    hold.ended.mark();
    std::process::id()
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn maybe_held(hold: Option<Hold>) -> u32 {
    hold.map_or(0, held)
}

#[cfg_attr(feature = "nats", heavylift::job)]
pub(crate) fn maybe_stubborn(hold: Option<Hold>) -> u32 {
    hold.map_or(0, stubborn)
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
