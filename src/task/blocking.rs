//! Waiting for a future on a thread: [`wait`] parks until it is ready.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

thread_local! {
    /// Whether this thread runs an `on_done` callback.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` as a callback, in which blocking calls panic.
///
/// `f` must not unwind.
pub(crate) fn as_callback(f: impl FnOnce()) {
    let outer = IN_CALLBACK.replace(true);
    crate::panic::shield(f);
    IN_CALLBACK.set(outer);
}

/// Panics where blocking would hold up others: on a thread that drives async tasks, and in an `on_done` callback.
#[track_caller]
pub(crate) fn assert_may_block() {
    assert!(!IN_CALLBACK.get(), "blocking inside `on_done` would hold up the pool: start a job instead");
    // tokio tells nobody whether the thread drives async tasks, but its own blocking calls check it first; this one has
    // nothing to wait for.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let _ = sender.send(());
    let _ = receiver.blocking_recv();
}

/// Blocks this thread until `future` is ready, or until `deadline`; `None` then.
pub(crate) fn wait<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}
