//! [`Numbered`]: a future that carries its input position.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::budget;

pin_project! {
    /// A future with its input position, as a child of [`Racing`](super::racing::Racing).
    pub(super) struct Numbered<F> {
        pub(super) position: usize,
        #[pin]
        pub(super) future: F,
    }
}

impl<F: Future> Future for Numbered<F> {
    type Output = (usize, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Once a sibling has spent the budget, tokio's own futures only pretend to be pending. `FuturesUnordered` would
        // visit every finished child in vain, each turn anew: quadratic (futures-rs#2526). It stops once two children
        // have woken themselves.
        if !budget::is_left() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let position = self.position;
        self.project().future.poll(cx).map(|output| (position, output))
    }
}
