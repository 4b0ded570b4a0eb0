//! [`Heart`]: a task on the runtime that is woken from outside, and answers by being polled.
//!
//! 1. It is woken only by [`Heart::beat`], and never by itself: between two beats the runtime has nothing to do for it.
//! 2. Whoever polls it signs in: so the thread of a worker becomes known.
//! 3. It ends when it is stopped, or with the runtime, whichever is first; in both cases `gone` is called.
//! 4. No waker is woken or dropped under the lock: that may drop the task, and with it [`Beating`].

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::runtime::worker_index;

use super::thread::Thread;

/// For how long the workers of a runtime are called together, once. They take turns with all other tasks meanwhile.
const ROLL_CALL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Heart {
    /// A leaf; see invariant 4.
    pulse: Mutex<Pulse>,
}

#[derive(Debug)]
struct Pulse {
    waker: Option<Waker>,
    /// It has been woken, or spawned, and not been polled since.
    is_asked: bool,
    has_answered: bool,
    is_stopped: bool,
    /// The threads of the workers, as far as they are known.
    threads: Vec<Option<Arc<Thread>>>,
}

impl Heart {
    /// A heart for so many workers, which has been asked for its first answer.
    pub(super) fn new(workers: usize) -> Self {
        let pulse = Pulse {
            waker: None,
            is_asked: true,
            has_answered: false,
            is_stopped: false,
            threads: vec![None; workers],
        };
        Self { pulse: Mutex::new(pulse) }
    }

    fn lock(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an answer, unless one is asked for already.
    pub(super) fn beat(&self) {
        let mut pulse = self.lock();
        let waker = if pulse.is_asked { None } else { pulse.waker.clone() };
        pulse.is_asked = true;
        drop(pulse);
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// Lets the task end.
    pub(super) fn stop(&self) {
        let mut pulse = self.lock();
        pulse.is_stopped = true;
        let waker = pulse.waker.take();
        drop(pulse);
        waker.iter().for_each(Waker::wake_by_ref);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.lock().is_asked
    }

    /// Whether the runtime has polled anything since the watch began.
    pub(super) fn has_answered(&self) -> bool {
        self.lock().has_answered
    }

    pub(super) fn thread_of(&self, worker: usize) -> Option<Arc<Thread>> {
        self.lock().threads[worker].clone()
    }

    /// Its worker has moved, and that thread has not run: it is another one's by now.
    pub(super) fn forget_thread_of(&self, worker: usize) {
        self.lock().threads[worker] = None;
    }

    /// Notes that this thread is a worker of the runtime, which must be the one that polls it.
    pub(super) fn sign_in(&self) {
        let Some(worker) = worker_index() else { return };
        let id = std::thread::current().id();
        let mut pulse = self.lock();
        pulse.has_answered = true;
        if let Some(place) = pulse.threads.get_mut(worker)
            && place.as_ref().is_none_or(|known| known.id != id)
        {
            *place = Some(Arc::new(Thread::current()));
        }
    }

    fn knows_all(&self) -> bool {
        self.lock().threads.iter().all(Option::is_some)
    }
}

/// The task; calls `gone` when it ends.
pub(super) struct Beating<F: Fn()> {
    pub heart: Arc<Heart>,
    pub gone: F,
}

impl<F: Fn()> Future for Beating<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.heart.sign_in();
        let mut pulse = self.heart.lock();
        pulse.is_asked = false;
        if pulse.is_stopped {
            return Poll::Ready(());
        }
        let new = Some(cx.waker().clone());
        let old = std::mem::replace(&mut pulse.waker, new);
        drop(pulse);
        drop(old);
        Poll::Pending
    }
}

impl<F: Fn()> Drop for Beating<F> {
    fn drop(&mut self) {
        let waker = self.heart.lock().waker.take();
        drop(waker);
        (self.gone)();
    }
}

/// One of as many tasks as there are workers, so that each worker gets one and signs in. It ends when all have, or after a short while.
pub(super) struct RollCall {
    heart: Arc<Heart>,
    until: Option<Instant>,
}

impl RollCall {
    pub(super) const fn new(heart: Arc<Heart>) -> Self {
        Self { heart, until: None }
    }
}

impl Future for RollCall {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.heart.sign_in();
        let until = *self.until.get_or_insert_with(|| Instant::now() + ROLL_CALL);
        if self.heart.knows_all() || Instant::now() >= until {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
