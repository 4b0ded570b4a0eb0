//! What can go wrong with a process pool, and what then happens: one module a subject, one test a line of docs/faults.md.

#[path = "../processes/mod.rs"]
mod processes;

mod program;

mod affinity;
mod clocks;
mod limits;
mod matrix;
mod nesting;
mod output;
mod priority;
mod recycling;
mod retry;
mod shared;
mod shutdown;
mod start;
mod surroundings;
mod termination;
