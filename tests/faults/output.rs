//! What jobs print.
//!
//! What is printed, and where to, belongs to a whole process, so each scenario plays in one of its own: see
//! [`Program`](super::termination::Program).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what is tested")]

use std::{io, io::Write, os::fd::AsFd, process::Stdio, time::Duration};

use heavylift::{Output, Shutdown};

use super::{
    processes::*,
    termination::{Program, scenario_name},
};

const HERE: &str = "output::scenario";

#[test]
fn scenario() {
    match scenario_name().as_str() {
        "inherit" => inherit(),
        "null" => null(),
        "closed" => closed(),
        "closing its own" => closing_its_own(),
        "blocked" => blocked(),
        #[cfg(feature = "tracing")]
        name => told::play(name),
        #[cfg(not(feature = "tracing"))]
        _ => {}
    }
}

/// Plays a scenario to its end, and returns what it wrote to standard output and standard error.
#[track_caller]
fn output_of(scenario: &str) -> (String, String) {
    let mut program = Program::command(HERE, scenario);
    let output = program.command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{scenario}: {}\n{stdout}\n{stderr}", output.status);
    (stdout, stderr)
}

fn chat(n: u32) {
    println!("out {n}");
    eprintln!("err {n}");
    print!("unfinished {n};");
}

#[test]
fn by_default_workers_print_where_the_program_does() {
    let (stdout, stderr) = output_of("inherit");
    for n in 0..20 {
        assert!(stdout.contains(&format!("out {n}\n")), "{stdout}");
        assert!(stdout.contains(&format!("unfinished {n};")), "flushed after each job: {stdout}");
        assert!(stderr.contains(&format!("err {n}\n")), "{stderr}");
    }
    // C's own buffer is flushed, too.
    assert!(stdout.contains("from C"), "{stdout}");
}

fn inherit() {
    let pool = pool(1);
    for n in 0..20 {
        pool.run(chat, n).blocking_wait().expect("it prints");
    }
    pool.run(print_in_c, ()).blocking_wait().expect("it prints");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[expect(unsafe_code, reason = "printf")]
fn print_in_c(_: ()) {
    // SAFETY: a valid text without conversions.
    unsafe { libc::printf(c"from C".as_ptr()) };
}

#[test]
fn null_prints_nothing_and_keeps_the_end_of_standard_error_for_errors() {
    let (stdout, stderr) = output_of("null");
    assert!(!stdout.contains("out ") && !stdout.contains("unfinished"), "{stdout}");
    assert!(!stderr.contains("err "), "{stderr}");
}

fn null() {
    let pool = builder(1).capture_output(Output::Null).build().expect("a pool");
    for n in 0..20 {
        pool.run(chat, n).blocking_wait().expect("it prints");
    }
    let dies = |()| {
        (0..100_000).for_each(|n| eprintln!("err {n}"));
        std::process::abort()
    };
    let error = pool.run::<_, _, ()>(dies, ()).blocking_wait().expect_err("it dies");
    let tail = error.worker().map(|worker| worker.stderr_tail()).unwrap_or_default();
    assert!(tail.ends_with("err 99999\n"), "{tail}");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_program_whose_standard_error_is_closed_loses_only_what_is_printed() {
    output_of("closed");
}

#[expect(unsafe_code, reason = "closing a descriptor that others own, which is the point")]
fn closed() {
    // SAFETY: what uses the number after this fails, or hits another file: nothing else is opened here.
    unsafe { libc::close(2) };
    let pool = pool(2);
    let much = |n: u64| {
        (0..10_000).for_each(|line| eprintln!("{line} of {n}"));
        n
    };
    let tasks: Vec<_> = (0..20).map(|n| pool.run(much, n)).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.blocking_wait().ok(), Some(n));
    }
    assert!(pool.run(kill_self, 9).blocking_wait().is_err_and(|error| error.is_worker_died()));
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_program_whose_standard_error_is_stuck_goes_on_working() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut program = Program::command(HERE, "blocked");
    let mut child = program.command.stderr(writer).stdout(Stdio::piped()).spawn().expect("it starts");
    // Kept, and not read from.
    until("it ends", || child.try_wait().expect("a status").is_some());
    let output = child.wait_with_output().expect("a status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    drop(reader);
}

fn blocked() {
    // A panic would be told to standard error, and wait there.
    std::panic::set_hook(Box::new(|panic| {
        println!("{panic}");
        std::process::exit(1);
    }));
    let pool = builder(2).run_timeout(Duration::from_secs(30)).build().expect("a pool");
    // More than the program's pipe holds: the copier gets stuck with it, and what it has not taken yet leaves most of the worker's
    // pipe free.
    let fill = |()| eprint!("{}", "x".repeat(70_000));
    pool.run(fill, ()).blocking_wait().expect("two pipes hold it");
    let little = |n: u64| {
        eprintln!("{}", "y".repeat(200));
        n
    };
    for n in 0..50 {
        assert_eq!(pool.run(little, n).blocking_wait().ok(), Some(n));
    }
    // One that prints without end waits, and is killed as any other; nobody else waits for it.
    let endless = pool.job(
        |()| -> () {
            loop {
                eprintln!("{}", "z".repeat(1000))
            }
        },
        (),
    );
    let endless = endless.run_timeout(Duration::from_millis(300)).run();
    assert_eq!(pool.run(double, 1).blocking_wait().ok(), Some(2));
    assert!(endless.blocking_wait().is_err_and(|error| error.is_timed_out()));
    for _ in 0..10 {
        assert!(pool.run(kill_self, 9).blocking_wait().is_err_and(|error| error.is_worker_died()));
    }
    pool.shutdown(Shutdown::Drain).blocking_wait();
    // Not by `main`'s return: the harness would print, and wait.
    std::process::exit(0);
}

#[test]
fn a_job_that_closes_its_output_harms_nobody() {
    output_of("closing its own");
}

fn closing_its_own() {
    let pool = pool(1);
    for which in [1, 2] {
        pool.run(close_descriptor, which).blocking_wait().expect("it closes");
        pool.run(chat, 1).blocking_wait().expect("the next one prints to nobody");
        assert_eq!(pool.run(double, 4).blocking_wait().ok(), Some(8));
    }
    assert_eq!(pool.metrics().worker_deaths, 0);
    // A new worker has its own.
    assert!(pool.run(|()| -> () { std::process::abort() }, ()).blocking_wait().is_err());
    pool.run(|()| io::stdout().as_fd().try_clone_to_owned().map(drop).map_err(|e| e.to_string()), ())
        .blocking_wait()
        .expect("it runs")
        .expect("an open standard output");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[expect(unsafe_code, reason = "closing a descriptor that others own, which is the point")]
fn close_descriptor(fd: i32) {
    let _ = io::stdout().flush();
    // SAFETY: as the job of somebody would.
    unsafe { libc::close(fd) };
}

/// Lines as events.
#[cfg(feature = "tracing")]
mod told {
    use std::{
        collections::BTreeMap,
        fmt::Debug,
        process::Command,
        sync::{Mutex, MutexGuard, PoisonError},
        thread,
    };

    use heavylift::{ProcessPool, Task};
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    pub(super) fn play(scenario: &str) {
        let play = match scenario {
            "fields" => fields,
            "many jobs" => many_jobs,
            "megabytes" => megabytes,
            "closing" => closing,
            "left behind" => left_behind,
            "a bad subscriber" => bad_subscriber,
            "a stuck subscriber" => stuck_subscriber,
            "a death" => death,
            "setup" => setup,
            _ => return,
        };
        tracing::subscriber::set_global_default(Collector).expect("the only one");
        play();
    }

    /// An event's fields.
    type Told = BTreeMap<&'static str, String>;

    static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());
    /// While this is held the subscriber is stuck.
    static GATE: Mutex<()> = Mutex::new(());

    fn told() -> MutexGuard<'static, Vec<Told>> {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes every event of workers.
    struct Collector;

    impl Subscriber for Collector {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "heavylift::worker"
        }

        fn event(&self, event: &Event<'_>) {
            struct Fields(Told);
            impl Visit for Fields {
                fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                    self.0.insert(field.name(), format!("{value:?}"));
                }
                fn record_str(&mut self, field: &Field, value: &str) {
                    self.0.insert(field.name(), value.to_owned());
                }
            }
            let mut fields = Fields(Told::new());
            event.record(&mut fields);
            drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
            assert!(!fields.0["message"].contains("panic, subscriber"), "asked for");
            told().push(fields.0);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn telling(workers: usize) -> ProcessPool {
        builder(workers).name("told").capture_output(Output::Tracing).build().expect("a pool")
    }

    fn end(pool: ProcessPool) {
        pool.shutdown(Shutdown::Drain).blocking_wait();
    }

    /// The lines of a stream that were ascribed to a task.
    fn lines_of(task: impl Into<Option<u64>>, stream: &str) -> Vec<String> {
        let task = task.into().map(|id| id.to_string());
        let told = told();
        let of = told.iter().filter(|event| event.get("task") == task.as_ref() && event["stream"] == stream);
        of.map(|event| event["message"].clone()).collect()
    }

    fn id<T>(task: &Task<T>) -> u64 {
        task.id().as_u64()
    }

    #[test]
    fn each_line_is_an_event_that_names_worker_and_task() {
        let (stdout, stderr) = output_of("fields");
        assert!(!stdout.contains("out 7") && !stderr.contains("err 7"), "told, and not printed");
    }

    fn fields() {
        let pool = telling(1);
        let task = pool.job(chat, 7).name("chatter").run();
        let number = id(&task);
        task.blocking_wait().expect("it prints");
        // Without waiting for the end of the pool: a line without an end is told when the job ends.
        until("all is told", || told().len() >= 3);
        let pid = pool.run(pid, ()).blocking_wait().expect("a pid");
        let expect = |stream: &str, message: &str| {
            let task = number.to_string();
            let pid = pid.to_string();
            let fields = [
                ("message", message),
                ("pool", "told"),
                ("worker", "0"),
                ("pid", &pid),
                ("task", &task),
                ("task_name", "chatter"),
                ("stream", stream),
                ("cut", "false"),
            ];
            Told::from(fields.map(|(name, value)| (name, value.to_owned())))
        };
        let found = told().clone();
        for event in [expect("stdout", "out 7"), expect("stderr", "err 7"), expect("stdout", "unfinished 7;")]
        {
            assert!(found.contains(&event), "{event:?} in {found:?}");
        }
        assert_eq!(found.len(), 3, "{found:?}");
        end(pool);
    }

    #[test]
    fn what_one_job_prints_is_never_ascribed_to_another() {
        output_of("many jobs");
    }

    fn many_jobs() {
        let pool = telling(2);
        // More jobs than workers, all queued, so that each follows the last at once; their ends have no newline.
        let job = |n: u64| {
            for line in 0..n % 50 {
                println!("{n} {line}");
                eprintln!("{n} {line}");
            }
            print!("{n} end");
            eprint!("{n} end");
        };
        let tasks: Vec<Task<()>> = (0..1000).map(|n| pool.run(job, n)).collect();
        let ids: Vec<u64> = tasks.iter().map(id).collect();
        tasks.into_iter().for_each(|task| task.blocking_wait().expect("it prints"));
        // So many may take longer than the end of a pool waits for.
        let lines = 2 * (0..1000).map(|n| n % 50 + 1).sum::<usize>();
        until("all is told", || told().len() >= lines);
        end(pool);
        let mut of: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for event in told().drain(..) {
            let task = event.get("task").expect("nothing is printed between jobs").clone();
            of.entry((task, event["stream"].clone())).or_default().push(event["message"].clone());
        }
        for (n, id) in (0..).zip(ids) {
            let expected: Vec<String> =
                (0..n % 50).map(|line| format!("{n} {line}")).chain([format!("{n} end")]).collect();
            for stream in ["stdout", "stderr"] {
                assert_eq!(of.get(&(id.to_string(), stream.to_owned())), Some(&expected), "{n} {stream}");
            }
        }
    }

    #[test]
    fn megabytes_and_lines_without_end_come_whole_and_in_order() {
        output_of("megabytes");
    }

    fn megabytes() {
        let pool = telling(1);
        let many = pool.run(|()| (0..40_000).for_each(|n| println!("{n:0100}")), ());
        let long = pool.run(|()| print!("{}", "abc€".repeat(500_000)), ());
        let (many, long, ids) = {
            let ids = (id(&many), id(&long));
            (many.blocking_wait(), long.blocking_wait(), ids)
        };
        many.expect("it prints");
        long.expect("it prints");
        end(pool);
        let lines = lines_of(ids.0, "stdout");
        assert_eq!(lines.len(), 40_000);
        assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("{n:0100}")));
        assert_eq!(lines_of(ids.1, "stdout").concat(), "abc€".repeat(500_000));
        let told = told();
        let pieces: Vec<&Told> = told.iter().filter(|event| event["task"] == ids.1.to_string()).collect();
        assert!(pieces.iter().all(|piece| piece["message"].len() <= 8192));
        let (last, cut) = pieces.split_last().expect("pieces");
        assert!(last["cut"] == "false" && cut.iter().all(|piece| piece["cut"] == "true"));
    }

    #[test]
    fn a_job_that_closes_its_output_ends_the_lines_of_its_worker_and_nothing_else() {
        output_of("closing");
    }

    fn closing() {
        let pool = telling(1);
        for which in [1, 2] {
            pool.run(close_descriptor, which).blocking_wait().expect("it closes");
            let task = pool.run(chat, which as u32);
            let number = id(&task);
            task.blocking_wait().expect("it prints to nobody");
            // Nothing piles up for what nobody reads.
            for n in 0..100 {
                assert_eq!(pool.run(double, n).blocking_wait().ok(), Some(2 * n));
            }
            if which == 1 {
                until("the other stream is told", || lines_of(number, "stderr") == ["err 1"]);
            }
            assert!(lines_of(number, "stdout").is_empty());
        }
        assert_eq!(pool.metrics().worker_deaths, 0);
        assert!(pool.run(|()| -> () { std::process::abort() }, ()).blocking_wait().is_err());
        let task = pool.run(chat, 9);
        let number = id(&task);
        task.blocking_wait().expect("the next worker prints");
        end(pool);
        assert_eq!(lines_of(number, "stdout"), ["out 9", "unfinished 9;"]);
    }

    #[test]
    fn what_a_job_leaves_behind_prints_on_and_holds_up_nobody() {
        output_of("left behind");
    }

    /// Leaves a thread and a child that print once the mark is set.
    fn leave_printers(mark: String) {
        let waiting = mark.clone();
        thread::spawn(move || {
            while !std::path::Path::new(&waiting).exists() {
                thread::sleep(Duration::from_millis(1));
            }
            println!("late thread");
        });
        let script = format!("while ! test -e {mark}; do sleep 0.01; done; echo late child; exec sleep 1000");
        let child = Command::new("sh").args(["-c", &script]).spawn();
        // Not waited for: it is left behind.
        std::mem::forget(child.expect("a child"));
        println!("in time");
    }

    fn left_behind() {
        let pool = telling(1);
        let mark = Mark::new();
        let first = pool.run(leave_printers, mark.arg());
        let first_id = id(&first);
        first.blocking_wait().expect("it leaves them behind");
        let quiet = pool.run(double, 1);
        let quiet_id = id(&quiet);
        quiet.blocking_wait().expect("it runs");
        mark.set();
        until("both are told", || {
            let told = told();
            told.iter().filter(|event| event["message"].starts_with("late")).count() == 2
        });
        // They may be ascribed to nobody, or to a job that runs: here none does.
        assert_eq!(lines_of(first_id, "stdout"), ["in time"]);
        assert!(lines_of(quiet_id, "stdout").is_empty());
        let mut late = lines_of(None, "stdout");
        late.sort();
        assert_eq!(late, ["late child", "late thread"]);
        // The child holds the pipe open, and the end of the pool does not wait for it.
        end(pool);
        assert!(descendants().is_empty());
    }

    #[test]
    fn a_subscriber_that_panics_loses_its_event_and_nothing_else() {
        output_of("a bad subscriber");
    }

    fn bad_subscriber() {
        let pool = telling(1);
        let task = pool.run(|()| println!("one\npanic, subscriber\ntwo"), ());
        let number = id(&task);
        task.blocking_wait().expect("it prints");
        end(pool);
        assert_eq!(lines_of(number, "stdout"), ["one", "two"]);
    }

    #[test]
    fn a_subscriber_that_is_stuck_holds_up_no_job_that_prints_little() {
        output_of("a stuck subscriber");
    }

    fn stuck_subscriber() {
        // One worker, so that nothing else is full when the loss is told.
        let pool = telling(1);
        let gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
        let big = |n: u64| {
            println!("{}", "x".repeat(20_000));
            n
        };
        let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.run(big, n)).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.blocking_wait().ok(), Some(n));
        }
        drop(gate);
        until("what was too much is counted", || {
            told().iter().any(|event| event["message"].contains("bytes of output were lost"))
        });
        let task = pool.run(chat, 5);
        let number = id(&task);
        task.blocking_wait().expect("it prints");
        end(pool);
        assert_eq!(lines_of(number, "stdout"), ["out 5", "unfinished 5;"]);
    }

    #[test]
    fn the_last_words_of_a_worker_are_told_with_the_job_that_died() {
        output_of("a death");
    }

    fn death() {
        let pool = telling(1);
        let dies = |()| {
            print!("half a line");
            let _ = io::stdout().flush();
            eprint!("why");
            std::process::abort()
        };
        let task: Task<()> = pool.run(dies, ());
        let number = id(&task);
        let error = task.blocking_wait().expect_err("it dies");
        assert_eq!(error.worker().map(|worker| worker.stderr_tail()), Some("why"));
        pool.run(chat, 1).blocking_wait().expect("it prints");
        end(pool);
        assert_eq!(lines_of(number, "stdout"), ["half a line"]);
        assert_eq!(lines_of(number, "stderr"), ["why"]);
    }

    #[test]
    fn what_preload_and_initializer_print_is_told_without_a_task() {
        output_of("setup");
    }

    fn setup() {
        let pool = builder(1)
            .capture_output(Output::Tracing)
            .preload(|()| println!("preload"), ())
            .initializer(|()| println!("initializer"), ())
            .build()
            .expect("a pool");
        pool.run(double, 1).blocking_wait().expect("it runs");
        end(pool);
        assert_eq!(lines_of(None, "stdout"), ["preload", "initializer"]);
        let told = told();
        assert_eq!(told.iter().map(|event| event.contains_key("worker")).collect::<Vec<_>>(), [false, true]);
    }
}
