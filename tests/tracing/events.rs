//! What workers say, told where the program's subscriber hears it.

#![expect(clippy::print_stdout, reason = "that is told, too")]

use std::{
    collections::BTreeMap,
    env,
    os::fd::BorrowedFd,
    process::{Command, Stdio},
};

use heavylift::{Output, ProcessPool, Shutdown, Task};
use rustix::net::{SendFlags, SocketType, send, sockopt::socket_type};
use tracing::{Level, info_span, level_filters::LevelFilter};

use crate::{
    collector::{Collector, SeenEvent},
    processes::*,
};

fn telling(name: &str, workers: usize) -> ProcessPool {
    builder(workers).name(name).capture_output(Output::Tracing).build().expect("a pool")
}

/// Ends a pool. All that its workers said has come then.
fn end(pool: &ProcessPool) {
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

fn of_task(events: &[SeenEvent], task: u64) -> Vec<&str> {
    let task = task.to_string();
    events.iter().filter(|event| event.field("task") == Some(&task)).map(SeenEvent::message).collect()
}

fn speak(n: u64) -> u64 {
    println!("printed {n}");
    tracing::error!("an error");
    tracing::warn!(target: "elsewhere::entirely", n, text = "a \"text\"", ok = true, "said {n}");
    tracing::info!(half = 0.5);
    tracing::debug!("{n} times");
    tracing::trace!(parent: None, n, "a trace");
    n
}

#[test]
fn each_event_of_a_job_comes_back_under_its_span_and_names_worker_and_task() {
    let collector = Collector::global();
    let pool = telling("speaks", 1);
    let worker_pid = value(pool.run(pid, ())).to_string();
    let request = info_span!("speaks_request");
    let task = request.in_scope(|| pool.job(speak, 7).name("speaker").run());
    let id = task.id().as_u64().to_string();
    assert_eq!(value(task), 7);
    let job = collector.jobs_of("speaks").pop().expect("a span");
    until("its span closes while the worker lives", || collector.spans()[job.number].closed == 1);
    end(&pool);
    let job = collector.jobs_of("speaks").pop().expect("a span");
    assert_eq!(job.parent, Some(collector.span_named("speaks_request").number));
    assert_eq!(job.closed, 1, "what held it open has come");
    let all = collector.said_in("speaks");
    for event in &all {
        let fields =
            ["worker", "pid", "task", "task_name", "cut"].map(|name| event.field(name).unwrap_or_default());
        assert_eq!(fields, ["0", &worker_pid, &id, "speaker", "false"], "{event:?}");
        assert_eq!(event.parent, Some(job.number), "{event:?}");
    }
    let (printed, said): (Vec<_>, Vec<_>) = all.iter().partition(|event| event.field("stream").is_some());
    assert_eq!(printed.iter().map(|event| event.message()).collect::<Vec<_>>(), ["printed 7"]);
    let said: Vec<_> = said
        .iter()
        .map(|event| (event.level, event.field("worker.target"), event.message(), event.field("fields")))
        .collect();
    let here = Some(module_path!());
    let expected = [
        (Level::ERROR, here, "an error", None),
        (Level::WARN, Some("elsewhere::entirely"), "said 7", Some("n=7 text=\"a \\\"text\\\"\" ok=true")),
        (Level::INFO, here, "", Some("half=0.5")),
        (Level::DEBUG, here, "7 times", None),
        (Level::TRACE, here, "a trace", Some("n=7")),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_span_is_open_while_something_may_come_and_closes_when_its_job_has_ended() {
    let collector = Collector::global();
    let pool = telling("held open", 1);
    let (started, end_it) = (Mark::new(), Mark::new());
    let job = |marks: (String, String)| {
        println!("printed");
        // What was printed is in the pipe, not in a buffer.
        let _ = std::io::Write::flush(&mut std::io::stdout());
        wait_for(marks)
    };
    let task = pool.run(job, (started.arg(), end_it.arg()));
    // The program has taken all there is, and lies in wait for more.
    until("it is told", || collector.said_in("held open").len() == 1);
    let number = collector.job_of("held open").number;
    assert_eq!(collector.spans()[number].closed, 0);
    end_it.set();
    value(task);
    until("it closes while the worker lives", || collector.spans()[number].closed == 1);
    end(&pool);
}

#[test]
fn what_jobs_say_at_once_does_not_mix_up_and_comes_in_order() {
    let collector = Collector::global();
    let pool = telling("chorus", 2);
    let job = |n: u64| (0..n % 30).for_each(|line| tracing::info!("{n} {line}"));
    let tasks: Vec<Task<()>> = (0..500).map(|n| pool.run(job, n)).collect();
    let ids: Vec<u64> = tasks.iter().map(|task| task.id().as_u64()).collect();
    tasks.into_iter().for_each(value);
    end(&pool);
    let mut said: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let spans = collector.spans();
    for event in collector.said_in("chorus") {
        let task = event.field("task").expect("one of ours").parse().expect("a number");
        let span = &spans[event.parent.expect("a parent")];
        assert_eq!(span.field("task"), event.field("task"));
        said.entry(task).or_default().push(event.message().to_owned());
    }
    for (n, id) in (0..500_u64).zip(ids) {
        let expected: Vec<String> = (0..n % 30).map(|line| format!("{n} {line}")).collect();
        assert_eq!(said.remove(&id).unwrap_or_default(), expected);
    }
    assert!(said.is_empty());
}

#[test]
fn threads_of_a_job_may_say_very_much() {
    let collector = Collector::global();
    let pool = telling("flood", 1);
    let flood = |()| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    (0..2_000).for_each(|n| tracing::info!("{thread} {n} {}", "x".repeat(n % 500)))
                });
            }
        });
        tracing::info!("{}", "€".repeat(100_000));
    };
    value(pool.run(flood, ()));
    end(&pool);
    let said = collector.said_in("flood");
    for thread in 0..4 {
        let of: Vec<&str> = said
            .iter()
            .map(SeenEvent::message)
            .filter(|said| said.starts_with(&format!("{thread} ")))
            .collect();
        let expected: Vec<String> =
            (0..2_000).map(|n| format!("{thread} {n} {}", "x".repeat(n % 500))).collect();
        assert_eq!(of, expected);
    }
    let last = said.last().expect("the long one");
    assert_eq!(said.len(), 8_001);
    assert!(last.message().len() > 4_000 && last.message().chars().all(|c| c == '€'));
    assert_eq!(last.field("cut"), Some("true"));
}

#[test]
fn what_is_said_inside_spans_of_a_job_names_them() {
    let collector = Collector::global();
    let pool = telling("nested", 1);
    let job = |()| {
        tracing::info!("outside");
        let outer = info_span!("outer", id = 3, late = tracing::field::Empty);
        let copy = outer.clone();
        outer.in_scope(|| {
            tracing::info!("first");
            outer.record("late", "yes");
            tracing::trace_span!("inner").in_scope(|| tracing::info!("second"));
            tracing::info!(parent: None, "apart");
        });
        drop(outer);
        std::thread::spawn(move || copy.in_scope(|| tracing::info!("elsewhere"))).join().expect("no panic");
        tracing::info!("outside again");
    };
    value(pool.run(job, ()));
    end(&pool);
    let said = collector.said_in("nested");
    let said: Vec<_> = said.iter().map(|event| (event.message(), event.field("worker.spans"))).collect();
    let expected = [
        ("outside", None),
        ("first", Some("outer{id=3}")),
        ("second", Some("outer{id=3 late=\"yes\"}:inner")),
        ("apart", None),
        ("elsewhere", Some("outer{id=3 late=\"yes\"}")),
        ("outside again", None),
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_a_worker_said_before_it_died_is_told() {
    let collector = Collector::global();
    let pool = telling("last words", 1);
    let dies = |n: u64| -> () {
        (0..n).for_each(|n| tracing::info!("{n}"));
        std::process::abort()
    };
    let task = pool.run(dies, 50);
    let id = task.id().as_u64();
    assert!(outcome(task).is_err_and(|error| error.is_worker_died()));
    let quiet = pool.run(double, 1);
    let quiet_id = quiet.id().as_u64();
    value(quiet);
    end(&pool);
    let said = collector.said_in("last words");
    assert_eq!(of_task(&said, id), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(of_task(&said, quiet_id).is_empty());
    let span = &collector.jobs_of("last words")[0];
    assert_eq!((span.field("outcome"), span.closed), (Some("worker_died"), 1));
}

/// Sends bytes to the program as if they were events, on every stream of this worker.
#[expect(unsafe_code, reason = "uses a descriptor that others own, which is the point")]
fn send_garbage(bytes: Vec<u8>) {
    tracing::info!("before");
    let mut streams = 0;
    for entry in std::fs::read_dir("/proc/self/fd").expect("a listing") {
        let fd = entry.expect("an entry").file_name().to_str().and_then(|name| name.parse().ok());
        // SAFETY: used at once; nothing is closed meanwhile but the listing itself, which is no socket.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.expect("a number")) };
        if socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM) {
            send(fd, &bytes, SendFlags::NOSIGNAL).expect("it goes off");
            streams += 1;
        }
    }
    assert_eq!(streams, 1, "the stream of events");
    tracing::info!("after");
}

#[test]
fn a_worker_that_sends_garbage_loses_events_and_hurts_nobody() {
    let collector = Collector::global();
    let pool = telling("garbage", 1);
    let whole_with_bad_text =
        [&[0xE7, 14, 0, 3, 0, 1, 0, b't', 2, 0, 0xFF, 0xFE, 1, 0, b'f', 0, 0][..]].concat();
    let garbage = [
        b"no event at all".to_vec(),
        vec![0; 100_000],
        vec![0xE7; 100_000],
        // The beginning of one, whose end would be what follows.
        vec![0xE7, 200, 0, 3, 0, 1, 0, b't', 0xFF],
        [0xE7, 0xFF, 0xFF, 1, 0].repeat(1000),
        whole_with_bad_text,
    ];
    let mut tasks = Vec::new();
    for bytes in garbage {
        let task = pool.run(send_garbage, bytes);
        tasks.push(task.id().as_u64());
        value(task);
        let task = pool.run(speak, 1);
        let id = task.id().as_u64();
        value(task);
        until("what the next job says is told", || of_task(&collector.said_in("garbage"), id).len() == 6);
    }
    assert_eq!(pool.metrics().worker_deaths, 0);
    end(&pool);
    let said = collector.said_in("garbage");
    let (last, bad) = tasks.split_last().expect("some");
    for &task in bad {
        let said = of_task(&said, task);
        assert_eq!(said[0], "before");
        assert!(said[1..].iter().all(|said| said.contains("bytes of events were lost")), "{said:?}");
        assert_eq!(said.len(), 2);
    }
    assert_eq!(of_task(&said, *last), ["before", "\u{fffd}\u{fffd}", "after"]);
}

#[test]
fn a_subscriber_that_the_initializer_sets_keeps_what_it_hears() {
    let collector = Collector::global();
    let own = |()| tracing_subscriber::fmt().with_ansi(false).init();
    let pool = builder(1).name("its own").capture_output(Output::Tracing).initializer(own, ()).build();
    let pool = pool.expect("a pool");
    value(pool.run(|()| tracing::info!("for its own"), ()));
    end(&pool);
    let said = collector.said_in("its own");
    // What it prints is told as output.
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].field("stream") == Some("stdout") && said[0].message().contains("for its own"));
}

#[test]
fn without_captured_output_nothing_is_told() {
    let collector = Collector::global();
    let pool = builder(1).name("silent").build().expect("a pool");
    let heard = |()| tracing::enabled!(Level::ERROR);
    assert!(!value(pool.run(heard, ())), "nobody listens in the worker");
    value(pool.run(|()| tracing::error!("to nobody"), ()));
    end(&pool);
    assert!(collector.said_in("silent").is_empty());
}

const VARIABLE: &str = "HEAVYLIFT_TEST_LEVEL";

#[test]
fn only_levels_that_the_program_wants_are_told() {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "events::a_program_that_wants_warnings", "--nocapture"]).env(VARIABLE, "warn");
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Played by a process of its own: levels belong to the whole program.
#[test]
fn a_program_that_wants_warnings() {
    use tracing_subscriber::layer::SubscriberExt;
    if env::var_os(VARIABLE).is_none() {
        return;
    }
    let collector = Collector::default();
    let pool = telling("levels", 1);
    let levels = |()| {
        tracing::error!("error");
        tracing::warn!("warn");
        tracing::info!("info");
        [Level::WARN, Level::INFO].map(|level| match level {
            Level::WARN => tracing::enabled!(Level::WARN),
            _ => tracing::enabled!(Level::INFO),
        })
    };
    // The pool has begun before anybody listens.
    assert_eq!(value(pool.run(levels, ())), [false, false]);
    let subscriber = tracing_subscriber::registry().with(LevelFilter::WARN).with(collector.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    assert_eq!(value(pool.run(levels, ())), [true, false]);
    end(&pool);
    assert!(collector.spans().is_empty(), "those of jobs are for INFO");
    let said: Vec<String> = collector.events().iter().map(|event| event.message().to_owned()).collect();
    assert_eq!(said, ["error", "warn"]);
    assert!(collector.events().iter().all(|event| event.parent.is_none() && event.field("task").is_some()));
}
