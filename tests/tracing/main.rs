//! Jobs as spans, and what workers say as events: what a subscriber of the program sees.
//!
//! All tests share one subscriber, which notes everything; each looks at a pool of its own, by its name.

#[path = "../processes/mod.rs"]
mod processes;

mod collector;
mod events;
mod spans;
