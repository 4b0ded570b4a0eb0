//! [`JobSpan`]: the span of one job, or of items that travel together; [`SpanSlot`]: its place in a task.
//!
//! 1. The subscriber is foreign code: it is called under no lock, and shielded.
//! 2. What a job does is noted in numbers, under whatever lock, and told to the subscriber when the job ends: once, by whoever takes
//!    the span out of its slot.
//! 3. The span closes when its last holder lets go of it: a thread that still runs the job, or what is on its way from a worker, may
//!    be later than the end of the task.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::{
    Id, Level, Span,
    dispatcher::with_default,
    field::Empty,
    level_filters::{LevelFilter, STATIC_MAX_LEVEL},
    subscriber::NoSubscriber,
};

use crate::{
    TaskError,
    error::TaskLabel,
    panic::{drop_shielded, shield},
};

/// The span of a job. Most have none: nobody is interested.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobSpan(Option<Arc<Open>>);

/// A span that is open.
#[derive(Debug)]
struct Open {
    /// Absent only while it is dropped.
    span: Option<Span>,
    opened: Instant,
    has_items: bool,
    /// ORDERING: Relaxed, for all of these: they are read by whoever ends the span, after what it ends.
    begun_ns: AtomicU64,
    ran_ns: AtomicU64,
    tries: AtomicU32,
    /// `NOBODY`, or the number of a worker.
    worker: AtomicU64,
    /// 0 if it is no process.
    pid: AtomicU32,
    has_outcome: AtomicBool,
}

/// Neither a time nor a worker.
const NOBODY: u64 = u64::MAX;

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some is for process pools"))]
impl JobSpan {
    /// Opens the span of a job under the current one, if anybody is interested.
    #[inline]
    pub(crate) fn open(kind: &'static str, pool: &str, label: &TaskLabel) -> Self {
        if is_off() { Self(None) } else { Self::open_for(kind, pool, label, None) }
    }

    /// Opens the span of items that travel together, of which `label` is the first.
    #[inline]
    pub(crate) fn of_items(kind: &'static str, pool: &str, label: &TaskLabel, items: u32) -> Self {
        if is_off() { Self(None) } else { Self::open_for(kind, pool, label, Some(items)) }
    }

    #[cold]
    #[inline(never)]
    fn open_for(kind: &'static str, pool: &str, label: &TaskLabel, items: Option<u32>) -> Self {
        let mut span = Span::none();
        shield(|| span = new_span(kind, pool, label, items));
        if is_unheard(&span) { Self(None) } else { Self(Some(Arc::new(Open::new(span, items.is_some())))) }
    }

    /// Whether nobody is interested.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Calls `f`, which does not unwind, inside the span, and lets go of that.
    #[inline]
    pub(crate) fn inside<R>(self, f: impl FnOnce() -> R) -> R {
        if self.is_none() { f() } else { self.inside_open(f) }
    }

    #[cold]
    #[inline(never)]
    fn inside_open<R>(self, f: impl FnOnce() -> R) -> R {
        let Some(span) = self.span() else { return f() };
        let mut entered = None;
        shield(|| entered = Some(span.enter()));
        let result = f();
        drop_shielded(entered);
        result
    }

    /// A worker begins the job on this thread. Of items only the first beginning counts.
    #[inline]
    pub(crate) fn begins(&self, worker: impl FnOnce() -> Option<usize>) {
        if let Some(open) = &self.0 {
            Self::begins_open(open, worker);
        }
    }

    #[cold]
    #[inline(never)]
    fn begins_open(open: &Open, worker: impl FnOnce() -> Option<usize>) {
        if open.has_items && open.tries.load(Relaxed) > 0 {
            return;
        }
        if let Some(worker) = worker() {
            open.worker.store(worker as u64, Relaxed);
        }
        open.begins_at(Instant::now());
    }

    /// Takes note of the error of an item that fails.
    pub(crate) fn fails(&self, error: &TaskError) {
        if let Some(open) = &self.0 {
            open.record_outcome(Some(error));
        }
    }

    /// All items have ended.
    fn end_items(self) {
        if let Some(open) = self.0 {
            open.record_figures();
            open.record_outcome(None);
        }
    }

    /// The job has ended; nothing happens if it is several items, whose ends are told one by one.
    #[cold]
    #[inline(never)]
    fn end(self, error: Option<&TaskError>) {
        if let Some(open) = self.0.filter(|open| !open.has_items) {
            open.record_figures();
            open.record_outcome(error);
        }
    }

    /// Calls `event` with what is to be the parent of an event, where this span's subscriber hears it; without a span it is the
    /// program's own that does.
    pub(crate) fn tell(&self, event: impl FnOnce(Option<Id>)) {
        shield(|| match &self.0 {
            Some(open) => open.dispatch(event),
            None => event(None),
        });
    }

    pub(super) fn span(&self) -> Option<&Span> {
        self.0.as_ref()?.span.as_ref()
    }
}

/// Whether no subscriber is interested in spans like these, as far as one look tells.
#[inline]
pub(super) fn is_off() -> bool {
    STATIC_MAX_LEVEL < Level::INFO || LevelFilter::current() < Level::INFO
}

/// What the span is called beyond this process, for those who export it.
fn exported_name(label: &TaskLabel) -> Option<&str> {
    cfg!(feature = "opentelemetry").then(|| label.name.as_str())
}

/// Whether nobody hears of a span. It may be made all the same on a thread without a subscriber, where one of another thread's wants all
/// spans.
fn is_unheard(span: &Span) -> bool {
    span.with_subscriber(|(_, subscriber)| subscriber.is::<NoSubscriber>()).unwrap_or(true)
}

fn new_span(kind: &'static str, pool: &str, label: &TaskLabel, items: Option<u32>) -> Span {
    tracing::info_span!(
        target: "heavylift",
        "heavylift.job",
        otel.name = exported_name(label),
        pool,
        kind,
        name = label.name.as_str(),
        task = as_number(label.id.as_u64()),
        items = items.map(i64::from),
        worker = Empty,
        pid = Empty,
        queue_wait_ns = Empty,
        run_time_ns = Empty,
        tries = Empty,
        outcome = Empty,
        error = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// A number as OpenTelemetry has them; what is unsigned would be exported as text.
fn as_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Open {
    fn new(span: Span, has_items: bool) -> Self {
        Self {
            span: Some(span),
            opened: Instant::now(),
            has_items,
            begun_ns: AtomicU64::new(NOBODY),
            ran_ns: AtomicU64::new(NOBODY),
            tries: AtomicU32::new(0),
            worker: AtomicU64::new(NOBODY),
            pid: AtomicU32::new(0),
            has_outcome: AtomicBool::new(false),
        }
    }

    fn dispatch(&self, event: impl FnOnce(Option<Id>)) {
        let Some(span) = &self.span else { return };
        span.with_subscriber(|(id, dispatch)| with_default(dispatch, || event(Some(id.clone()))));
    }

    fn begins_at(&self, at: Instant) {
        let waited = at.saturating_duration_since(self.opened).as_nanos() as u64;
        self.begun_ns.store(waited, Relaxed);
        self.ran_ns.store(NOBODY, Relaxed);
        self.tries.fetch_add(1, Relaxed);
    }

    /// How long it waited and ran, if it began.
    fn times(&self) -> Option<(u64, u64)> {
        let waited = Some(self.begun_ns.load(Relaxed)).filter(|&ns| ns != NOBODY)?;
        let ran = match self.ran_ns.load(Relaxed) {
            NOBODY => (self.opened.elapsed().as_nanos() as u64).saturating_sub(waited),
            known => known,
        };
        Some((waited, ran))
    }

    /// Tells the subscriber what has happened until now.
    fn record_figures(&self) {
        let Some(span) = &self.span else { return };
        let (worker, pid, tries) =
            (self.worker.load(Relaxed), self.pid.load(Relaxed), self.tries.load(Relaxed));
        shield(|| {
            if let Some((waited, ran)) = self.times() {
                span.record("queue_wait_ns", as_number(waited)).record("run_time_ns", as_number(ran));
                if worker != NOBODY {
                    span.record("worker", as_number(worker));
                }
                if pid != 0 {
                    span.record("pid", i64::from(pid));
                }
            }
            if tries > 1 {
                span.record("tries", i64::from(tries));
            }
        });
    }

    /// Tells the subscriber how the job ended, if it has not been told.
    fn record_outcome(&self, error: Option<&TaskError>) {
        let Some(span) = &self.span else { return };
        if self.has_outcome.swap(true, Relaxed) {
            return;
        }
        shield(|| {
            span.record("outcome", error.map_or("succeeded", |error| error.kind().label()));
            let Some(error) = error else { return };
            let words = error.to_string();
            span.record("error", words.as_str());
            if cfg!(feature = "opentelemetry") {
                span.record("otel.status_code", "ERROR");
                span.record("otel.status_description", words.as_str());
            }
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop_shielded(self.span.take());
    }
}

/// The span of a task, until that finishes.
#[derive(Debug, Default)]
pub(crate) struct SpanSlot {
    /// Whether there was one to begin with, so that most tasks lock nothing.
    is_used: bool,
    /// A leaf: taken under any other lock, and nothing is locked and nothing foreign happens under it.
    span: Mutex<JobSpan>,
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some is for process pools"))]
impl SpanSlot {
    pub(crate) fn new(span: JobSpan) -> Self {
        Self { is_used: !span.is_none(), span: Mutex::new(span) }
    }

    /// Whether somebody was interested when the task was made.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used
    }

    /// The span, if the task has not finished.
    pub(crate) fn get(&self) -> JobSpan {
        if self.is_used { self.lock().clone() } else { JobSpan(None) }
    }

    /// The task finishes.
    #[inline]
    pub(crate) fn end(&self, error: Option<&TaskError>) {
        if self.is_used {
            self.take().end(error);
        }
    }

    /// All items have ended.
    pub(crate) fn end_items(&self) {
        if self.is_used {
            self.take().end_items();
        }
    }

    /// A worker has begun the job.
    pub(crate) fn began_at(&self, at: Instant) {
        self.note(|open| open.begins_at(at));
    }

    /// The job is sent to this worker process.
    pub(crate) fn goes_to(&self, worker: u32, pid: u32) {
        self.note(|open| {
            open.worker.store(worker.into(), Relaxed);
            open.pid.store(pid, Relaxed);
        });
    }

    /// The job ran so long, the last time.
    pub(crate) fn ran(&self, time: Duration) {
        self.note(|open| open.ran_ns.store(time.as_nanos() as u64, Relaxed));
    }

    /// Notes something in numbers, under the slot's lock. May be called under any other.
    fn note(&self, note: impl FnOnce(&Open)) {
        if self.is_used
            && let Some(open) = &self.lock().0
        {
            note(open);
        }
    }

    #[cold]
    #[inline(never)]
    fn take(&self) -> JobSpan {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, JobSpan> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::task::{Options, label};

    #[test]
    fn without_a_subscriber_there_is_no_span_and_a_job_pays_one_word_on_its_way() {
        assert_eq!(size_of::<JobSpan>(), size_of::<usize>());
        let label = label("job", &mut Options::default(), Location::caller());
        let span = JobSpan::open("thread", "a pool", &label);
        assert!(span.is_none() && JobSpan::of_items("thread", "a pool", &label, 7).is_none());
        assert!(!SpanSlot::new(span).is_used());
    }

    /// Interested in everything.
    struct Eager;

    impl tracing::Subscriber for Eager {
        fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::Id {
            tracing::Id::from_u64(1)
        }

        fn record(&self, _span: &tracing::Id, _values: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _span: &tracing::Id, _follows: &tracing::Id) {}

        fn event(&self, _event: &tracing::Event<'_>) {}

        fn enter(&self, _span: &tracing::Id) {}

        fn exit(&self, _span: &tracing::Id) {}
    }

    #[test]
    fn the_subscriber_of_another_thread_makes_no_spans_here() {
        let label = label("job", &mut Options::default(), Location::caller());
        let opens = || !JobSpan::open("thread", "a pool", &label).is_none();
        let elsewhere = tracing::Dispatch::new(Eager);
        assert!(with_default(&elsewhere, opens));
        with_default(&tracing::Dispatch::none(), || assert!(!opens()));
        assert!(!opens());
    }
}
