//! Recordings of all pools, and the files that are made of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt, executor::block_on};
use heavylift::{JobEnd, RecordedJob, TaskErrorKind, ThreadPool, Timeline};
use serde_json::Value;

/// A name that means something in JSON and in XML.
const NASTY: &str = "\"</title><script>alert('x')</script>&amp;\\\u{1}\n";

/// The trace of a timeline, which is checked against the format: the fields of each phase, the order, that nothing overlaps.
fn trace(timeline: &Timeline) -> Vec<Value> {
    let mut bytes = Vec::new();
    timeline.write_trace(&mut bytes).unwrap();
    let trace: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(matches!(trace["displayTimeUnit"].as_str(), Some("ns" | "ms")));
    let events = trace["traceEvents"].as_array().unwrap().clone();
    let (mut last, mut open) = (0.0, HashMap::<u64, Vec<f64>>::new());
    for event in &events {
        assert!(event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(), "{event}");
        let phase = event["ph"].as_str().unwrap();
        if phase == "M" {
            let name = event["name"].as_str().unwrap();
            assert!(["process_name", "thread_name", "thread_sort_index"].contains(&name), "{event}");
            assert!(event["args"]["name"].is_string() || event["args"]["sort_index"].is_u64(), "{event}");
            continue;
        }
        let at = event["ts"].as_f64().unwrap();
        assert!(at >= last, "in the order of time: {event}");
        last = at;
        match phase {
            "X" => check_slice(event, at, open.entry(event["tid"].as_u64().unwrap()).or_default()),
            "C" => assert!(event["args"].as_object().unwrap().values().all(Value::is_u64), "{event}"),
            "i" => assert!(matches!(event["s"].as_str(), Some("g" | "p" | "t")), "{event}"),
            _ => panic!("an unknown phase: {event}"),
        }
    }
    events
}

/// A slice, and the ends of those that are open on its thread: it lies after them or within the last.
fn check_slice(event: &Value, at: f64, open: &mut Vec<f64>) {
    assert!(event["cat"].is_string() && event["args"]["task"].is_u64(), "{event}");
    assert!(event["args"]["outcome"].is_string(), "{event}");
    let end = at + event["dur"].as_f64().unwrap();
    // In a thousandth of a microsecond, as written.
    let nanos = |time: f64| (time * 1e3).round() as u64;
    open.retain(|&other| nanos(other) > nanos(at));
    assert!(open.last().is_none_or(|&outer| nanos(end) <= nanos(outer)), "overlaps: {event}");
    open.push(end);
}

fn phase<'a>(events: &'a [Value], phase: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["ph"] == phase).collect()
}

/// The picture of a timeline, which is checked to be XML, and small.
fn svg(timeline: &Timeline) -> String {
    let mut bytes = Vec::new();
    timeline.write_svg(&mut bytes).unwrap();
    let svg = String::from_utf8(bytes).unwrap();
    assert!(svg.len() < 1_000_000, "{} bytes", svg.len());
    check_xml(&svg);
    svg
}

/// A strict reader of the part of XML that a picture needs: elements, attributes in double quotes, text, the five entities.
fn check_xml(xml: &str) {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t' || matches!(c, '\u{fffe}' | '\u{ffff}');
    assert!(!xml.contains(bad), "a character that XML cannot have");
    let (mut rest, mut open) = (xml, Vec::new());
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at]);
        let end = rest[at..].find('>').expect("a tag is closed") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<'), "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in the order of opening");
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{name}>");
        check_attributes(attributes);
        if !is_empty {
            open.push(name);
        }
        assert!(!open.is_empty(), "one root");
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "nothing is left open: {open:?}");
}

fn check_attributes(attributes: &str) {
    let (mut rest, mut names) = (attributes.trim(), HashSet::new());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("an attribute has a value in quotes");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        assert!(names.insert(name), "{name} twice");
        let (value, after) = after.split_once('"').expect("a value ends");
        check_text(value);
        rest = after.trim_start();
    }
}

fn check_text(text: &str) {
    assert!(!text.contains(['<', '>']), "{text}");
    for (at, _) in text.match_indices('&') {
        let entity = text[at..].split_once(';').expect("an entity ends").0;
        assert!(["&amp", "&lt", "&gt", "&quot", "&#39"].contains(&entity), "{entity}");
    }
}

/// The jobs by how they ended, and whether they ran.
fn ends(timeline: &Timeline) -> HashMap<(JobEnd, bool), Vec<&RecordedJob>> {
    let mut ends = HashMap::<_, Vec<_>>::new();
    for job in timeline.jobs() {
        ends.entry((job.end(), job.worker().is_some())).or_default().push(job);
    }
    ends
}

fn failed(kind: TaskErrorKind) -> JobEnd {
    JobEnd::Failed(kind)
}

fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {}
}

#[test]
fn every_outcome_of_a_thread_pool_is_in_its_timeline() {
    let pool = ThreadPool::builder().name(NASTY).max_workers(1).queue_limit(2).build().unwrap();
    let recording = pool.record();
    pool.job(|| ()).name(NASTY).run().blocking_wait().unwrap();
    pool.run(|| panic!("{NASTY}")).blocking_wait().unwrap_err();
    let (release, released) = mpsc::channel::<()>();
    // One that is cancelled while it runs, and goes on until it is released; behind it two that never begin.
    let (begun, begins) = mpsc::channel();
    let running = pool.run(move || (begun.send(()), released.recv()).0.is_ok());
    begins.recv().unwrap();
    let expired = pool.job(|| ()).name("late").queue_timeout(Duration::from_millis(1)).run();
    let cancelled = pool.run(|| ());
    assert!(pool.run(|| ()).blocking_wait().unwrap_err().is_overloaded());
    assert!(cancelled.cancel() && running.cancel());
    assert!(expired.blocking_wait().unwrap_err().is_timed_out());
    drop(release);
    let (obeys, obeyed) = mpsc::channel::<()>();
    let endless = move || {
        while !heavylift::is_cancelled() {
            thread::yield_now();
        }
        drop(obeys);
    };
    let slow = pool.job(endless).name("slow").run_timeout(Duration::from_millis(5)).run();
    let slow_id = slow.id();
    assert!(slow.blocking_wait().unwrap_err().is_timed_out());
    obeyed.recv().unwrap_err();
    pool.run(|| ()).blocking_wait().unwrap();
    let timeline = recording.stop();

    let ends = ends(&timeline);
    let count = |end, ran| ends.get(&(end, ran)).map_or(0, Vec::len);
    assert_eq!(count(JobEnd::Value, true), 2);
    assert_eq!(count(failed(TaskErrorKind::Panicked), true), 1);
    assert_eq!(count(failed(TaskErrorKind::Cancelled), true), 1, "it ran, though its task had finished");
    assert_eq!(count(failed(TaskErrorKind::Cancelled), false), 1);
    assert_eq!(count(failed(TaskErrorKind::TimedOut), false), 1);
    assert_eq!(count(failed(TaskErrorKind::Overloaded), false), 1);
    let slow = &ends[&(failed(TaskErrorKind::TimedOut), true)][0];
    assert_eq!((slow.id(), slow.name()), (slow_id, "slow"));
    assert!(slow.ran() >= Duration::from_millis(5) && slow.error().unwrap().contains("run_timeout is 5ms"));
    assert_eq!(timeline.jobs().len(), 8);
    assert_eq!(timeline.failures().count(), 6);
    assert_eq!((timeline.workers().len(), timeline.dropped()), (1, 0));
    assert_eq!(timeline.pool(), NASTY);

    let events = trace(&timeline);
    let slices = phase(&events, "X");
    assert_eq!(slices.len(), 5);
    assert_eq!(slices[0]["name"], NASTY);
    assert_eq!(
        (&slices[0]["args"]["outcome"], &slices[1]["args"]["outcome"]),
        (&"succeeded".into(), &"panicked".into())
    );
    assert!(slices[1]["args"]["error"].as_str().unwrap().ends_with(NASTY));
    assert!(slices.iter().all(|slice| slice["args"]["queue_wait_us"].is_f64()));
    let instants = phase(&events, "i");
    let outcomes: HashSet<_> = instants.iter().filter_map(|it| it["args"]["outcome"].as_str()).collect();
    assert_eq!(outcomes, HashSet::from(["cancelled", "timed_out", "overloaded"]));
    assert!(phase(&events, "C").iter().any(|counter| counter["args"]["jobs"] == 2));
    let svg = svg(&timeline);
    assert!(svg.contains("panicked 1") && svg.contains("&lt;script&gt;") && !svg.contains("<script"));
}

#[test]
fn what_runs_when_it_is_stopped_is_running_and_a_snapshot_ends_nothing() {
    let pool = ThreadPool::builder().name("half-way").max_workers(1).build().unwrap();
    let recording = pool.record();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.job(move || (begun.send(()), released.recv()).0.is_ok()).name("first").run();
    begins.recv().unwrap();
    let behind: Vec<_> = (0..7).map(|_| pool.run(|| ())).collect();
    let half = recording.snapshot();
    assert_eq!(half.jobs().len(), 1);
    let job = &half.jobs()[0];
    assert_eq!((job.name(), job.end(), job.worker(), job.error()), ("first", JobEnd::Running, Some(0), None));
    assert_eq!(job.ended(), half.duration());
    assert_eq!(half.queued().last().unwrap().1, 7);
    assert_eq!(phase(&trace(&half), "X")[0]["args"]["outcome"], "running");
    assert!(svg(&half).contains("running 1"));
    drop(release);
    assert!(running.blocking_wait().unwrap());
    behind.into_iter().for_each(|task| task.blocking_wait().unwrap());
    let whole = recording.stop();
    assert_eq!(whole.jobs().len(), 8);
    assert!(whole.jobs().iter().all(|job| job.end() == JobEnd::Value));
    assert_eq!(whole.queued().last().unwrap().1, 0);
    assert!(whole.queued().any(|(_, jobs)| jobs > 0));
}

#[test]
fn a_job_that_began_before_the_recording_is_in_it_and_one_that_ended_before_is_not() {
    let pool = ThreadPool::builder().max_workers(1).build().unwrap();
    pool.job(|| ()).name("before").run().blocking_wait().unwrap();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.job(move || (begun.send(()), released.recv()).0.is_ok()).name("across").run();
    begins.recv().unwrap();
    let recording = pool.record();
    drop(release);
    running.blocking_wait().unwrap();
    let timeline = recording.stop();
    pool.job(|| ()).name("after").run().blocking_wait().unwrap();
    let [job] = timeline.jobs() else { panic!("{timeline:?}") };
    assert_eq!((job.name(), job.begun()), ("across", Duration::ZERO));
    assert!(job.ran() > job.ended());
    assert_eq!(phase(&trace(&timeline), "X")[0]["ts"], 0.0);
    svg(&timeline);
}

#[test]
fn a_recording_of_nothing_makes_files_like_any_other() {
    let pool = ThreadPool::builder().name("idle").build().unwrap();
    let recording = pool.record();
    drop(pool);
    let timeline = recording.stop();
    assert!(
        timeline.jobs().is_empty() && timeline.workers().is_empty() && timeline.failures().next().is_none()
    );
    assert!(phase(&trace(&timeline), "X").is_empty());
    assert!(svg(&timeline).contains("thread pool idle: 0 jobs"));
}

#[test]
fn a_pool_that_is_gone_has_left_its_timeline() {
    let pool = ThreadPool::builder().name("gone").max_workers(1).build().unwrap();
    let recording = pool.record();
    let task = pool.run(|| ());
    assert!(pool.shutdown(heavylift::Shutdown::Drain).blocking_wait().is_complete());
    drop((task, pool));
    let timeline = recording.stop();
    assert_eq!(timeline.jobs().len(), 1);
    assert_eq!(timeline.workers()[0].end(), Some(heavylift::WorkerEnd::Retired));
}

#[test]
fn jobs_from_many_threads_are_recorded_once_each_and_never_overlap() {
    const THREADS: usize = 6;
    const EACH: usize = 2_000;
    let pool = ThreadPool::builder().name("busy").max_workers(4).build().unwrap();
    let recording = pool.record();
    let submitters: Vec<_> = (0..THREADS)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                let tasks: Vec<_> =
                    (0..EACH).map(|n| pool.run(move || spin(Duration::from_micros(n as u64 % 7)))).collect();
                let ids: Vec<_> = tasks.iter().map(heavylift::Task::id).collect();
                // Another recording, which has no effect on the first.
                let other = pool.record();
                tasks.into_iter().for_each(|task| task.blocking_wait().unwrap());
                let _ = other.stop();
                ids
            })
        })
        .collect();
    let ids: HashSet<_> = submitters.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let timeline = recording.stop();
    assert_eq!(timeline.jobs().len(), THREADS * EACH);
    assert_eq!(timeline.jobs().iter().map(RecordedJob::id).collect::<HashSet<_>>(), ids);
    assert!(timeline.jobs().is_sorted_by_key(RecordedJob::ended));
    assert_eq!(phase(&trace(&timeline), "X").len(), THREADS * EACH);
    svg(&timeline);
}

#[test]
fn a_job_that_is_run_by_one_that_waits_for_it_lies_within_that_one() {
    let pool = ThreadPool::builder().name("nested").max_workers(1).build().unwrap();
    let recording = pool.record();
    let inner = pool.clone();
    let outer = pool.job(move || inner.job(|| ()).name("inner").run().blocking_wait().is_ok()).name("outer");
    assert!(outer.run().blocking_wait().unwrap());
    let timeline = recording.stop();
    let [inner, outer] = timeline.jobs() else { panic!("{timeline:?}") };
    assert_eq!((inner.name(), outer.name()), ("inner", "outer"));
    assert!(outer.begun() <= inner.begun() && inner.ended() <= outer.ended());
    trace(&timeline);
    svg(&timeline);
}

#[test]
fn the_latest_jobs_within_the_limit_are_kept_and_the_others_counted() {
    const JOBS: usize = 30_000;
    let pool = ThreadPool::builder().name("long").max_workers(2).build().unwrap();
    let recording = pool.record().limit(1_000);
    let tasks: Vec<_> = (0..JOBS).map(|_| pool.run(|| ())).collect();
    let last = tasks.into_iter().map(|task| (task.id(), task.blocking_wait().unwrap()).0).max().unwrap();
    let timeline = recording.stop();
    let kept = timeline.jobs().len();
    assert!((400..=1_000).contains(&kept), "{kept}");
    assert_eq!(kept as u64 + timeline.dropped(), JOBS as u64);
    assert!(timeline.jobs().iter().any(|job| job.id() == last));
    assert!(timeline.begins() > Duration::ZERO && timeline.begins() < timeline.duration());
    trace(&timeline);
    assert!(svg(&timeline).contains("that were dropped"));
}

#[test]
#[should_panic(expected = "at least one record")]
fn a_recording_that_keeps_nothing_is_refused() {
    let _ = ThreadPool::builder().build().unwrap().record().limit(0);
}

#[test]
fn the_items_of_a_map_over_threads_are_all_there_some_together() {
    let pool = ThreadPool::builder().name("items").max_workers(2).build().unwrap();
    let recording = pool.record();
    let job = |n: u32| assert!(n % 1_000 != 999, "{n} is one too many");
    let failed = pool.map(job, 0..20_000).filter(|outcome| std::future::ready(outcome.is_err()));
    assert_eq!(block_on(failed.count()), 20);
    let timeline = recording.stop();
    assert_eq!(timeline.jobs().iter().map(RecordedJob::items).sum::<u32>(), 20_000);
    assert!(timeline.jobs().len() < 10_000);
    let failures: Vec<_> = timeline.failures().collect();
    assert_eq!(failures.len(), 20);
    assert!(
        failures.iter().all(|item| item.worker().is_some() && item.error().unwrap().ends_with("too many"))
    );
    // The first of a map travel alone.
    let panicked = |event: &&Value| event["args"]["outcome"] == "panicked";
    assert_eq!(trace(&timeline).iter().filter(panicked).count(), 20);
    let svg = svg(&timeline);
    assert!(svg.contains("panicked 20") && svg.contains("value 19\u{202f}980"), "{svg}");
}

#[test]
fn of_items_that_run_together_those_that_run_are_seen_also_after_the_first() {
    let pool = ThreadPool::builder().name("long-items").max_workers(1).build().unwrap();
    let recording = pool.record();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let job = move |_: u32| (begun.send(()), released.lock().unwrap().recv()).0.is_ok();
    let items = pool.map(job, 0..8).chunk_size(8);
    let all = thread::spawn(|| block_on(items.count()));
    for _ in 0..3 {
        begins.recv().unwrap();
        release.send(()).unwrap();
    }
    begins.recv().unwrap();
    let half = recording.snapshot();
    let running: Vec<_> = half.jobs().iter().filter(|job| job.end() == JobEnd::Running).collect();
    assert_eq!(running.len(), 1, "{:?}", half.jobs());
    assert_eq!((running[0].worker(), running[0].ended()), (Some(0), half.duration()));
    trace(&half);
    drop(release);
    assert_eq!(all.join().unwrap(), 8);
    let whole = recording.stop();
    assert!(whole.jobs().iter().all(|job| job.end() == JobEnd::Value));
    assert_eq!(whole.jobs().iter().map(RecordedJob::items).sum::<u32>(), 8);
}

#[cfg(feature = "rayon")]
#[test]
fn every_job_of_a_rayon_pool_is_in_its_timeline() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let pool = heavylift::RayonPool::builder().name("parallel").threads(threads.into()).build().unwrap();
    let recording = pool.record();
    let tasks: Vec<_> = (0..100).map(|n| pool.job(move || assert!(n != 50)).name("part").run()).collect();
    let errors: Vec<_> = tasks.into_iter().filter_map(|task| task.blocking_wait().err()).collect();
    assert!(matches!(&errors[..], [error] if error.is_panicked()), "{errors:?}");
    let timeline = recording.stop();
    assert_eq!((timeline.jobs().len(), timeline.failures().count()), (100, 1));
    assert!(timeline.jobs().iter().all(|job| job.worker().is_some_and(|worker| worker < 2)));
    assert_eq!(timeline.workers().len(), 2);
    trace(&timeline);
    assert!(svg(&timeline).contains("rayon pool parallel: 100 jobs"));
}

#[cfg(target_os = "linux")]
mod processes {
    use heavylift::{ProcessPool, TaskStatus, WorkerEnd};

    use super::*;

    fn double(n: u64) -> u64 {
        2 * n
    }

    fn panics(_: u64) -> u64 {
        panic!("{NASTY}")
    }

    fn crash(_: u64) -> u64 {
        std::process::abort()
    }

    fn hang(_: u64) -> u64 {
        loop {
            thread::park();
        }
    }

    /// A result that cannot be taken apart as what it should be.
    #[derive(serde::Deserialize)]
    struct Unreadable;

    impl serde::Serialize for Unreadable {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(7)
        }
    }

    fn unreadable(_: u64) -> Unreadable {
        Unreadable
    }

    fn wait_until_it_runs<T>(task: &heavylift::Task<T>) {
        while task.status() != TaskStatus::Running {
            thread::yield_now();
        }
    }

    #[test]
    fn every_outcome_and_every_end_of_a_worker_is_in_the_timeline() {
        let pool =
            ProcessPool::builder().name("fated").max_workers(1).max_tasks_per_worker(3).build().unwrap();
        let recording = pool.record();
        assert_eq!(pool.run(double, 4).blocking_wait().unwrap(), 8);
        assert!(pool.job(panics, 1).name(NASTY).run().blocking_wait().unwrap_err().is_panicked());
        let decoded = pool.run(unreadable, 1).blocking_wait();
        assert!(decoded.err().is_some_and(|error| error.is_decode()));
        assert!(pool.job(crash, 1).name("crash").run().blocking_wait().unwrap_err().is_worker_died());
        let limit = Duration::from_millis(20);
        assert!(
            pool.job(hang, 1)
                .name("slow")
                .run_timeout(limit)
                .run()
                .blocking_wait()
                .unwrap_err()
                .is_timed_out()
        );
        let unwanted = pool.job(hang, 1).name("unwanted").run();
        wait_until_it_runs(&unwanted);
        let queued = pool.run(double, 1);
        assert!(queued.cancel() && unwanted.cancel());
        for n in 0..7 {
            assert_eq!(pool.run(double, n).blocking_wait().unwrap(), 2 * n);
        }
        let timeline = recording.stop();

        let ends = ends(&timeline);
        let count = |end, ran| ends.get(&(end, ran)).map_or(0, Vec::len);
        assert_eq!(count(JobEnd::Value, true), 8);
        for kind in [TaskErrorKind::Panicked, TaskErrorKind::Decode, TaskErrorKind::WorkerDied] {
            assert_eq!(count(failed(kind), true), 1, "{kind:?}");
        }
        let slow = ends[&(failed(TaskErrorKind::TimedOut), true)][0];
        assert!(slow.ran() >= limit && slow.name() == "slow");
        assert_eq!(count(failed(TaskErrorKind::Cancelled), true), 1);
        assert_eq!(count(failed(TaskErrorKind::Cancelled), false), 1);
        assert_eq!(timeline.jobs().len(), 14);
        check_workers(&timeline);
    }

    /// Each way to end, in the data and in the files.
    fn check_workers(timeline: &Timeline) {
        let mut how: HashMap<_, Vec<_>> = HashMap::new();
        timeline.workers().iter().for_each(|worker| how.entry(worker.end()).or_default().push(worker));
        assert_eq!(how[&Some(WorkerEnd::Died)].len(), 1, "{how:?}");
        assert!(how[&Some(WorkerEnd::Died)][0].why().unwrap().contains("SIGABRT"));
        assert_eq!(how[&Some(WorkerEnd::Killed)].len(), 2, "{how:?}");
        assert!(
            how[&Some(WorkerEnd::Killed)].iter().any(|worker| worker.why().unwrap().contains("\"slow\""))
        );
        assert!(how[&Some(WorkerEnd::Recycled)].len() >= 2, "{how:?}");
        let pids: HashSet<_> = timeline.workers().iter().map(|worker| worker.pid().unwrap()).collect();
        assert_eq!(pids.len(), timeline.workers().len());
        let runs = timeline.jobs().iter().filter(|job| job.worker().is_some());
        assert!(runs.map(|job| job.pid().unwrap()).all(|pid| pids.contains(&pid)));

        let events = trace(timeline);
        let happened = phase(&events, "i").into_iter().filter(|event| event["cat"] == "worker");
        let mut marks = HashMap::<_, usize>::new();
        happened.for_each(|event| *marks.entry(event["name"].as_str().unwrap()).or_default() += 1);
        assert_eq!((marks["died"], marks["killed"]), (1, 2), "{marks:?}");
        assert!(marks["restarted"] >= 1 && marks["recycled"] >= 2, "{marks:?}");
        let svg = svg(timeline);
        for text in
            ["killed 2", "died 1", "recycled", "restarted", "timed out 1", "failed otherwise 1", "task"]
        {
            assert!(svg.contains(text), "{text}");
        }
    }

    fn crash_once(path: String) -> u64 {
        let is_first = std::fs::OpenOptions::new().create_new(true).write(true).open(path).is_ok();
        if is_first { std::process::abort() } else { 7 }
    }

    #[test]
    fn a_job_that_is_run_again_is_there_once_for_each_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crashed").into_os_string().into_string().unwrap();
        let pool = ProcessPool::builder().name("again").max_workers(1).build().unwrap();
        let recording = pool.record();
        let task = pool.job(crash_once, path).retry(1).run();
        let id = task.id();
        assert_eq!(task.blocking_wait().unwrap(), 7);
        let timeline = recording.stop();
        let [first, second] = timeline.jobs() else { panic!("{timeline:?}") };
        assert_eq!((first.id(), second.id()), (id, id));
        assert_eq!((first.end(), second.end()), (failed(TaskErrorKind::WorkerDied), JobEnd::Value));
        assert!(first.error().unwrap().contains("run again") && first.pid() != second.pid());
        trace(&timeline);
    }

    fn not_thirteen(n: u64) -> u64 {
        assert!(n % 100 != 13, "{n} is one too many");
        n
    }

    #[test]
    fn the_items_of_a_map_over_processes_are_all_there_some_together() {
        let pool = ProcessPool::builder().name("items").max_workers(2).build().unwrap();
        let recording = pool.record();
        let outcomes = pool.map(not_thirteen, 0..5_000);
        assert_eq!(block_on(outcomes.filter(|outcome| std::future::ready(outcome.is_err())).count()), 50);
        let timeline = recording.stop();
        assert_eq!(timeline.jobs().iter().map(RecordedJob::items).sum::<u32>(), 5_000);
        let failures: Vec<_> = timeline.failures().collect();
        assert_eq!(failures.len(), 50);
        assert!(failures.iter().all(|item| item.error().unwrap().ends_with("too many")));
        assert!(failures.iter().all(|item| item.worker().is_some() && item.pid().is_some()), "{failures:?}");
        trace(&timeline);
        svg(&timeline);
    }

    /// A number, which is not read where it is 2 more than a multiple of eight.
    #[derive(serde::Serialize)]
    struct Picky(u64);

    impl<'de> serde::Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let n = u64::deserialize(deserializer)?;
            if n % 8 == 2 { Err(serde::de::Error::custom("unread")) } else { Ok(Self(n)) }
        }
    }

    fn crashes_after_what_is_not_read(n: u64) -> Picky {
        Picky(if n % 8 == 4 { crash(n) } else { n })
    }

    #[test]
    fn items_that_failed_before_their_worker_died_are_recorded_once() {
        let pool = ProcessPool::builder().name("one-by-one").max_workers(1).build().unwrap();
        let recording = pool.record();
        let outcomes = pool.map(crashes_after_what_is_not_read, 0..64).chunk_size(8);
        assert_eq!(block_on(outcomes.filter(|outcome| std::future::ready(outcome.is_err())).count()), 16);
        let timeline = recording.stop();
        assert!(timeline.jobs().iter().any(|job| job.items() > 1), "{:?}", timeline.jobs());
        for kind in [TaskErrorKind::Decode, TaskErrorKind::WorkerDied] {
            let of_kind = timeline.failures().filter(|job| job.end() == failed(kind));
            let workers: Vec<_> = of_kind.map(RecordedJob::worker).collect();
            assert_eq!(workers, [Some(0); 8], "{kind:?}");
        }
        trace(&timeline);
    }

    #[test]
    fn many_jobs_of_many_processes_follow_one_another() {
        let pool = ProcessPool::builder().name("many").max_workers(3).build().unwrap();
        let recording = pool.record();
        let tasks: Vec<_> = (0..5_000).map(|n| pool.run(double, n)).collect();
        let ids: HashSet<_> = tasks.iter().map(heavylift::Task::id).collect();
        tasks.into_iter().for_each(|task| _ = task.blocking_wait().unwrap());
        let timeline = recording.stop();
        assert_eq!(timeline.jobs().iter().map(RecordedJob::id).collect::<HashSet<_>>(), ids);
        assert_eq!(timeline.jobs().len(), 5_000);
        assert_eq!(phase(&trace(&timeline), "X").len(), 5_000);
        svg(&timeline);
    }
}
