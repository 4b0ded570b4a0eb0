//! A span for each job.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::{StreamExt, executor::block_on};
use heavylift::{Executor, Inline, ProcessPool, Shutdown, Task, TaskError, TaskStatus, ThreadPool};
use tracing::{Level, Metadata, Subscriber, info_span, span};

use crate::{
    collector::{Collector, SeenSpan},
    processes::*,
};

fn threads(name: &str) -> ThreadPool {
    ThreadPool::builder().name(name).max_workers(2).build().expect("a pool")
}

fn processes(name: &str) -> ProcessPool {
    builder(1).name(name).build().expect("a pool")
}

/// Checks what holds for the span of every job that has ended.
#[track_caller]
fn ended(span: &SeenSpan, outcome: &str) {
    assert_eq!(span.field("outcome"), Some(outcome), "{span:#?}");
    assert_eq!(span.field("error").is_some(), outcome != "succeeded", "{span:#?}");
    assert_eq!((span.target.as_str(), span.level), ("heavylift", Level::INFO));
    assert!(span.given.values().all(|&times| times == 1), "{span:#?}");
    until("it is closed", || Collector::global().spans()[span.number].closed == 1);
}

#[test]
fn a_job_is_below_the_span_that_submitted_it_and_runs_inside_its_own() {
    let collector = Collector::global();
    let pool = threads("parentage");
    let inner_pool = threads("parentage, inner");
    let request = info_span!("parentage_request");
    let task = request.in_scope(|| {
        pool.job(move || {
            let me = (thread::current().id(), tracing::Span::current().metadata().map(|data| data.name()));
            tracing::info!("said by the job");
            (me, value(inner_pool.job(|| 7).name("inner").run()))
        })
        .name("outer")
        .run()
    });
    let id = task.id().as_u64().to_string();
    let ((worker, name), inner) = value(task);
    // It is closed already: nobody has to wait for that.
    let outer = collector.job_of("parentage");
    assert_eq!(outer.closed, 1);
    ended(&outer, "succeeded");
    assert_eq!((name, inner), (Some("heavylift.job"), 7));
    assert_eq!(outer.parent, Some(collector.span_named("parentage_request").number));
    assert_eq!(outer.entered_by, [worker]);
    assert_eq!(outer.field("kind"), Some("thread"));
    assert_eq!((outer.field("name"), outer.field("task")), (Some("outer"), Some(id.as_str())));
    assert_eq!(outer.field("worker"), Some("0"));
    for time in ["queue_wait_ns", "run_time_ns"] {
        assert!(outer.field(time).is_some_and(|time| time.parse::<u64>().is_ok()), "{outer:#?}");
    }
    for absent in ["pid", "items", "tries"] {
        assert_eq!(outer.field(absent), None);
    }
    assert_eq!(collector.job_of("parentage, inner").parent, Some(outer.number));
    let said = collector.events().into_iter().find(|event| event.message() == "said by the job");
    let said = said.expect("it was told");
    assert_eq!(said.parent, Some(outer.number));
    assert_eq!((said.target.as_str(), said.level), (module_path!(), Level::INFO));
}

#[test]
fn how_long_a_job_waited_and_ran_is_told() {
    let collector = Collector::global();
    let pool = ThreadPool::builder().name("times").max_workers(1).build().expect("a pool");
    let (open, closed) = mpsc::channel::<()>();
    let first = pool.run(move || closed.recv().is_err());
    until("it runs", || first.status() == TaskStatus::Running);
    let second = pool.run(|| thread::sleep(Duration::from_millis(20)));
    thread::sleep(Duration::from_millis(30));
    drop(open);
    assert!(value(first));
    value(second);
    let millis = |span: &SeenSpan, field| {
        span.field(field).expect("a time").parse::<u64>().expect("a number") / 1_000_000
    };
    let jobs = collector.jobs_of("times");
    assert!(millis(&jobs[0], "run_time_ns") >= 30);
    assert!(millis(&jobs[1], "queue_wait_ns") >= 30 && millis(&jobs[1], "run_time_ns") >= 20);
}

/// Every way in which a job of a thread pool ends.
#[test]
fn each_end_on_threads_closes_the_span_once_with_its_outcome() {
    let collector = Collector::global();
    let last = |pool: &str| collector.jobs_of(pool).pop().expect("a span");
    let pool = ThreadPool::builder().name("ends").max_workers(1).queue_limit(1).build().expect("a pool");

    let error = error(pool.run(|| -> u8 { panic!("by bad luck") }));
    ended(&last("ends"), "panicked");
    assert_eq!(last("ends").field("error"), Some(error.to_string().as_str()));

    // Whether a job fails by its own account is its value.
    assert!(value(pool.run(|| "x".parse::<u8>())).is_err());
    ended(&last("ends"), "succeeded");

    let (open, closed) = mpsc::channel::<()>();
    let blocks = pool.run(move || closed.recv().is_err());
    until("it runs", || blocks.status() == TaskStatus::Running);
    let queued = pool.run(|| ());
    let queued_span = last("ends");
    let refused = pool.run(|| ());
    assert!(outcome(refused).is_err_and(|error| error.is_overloaded()));
    let refused = last("ends");
    ended(&refused, "overloaded");
    assert_eq!((refused.field("worker"), refused.field("queue_wait_ns")), (None, None), "it never began");
    let count = collector.jobs_of("ends").len();
    assert!(pool.try_run(|| ()).is_err());
    assert_eq!(collector.jobs_of("ends").len(), count, "what is handed back was no task");

    drop(queued);
    let queued = collector.spans()[queued_span.number].clone();
    ended(&queued, "cancelled");
    assert_eq!(queued.field("run_time_ns"), None, "it never began");

    let late = pool.job(|| ()).queue_timeout(Duration::from_millis(1)).run();
    let late_span = last("ends");
    assert!(outcome(late).is_err_and(|error| error.is_timed_out()));
    ended(&collector.spans()[late_span.number], "timed_out");

    // What goes on after its end has its outcome at once, and stays open until it returns.
    assert!(blocks.cancel());
    let abandoned = collector
        .jobs_of("ends")
        .into_iter()
        .find(|span| span.field("outcome") == Some("cancelled") && span.field("run_time_ns").is_some());
    let abandoned = abandoned.expect("it has its outcome");
    assert_eq!(abandoned.closed, 0);
    drop(open);
    ended(&abandoned, "cancelled");

    let endless = || {
        while !heavylift::is_cancelled() {
            thread::yield_now();
        }
    };
    let endless = pool.job(endless).run_timeout(Duration::from_millis(5)).run();
    let span = last("ends");
    assert!(outcome(endless).is_err_and(|error| error.is_timed_out()));
    ended(&collector.spans()[span.number], "timed_out");

    let detached = pool.run(|| ());
    let span = last("ends");
    detached.detach();
    pool.shutdown(Shutdown::Drain).blocking_wait();
    ended(&collector.spans()[span.number], "succeeded");
    assert!(outcome(pool.run(|| ())).is_err_and(|error| error.is_closed()));
    ended(&last("ends"), "closed");
}

/// Refuses to be encoded, or to be decoded.
#[derive(Debug)]
struct Stubborn;

impl serde::Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not me"))
    }
}

impl<'de> serde::Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not me"))
    }
}

#[derive(Debug)]
struct OneWay;

impl serde::Serialize for OneWay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("only there"))
    }
}

/// Every way in which a job of a process pool ends.
#[test]
fn each_end_in_processes_closes_the_span_once_with_its_outcome() {
    let collector = Collector::global();
    let pool = builder(1).name("process ends").max_payload(1 << 20).build().expect("a pool");
    let request = info_span!("process_request");
    let last = || collector.jobs_of("process ends").pop().expect("a span");
    let check = |result: Result<(), TaskError>, outcome: &str| {
        let span = last();
        ended(&span, outcome);
        assert_eq!(result.err().map(|error| error.to_string()).as_deref(), span.field("error"));
        span
    };
    let worker_pid = request.in_scope(|| value(pool.run(pid, ())));
    let span = check(Ok(()), "succeeded");
    assert_eq!(span.parent, Some(collector.span_named("process_request").number));
    assert_eq!(span.field("kind"), Some("process"));
    assert_eq!((span.field("worker"), span.field("pid")), (Some("0"), Some(worker_pid.to_string().as_str())));
    assert!(span.field("run_time_ns").is_some() && span.entered_by.is_empty());
    // Directly, and by the keeper.
    (0..100).for_each(|n| assert_eq!(value(pool.run(double, n)), 2 * n));
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    tasks.into_iter().for_each(|task| _ = value(task));
    collector.jobs_of("process ends").iter().for_each(|span| ended(span, "succeeded"));

    check(outcome(pool.run(|()| -> () { panic!("no luck") }, ())), "panicked");
    check(outcome(pool.run(|()| -> () { std::process::abort() }, ())), "worker_died");
    check(outcome(pool.run(|_: Stubborn| (), Stubborn)), "encode");
    check(outcome(pool.run(|()| Stubborn, ())).map(drop), "encode");
    check(outcome(pool.run(|()| OneWay, ())).map(drop), "decode");
    check(outcome(pool.run(|_: Vec<u8>| (), vec![0; 2 << 20])), "too_large");
    check(outcome(pool.run(|()| vec![0_u8; 2 << 20], ())).map(drop), "too_large");

    let mark = Mark::new();
    let spins = pool.run(spin, mark.arg());
    mark.pid();
    let queued = pool.run(double, 1);
    let queued_span = last();
    drop(queued);
    let queued = collector.spans()[queued_span.number].clone();
    ended(&queued, "cancelled");
    assert_eq!(queued.field("run_time_ns"), None, "it never began");
    let late = pool.job(double, 1).queue_timeout(Duration::from_millis(1)).run();
    check(outcome(late).map(drop), "timed_out");
    assert!(spins.cancel());
    let spun = collector
        .jobs_of("process ends")
        .into_iter()
        .rfind(|span| span.field("name").is_some_and(|name| name.contains("spin")));
    ended(&spun.expect("a span"), "cancelled");

    let mark = Mark::new();
    check(outcome(pool.job(spin, mark.arg()).run_timeout(Duration::from_millis(50)).run()), "timed_out");
    pool.shutdown(Shutdown::Drain).blocking_wait();
    check(outcome(pool.run(double, 1)).map(drop), "closed");

    let broken = builder(1).name("broken").initializer(|()| Err::<(), _>("no"), ()).build().expect("a pool");
    assert!(outcome(broken.run(double, 1)).is_err_and(|error| error.is_unavailable()));
    ended(&collector.job_of("broken"), "unavailable");
}

#[test]
fn a_job_that_is_run_again_has_one_span_that_counts_its_tries() {
    let collector = Collector::global();
    let pool = processes("retried");
    assert!(outcome(pool.job(|()| -> () { std::process::abort() }, ()).retry(2).run()).is_err());
    let span = collector.job_of("retried");
    ended(&span, "worker_died");
    assert_eq!(span.field("tries"), Some("3"));
}

#[test]
fn items_that_travel_together_share_a_span() {
    let collector = Collector::global();
    let request = info_span!("map_request");
    let pool = threads("chunks");
    let map = pool
        .map(|n: u32| assert_ne!(n, 700, "bad luck"), 0..1000)
        .chunk_size(100)
        .in_flight(400)
        .name("items");
    let outcomes: Vec<Result<(), TaskError>> = request.in_scope(|| block_on(map.collect()));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    let spans = collector.jobs_of("chunks");
    let items = |spans: &[SeenSpan]| {
        spans
            .iter()
            .map(|span| span.field("items").map_or(1, |items| items.parse().expect("a number")))
            .sum::<usize>()
    };
    assert_eq!(items(&spans), 1000);
    assert!(spans.len() <= 20, "{}", spans.len());
    let parent = Some(collector.span_named("map_request").number);
    let mut failed = 0;
    for span in &spans {
        let outcome = span.field("outcome").expect("an outcome, before the last item was seen");
        ended(span, outcome);
        failed += usize::from(outcome == "panicked");
        assert_eq!((span.parent, span.field("name")), (parent, Some("items")));
        assert!(!span.entered_by.is_empty() && span.field("worker").is_some());
    }
    assert_eq!(failed, 1);

    let pool = processes("process chunks");
    let job = |n: u32| if n == 70 { std::process::abort() } else { n };
    let outcomes: Vec<_> = request.in_scope(|| block_on(pool.map(job, 0..100).chunk_size(50).collect()));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    let spans = collector.jobs_of("process chunks");
    assert_eq!((items(&spans), spans.len()), (100, 2));
    for (span, outcome) in spans.iter().zip(["succeeded", "worker_died"]) {
        ended(span, outcome);
        assert_eq!(span.parent, parent);
    }
    assert_eq!(spans[1].field("tries"), Some("2"), "what was left went on elsewhere");
}

#[test]
fn chunks_that_are_dropped_end_as_cancelled() {
    let collector = Collector::global();
    let pool = ThreadPool::builder().name("dropped chunks").max_workers(1).build().expect("a pool");
    let (open, closed) = mpsc::channel::<()>();
    let closed = std::sync::Mutex::new(closed);
    let job = move |_: u32| closed.lock().expect("not poisoned").recv().is_err();
    let mut map = pool.map(job, 0..40).chunk_size(10).in_flight(40);
    let waker = std::task::Waker::noop();
    assert!(map.poll_next_unpin(&mut std::task::Context::from_waker(waker)).is_pending());
    until("one runs", || pool.metrics().running == 1);
    drop(map);
    drop(open);
    let spans = collector.jobs_of("dropped chunks");
    assert_eq!(spans.len(), 4);
    spans.iter().for_each(|span| ended(span, "cancelled"));
    let began = collector.jobs_of("dropped chunks").into_iter().filter(|span| span.field("worker").is_some());
    assert_eq!(began.map(|span| span.given["run_time_ns"]).collect::<Vec<_>>(), [1], "one of them had begun");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn an_inline_job_has_a_span() {
    let collector = Collector::global();
    let task = info_span!("inline_request").in_scope(|| {
        Inline::new()
            .job(
                |n: u64| {
                    tracing::info!("said inline");
                    n
                },
                1,
            )
            .name("an inline job")
            .run()
    });
    assert_eq!(value(task), 1);
    let spans = collector.spans();
    let span = spans.iter().find(|span| span.field("name") == Some("an inline job")).expect("a span");
    ended(span, "succeeded");
    assert_eq!(
        (span.field("kind"), span.entered_by.as_slice()),
        (Some("inline"), &[thread::current().id()][..])
    );
}

#[cfg(feature = "rayon")]
#[test]
fn a_job_on_rayons_threads_has_a_span_and_runs_inside_it() {
    let collector = Collector::global();
    let pool = heavylift::RayonPool::builder().name("rayon spans").build().expect("a pool");
    let task = info_span!("rayon_request").in_scope(|| pool.run(|| thread::current().id()));
    let worker = value(task);
    let span = collector.job_of("rayon spans");
    ended(&span, "succeeded");
    assert_eq!((span.field("kind"), span.entered_by.as_slice()), (Some("rayon"), &[worker][..]));
    assert_eq!(span.parent, Some(collector.span_named("rayon_request").number));
    assert!(outcome(pool.run(|| -> () { panic!("no luck") })).is_err_and(|error| error.is_panicked()));
    ended(&collector.jobs_of("rayon spans")[1], "panicked");
}

/// Counts what it is asked, and wants no spans.
struct Uninterested(Arc<AtomicUsize>);

impl Subscriber for Uninterested {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != "heavylift"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        self.0.fetch_add(1, SeqCst);
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        self.0.fetch_add(1, SeqCst);
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {
        self.0.fetch_add(1, SeqCst);
    }
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_that_wants_no_spans_is_told_nothing() {
    let told = Arc::new(AtomicUsize::new(0));
    let (threads, processes) = (threads("unwanted"), processes("unwanted"));
    tracing::subscriber::with_default(Uninterested(told.clone()), || {
        value(threads.run(|| ()));
        value(processes.run(double, 1));
        assert!(block_on(threads.map(|n: u32| n, 0..100).chunk_size(10).count()) == 100);
    });
    assert_eq!(told.load(SeqCst), 0);
    assert!(Collector::global().jobs_of("unwanted").is_empty());
}

/// Panics wherever it is called.
struct Bad;

impl Subscriber for Bad {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        panic!("in record");
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {
        panic!("in enter");
    }
    fn exit(&self, _: &span::Id) {
        panic!("in exit");
    }
    fn try_close(&self, _: span::Id) -> bool {
        panic!("in close");
    }
}

/// Panics when a span is opened.
struct Worse;

impl Subscriber for Worse {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        panic!("in new_span");
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_that_panics_hurts_nobody() {
    Collector::global();
    let (threads, processes) = (threads("unhurt"), processes("unhurt"));
    let play = || {
        assert_eq!(value(threads.run(|| 3)), 3);
        assert_eq!(value(processes.run(double, 4)), 8);
        assert!(outcome(threads.run(|| -> () { panic!("its own") })).is_err_and(|error| error.is_panicked()));
        assert_eq!(block_on(threads.map(|n: u32| n, 0..100).chunk_size(10).count()), 100);
        assert_eq!(block_on(processes.map(|n: u32| n, 0..100).chunk_size(10).count()), 100);
        assert_eq!(value(Inline::new().job(|n: u64| n, 1).run()), 1);
    };
    tracing::subscriber::with_default(Bad, play);
    tracing::subscriber::with_default(Worse, play);
    assert_eq!(processes.metrics().worker_deaths, 0);
    until("its workers live on", || threads.metrics().workers == threads.metrics().idle_workers);
}
