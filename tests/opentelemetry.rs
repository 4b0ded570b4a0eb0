//! Traces that cross into worker processes: what is exported here and there is one tree.

mod processes;

use std::sync::OnceLock;

use futures::{StreamExt, executor::block_on};
use heavylift::{ThreadPool, worker};
use opentelemetry::{
    Context,
    trace::{
        SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider as _,
    },
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use processes::*;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// What this process has exported. Each span is, as soon as it ends.
fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: OnceLock<(InMemorySpanExporter, SdkTracerProvider)> = OnceLock::new();
    let (exporter, _) = EXPORTER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
        (exporter, provider)
    });
    exporter
}

fn exported() -> Vec<SpanData> {
    exporter().get_finished_spans().expect("they are in memory")
}

/// The exported spans of one trace with this name.
fn of_trace(trace: TraceId, name: &str) -> Vec<SpanData> {
    exported().into_iter().filter(|span| span.span_context.trace_id() == trace && span.name == name).collect()
}

#[track_caller]
fn only(trace: TraceId, name: &str) -> SpanData {
    until("it is exported", || !of_trace(trace, name).is_empty());
    let mut spans = of_trace(trace, name);
    assert_eq!(spans.len(), 1, "{name}");
    spans.remove(0)
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

/// A request with a trace of its own, which is below one of another program.
fn request(trace: u128) -> (Span, TraceId) {
    exporter();
    let trace = TraceId::from(trace);
    let state: TraceState = "vendor=value".parse().expect("a state");
    let parent = SpanContext::new(trace, SpanId::from(1), TraceFlags::SAMPLED, true, state);
    let span = info_span!("request");
    span.set_parent(Context::new().with_remote_span_context(parent)).expect("a layer");
    (span, trace)
}

/// What a job in a worker knows of its trace.
fn told(_: ()) -> (Option<String>, Option<String>) {
    let elsewhere = std::thread::spawn(worker::traceparent).join().expect("no panic");
    assert_eq!(elsewhere, worker::traceparent());
    (worker::traceparent(), worker::tracestate())
}

fn traceparent_of(span: &SpanData) -> String {
    format!("00-{}-{}-01", span.span_context.trace_id(), span.span_context.span_id())
}

#[test]
fn jobs_on_threads_are_a_tree_with_names_and_failures() {
    let (request, trace) = request(0xa1);
    let pool = ThreadPool::builder().name("threads").build().expect("a pool");
    let inner = || info_span!("inside").in_scope(|| 1);
    assert_eq!(value(request.in_scope(|| pool.job(inner).name("good").run())), 1);
    let failed = error(request.in_scope(|| pool.job(|| -> () { panic!("bad luck") }).name("bad").run()));
    drop(request);
    let (request, good, inside) = (only(trace, "request"), only(trace, "good"), only(trace, "inside"));
    assert_eq!(good.parent_span_id, request.span_context.span_id());
    assert_eq!(inside.parent_span_id, good.span_context.span_id());
    assert_eq!(good.status, Status::Unset);
    assert_eq!(attribute(&good, "outcome").as_deref(), Some("succeeded"));
    for number in ["task", "worker", "queue_wait_ns", "run_time_ns"] {
        let value = good.attributes.iter().find(|pair| pair.key.as_str() == number).map(|pair| &pair.value);
        assert!(matches!(value, Some(opentelemetry::Value::I64(_))), "{number}: {value:?}");
    }
    let bad = only(trace, "bad");
    assert_eq!(bad.status, Status::error(failed.to_string()));
    assert_eq!(attribute(&bad, "outcome").as_deref(), Some("panicked"));
}

#[test]
fn a_worker_is_told_the_trace_of_the_span_that_submitted_the_job() {
    let (request, trace) = request(0xa2);
    let pool = pool(1);
    let (traceparent, tracestate) = value(request.in_scope(|| pool.job(told, ()).name("told").run()));
    let job = only(trace, "told");
    assert_eq!(traceparent, Some(traceparent_of(&job)));
    assert_eq!(tracestate.as_deref(), Some("vendor=value"));
    drop(request);
    assert_eq!(job.parent_span_id, only(trace, "request").span_context.span_id());
    assert_eq!((worker::traceparent(), worker::tracestate()), (None, None), "no worker");
}

#[test]
fn a_job_without_a_trace_is_told_none_whatever_ran_before() {
    let (request, _) = request(0xa3);
    let pool = pool(1);
    assert!(value(request.in_scope(|| pool.run(told, ()))).0.is_some());
    let nobody =
        || tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || pool.run(told, ()));
    assert_eq!(value(nobody()), (None, None));
    // One that panicked, too.
    assert!(outcome(request.in_scope(|| pool.run(|()| -> () { panic!("bad luck") }, ()))).is_err());
    assert_eq!(value(nobody()), (None, None));
}

#[test]
fn arguments_of_every_size_around_the_boundaries_leave_room_for_it() {
    let (request, trace) = request(0xa4);
    let pool = pool(2);
    let job = |bytes: Vec<u8>| (worker::traceparent(), worker::tracestate(), bytes);
    for size in (1980..2060).chain([0, 1, 65_536, 3 << 20]) {
        let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let (traceparent, tracestate, back) = value(request.in_scope(|| pool.run(job, bytes.clone())));
        assert!(back == bytes, "{size}");
        assert!(traceparent.is_some_and(|context| context.contains(&trace.to_string())), "{size}");
        assert_eq!(tracestate.as_deref(), Some("vendor=value"), "{size}");
    }
    let shared = heavylift::SharedBytes::copy_from_slice(&[7; 10_000]).expect("shared memory");
    let job = |bytes: heavylift::SharedBytes| (worker::traceparent(), bytes.len());
    let (traceparent, len) = value(request.in_scope(|| pool.run(job, shared)));
    assert!(traceparent.is_some() && len == 10_000);
}

#[test]
fn many_jobs_at_once_are_told_each_its_own() {
    let (request, trace) = request(0xa5);
    let pool = pool(2);
    let tasks = (0..300).map(|_| request.in_scope(|| pool.job(told, ()).name("one of many").run()));
    let tasks: Vec<_> = tasks.collect();
    let mut told: Vec<String> = tasks.into_iter().filter_map(|task| value(task).0).collect();
    let mut expected: Vec<String> = of_trace(trace, "one of many").iter().map(traceparent_of).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(told.len(), 300);
}

#[test]
fn items_that_travel_together_are_told_the_trace_of_all_of_them() {
    let (request, trace) = request(0xa6);
    let pool = pool(1);
    let map = pool.map(|_: u32| worker::traceparent(), 0..100).chunk_size(50).name("items");
    let told: Vec<_> = request.in_scope(|| block_on(map.collect()));
    let expected: Vec<String> = of_trace(trace, "items").iter().map(traceparent_of).collect();
    assert_eq!(expected.len(), 2);
    for (n, context) in told.into_iter().enumerate() {
        assert_eq!(context.expect("a value").as_ref(), Some(&expected[n / 50]), "{n}");
    }
}

#[test]
fn what_is_exported_by_program_and_worker_is_one_tree() {
    let (request, trace) = request(0xa7);
    let pool = builder(1).name("tree").initializer(|()| _ = exporter(), ()).build().expect("a pool");
    let job = |()| info_span!("below").in_scope(std::process::id);
    let task = request.in_scope(|| pool.job(job, ()).name("parent").run());
    let worker_pid = value(task);
    assert_ne!(worker_pid, std::process::id());
    let parent = only(trace, "parent");
    // What the worker exported for the job before: name, trace, parent and id of each span.
    let tell = |()| {
        let ids = |span: SpanData| {
            let context = &span.span_context;
            let ids = [
                context.trace_id().to_string(),
                span.parent_span_id.to_string(),
                context.span_id().to_string(),
            ];
            (span.name.into_owned(), ids)
        };
        exported().into_iter().map(ids).collect::<Vec<(String, [String; 3])>>()
    };
    let told = value(pool.run(tell, ()));
    let [(below_name, [below_trace, below_parent, _]), (run_name, [run_trace, run_parent, run])] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((below_name.as_str(), run_name.as_str()), ("below", "heavylift.run"));
    assert_eq!((below_trace, run_trace), (&trace.to_string(), &trace.to_string()));
    assert_eq!(run_parent, &parent.span_context.span_id().to_string());
    assert_eq!(below_parent, run);
    drop(request);
    assert_eq!(parent.parent_span_id, only(trace, "request").span_context.span_id());
}
