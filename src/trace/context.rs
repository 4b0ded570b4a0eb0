//! [`Note`]: what tells a job in another process to which trace it belongs.
//!
//! ```text
//! trace id │ span id │ flags │ trace state, as text
//!    16         8        1     bytes
//! ```
//!
//! It is made of the job's span, goes with the call, and is in the worker what the W3C calls a
//! [trace context](https://www.w3.org/TR/trace-context/).

use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::JobSpan;
use crate::panic::shield;

/// The longest trace state that is passed on, in bytes: as much as the W3C asks for.
const LONGEST_STATE: usize = 512;
/// What stands before it.
const HEAD: usize = 25;

/// A trace context on its way, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Option<Box<Encoded>>);

/// Boxed: most calls have none.
#[derive(Debug, Clone)]
struct Encoded {
    bytes: Vec<u8>,
}

impl Note {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |encoded| encoded.bytes.as_slice())
    }
}

impl JobSpan {
    /// What the job is to be told of its trace; nothing if its span belongs to none.
    pub(crate) fn note(&self) -> Note {
        let Some(span) = self.span() else { return Note(None) };
        let mut note = None;
        shield(|| {
            let context = span.context();
            note = to_bytes(context.span().span_context());
        });
        Note(note.map(|bytes| Box::new(Encoded { bytes })))
    }
}

/// For who is told in text.
#[cfg(feature = "nats")]
impl JobSpan {
    /// The `traceparent` of the job's span; nothing if that belongs to no trace.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let context = from_bytes(self.note().as_bytes())?;
        Some(to_traceparent(&context))
    }
}

fn to_traceparent(context: &SpanContext) -> String {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    format!("00-{trace}-{span}-{flags:02x}")
}

fn to_bytes(context: &SpanContext) -> Option<Vec<u8>> {
    if !context.is_valid() {
        return None;
    }
    let state = Some(context.trace_state().header()).filter(|state| state.len() <= LONGEST_STATE);
    let state = state.unwrap_or_default();
    let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    Some([&trace[..], &span, &[context.trace_flags().to_u8()], state.as_bytes()].concat())
}

#[cfg(any(target_os = "linux", feature = "nats", test))]
fn from_bytes(bytes: &[u8]) -> Option<SpanContext> {
    let (&[ref ids @ .., flags], state) = bytes.split_first_chunk::<HEAD>()?;
    let (trace, span) = ids.split_first_chunk::<16>()?;
    let span = span.first_chunk::<8>()?;
    let state = std::str::from_utf8(state).ok().and_then(|state| state.parse().ok());
    let (trace, span) = (TraceId::from_bytes(*trace), SpanId::from_bytes(*span));
    let state: TraceState = state.unwrap_or_default();
    let context = SpanContext::new(trace, span, TraceFlags::new(flags), true, state);
    context.is_valid().then_some(context)
}

/// Calls `start`, which makes a task, so that its span is below the span that a `traceparent` from elsewhere names.
#[cfg(feature = "nats")]
pub(crate) fn below<R>(traceparent: Option<&str>, start: impl FnOnce() -> R) -> R {
    let mut entered = None;
    if let Some(parent) = traceparent.and_then(parse) {
        shield(|| entered = Some(Context::new().with_remote_span_context(parent).attach()));
    }
    let result = start();
    crate::panic::drop_shielded(entered);
    result
}

/// Reads a `traceparent`, as W3C writes it.
#[cfg(any(feature = "nats", test))]
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// The trace of the job that runs in this worker. A worker runs one at a time, on whatever threads.
static CURRENT: RwLock<Option<Arc<SpanContext>>> = RwLock::new(None);

/// The job that begins in this worker came with this note, or it has ended and there is none.
#[cfg(target_os = "linux")]
pub(crate) fn set_current(note: &[u8]) {
    let context = from_bytes(note).map(Arc::new);
    let before = std::mem::replace(&mut *CURRENT.write().unwrap_or_else(PoisonError::into_inner), context);
    drop(before);
}

fn current() -> Option<Arc<SpanContext>> {
    CURRENT.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The parent of what the job that runs in this worker does there.
#[cfg(target_os = "linux")]
pub(super) fn remote_parent() -> Option<Context> {
    current().map(|context| Context::new().with_remote_span_context((*context).clone()))
}

/// The `traceparent` of the job that runs in this worker.
pub(crate) fn traceparent() -> Option<String> {
    Some(to_traceparent(&*current()?))
}

/// The `tracestate` of the job that runs in this worker, if it has one.
pub(crate) fn tracestate() -> Option<String> {
    Some(current()?.trace_state().header()).filter(|state| !state.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(state: &str) -> SpanContext {
        let state = state.parse().unwrap();
        SpanContext::new(TraceId::from(7), SpanId::from(9), TraceFlags::SAMPLED, true, state)
    }

    #[test]
    fn a_context_survives_the_way() {
        for state in ["", "vendor=value,other=1"] {
            assert_eq!(from_bytes(&to_bytes(&context(state)).unwrap()), Some(context(state)));
        }
        assert_eq!(to_bytes(&SpanContext::NONE), None);
        let vendors: Vec<String> = (0..8).map(|n| format!("vendor{n}={}", "x".repeat(80))).collect();
        let long = vendors.join(",");
        assert!(long.len() > LONGEST_STATE);
        assert_eq!(from_bytes(&to_bytes(&context(&long)).unwrap()), Some(context("")));
    }

    #[test]
    fn a_traceparent_is_read() {
        let text = "00-0000000000000000000000000000000a-000000000000000b-01";
        let context = parse(text).unwrap();
        assert_eq!((context.trace_id(), context.span_id()), (TraceId::from(10), SpanId::from(11)));
        assert!(context.is_sampled() && context.is_remote());
        for wrong in ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-0000000000000000-01"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[cfg(feature = "nats")]
    #[test]
    fn what_is_started_below_a_traceparent_is_of_its_trace() {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::layer::SubscriberExt;

        let label = crate::task::label("job", &mut Default::default(), std::panic::Location::caller());
        let tracer = opentelemetry_sdk::trace::SdkTracerProvider::default().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let trace_of = |traceparent| {
            let span = below(traceparent, || JobSpan::open("thread", "a pool", &label));
            span.span().unwrap().context().span().span_context().trace_id()
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let text = "00-0000000000000000000000000000000a-000000000000000b-01";
            assert_eq!(trace_of(Some(text)), TraceId::from(10));
            assert_ne!(trace_of(None), TraceId::from(10));
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_context_or_none(bytes in any::<Vec<u8>>()) {
            prop_assert!(from_bytes(&bytes).is_none_or(|context| context.is_valid()));
        }
    }
}
