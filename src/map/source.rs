//! [`Source`]: where a map's inputs come from, an iterator or a stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

/// The inputs of a [`Map`](super::Map): any iterator, or a stream in [`FromStream`]. Sealed.
pub trait Source: sealed::Inputs {
    /// One input.
    type Item;

    #[doc(hidden)]
    fn poll_next_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    #[doc(hidden)]
    fn size_hint(&self) -> (usize, Option<usize>);
}

mod sealed {
    pub trait Inputs {}
    impl<I: Iterator> Inputs for I {}
    impl<S: futures_core::Stream> Inputs for super::FromStream<S> {}
}

impl<I: Iterator> Source for I {
    type Item = I::Item;

    fn poll_next_input(&mut self, _cx: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        Iterator::size_hint(self)
    }
}

/// The inputs of `map_stream`.
pub struct FromStream<S>(Pin<Box<S>>);

impl<S: Stream> FromStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Box::pin(stream))
    }
}

impl<S: Stream> Source for FromStream<S> {
    type Item = S::Item;

    fn poll_next_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S> fmt::Debug for FromStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromStream")
    }
}
