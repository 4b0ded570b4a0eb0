//! Worker threads: what they are called, what they do, and what remains of one that breaks.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    dispatch::{Nap, Turn},
    seat::ThreadJob,
    shared::Shared,
};
use crate::{
    panic::shield,
    pause::Pause,
    sync::{Sleeper, Slept},
};

/// What Linux keeps of a thread's name, in bytes.
const NAME_LIMIT: usize = 15;

thread_local! {
    /// The worker that this thread is.
    static HERE: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// Where a worker keeps the jobs it runs, so that a shutdown finds them.
#[derive(Default)]
pub(crate) struct Desk {
    /// Several where a job that waits runs another; the innermost comes last. Taken alone, never while a job is dropped.
    jobs: Mutex<Vec<Arc<dyn ThreadJob>>>,
}

impl Desk {
    /// The jobs that are being run.
    pub(crate) fn jobs(&self) -> Vec<Arc<dyn ThreadJob>> {
        self.lock().clone()
    }

    fn put(&self, job: Arc<dyn ThreadJob>) {
        self.lock().push(job);
    }

    fn clear(&self) -> Option<Arc<dyn ThreadJob>> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<dyn ThreadJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker, on its own thread.
#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    number: usize,
    desk: Arc<Desk>,
}

/// Creates the thread of a worker.
pub(crate) fn start(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let setup = &shared.setup;
    let mut builder = thread::Builder::new().name(thread_name(&setup.name, number));
    if let Some(size) = setup.stack_size {
        builder = builder.stack_size(size);
    }
    let worker = Worker { shared: shared.clone(), number, desk: Arc::default() };
    (setup.spawn)(builder, Box::new(move || worker.live()))
}

/// Whether this thread is a worker of that pool.
pub(crate) fn is_here(shared: &Arc<Shared>) -> bool {
    here(shared).is_some()
}

/// Runs a queued job right here, if this thread is a worker of its pool. Says whether it is.
pub(crate) fn run_here<J: ThreadJob + 'static>(shared: &Arc<Shared>, job: &Arc<J>) -> bool {
    let Some(worker) = here(shared) else { return false };
    worker.run(job.clone());
    true
}

fn here(shared: &Arc<Shared>) -> Option<Worker> {
    // Absent also while the thread's own values are being dropped, when it has ceased to be a worker.
    let worker = HERE.try_with(|here| here.borrow().clone()).ok().flatten();
    worker.filter(|worker| Arc::ptr_eq(&worker.shared, shared))
}

/// `{pool}-{number}`, with the pool's name cut so that the whole fits.
fn thread_name(pool: &str, number: usize) -> String {
    let number = format!("-{number}");
    let room = NAME_LIMIT.saturating_sub(number.len());
    let cut = (0..=room.min(pool.len())).rev().find(|&at| pool.is_char_boundary(at)).unwrap_or(0);
    pool[..cut].to_owned() + &number
}

impl Worker {
    /// The thread's whole life.
    fn live(self) {
        let _guard = Guard(self.clone());
        HERE.set(Some(self.clone()));
        self.shared.worker_came(self.desk.clone());
        if let Some(start) = &self.shared.setup.on_worker_start {
            shield(start);
        }
        self.work();
        self.end();
    }

    /// Takes one turn after the other, until it is told to leave.
    fn work(&self) {
        let sleeper = Sleeper::current();
        let mut slept = Slept::Woken;
        let mut pause = Pause::default();
        loop {
            match self.shared.dispatch().look(self.number, &sleeper, slept, pause.was_short()) {
                Turn::Run(job, act) => {
                    pause.end();
                    self.shared.perform(act);
                    self.run(job);
                }
                Turn::Linger => _ = pause.linger(|| self.shared.dispatch().has_entries()),
                Turn::Sleep(nap) => {
                    pause.begin();
                    self.shared.soon.not_now();
                    slept = sleeper.sleep(self.limit(nap));
                }
                Turn::Leave(act) => return self.shared.perform(act),
            }
        }
    }

    fn limit(&self, nap: Nap) -> Option<Duration> {
        (nap == Nap::KeepAlive).then_some(self.shared.setup.keep_alive)
    }

    fn run(&self, job: Arc<dyn ThreadJob>) {
        self.desk.put(job.clone());
        if self.shared.is_killed() {
            job.cancel();
        } else if self.shared.cancels_queued() {
            job.cancel_waiting();
        }
        job.run();
        drop(self.desk.clear());
    }

    /// Undoes what `live` has set up.
    fn end(&self) {
        self.shared.clear_desk(&self.desk);
        HERE.set(None);
        self.shared.worker_left();
    }
}

/// What is left to do if a worker unwinds, which only a bug of this crate can cause: its tasks finish, and another worker
/// takes its place.
struct Guard(Worker);

impl Drop for Guard {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let Worker { shared, number, desk } = &self.0;
        let reason =
            format!("worker {number} of pool {:?} broke down, by a bug in heavylift", shared.setup.name);
        desk.jobs().iter().for_each(|job| job.fail(&reason));
        shared.perform(shared.dispatch().lost(*number));
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_named_after_its_pool_and_keeps_its_number() {
        let table = [
            ("images", 0, "images-0"),
            ("thumbnails-of-cats", 7, "thumbnails-of-7"),
            ("thumbnails-of-cats", 1234, "thumbnails-1234"),
            ("größenwahnsinnig", 10, "größenwahn-10"),
            ("ääääääää", 5, "ääääää-5"),
            ("", usize::MAX, "-18446744073709551615"),
        ];
        for (pool, number, name) in table {
            assert_eq!(thread_name(pool, number), name);
        }
    }
}
