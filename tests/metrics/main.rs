//! What the feature `metrics` tells an exporter, seen through that of Prometheus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod grafana;
mod lint;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc, Barrier, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use heavylift::{
    ThreadPool,
    metrics::{BUCKETS, report, report_every},
};
use lint::{Family, lint, parse};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::sync::RwLock;

/// Passes everything on, and tells a test of its pool.
struct Watched(PrometheusRecorder);

/// Told of each report of the pool "pushed".
static PUSHED: Mutex<Option<mpsc::Sender<Pushed>>> = Mutex::new(None);

#[derive(Debug, PartialEq, Eq)]
enum Pushed {
    Reported,
    ThreadEnded,
}

/// Tells that its thread has ended.
struct AtEnd(mpsc::Sender<Pushed>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.0.send(Pushed::ThreadEnded);
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

impl Recorder for Watched {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_counter(name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_gauge(name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_histogram(name, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let is_told = key.name() == "heavylift_pools" && key.labels().any(|label| label.value() == "pushed");
        if let Some(sender) = PUSHED.lock().unwrap().as_ref().filter(|_| is_told)
            && std::thread::current().name() == Some("heavylift-report")
        {
            AT_END.with_borrow_mut(|end| _ = end.get_or_insert_with(|| AtEnd(sender.clone())));
            let _ = sender.send(Pushed::Reported);
        }
        self.0.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.0.register_histogram(key, metadata)
    }
}

static EXPORTER: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let ours = Matcher::Prefix("heavylift_".to_owned());
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(ours, &BUCKETS).unwrap().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(Watched(recorder)).ok().unwrap();
    handle
});

/// Who reports in another way than [`render`] does it alone: durations go to whoever reports first.
static TURNS: RwLock<()> = RwLock::const_new(());

/// Reports, and returns what is exported then.
fn render() -> String {
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let exporter = &*EXPORTER;
    let _turn = ONE_BY_ONE.lock();
    report();
    exporter.render()
}

fn families() -> Vec<Family> {
    parse(&render()).unwrap()
}

/// The samples of a pool, by name and further labels.
fn of_pool(families: &[Family], pool: &str, kind: &str) -> BTreeMap<String, f64> {
    let samples = families.iter().flat_map(|family| &family.samples);
    let samples = samples.filter(|sample| sample.labels["pool"] == pool && sample.labels["kind"] == kind);
    let named = samples.map(|sample| {
        let further = sample.labels.iter().filter(|(key, _)| !["pool", "kind"].contains(&&***key));
        let further: Vec<&str> = further.map(|(_, value)| &**value).collect();
        ([&[&*sample.name], &*further].concat().join(" "), sample.value)
    });
    named.collect()
}

fn told(pool: &str, kind: &str) -> BTreeMap<String, f64> {
    of_pool(&families(), pool, kind)
}

fn thread_pool(name: &str) -> ThreadPool {
    ThreadPool::builder().name(name).max_workers(2).build().unwrap()
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for processes"))]
fn abort_or_length(text: String) -> usize {
    if text.is_empty() { std::process::abort() } else { text.len() }
}

#[tokio::test]
async fn jobs_on_threads_are_told() {
    let _turn = TURNS.read().await;
    let pool = ThreadPool::builder().name("threads").max_workers(1).queue_limit(1).build().unwrap();
    for n in 0..3 {
        pool.run(move || n).await.unwrap();
    }
    pool.run(|| panic!("as it is told")).await.unwrap_err();
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let blocked = pool.run(move || (begun.send(()), released.recv()));
    has_begun.await.unwrap();
    blocked.cancel();
    let queued = pool.run(|| ());
    assert!(pool.try_run(|| ()).is_err());
    let now = told("threads", "thread");
    let level = |name: &str| now[&format!("heavylift_{name}")];
    assert_eq!((level("jobs_running"), level("jobs_abandoned"), level("jobs_queued")), (1.0, 1.0, 1.0));
    assert_eq!((level("workers"), level("workers_idle"), level("pools")), (1.0, 0.0, 1.0));
    assert_eq!((level("workers_min"), level("workers_most"), level("workers_unused")), (0.0, 1.0, 0.0));
    drop(release);
    queued.await.unwrap();
    drop(pool);
    let now = told("threads", "thread");
    for (name, value) in [
        ("heavylift_jobs_submitted_total", 6.0),
        ("heavylift_hand_overs_total", 6.0),
        ("heavylift_jobs_finished_total succeeded", 4.0),
        ("heavylift_jobs_finished_total panicked", 1.0),
        ("heavylift_jobs_finished_total cancelled", 1.0),
        ("heavylift_jobs_finished_total timed_out", 0.0),
        ("heavylift_jobs_finished_total failed", 0.0),
        ("heavylift_jobs_refused_total", 1.0),
        ("heavylift_jobs_queued", 0.0),
        ("heavylift_job_queue_wait_seconds_count", 6.0),
    ] {
        assert_eq!(now.get(name), Some(&value), "{name}: {now:?}");
    }
    assert!(!now.keys().any(|name| name.contains("worker_deaths") || name.contains("payload")), "{now:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn jobs_in_processes_are_told() {
    let _turn = TURNS.read().await;
    use heavylift::{ProcessPool, Shutdown};

    let pool = ProcessPool::builder().name("processes").max_workers(1).build().unwrap();
    assert_eq!(pool.run(abort_or_length, "x".repeat(100_000)).await.unwrap(), 100_000);
    let now = told("processes", "process");
    assert_eq!(
        (now["heavylift_pools"], now["heavylift_workers"], now["heavylift_workers_max"]),
        (1.0, 1.0, 1.0)
    );
    assert_eq!((now["heavylift_workers_min"], now["heavylift_workers_most"]), (0.0, 1.0));
    assert!(pool.run(abort_or_length, String::new()).await.unwrap_err().is_worker_died());
    pool.shutdown(Shutdown::Drain).await;
    drop(pool);
    let now = told("processes", "process");
    for (name, value) in [
        ("heavylift_jobs_submitted_total", 2.0),
        ("heavylift_jobs_finished_total succeeded", 1.0),
        ("heavylift_jobs_finished_total failed", 1.0),
        ("heavylift_worker_deaths_total", 1.0),
        ("heavylift_workers_recycled_total", 0.0),
        ("heavylift_payload_bytes_total result", 0.0),
    ] {
        assert_eq!(now.get(name), Some(&value), "{name}: {now:?}");
    }
    let argument = now["heavylift_payload_bytes_total argument"];
    assert!((100_000.0..100_100.0).contains(&argument), "{argument}");
    let there = now["heavylift_worker_seconds"];
    assert!((0.0001..60.0).contains(&there), "{there}");
    let took = now["heavylift_payload_seconds"];
    assert!((0.0..1.0).contains(&took), "{took}");
}

#[cfg(feature = "rayon")]
#[tokio::test]
async fn jobs_on_rayon_are_told() {
    let _turn = TURNS.read().await;
    let pool = {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        heavylift::RayonPool::builder().name("rayons").threads(threads.into()).build().unwrap()
    };
    assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    let now = told("rayons", "rayon");
    assert_eq!((now["heavylift_jobs_finished_total succeeded"], now["heavylift_workers"]), (1.0, 2.0));
    assert!(!now.keys().any(|name| name.contains("worker_seconds") || name.contains("unused")), "{now:?}");
}

#[tokio::test]
async fn the_time_of_workers_adds_up_over_pools_that_have_ended() {
    let _turn = TURNS.read().await;
    let mut sum = Duration::ZERO;
    for n in 0..3 {
        let pool = ThreadPool::builder().name("lives").max_workers(1).build().unwrap();
        pool.run(|| std::thread::sleep(Duration::from_millis(20))).await.unwrap();
        if n == 1 {
            assert!(told("lives", "thread")["heavylift_worker_seconds"] > sum.as_secs_f64());
        }
        pool.shutdown(heavylift::Shutdown::Drain).await;
        drop(pool);
        sum += Duration::from_millis(20);
        let now = told("lives", "thread")["heavylift_worker_seconds"];
        assert!((sum.as_secs_f64()..60.0).contains(&now), "{now} after {sum:?}");
    }
}

#[tokio::test]
async fn processor_time_and_durations_are_told_in_seconds() {
    let _turn = TURNS.read().await;
    let pool = thread_pool("seconds");
    // So much work, however long it takes beside others.
    let compute = || (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
    pool.run(compute).await.unwrap();
    pool.run(|| std::thread::park_timeout(Duration::from_millis(30))).await.unwrap();
    drop(pool);
    let now = told("seconds", "thread");
    let run = now["heavylift_job_run_time_seconds_sum"];
    assert!((0.03..60.0).contains(&run), "{run}");
    assert_eq!(now["heavylift_job_run_time_seconds_bucket 0.0001"], 0.0);
    assert_eq!(now["heavylift_job_run_time_seconds_bucket 600"], 2.0);
    #[cfg(target_os = "linux")]
    {
        let natures = ["waiting", "computing", "mixed"];
        let sum = |name: &str| natures.iter().map(|nature| now[&format!("{name} {nature}")]).sum::<f64>();
        assert_eq!(sum("heavylift_measured_jobs_total"), 2.0, "{now:?}");
        let (run, cpu) = (sum("heavylift_measured_run_seconds"), sum("heavylift_measured_cpu_seconds"));
        assert!((0.03..60.0).contains(&run) && (0.001..=run).contains(&cpu), "{cpu} of {run}");
    }
}

#[tokio::test]
async fn a_pool_that_ends_keeps_its_counts_and_the_next_of_its_name_adds_to_them() {
    let _turn = TURNS.read().await;
    let count = || told("successors", "thread")["heavylift_jobs_finished_total succeeded"];
    for n in 1..=3 {
        let pool = thread_pool("successors");
        pool.run(|| ()).await.unwrap();
        if n == 2 {
            assert_eq!(count(), 2.0);
        }
        pool.shutdown(heavylift::Shutdown::Drain).await;
    }
    assert_eq!(count(), 3.0);
    let now = told("successors", "thread");
    assert_eq!(now["heavylift_workers"], 0.0);
    assert_eq!(now["heavylift_job_run_time_seconds_count"], 3.0);
}

#[tokio::test]
async fn pools_of_one_name_are_told_as_one() {
    let _turn = TURNS.read().await;
    let pools = [thread_pool("twins"), thread_pool("twins")];
    for pool in &pools {
        pool.run(|| ()).await.unwrap();
    }
    let now = told("twins", "thread");
    assert_eq!((now["heavylift_pools"], now["heavylift_workers_max"]), (2.0, 4.0));
    assert_eq!(now["heavylift_jobs_submitted_total"], 2.0);
}

/// A recorder that loses nothing: the exporter may lose a duration that is recorded while another thread renders.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<&'static str, Arc<AtomicU64>>>);

struct Count(Arc<AtomicU64>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }
}

impl HistogramFn for Count {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Tally {
    /// The number behind this name, if it is one of the pool "watched".
    fn of(&self, key: &Key) -> Option<Arc<Count>> {
        let names =
            ["jobs_submitted_total", "jobs_finished_total", "job_queue_wait_seconds", "job_run_time_seconds"];
        let name = names.into_iter().find(|name| key.name().strip_prefix("heavylift_") == Some(name))?;
        let is_other = key.labels().any(|label| label.key() == "outcome" && label.value() != "succeeded");
        let is_watched = key.labels().any(|label| label.value() == "watched") && !is_other;
        is_watched.then(|| Arc::new(Count(self.0.lock().unwrap().entry(name).or_default().clone())))
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |count| count.load(Relaxed))
    }
}

impl Recorder for Tally {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.of(key).map_or(Counter::noop(), Counter::from_arc)
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.of(key).map_or(Histogram::noop(), Histogram::from_arc)
    }
}

#[test]
fn reports_at_the_same_time_tell_nothing_twice_and_lose_nothing() {
    const JOBS: u64 = 3_000;
    let _turn = TURNS.blocking_write();
    let tally = Tally::default();
    let threads = 4;
    let start = Barrier::new(threads + 1);
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                while tally.get("jobs_finished_total") < JOBS {
                    metrics::with_local_recorder(&tally, report);
                    assert!(Instant::now() < deadline, "{}", tally.get("jobs_finished_total"));
                }
            });
        }
        start.wait();
        // Each of many pools ends while it may be read.
        for _ in 0..30 {
            let pool = thread_pool("watched");
            let tasks: Vec<_> = (0..JOBS / 30).map(|_| pool.run(|| ())).collect();
            tasks.into_iter().for_each(|task| task.blocking_wait().unwrap());
        }
    });
    metrics::with_local_recorder(&tally, report);
    for name in
        ["jobs_submitted_total", "jobs_finished_total", "job_run_time_seconds", "job_queue_wait_seconds"]
    {
        assert_eq!(tally.get(name), JOBS, "{name}");
    }
}

#[tokio::test]
async fn of_very_many_durations_some_are_told_and_the_quantiles_are_right() {
    let _turn = TURNS.read().await;
    let pool = thread_pool("many");
    let slow = Duration::from_millis(2);
    let jobs = 200_000;
    let job = move |n: u32| {
        if n.is_multiple_of(1000) {
            std::thread::sleep(slow)
        }
    };
    assert_eq!(pool.map(job, 0..jobs).unordered().count().await, jobs as usize);
    drop(pool);
    let now = told("many", "thread");
    assert_eq!(now["heavylift_jobs_finished_total succeeded"], f64::from(jobs));
    // How many are told depends on how often other tests report meanwhile.
    let told = now["heavylift_job_run_time_seconds_count"];
    let slow = (told - now["heavylift_job_run_time_seconds_bucket 0.001"]) / told;
    assert!(told >= 10_000.0 && (0.0005..0.002).contains(&slow), "{slow} of {told}");
}

#[test]
fn the_text_is_as_prometheus_wants_it_whatever_pools_are_called() {
    let _turn = TURNS.blocking_read();
    let hostile = [
        "quote\"quote",
        "back\\slash",
        "back\\\"both",
        "ends with \\",
        "line\nend",
        "\u{7}\u{1b}\r\t",
        "{le=\"1\"} 2\n# TYPE x counter",
        "µ ß 名 🦀",
        &"long ".repeat(1000),
    ];
    let pools: Vec<_> = hostile.iter().map(|name| thread_pool(name)).collect();
    pools.iter().for_each(|pool| pool.run(|| ()).blocking_wait().unwrap());
    let text = render();
    let families = parse(&text).unwrap();
    assert_eq!(lint(&families), [""; 0], "{text}");
    let names: std::collections::BTreeSet<&str> =
        families.iter().flat_map(|family| &family.samples).map(|sample| &*sample.labels["pool"]).collect();
    for name in ["quote\"quote", "back_slash", "back_\"both", "line_end", "____", "µ ß 名 🦀"] {
        assert!(names.contains(name), "{name:?}: {names:?}");
    }
    assert!(names.iter().all(|name| name.chars().count() <= 64), "{names:?}");
    check_with_promtool(&text);
}

#[test]
fn an_exporter_that_adds_units_and_suffixes_finds_them_there() {
    let _turn = TURNS.blocking_write();
    let pool = thread_pool("named");
    pool.run(|| ()).blocking_wait().unwrap();
    let of = |builder: PrometheusBuilder| {
        let recorder = builder.build_recorder();
        metrics::with_local_recorder(&recorder, report);
        let families = parse(&recorder.handle().render()).unwrap();
        assert_eq!(lint(&families), [""; 0]);
        let names = families.into_iter().map(|family| family.name);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let plain = of(PrometheusBuilder::new());
    assert_eq!(of(PrometheusBuilder::new().with_recommended_naming(true)), plain);
    assert!(
        plain.contains("heavylift_jobs_finished_total") && plain.contains("heavylift_job_run_time_seconds")
    );
}

/// Says what was not tested.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn tell(what: &str) {
    eprintln!("{what}");
}

/// Has Prometheus's own tool look at the text, where there is one.
fn check_with_promtool(text: &str) {
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = tool.stderr(Stdio::piped()).spawn() else {
        return tell("skipped: no promtool here, only our own rules were applied");
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Does something when it is told of a counter.
struct Does(fn());

impl Recorder for Does {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.0();
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_may_panic_or_report_itself() {
    let _turn = TURNS.blocking_write();
    let pool = thread_pool("any recorder");
    metrics::with_local_recorder(&Does(|| panic!("a recorder's own")), report);
    metrics::with_local_recorder(
        &Does(|| metrics::with_local_recorder(&metrics::NoopRecorder, report)),
        report,
    );
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(told("any recorder", "thread")["heavylift_jobs_submitted_total"], 1.0);
}

#[test]
fn a_reporter_reports_at_once_again_and_again_and_when_it_is_dropped() {
    let _turn = TURNS.blocking_write();
    let patience = Duration::from_secs(30);
    let _exporter = &*EXPORTER;
    let _pool = thread_pool("pushed");
    let (sender, pushed) = mpsc::channel();
    *PUSHED.lock().unwrap() = Some(sender);

    let reporter = report_every(Duration::from_secs(3600)).unwrap();
    assert_eq!(pushed.recv_timeout(patience), Ok(Pushed::Reported));
    drop(reporter);
    assert_eq!(pushed.recv_timeout(patience), Ok(Pushed::Reported));
    assert_eq!(pushed.recv_timeout(patience), Ok(Pushed::ThreadEnded));

    let reporter = report_every(Duration::ZERO).unwrap();
    (0..3).for_each(|_| assert_eq!(pushed.recv_timeout(patience), Ok(Pushed::Reported)));
    drop(reporter);
    while pushed.recv_timeout(patience).unwrap() == Pushed::Reported {}
}
