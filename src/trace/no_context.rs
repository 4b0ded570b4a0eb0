//! Trace contexts without the feature `opentelemetry`: nothing, of size zero.

use super::JobSpan;

#[derive(Debug, Clone, Default)]
pub(crate) struct Note;

#[allow(dead_code, clippy::unused_self, reason = "the twin of what there is with the feature")]
impl Note {
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &[]
    }
}

#[allow(dead_code, clippy::unused_self, reason = "as above")]
impl JobSpan {
    #[inline]
    pub(crate) fn note(&self) -> Note {
        Note
    }

    #[inline]
    pub(crate) fn traceparent(&self) -> Option<String> {
        None
    }
}

/// As there is no trace, calls `start`.
#[cfg(feature = "nats")]
pub(crate) fn below<R>(_traceparent: Option<&str>, start: impl FnOnce() -> R) -> R {
    start()
}
