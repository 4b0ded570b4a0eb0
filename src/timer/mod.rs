//! Deadlines without a runtime: one thread that tells targets, and wakes futures, when their time has come.
//!
//! 1. The thread starts at the first registration, not before, and is parked while nothing is due.
//! 2. Targets are called on that thread, one after the other, without the lock, behind [`shield`].
//! 3. A target is held weakly: who loses interest drops it, and owes the timer nothing.
//! 4. Entries that are over do not pile up: the thread sweeps them out whenever the queue has doubled ([`Queue`]).

mod delay;
mod queue;

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

pub(crate) use self::delay::Delay;
use self::queue::{Due, Entry, Queue};
use crate::{counted::Weak, panic::shield};

/// What the timer calls at a deadline.
pub(crate) trait Expire: Send + Sync {
    /// The deadline is reached. Called once per registration, on the timer's thread; it must not block.
    fn expired(&self);

    /// Whether the entry need not be kept any more. Asked now and then, on the timer's thread.
    fn is_over(&self) -> bool;
}

/// Has `target` told at `deadline`, if it is still alive by then.
///
/// # Errors
///
/// The timer's thread cannot be created. Nothing is registered then; a later call tries again.
pub(crate) fn at(deadline: Instant, target: Weak<dyn Expire>) -> io::Result<()> {
    TIMER.at(deadline, target)
}

static TIMER: Timer = Timer::new(spawn_thread);

/// How the thread is created; the tests have it fail.
type Spawn = fn(&'static Timer) -> io::Result<()>;

/// A queue of deadlines and the thread that serves it.
struct Timer {
    /// Guards the queue. A leaf: nothing else is locked, and no foreign code is called, under it.
    state: Mutex<State>,
    /// Tells the thread that it must look at the queue again.
    changed: Condvar,
    spawn: Spawn,
}

struct State {
    queue: Queue,
    has_thread: bool,
}

impl Timer {
    const fn new(spawn: Spawn) -> Self {
        let state = State { queue: Queue::new(), has_thread: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), spawn }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&'static self, deadline: Instant, target: Weak<dyn Expire>) -> io::Result<()> {
        let mut state = self.lock();
        if !state.has_thread {
            // Under the lock, so that two first callers start one thread; nobody else can want the lock yet.
            (self.spawn)(self)?;
            state.has_thread = true;
        }
        let must_look = state.queue.push(Entry { deadline, target });
        drop(state);
        if must_look {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Serves the queue, for ever.
    fn run(&self) -> ! {
        loop {
            match self.next_due() {
                Due::Targets(targets) => targets.into_iter().for_each(expire),
                Due::Sweep(mut entries) => {
                    entries.retain(Entry::is_wanted);
                    self.lock().queue.put_back(entries);
                }
            }
        }
    }

    /// Waits until there is something to do.
    fn next_due(&self) -> Due {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(due) = state.queue.take_due(now) {
                return due;
            }
            state = match state.queue.next_deadline() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let pause = next.saturating_duration_since(now);
                    self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Tells `target`, and perhaps drops it: both are foreign code.
fn expire(target: Weak<dyn Expire>) {
    shield(|| {
        if let Some(target) = target.upgrade() {
            target.expired();
        }
    });
}

fn spawn_thread(timer: &'static Timer) -> io::Result<()> {
    thread::Builder::new().name("heavylift-timer".into()).spawn(|| timer.run()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::counted::{Counted, unsize};

    /// Sends its number when it is told.
    struct Reporter(u32, mpsc::Sender<u32>);

    impl Expire for Reporter {
        fn expired(&self) {
            self.1.send(self.0).unwrap();
            assert_ne!(self.0, 13, "thirteen panics");
        }

        fn is_over(&self) -> bool {
            false
        }
    }

    fn weak(target: &Counted<Reporter>) -> Weak<dyn Expire> {
        unsize!(target.downgrade() => dyn Expire)
    }

    #[test]
    fn targets_are_told_in_the_order_of_their_deadlines_and_a_panic_hurts_none() {
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        let targets = [(30, 3), (10, 13), (20, 2)].map(|(millis, number)| {
            let target = Counted::new(Reporter(number, sender.clone()));
            at(now + Duration::from_millis(millis), weak(&target)).unwrap();
            target
        });
        assert_eq!(receiver.iter().take(3).collect::<Vec<_>>(), [13, 2, 3]);
        assert!(now.elapsed() >= Duration::from_millis(30));
        drop(targets);
    }

    #[test]
    fn a_dropped_target_is_not_told() {
        let (sender, receiver) = mpsc::channel();
        let deadline = Instant::now() + Duration::from_millis(10);
        let (dropped, kept) = (Counted::new(Reporter(1, sender.clone())), Counted::new(Reporter(2, sender)));
        at(deadline, weak(&dropped)).unwrap();
        drop(dropped);
        at(deadline + Duration::from_millis(1), weak(&kept)).unwrap();
        assert_eq!(receiver.recv(), Ok(2));
    }

    #[test]
    fn a_thread_that_cannot_be_created_is_an_error_and_leaves_no_entry() {
        static WITHOUT_THREAD: Timer = Timer::new(|_| Err(io::ErrorKind::WouldBlock.into()));
        let target = Counted::new(Reporter(1, mpsc::channel().0));
        let refusal = WITHOUT_THREAD.at(Instant::now(), weak(&target)).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(WITHOUT_THREAD.lock().queue.len(), 0);
    }
}
