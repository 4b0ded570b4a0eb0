//! [`Shown`] without the feature `progress`: nothing.

use std::marker::PhantomData;

/// A stream that shows nothing.
pub(crate) struct Shown<O>(PhantomData<fn(&O)>);

impl<O> Default for Shown<O> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<O> Shown<O> {
    pub(crate) fn judged_by<P>(self, _is_failure: fn(&P) -> bool) -> Shown<P> {
        Shown::default()
    }

    pub(crate) fn came(&mut self, _output: &O) -> bool {
        false
    }

    pub(crate) fn missed(&mut self, _outputs: usize) {}

    pub(crate) fn has_news(&self) -> bool {
        false
    }

    pub(crate) fn grows(&mut self) -> bool {
        false
    }

    pub(crate) fn look(&mut self, _total: Option<usize>) {}

    pub(crate) fn show(&mut self, _total: Option<usize>) {}

    pub(crate) fn end(&mut self, _total: Option<usize>) {}

    pub(crate) fn cut_short(&mut self) {}
}
