//! [`Threads`]: the threads of rayon that a pool runs its jobs on.

use std::{
    cell::Cell,
    sync::{Arc, OnceLock},
    thread,
};

use crate::panic::catch;

thread_local! {
    /// Whether this thread belongs to rayon's global pool.
    ///
    /// rayon has no name for that pool: its free functions mean the pool of the thread that calls them. So each of its threads is
    /// told, by a broadcast, which a thread takes note of before it takes on anything from others.
    static IS_GLOBAL: Cell<bool> = const { Cell::new(false) };
}

/// A pool of rayon's.
#[derive(Debug)]
pub(super) enum Threads {
    /// The global one, with so many threads.
    Global(usize),
    Own(Arc<rayon::ThreadPool>),
    /// The global one, which could not be started.
    Missing(String),
}

/// A call that cannot be made by this thread: it belongs to another pool of rayon's, which would take the call.
#[derive(Debug)]
pub(super) struct FromElsewhere;

impl Threads {
    /// rayon's global pool. Starts it, if nobody has.
    pub(super) fn global() -> Self {
        static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
        match FOUND.get_or_init(find_global) {
            Ok(count) => Self::Global(*count),
            Err(why) => Self::Missing(format!("rayon's global pool does not start: {why}")),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Global(count) => *count,
            Self::Own(pool) => pool.current_num_threads(),
            Self::Missing(_) => 1,
        }
    }

    /// Whether this is one of them.
    pub(super) fn are_here(&self) -> bool {
        match self {
            Self::Global(_) => is_global(),
            Self::Own(pool) => pool.current_thread_index().is_some(),
            Self::Missing(_) => false,
        }
    }

    /// As [`are_here`](Self::are_here), and certain also for a thread that has had no time to take note of the broadcast. Runs
    /// what this thread has put off for later.
    pub(super) fn are_here_for_certain(&self) -> bool {
        if matches!(self, Self::Global(_)) && !is_global() {
            while rayon::yield_local() == Some(rayon::Yield::Executed) && !is_global() {}
        }
        self.are_here()
    }

    /// Takes note that this thread, which runs a call, is one of them.
    pub(super) fn note_here(&self) {
        if matches!(self, Self::Global(_)) {
            IS_GLOBAL.set(true);
        }
    }

    /// Has one of them run `call`, after what was called for before.
    pub(super) fn call(&self, call: impl FnOnce() + Send + 'static) -> Result<(), FromElsewhere> {
        match self {
            Self::Own(pool) => pool.spawn_fifo(call),
            _ if is_global() || rayon::current_thread_index().is_none() => rayon::spawn_fifo(call),
            _ => return Err(FromElsewhere),
        }
        Ok(())
    }
}

/// Which of its pool's threads this is.
pub(super) fn number_here() -> u32 {
    rayon::current_thread_index().and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX)
}

fn is_global() -> bool {
    IS_GLOBAL.try_with(Cell::get).unwrap_or(false)
}

/// How many threads rayon's global pool has.
fn find_global() -> Result<usize, String> {
    if rayon::current_thread_index().is_none() {
        return ask_global();
    }
    // On a thread of whichever pool of rayon's: ask on one of none.
    let asking = thread::Builder::new().spawn(ask_global).map_err(|error| error.to_string())?;
    asking.join().expect("its panics are caught")
}

/// Has the threads of rayon's global pool told that they belong to it. On a thread that belongs to no pool of rayon's.
fn ask_global() -> Result<usize, String> {
    let asked = catch(|| {
        rayon::spawn_broadcast(|_| IS_GLOBAL.set(true));
        rayon::current_num_threads()
    });
    asked.map_err(|report| report.message)
}
