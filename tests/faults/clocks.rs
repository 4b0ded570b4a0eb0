//! Each time limit ends what it is for, in time, and nothing else.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, Task, TaskError, TaskErrorKind, ThreadPool, is_cancelled};
use rustix::process::Signal;

use crate::processes::*;

/// The time within which whatever is to be killed is gone.
const IN_TIME: Duration = Duration::from_secs(2);

#[track_caller]
fn ends_with(task: Task<()>, limit: &str) {
    let error = task.blocking_wait().expect_err("it does not end by itself");
    assert_eq!(error.kind(), TaskErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains(&format!("{limit} is ")), "{error}");
}

#[track_caller]
fn gone_in_time(pid: u32) {
    assert!(holds_within(IN_TIME, || !exists(pid)), "process {pid} is still there");
}

#[track_caller]
fn still_works(pool: &ProcessPool) {
    assert_eq!(pool.run(double, 21).blocking_wait().expect("the pool works"), 42);
}

mod alone {
    use super::*;

    #[test]
    fn queue_timeout_of_the_pool_and_of_the_job() {
        let limit = Duration::from_millis(50);
        let pool = builder(1).queue_timeout(limit).build().expect("a pool");
        let (started, open) = (Mark::new(), Mark::new());
        // Its own limit, so that the start of the worker may take its time.
        let job = pool.job(wait_for, (started.arg(), open.arg())).queue_timeout(Duration::MAX);
        let running = job.run();
        let worker = started.pid();
        let never = Mark::new();
        ends_with(pool.run(spin, never.arg()), "queue_timeout");
        ends_with(pool.job(spin, never.arg()).queue_timeout(limit * 2).run(), "queue_timeout");
        let waits = pool.job(double, 1).queue_timeout(Duration::MAX).run();
        open.set();
        assert_eq!(running.blocking_wait().expect("it ran longer than the limit"), worker);
        assert_eq!(waits.blocking_wait().expect("it had no limit"), 2);
        assert!(!never.is_set());
        assert_eq!((pool.metrics().timed_out, pool.metrics().worker_deaths), (2, 0));
    }

    #[test]
    fn run_timeout_of_the_pool_and_of_the_job() {
        let pool = builder(1).run_timeout(Duration::from_millis(100)).build().expect("a pool");
        let by_pool = Mark::new();
        ends_with(pool.run(spin, by_pool.arg()), "run_timeout");
        gone_in_time(by_pool.pid());
        let nap = |()| std::thread::sleep(Duration::from_millis(400));
        pool.job(nap, ()).run_timeout(Duration::MAX).run().blocking_wait().expect("its own limit is none");
        ends_with(pool.job(nap, ()).run_timeout(Duration::from_millis(50)).run(), "run_timeout");
        still_works(&pool);
    }

    #[test]
    fn run_timeout_does_not_count_the_wait() {
        let pool = pool(1);
        let (started, open) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (started.arg(), open.arg()));
        started.pid();
        let limit = Duration::from_millis(500);
        let waits = pool.job(double, 1).run_timeout(limit).run();
        let submitted = Instant::now();
        until("the limit would be over", || submitted.elapsed() > limit * 2);
        open.set();
        running.blocking_wait().expect("a value");
        assert_eq!(waits.blocking_wait().expect("it has run for a moment only"), 2);
    }

    #[test]
    fn limits_of_a_thread_pool_and_of_its_jobs() {
        let limit = Duration::from_millis(50);
        let pool = ThreadPool::builder().max_workers(1).queue_timeout(limit).run_timeout(limit).build();
        let pool = pool.expect("a pool");
        let obeys = || {
            while !is_cancelled() {
                std::thread::yield_now()
            }
        };
        ends_with(pool.job(obeys).queue_timeout(Duration::MAX).run(), "run_timeout");
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let held = pool.job(move || while closed.recv().is_ok() {});
        let held = held.queue_timeout(Duration::MAX).run_timeout(Duration::MAX).run();
        ends_with(pool.run(|| ()), "queue_timeout");
        drop(open);
        held.blocking_wait().expect("it had no limit");
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let error = ThreadPool::builder().queue_timeout(Duration::ZERO).build().expect_err("no time");
        assert_eq!(error.field(), "queue_timeout");
        let error = ThreadPool::builder().run_timeout(Duration::ZERO).build().expect_err("no time");
        assert_eq!(error.field(), "run_timeout");
        let error = builder(1).queue_timeout(Duration::ZERO).build().expect_err("no time");
        assert_eq!(error.field(), "queue_timeout");
    }

    #[test]
    fn start_timeout_ends_a_start_that_hangs_and_names_itself() {
        let hangs = |()| loop {
            std::thread::park();
        };
        let limit = Duration::from_millis(50);
        let pool =
            builder(1).start_timeout(limit).initializer::<_, _, ()>(hangs, ()).build().expect("a pool");
        let error = pool.run(double, 1).blocking_wait().expect_err("no worker ever starts");
        assert!(error.is_unavailable() && error.to_string().contains("start_timeout is 50ms"), "{error}");
        let report = pool.shutdown(Shutdown::Drain).timeout(LONG).blocking_wait();
        assert!(report.is_complete(), "{report}");
    }

    #[test]
    fn the_limit_of_a_shutdown_ends_what_is_left_and_counts_it() {
        let pool = pool(1);
        let mark = Mark::new();
        let (running, waiting) = (pool.run(spin, mark.arg()), pool.run(double, 1));
        let worker = mark.pid();
        let begun = Instant::now();
        let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_millis(100)).blocking_wait();
        assert!(begun.elapsed() < LONG);
        assert_eq!((report.abandoned, report.is_complete()), (2, false), "{report}");
        assert!(running.blocking_wait().expect_err("abandoned").is_cancelled());
        assert!(waiting.blocking_wait().expect_err("abandoned").is_cancelled());
        gone_in_time(worker);
    }
}

/// Jobs that do not want to end.
mod stubborn {
    use super::*;

    /// Makes itself hard to end, then runs for ever.
    fn stubborn((how, mark): (String, String)) {
        match &*how {
            "ignores SIGTERM" => ignore_term(),
            "blocks all signals" => block_all(),
            "is stopped" => {
                set_mark(&mark, &std::process::id().to_string());
                loop {
                    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
                }
            }
            _ => {}
        }
        spin(mark);
    }

    fn ignore_term() {
        #[expect(unsafe_code, reason = "ignores a signal")]
        // SAFETY: `SIG_IGN` is a disposition that runs no code.
        unsafe {
            libc::signal(libc::SIGTERM, libc::SIG_IGN)
        };
    }

    fn block_all() {
        let mut all = std::mem::MaybeUninit::uninit();
        #[expect(unsafe_code, reason = "blocks every signal")]
        // SAFETY: `sigfillset` initialises the set before it is used; both calls only use it while they run.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        }
    }

    #[track_caller]
    fn is_gone_in_time(how: &str) {
        for grace in [Duration::ZERO, Duration::from_millis(100)] {
            for end in ["cancel", "drop", "run_timeout"] {
                let (pool, mark) = (builder(1).kill_grace(grace).build().expect("a pool"), Mark::new());
                let job = pool.job(stubborn, (how.to_owned(), mark.arg()));
                let job =
                    if end == "run_timeout" { job.run_timeout(Duration::from_millis(200)) } else { job };
                let task = job.run();
                let worker = mark.pid();
                match end {
                    "cancel" => assert!(task.cancel()),
                    "drop" => drop(task),
                    _ => ends_with(task, "run_timeout"),
                }
                assert!(
                    holds_within(IN_TIME + grace, || !exists(worker)),
                    "a job that {how} survives {end} with a grace of {grace:?}"
                );
                still_works(&pool);
                assert_eq!(pool.metrics().worker_deaths, 0, "nobody died unasked");
            }
        }
    }

    #[test]
    fn a_job_that_ignores_sigterm_is_gone_in_time() {
        is_gone_in_time("ignores SIGTERM");
    }

    #[test]
    fn a_job_that_blocks_all_signals_is_gone_in_time() {
        is_gone_in_time("blocks all signals");
    }

    #[test]
    fn a_job_that_is_stopped_is_gone_in_time() {
        is_gone_in_time("is stopped");
    }

    #[test]
    fn a_job_that_only_runs_is_gone_in_time() {
        is_gone_in_time("does nothing about it");
    }
}

/// `kill_grace`.
mod grace {
    use super::*;

    /// Runs until it is asked to stop, and says so.
    fn obey((started, asked): (String, String)) {
        set_mark(&started, &std::process::id().to_string());
        while !is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        set_mark(&asked, "asked");
    }

    #[test]
    fn a_job_that_obeys_in_time_ends_politely_and_its_worker_lives_on() {
        let pool = builder(1).kill_grace(LONG).build().expect("a pool");
        let mut workers = Vec::new();
        for end in ["cancel", "drop", "run_timeout"] {
            let (started, asked) = (Mark::new(), Mark::new());
            let job = pool.job(obey, (started.arg(), asked.arg()));
            let job = if end == "run_timeout" { job.run_timeout(Duration::from_millis(100)) } else { job };
            let task = job.run();
            workers.push(started.pid());
            match end {
                "cancel" => assert!(task.cancel()),
                "drop" => drop(task),
                _ => ends_with(task, "run_timeout"),
            }
            assert_eq!(asked.text(), "asked", "{end}");
            assert_eq!(pool.run(pid, ()).blocking_wait().expect("a pid"), workers[0], "{end}");
            assert!(
                !pool.run(|()| is_cancelled(), ()).blocking_wait().expect("a value"),
                "meant for another"
            );
        }
        assert!(workers.iter().all(|worker| *worker == workers[0]), "{workers:?}");
    }

    #[test]
    fn a_job_has_a_grace_of_its_own() {
        // The pool would wait for ever, the job does not.
        let pool = builder(1).kill_grace(Duration::MAX).build().expect("a pool");
        let mark = Mark::new();
        let task = pool.job(spin, mark.arg()).kill_grace(Duration::ZERO).run();
        let worker = mark.pid();
        task.cancel();
        gone_in_time(worker);
        still_works(&pool);
        // The pool would not wait, the job does.
        let pool = builder(1).build().expect("a pool");
        for grace in [LONG, Duration::MAX] {
            let (started, asked) = (Mark::new(), Mark::new());
            let task = pool.job(obey, (started.arg(), asked.arg())).kill_grace(grace).run();
            let worker = started.pid();
            task.cancel();
            assert_eq!(asked.text(), "asked");
            assert_eq!(pool.run(pid, ()).blocking_wait().expect("a pid"), worker, "pardoned");
        }
    }

    #[test]
    fn a_job_that_obeys_too_late_is_killed() {
        let pool = builder(1).build().expect("a pool");
        let mark = Mark::new();
        let grace = Duration::from_millis(150);
        let task = pool.job(spin, mark.arg()).kill_grace(grace).run();
        let worker = mark.pid();
        let asked = Instant::now();
        task.cancel();
        gone(worker);
        assert!(asked.elapsed() >= grace, "after {:?}", asked.elapsed());
        still_works(&pool);
    }
}

/// What else a kill takes with it, and what it must not.
mod aim {
    use super::*;

    #[test]
    fn the_children_of_a_job_go_with_it() {
        for grace in [Duration::ZERO, Duration::from_millis(50)] {
            for by_clock in [false, true] {
                let (pool, mark) = (pool(1), Mark::new());
                let job = pool.job(with_children, mark.arg()).kill_grace(grace);
                // Long enough for three processes to start.
                let job = if by_clock { job.run_timeout(Duration::from_secs(2)) } else { job };
                let task = job.run();
                let pids: Vec<u32> = mark.text().split(' ').map(|pid| pid.parse().expect("a pid")).collect();
                assert_eq!(pids.len(), 3);
                if by_clock {
                    ends_with(task, "run_timeout")
                } else {
                    drop(task)
                }
                pids.into_iter().for_each(gone);
                still_works(&pool);
            }
        }
    }

    /// A job that takes up to some 300 µs.
    fn short(n: u64) -> u64 {
        let end = Instant::now() + Duration::from_micros(n % 300);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        n * 2
    }

    fn check(n: u64, cancelled: bool, outcome: Result<u64, TaskError>) -> bool {
        match outcome {
            Ok(value) => assert_eq!(value, 2 * n),
            Err(error) => {
                assert!(cancelled && error.is_cancelled(), "job {n}, cancelled: {cancelled}: {error}")
            }
        }
        cancelled
    }

    #[test]
    fn a_kill_never_hits_the_next_job_of_the_worker() {
        let seconds = std::env::var("RACE_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(2);
        let pools = [Duration::ZERO, Duration::from_millis(1)]
            .map(|grace| builder(2).kill_grace(grace).build().expect("a pool"));
        let (begun, mut n, mut ended, mut dice) = (Instant::now(), 0, 0, 0x00c0_ffee_u64);
        let mut waiting: VecDeque<(u64, bool, Task<u64>)> = VecDeque::new();
        while begun.elapsed() < Duration::from_secs(seconds) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            n += 1;
            waiting.push_back((n, false, pools[(n / 64) as usize % 2].run(short, n)));
            // Any of the last ones: one that waits, one that runs, one that ends in this very moment.
            if dice >> 60 == 0 {
                let victim = (dice >> 32) as usize % waiting.len();
                waiting[victim].1 |= waiting[victim].2.cancel();
            }
            if waiting.len() >= 40 {
                let (n, cancelled, task) = waiting.pop_front().expect("there are forty");
                ended += u64::from(check(n, cancelled, task.blocking_wait()));
            }
        }
        waiting.into_iter().for_each(|(n, cancelled, task)| {
            ended += u64::from(check(n, cancelled, task.blocking_wait()));
        });
        println!("{n} jobs, of which {ended} were cancelled");
        assert!(ended > 0, "nothing was tried");
        let deaths: u64 = pools.iter().map(|pool| pool.metrics().worker_deaths).sum();
        assert_eq!(deaths, 0, "no worker died but by a kill that was meant for its job");
    }

    /// The program's side has no other way to signal than a pidfd, which means one process and never another that has got its
    /// number. The zygote does use numbers, of its own children that it has not reaped: nobody else can have these.
    #[test]
    fn the_program_never_signals_by_number() {
        let mut files = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src/process/parent").into()];
        let mut looked_at = 0;
        while let Some(path) = files.pop() {
            let path: std::path::PathBuf = path;
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).expect("a directory");
                files.extend(entries.map(|entry| entry.expect("an entry").path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            for call in ["kill_process", "kill_group(", "libc::kill", "killpg", "tgkill", "sigqueue"] {
                assert!(!text.contains(call), "{} has {call}", path.display());
            }
            looked_at += 1;
        }
        assert!(looked_at > 10, "{looked_at} files");
    }
}

/// Nobody watches for the reply, and no keeper has sent the job: see `process/parent/direct.rs`.
#[test]
fn a_job_for_an_idle_worker_that_is_stopped_runs_elsewhere_though_nobody_awaits_it() {
    let pool = builder(2).build().expect("a pool");
    for _ in 0..200 {
        pool.run(pid, ()).blocking_wait().expect("a pid");
    }
    let idle = pool.run(pid, ()).blocking_wait().expect("a pid");
    signal(idle, Signal::STOP);
    let (sender, receiver) = std::sync::mpsc::channel();
    let task = pool.run(pid, ());
    task.on_done(move |outcome| sender.send(outcome.as_ref().ok().copied()).expect("the test waits"));
    task.detach();
    let ran_in = receiver.recv_timeout(LONG).expect("it is run in time").expect("a pid");
    assert_ne!(ran_in, idle);
    signal(idle, Signal::CONT);
}
