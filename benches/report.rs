//! Draws the table and the charts anew from the figures that are there; with `--readme`, puts the claims into README.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails loudly and reports on standard output"
)]

mod support;

use support::Program;

fn main() {
    Program::new("report").draw(std::env::args().any(|argument| argument == "--readme"));
}
