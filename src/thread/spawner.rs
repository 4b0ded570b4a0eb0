//! The spawner: one thread of the program that creates the worker threads of all its pools.
//!
//! Creating a thread takes tens of microseconds, which are not the submitter's to spend: it may be a thread that drives
//! async tasks. And growth must go on when every worker is stuck in a job, so no worker can be in charge of it.
//!
//! 1. It starts with the first order, is parked while there is none, and stays.
//! 2. Threads are created, and jobs refused, without the lock.
//! 3. An order owns its pool; a retry does not: workers that could need help keep the pool alive, and if there are none
//!    any more there is nothing to retry.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Instant,
};

use super::shared::Shared;
use crate::panic::shield;

/// Has the thread of that worker created.
///
/// # Errors
///
/// The spawner's own thread cannot be created. Nothing is ordered then; a later call tries again.
pub(crate) fn grow(pool: &Arc<Shared>, number: usize) -> io::Result<()> {
    SPAWNER.order(pool.clone(), number)
}

static SPAWNER: Spawner = Spawner { state: Mutex::new(State::new()), changed: Condvar::new() };

struct Spawner {
    /// Guards what is to be done. A leaf: nothing else is locked, and no foreign code is called, under it.
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    orders: Vec<Order>,
    retries: Vec<Retry>,
    has_thread: bool,
}

struct Order {
    pool: Arc<Shared>,
    number: usize,
}

struct Retry {
    at: Instant,
    pool: Weak<Shared>,
}

impl Spawner {
    fn order(&'static self, pool: Arc<Shared>, number: usize) -> io::Result<()> {
        let mut state = self.lock();
        if !state.has_thread {
            // Under the lock, so that two first callers start one thread; nobody else can want the lock yet.
            thread::Builder::new().name("heavylift-spawn".into()).spawn(|| self.run())?;
            state.has_thread = true;
        }
        state.orders.push(Order { pool, number });
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Serves for ever.
    fn run(&self) -> ! {
        loop {
            let (orders, retries) = self.next();
            orders.into_iter().for_each(|order| shield(|| self.fulfil(order)));
            retries
                .into_iter()
                .filter_map(|retry| retry.pool.upgrade())
                .for_each(|pool| shield(|| pool.retry()));
        }
    }

    fn fulfil(&self, Order { pool, number }: Order) {
        if let Some(at) = pool.grow(number) {
            self.lock().retries.push(Retry { at, pool: Arc::downgrade(&pool) });
        }
    }

    /// Waits until there is something to do.
    fn next(&self) -> (Vec<Order>, Vec<Retry>) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.take_due(now);
            if !state.orders.is_empty() || !due.is_empty() {
                return (std::mem::take(&mut state.orders), due);
            }
            state = match state.retries.iter().map(|retry| retry.at).min() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let pause = at.saturating_duration_since(now);
                    self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn new() -> Self {
        Self { orders: Vec::new(), retries: Vec::new(), has_thread: false }
    }

    fn take_due(&mut self, now: Instant) -> Vec<Retry> {
        let (due, later) = std::mem::take(&mut self.retries).into_iter().partition(|retry| retry.at <= now);
        self.retries = later;
        due
    }
}
