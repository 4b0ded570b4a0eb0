//! [`Numbered`]: a future that carries its input position.
#![expect(unsafe_code, reason = "one pin projection: futures that are not Unpin need no box of their own")]

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::budget;

/// A future with its input position, as a child of [`Racing`](super::racing::Racing).
pub(super) struct Numbered<F> {
    pub(super) position: usize,
    /// Pinned together with the whole; `Unpin` of the whole is therefore left to the compiler, and there is no `Drop`.
    pub(super) future: F,
}

impl<F> Numbered<F> {
    fn future(self: Pin<&mut Self>) -> Pin<&mut F> {
        // SAFETY: `future` is pinned structurally. Nothing moves it out of a pinned `Numbered`, which is `Unpin` only if
        // `F` is, has no `Drop` and is not packed; so it stays in place until it is dropped.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }
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
        self.future().poll(cx).map(|output| (position, output))
    }
}
