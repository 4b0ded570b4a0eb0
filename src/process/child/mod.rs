//! The child's side: from the entry that runs before `main`, through the zygote, to the worker.
//!
//! Nothing here returns to the program: a process that finds itself a child leaves only by `_exit`.

pub(super) mod entry;
mod pieces;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "tracing")]
mod speaker;
mod worker;
mod zygote;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// How deep this process is nested: 0 for the program, 1 for its workers, and so on.
///
/// ORDERING: Relaxed. Written once, before the process has a second thread.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Whether this process runs a preload.
///
/// ORDERING: Relaxed. For the thread that runs it; one that it has started learns of it by having been started.
static PRELOADS: AtomicBool = AtomicBool::new(false);

/// Whether this process runs a preload at this moment.
pub(super) fn preloads() -> bool {
    PRELOADS.load(Relaxed)
}

/// How deep this process is nested.
pub(super) fn depth() -> u32 {
    DEPTH.load(Relaxed)
}

/// Ends this process, with a line on standard error, if `outcome` is an error.
fn or_exit<T>(outcome: Result<T, impl std::fmt::Display>, what: &str) -> T {
    outcome.unwrap_or_else(|why| exit_with(&format!("{what}: {why}")))
}

/// Ends this process with one line on standard error.
fn exit_with(reason: &str) -> ! {
    let line = format!("heavylift: {reason}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    exit_now(EXIT_FAILED)
}

/// The exit code of a child that cannot go on.
const EXIT_FAILED: i32 = 70;

/// Ends this process: no destructors, no `atexit`, which belong to the program.
#[expect(unsafe_code, reason = "_exit has no safe interface")]
fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; no memory is touched.
    unsafe { libc::_exit(code) }
}
