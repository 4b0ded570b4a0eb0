//! Spans without the feature `tracing`: nothing, of size zero.

use std::time::{Duration, Instant};

use crate::{TaskError, error::TaskLabel};

#[derive(Debug, Clone, Default)]
pub(crate) struct JobSpan;

#[derive(Debug, Default)]
pub(crate) struct SpanSlot;

#[allow(
    dead_code,
    clippy::unused_self,
    reason = "the twin of what there is with the feature; not every platform asks for all"
)]
impl JobSpan {
    #[inline]
    pub(crate) fn open(_kind: &'static str, _pool: &str, _label: &TaskLabel) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn of_items(_kind: &'static str, _pool: &str, _label: &TaskLabel, _items: u32) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        true
    }

    #[inline]
    pub(crate) fn inside<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline]
    pub(crate) fn begins(&self, _worker: impl FnOnce() -> Option<usize>) {}

    #[inline]
    pub(crate) fn fails(&self, _error: &TaskError) {}
}

#[allow(dead_code, clippy::unused_self, reason = "as above")]
impl SpanSlot {
    #[inline]
    pub(crate) fn new(_span: JobSpan) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn get(&self) -> JobSpan {
        JobSpan
    }

    #[inline]
    pub(crate) fn end(&self, _error: Option<&TaskError>) {}

    #[inline]
    pub(crate) fn end_items(&self) {}

    #[inline]
    pub(crate) fn began_at(&self, _at: Instant) {}

    #[inline]
    pub(crate) fn goes_to(&self, _worker: u32, _pid: u32) {}

    #[inline]
    pub(crate) fn ran(&self, _time: Duration) {}
}
