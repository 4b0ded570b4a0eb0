//! Waiting with a bound: nothing in this suite can hang.

use std::{
    future::Future,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// How long anything here may take at most, on the slowest machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Runs a test on a runtime of one thread.
pub(crate) fn drive<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let output = runtime.block_on(async { tokio::time::timeout(BOUND, test).await });
    // At the end of the limit the test is polled once more: one that was not woken must not get through by that.
    assert!(begun.elapsed() < BOUND, "the behaviour ends in time");
    output.expect("the behaviour ends in time")
}

/// Runs a test that blocks on a thread without a runtime.
pub(crate) fn on_a_thread<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(test()));
    match receiver.recv_timeout(BOUND) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the behaviour does not end in time"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it ended without a value"))
        }
    }
}

/// Waits for something that nobody tells us about.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Polls once, and is not interested in being woken.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
