//! [`Delay`]: a future that is ready at a deadline.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

use super::{Expire, TIMER, Timer};
use crate::counted::{Counted, unsize};

/// Is ready at its deadline, and from then on.
///
/// Needs no runtime. Registers with the timer when it is first polled, and only if it is early.
///
/// If the timer's thread cannot be created, each poll wakes its own task, and so tries again: the deadline is kept, at the
/// price of a busy executor until the operating system grants the thread.
///
/// # Cancel safety
///
/// Cancel safe. Dropping it forgets the deadline.
#[must_use = "a delay does nothing unless polled"]
pub(crate) struct Delay {
    /// `None`: so far away that it never comes.
    deadline: Option<Instant>,
    /// Absent until registered.
    alarm: Option<Counted<Alarm>>,
    timer: &'static Timer,
}

impl Delay {
    /// Is ready `after` from now on; never, where the clock cannot express that.
    pub(crate) fn new(after: Duration) -> Self {
        Self::on(&TIMER, Instant::now().checked_add(after))
    }

    fn on(timer: &'static Timer, deadline: Option<Instant>) -> Self {
        Self { deadline, alarm: None, timer }
    }

    /// Leaves the waker where the timer finds it.
    fn register(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        if let Some(alarm) = &self.alarm {
            return alarm.0.register(cx.waker());
        }
        let alarm = Counted::new(Alarm(AtomicWaker::new()));
        alarm.0.register(cx.waker());
        match self.timer.at(deadline, unsize!(alarm.downgrade() => dyn Expire)) {
            Ok(()) => self.alarm = Some(alarm),
            Err(_no_thread) => cx.waker().wake_by_ref(),
        }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if Instant::now() < deadline {
            self.register(deadline, cx);
        }
        // The clock decides, not the alarm. It is read again because an alarm that rang before the waker was left rang
        // for nobody; the deadline has passed then.
        if Instant::now() < deadline { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Wakes whoever polled last. Its [`Delay`] owns it; the timer holds it weakly.
struct Alarm(AtomicWaker);

impl Expire for Alarm {
    fn expired(&self) {
        self.0.wake();
    }

    fn is_over(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::executor::block_on;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn it_is_ready_at_its_deadline_and_not_before() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut delay = Delay::on(&TIMER, Some(deadline));
        block_on(&mut delay);
        assert!(Instant::now() >= deadline);
        block_on(delay);
    }

    #[test]
    fn it_asks_for_a_thread_only_when_it_has_to_wait() {
        static UNUSED: Timer = Timer::new(|_| panic!("no thread is needed"));
        assert_ready!(task::spawn(Delay::on(&UNUSED, Some(Instant::now()))).poll());
        drop(Delay::on(&UNUSED, Some(Instant::now() + Duration::from_secs(60))));
    }

    #[test]
    fn a_duration_beyond_the_clock_never_ends() {
        let mut delay = task::spawn(Delay::new(Duration::MAX));
        assert_pending!(delay.poll());
        assert!(!delay.is_woken());
    }

    #[test]
    fn it_wakes_whoever_polled_last() {
        let mut delay = Delay::new(Duration::from_millis(20));
        let _pending = task::spawn(()).enter(|cx, _| Pin::new(&mut delay).poll(cx));
        block_on(delay);
    }

    #[test]
    fn without_a_thread_it_wakes_itself_and_still_ends() {
        static WITHOUT_THREAD: Timer = Timer::new(|_| Err(io::ErrorKind::WouldBlock.into()));
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut delay = task::spawn(Delay::on(&WITHOUT_THREAD, Some(deadline)));
        while delay.poll().is_pending() {
            assert!(delay.is_woken(), "nobody else would wake it");
        }
        assert!(Instant::now() >= deadline);
    }
}
