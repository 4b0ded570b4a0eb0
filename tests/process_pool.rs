//! The process pool: what happens to jobs, tasks and workers.

mod processes;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use heavylift::{JobEnd, Payload, ProcessPool, Shutdown, Task, TaskError, TaskErrorKind, TaskStatus};
use processes::*;
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

#[track_caller]
fn still_works(pool: &ProcessPool) {
    for n in 0..20 {
        assert_eq!(value(pool.run(double, n)), 2 * n);
    }
}

/// Ends the pool and checks that nothing is left of it.
#[track_caller]
fn ends(pool: &ProcessPool) {
    let closing = pool.shutdown(Shutdown::Kill).timeout(LONG);
    assert!(closing.blocking_wait().is_complete());
    let metrics = pool.metrics();
    assert_eq!((metrics.workers, metrics.idle_workers, metrics.queued, metrics.running), (0, 0, 0, 0));
}

mod results {
    use super::*;

    #[test]
    fn a_function_runs_in_another_process() {
        let pool = pool(1);
        assert_ne!(value(pool.run(pid, ())), std::process::id());
        assert_eq!(value(pool.run(|(a, b): (i32, String)| format!("{a}{b}"), (1, "x".to_owned()))), "1x");
        value(pool.run(|()| (), ()));
        ends(&pool);
    }

    #[test]
    fn payloads_of_every_size_around_the_boundaries_come_back() {
        let pool = pool(2);
        let sizes = [0, 1, 2043, 2044, 2045, 2046, 2047, 2048, 2049, 2056, 65_530, 65_536, 65_540, 131_072];
        for size in sizes {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            assert_eq!(value(pool.run(|bytes: Vec<u8>| bytes, bytes.clone())), bytes, "{size}");
        }
        ends(&pool);
    }

    #[test]
    fn sixty_four_mebibytes_go_in_and_come_out() {
        let pool = pool(1);
        let bytes = vec![7u8; 64 << 20];
        let back = value(pool.run(
            |mut bytes: Vec<u8>| {
                bytes[5] = 1;
                bytes
            },
            bytes,
        ));
        assert!(back.len() == 64 << 20 && back[5] == 1 && back[6] == 7 && back[(64 << 20) - 1] == 7);
        let numbers: Vec<f64> = (0..8 << 20).map(f64::from).collect();
        assert_eq!(
            value(pool.run(|n: Vec<f64>| n.into_iter().map(|x| x + 1.0).collect::<Vec<f64>>(), numbers))[9],
            10.0
        );
        ends(&pool);
    }

    /// Bytes of which each stretch tells its place and its payload.
    fn pattern(len: usize, seed: u64) -> Vec<u64> {
        (0..len as u64 / 8).map(|n| n.wrapping_mul(seed)).collect()
    }

    fn is_pattern((numbers, seed): (Vec<u64>, u64)) -> bool {
        (0..).zip(numbers).all(|(n, number)| number == u64::wrapping_mul(n, seed))
    }

    #[test]
    fn arguments_of_every_size_arrive_whole_while_they_are_written() {
        fn sum(numbers: Vec<u64>) -> (usize, u64) {
            (
                numbers.len(),
                numbers.iter().fold(0, |sum, n| u64::wrapping_add(u64::wrapping_mul(sum, 31), *n)),
            )
        }
        let pool = pool(2);
        for round in 1..30 {
            // Around the length from which on they are announced, around whole pieces, and long ones.
            let sizes =
                [512 * 1024 - 8, 512 * 1024, 640 * 1024, 640 * 1024 + 8, 1 << 20, (5 << 20) + 8 * round];
            let payloads = sizes.map(|len| pattern(len, round as u64));
            let tasks: Vec<_> = payloads.iter().map(|payload| pool.run(sum, payload.clone())).collect();
            for (task, payload) in tasks.into_iter().zip(payloads) {
                assert_eq!(value(task), sum(payload));
            }
        }
        // Not a buffer as a whole: decoded from a copy.
        assert!(value(pool.run(is_pattern, (pattern(8 << 20, 7), 7))));
        ends(&pool);
    }

    #[test]
    fn a_large_argument_that_is_stopped_on_its_way_harms_no_other() {
        fn sum(bytes: Vec<u8>) -> u64 {
            bytes.iter().map(|&byte| u64::from(byte)).sum()
        }
        let pool = builder(2).build().unwrap();
        let bytes = bytes::Bytes::from(vec![3u8; 24 << 20]);
        for round in 0..40 {
            let stopped: Vec<Task<u64>> =
                (0..3).map(|_| pool.run(|bytes: bytes::Bytes| sum(bytes.to_vec()), bytes.clone())).collect();
            let graced = pool.job(|bytes: bytes::Bytes| sum(bytes.to_vec()), bytes.clone());
            let graced = graced.kill_grace(Duration::from_secs(30)).run();
            // Now at the start, now in the midst of the copy.
            if round % 4 > 0 {
                until("one of them runs", || stopped.iter().any(|task| task.status() != TaskStatus::Queued));
            }
            (0..round % 7).for_each(|_| std::thread::yield_now());
            drop(stopped);
            graced.cancel();
            assert_eq!(value(pool.run(sum, vec![1; 3 << 20])), 3 << 20, "round {round}");
        }
        ends(&pool);
    }

    #[test]
    fn a_worker_gives_back_what_its_jobs_have_freed_when_none_has_come_for_a_while() {
        fn private_kib(pid: u32) -> u64 {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        }
        let pool = pool(1);
        let worker = value(pool.run(pid, ()));
        // Twice: it falls asleep for good in between.
        for _ in 0..2 {
            let held =
                value(pool.run(
                    |bytes: Vec<u8>| (private_kib(std::process::id()), bytes.len()).0,
                    vec![1; 64 << 20],
                ));
            assert!(held >= 60 << 10, "{held} KiB while the job runs");
            until("it gives back what is free", || private_kib(worker) < 4 << 10);
        }
        assert_eq!(value(pool.run(pid, ())), worker);
        ends(&pool);
    }

    #[test]
    fn a_hundred_thousand_small_jobs_give_their_results() {
        let pool = pool(2);
        let tasks: Vec<Task<u64>> = (0..100_000).map(|n| pool.run(double, n)).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(value(task), 2 * n as u64);
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.queued, metrics.running, metrics.succeeded), (0, 0, 100_000));
        ends(&pool);
    }

    #[test]
    fn many_payloads_that_need_segments_are_in_flight_at_once() {
        let pool = pool(2);
        let tasks: Vec<Task<Vec<u8>>> =
            (0..2000u32).map(|n| pool.run(|n: u32| vec![n as u8; 3000 + n as usize], n)).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(value(task), vec![n as u8; 3000 + n]);
        }
        let tasks: Vec<Task<usize>> =
            (0..2000usize).map(|n| pool.run(|bytes: Vec<u8>| bytes.len(), vec![1; 3000 + n])).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(value(task), 3000 + n);
        }
        assert_eq!(pool.metrics().worker_deaths, 0);
        ends(&pool);
    }

    #[test]
    fn ten_thousand_jobs_of_which_every_hundredth_crashes_lose_exactly_those() {
        fn job(n: u64) -> u64 {
            if n % 100 == 50 {
                std::process::abort();
            }
            n + 1
        }
        let pool = pool(2);
        let tasks: Vec<Task<u64>> = (0..10_000).map(|n| pool.run(job, n)).collect();
        let mut died = 0;
        for (n, task) in (0..).zip(tasks) {
            match outcome(task) {
                Ok(result) => assert_eq!(result, n + 1),
                Err(error) => {
                    assert_eq!(error.worker().and_then(|exit| exit.signal()), Some(6), "{error}");
                    assert_eq!(n % 100, 50);
                    died += 1;
                }
            }
        }
        assert_eq!(died, 100);
        ends(&pool);
    }
}

mod failures {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_message_and_place_and_the_worker_lives_on() {
        let pool = pool(1);
        let before = value(pool.run(pid, ()));
        let error = error(pool.run(|n: u32| -> u32 { panic!("no {n}") }, 3));
        assert!(error.is_panicked());
        assert_eq!(error.panic_message(), Some("no 3"));
        assert!(error.panic_location().is_some_and(|at| at.contains("process_pool.rs")));
        assert_eq!(value(pool.run(pid, ())), before);
        ends(&pool);
    }

    /// What a job does to its worker, and how the worker then ended: signal or code.
    type Death = (fn(&ProcessPool) -> Task<()>, Option<i32>, Option<i32>);

    #[test]
    fn every_way_to_die_costs_its_own_task_and_says_how_the_worker_ended() {
        let pool = pool(1);
        let deaths: [Death; 7] = [
            (|pool| pool.run(|()| std::process::exit(3), ()), None, Some(3)),
            (|pool| pool.run(|()| std::process::exit(0), ()), None, Some(0)),
            (|pool| pool.run(|()| std::process::abort(), ()), Some(6), None),
            (|pool| pool.run(kill_self, 9), Some(9), None),
            (|pool| pool.run(kill_self, 11), Some(11), None),
            (
                |pool| {
                    pool.run(
                        |()| {
                            overflow(0);
                        },
                        (),
                    )
                },
                Some(11),
                None,
            ),
            (|pool| pool.run(kill_self, 8), Some(8), None),
        ];
        for (die, signal, code) in deaths {
            let before = pool.run(double, 1);
            let dying = die(&pool);
            let after: Vec<Task<u64>> = (0..5).map(|n| pool.run(double, n)).collect();
            let error = error(dying);
            let exit = error.worker().expect("the worker's exit");
            assert_eq!((exit.signal(), exit.code()), (signal, code), "{error}");
            assert_eq!(value(before), 2);
            for (n, task) in (0..).zip(after) {
                assert_eq!(value(task), 2 * n);
            }
        }
        assert_eq!(pool.metrics().worker_deaths, 7);
        ends(&pool);
    }

    fn die() {
        std::process::abort()
    }

    #[test]
    fn the_end_of_standard_error_comes_with_the_error() {
        let pool = pool(1);
        let error = error(pool.run(
            |()| {
                eprintln!("{}last words", "x".repeat(10_000));
                die();
            },
            (),
        ));
        let tail = error.worker().expect("the worker's exit").stderr_tail();
        assert!(tail.ends_with("last words\n"), "{tail}");
        assert_eq!(tail.len(), 4096);
        ends(&pool);
    }

    #[test]
    fn a_job_that_closes_the_workers_descriptors_is_named_as_the_cause() {
        let pool = pool(1);
        let error = error(pool.run(
            |()| {
                let fds: Vec<i32> = std::fs::read_dir("/proc/self/fd")
                    .expect("a list")
                    .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                    .filter(|&fd| fd > 2)
                    .collect();
                fds.into_iter().for_each(close);
                std::thread::sleep(LONG);
            },
            (),
        ));
        assert!(error.to_string().contains("closed the worker's own descriptors"), "{error}");
        still_works(&pool);
        ends(&pool);
    }

    #[expect(unsafe_code, reason = "a hostile job")]
    fn close(fd: i32) {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: whatever owns it is in for a surprise, which is the point.
        if rustix::io::fcntl_getfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }).is_ok() {
            // SAFETY: as above.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    /// Where a payload misbehaves: in `here` when it is encoded or decoded by the program, in `there` by the worker.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    enum Trouble {
        None,
        Error,
        Panic,
        Exit,
        Abort,
    }

    #[derive(Debug)]
    struct BadToEncode(Trouble);

    impl Serialize for BadToEncode {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            trouble(self.0, || S::Error::custom("will not"))?;
            serializer.serialize_u8(0)
        }
    }

    impl<'de> Deserialize<'de> for BadToEncode {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u8::deserialize(deserializer).map(|_| Self(Trouble::None))
        }
    }

    #[derive(Debug, Serialize)]
    struct BadToDecode(Trouble);

    impl<'de> Deserialize<'de> for BadToDecode {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let kind = Trouble::deserialize(deserializer)?;
            trouble(kind, || D::Error::custom("cannot"))?;
            Ok(Self(kind))
        }
    }

    fn trouble<E>(kind: Trouble, error: impl Fn() -> E) -> Result<(), E> {
        match kind {
            Trouble::None => Ok(()),
            Trouble::Error => Err(error()),
            Trouble::Panic => panic!("in serde"),
            Trouble::Exit => std::process::exit(4),
            Trouble::Abort => std::process::abort(),
        }
    }

    #[test]
    fn encoding_and_decoding_fail_in_all_four_places_and_cost_their_own_task() {
        let pool = pool(1);
        let kinds = |trouble| {
            [
                error(pool.run(|_: BadToEncode| (), BadToEncode(trouble))).kind(),
                error(pool.run(|_: BadToDecode| (), BadToDecode(trouble))).kind(),
                error(pool.run(BadToEncode, trouble)).kind(),
                error(pool.run(BadToDecode, trouble)).kind(),
            ]
        };
        use TaskErrorKind::{Decode, Encode};
        assert_eq!(kinds(Trouble::Error), [Encode, Decode, Encode, Decode]);
        assert_eq!(kinds(Trouble::Panic), [Encode, Decode, Encode, Decode]);
        assert_eq!(pool.metrics().worker_deaths, 0);
        for trouble in [Trouble::Exit, Trouble::Abort] {
            assert!(error(pool.run(|_: BadToDecode| (), BadToDecode(trouble))).is_worker_died());
            assert!(error(pool.run(BadToEncode, trouble)).is_worker_died());
        }
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn an_item_that_cannot_be_decoded_costs_those_beside_it_nothing() {
        let pool = pool(1);
        let inputs = (0..60u32).map(|n| {
            let trouble = match n % 3 {
                0 => Trouble::None,
                1 => Trouble::Error,
                _ => Trouble::Panic,
            };
            (n, BadToDecode(trouble))
        });
        let outcomes: Vec<_> = futures::executor::block_on(
            pool.map(|(n, _): (u32, BadToDecode)| n, inputs).chunk_size(20).collect(),
        );
        assert_eq!(outcomes.len(), 60);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match n % 3 {
                0 => assert_eq!(outcome.unwrap(), n as u32),
                _ => assert_eq!(outcome.unwrap_err().kind(), TaskErrorKind::Decode, "item {n}"),
            }
        }
        ends(&pool);
    }

    #[test]
    fn what_cannot_be_encoded_or_is_too_large_is_counted_and_recorded_alone_and_in_a_map() {
        let pool = builder(1).max_payload(1000).queue_limit(30).build().unwrap();
        let good = || (BadToEncode(Trouble::None), vec![1u8; 10]);
        let large = || (BadToEncode(Trouble::None), vec![1u8; 2000]);
        let bad = |trouble| (BadToEncode(trouble), Vec::new());
        let job = |(_, bytes): (BadToEncode, Vec<u8>)| bytes.len();
        let recording = pool.record();
        let mut failed = 0;
        let mut adds_up = |more: u64, what: &str| {
            failed += more;
            let now = pool.metrics();
            assert_eq!((now.failed, now.queued, now.running), (failed, 0, 0), "{what}");
            let finished = now.succeeded + now.panicked + now.cancelled + now.timed_out + now.failed;
            assert_eq!(now.submitted, finished, "{what}");
        };
        let alone = [bad(Trouble::Error), bad(Trouble::Panic), large()];
        let ids: Vec<_> = alone.into_iter().map(|argument| error(pool.run(job, argument)).id()).collect();
        adds_up(3, "alone");
        for chunk_size in [1, 8] {
            let inputs = [bad(Trouble::Error), good(), large(), good(), bad(Trouble::Panic), good()];
            let map = pool.map(job, inputs).chunk_size(chunk_size);
            let items: Vec<Result<usize, TaskError>> = futures::executor::block_on(map.collect());
            let values: Vec<_> = items.iter().map(|item| item.as_ref().ok().copied()).collect();
            assert_eq!(values, [None, Some(10), None, Some(10), None, Some(10)]);
            adds_up(3, "in a map");
        }
        let report = pool.shutdown(Shutdown::Drain).blocking_wait();
        let timeline = recording.stop();
        let failures: Vec<_> = timeline.failures().collect();
        assert_eq!((failures.len(), report.failed), (9, 0), "nothing is told of twice");
        assert_eq!(failures.iter().map(|job| job.id()).collect::<Vec<_>>()[..3], ids);
        for job in failures {
            assert!(matches!(job.end(), JobEnd::Failed(TaskErrorKind::Encode | TaskErrorKind::TooLarge)));
            assert_eq!((job.worker(), job.waited(), job.ran()), (None, None, Duration::ZERO));
        }
        ends(&pool);
    }

    #[test]
    fn what_exceeds_max_payload_is_too_large_both_ways() {
        let pool = builder(1).max_payload(1000).build().unwrap();
        let bytes = |n: usize| vec![1u8; n];
        assert_eq!(value(pool.run(|bytes: Vec<u8>| bytes.len(), bytes(990))), 990);
        let argument = error(pool.run(|bytes: Vec<u8>| bytes.len(), bytes(5000)));
        let result = error(pool.run(|n: usize| vec![1u8; n], 1_000_000));
        for error in [&argument, &result] {
            assert!(error.is_too_large() && error.to_string().contains("max_payload is 1000"), "{error}");
        }
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn a_panic_message_of_megabytes_is_cut_and_still_a_panic() {
        let pool = builder(1).max_payload(1000).build().unwrap();
        let error = error(pool.run(|()| -> () { panic!("{}", "é".repeat(4 << 20)) }, ()));
        assert!(error.panic_message().is_some_and(|message| message.len() <= 64 << 10));
        ends(&pool);
    }
}

mod stopping {
    use super::*;

    #[test]
    fn a_job_cancelled_before_it_begins_never_runs() {
        let pool = pool(1);
        let (mark, end, never) = (Mark::new(), Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        let worker = mark.pid();
        let queued = pool.run(spin, never.arg());
        assert_eq!(queued.status(), TaskStatus::Queued);
        assert!(queued.cancel());
        assert!(error(queued).is_cancelled());
        end.set();
        assert_eq!(value(running), worker);
        assert_eq!(value(pool.run(pid, ())), worker);
        assert!(!never.is_set());
        ends(&pool);
    }

    #[test]
    fn cancelling_a_running_job_kills_its_worker_and_nobody_elses() {
        let pool = pool(2);
        let (mine, theirs, end) = (Mark::new(), Mark::new(), Mark::new());
        let neighbour = pool.run(wait_for, (theirs.arg(), end.arg()));
        let task = pool.run(spin, mine.arg());
        let (worker, other) = (mine.pid(), theirs.pid());
        assert!(task.cancel());
        assert!(error(task).is_cancelled());
        gone(worker);
        end.set();
        assert_eq!(value(neighbour), other);
        assert_eq!(pool.metrics().worker_deaths, 0, "we killed it ourselves");
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn a_job_can_be_stopped_though_the_one_before_it_ended_while_both_were_sent() {
        fn endless(_: ()) {
            loop {
                std::hint::spin_loop();
            }
        }
        let pool = pool(1);
        for round in 0..800 {
            still_works(&pool);
            // Limits have the keeper send them, all together, while the worker sleeps.
            std::thread::sleep(Duration::from_millis(1));
            let first = pool.job(double, 1).run_timeout(LONG).run();
            let second = pool.job(endless, ()).run_timeout(LONG).run();
            // At some time until the keeper has come for them.
            (0..round * 40 % 20_000).for_each(|_| std::hint::spin_loop());
            first.cancel();
            until("it runs", || second.status() == TaskStatus::Running);
            drop(second);
        }
        ends(&pool);
    }

    #[test]
    fn cancelling_a_finished_task_changes_nothing() {
        let pool = pool(1);
        let task = pool.run(double, 4);
        until("it finishes", || task.is_finished());
        assert!(!task.cancel());
        assert_eq!(value(task), 8);
        ends(&pool);
    }

    #[test]
    fn dropping_a_task_kills_its_job() {
        let pool = pool(1);
        let mark = Mark::new();
        let task = pool.run(hang, mark.arg());
        let worker = mark.pid();
        drop(task);
        gone(worker);
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn jobs_that_were_sent_ahead_of_a_cancelled_one_run_elsewhere() {
        let pool = pool(1);
        for n in 0..50 {
            // Short jobs first, so that the worker is sent many ahead.
            let warm: Vec<Task<u64>> = (0..40).map(|n| pool.run(double, n)).collect();
            warm.into_iter().for_each(|task| assert!(outcome(task).is_ok()));
            let mark = Mark::new();
            let task = pool.run(spin, mark.arg());
            let behind: Vec<Task<u64>> = (0..40).map(|n| pool.run(double, n)).collect();
            let worker = mark.pid();
            drop(task);
            for (n, task) in (0..).zip(behind) {
                assert_eq!(value(task), 2 * n);
            }
            assert_ne!(value(pool.run(pid, ())), worker, "round {n}");
        }
        ends(&pool);
    }

    #[test]
    fn a_detached_job_runs_and_its_result_is_dropped() {
        let pool = pool(1);
        let mark = Mark::new();
        pool.run(|path: String| set_mark(&path, "done"), mark.arg()).detach();
        assert_eq!(mark.text(), "done");
        ends(&pool);
    }

    #[test]
    fn on_done_runs_once_before_the_waiter_and_its_panic_hurts_nobody() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let task = pool.run(double, 21);
        task.on_done(move |outcome| {
            sender.send(outcome.as_ref().ok().copied()).unwrap();
            panic!("in on_done");
        });
        assert_eq!(value(task), 42);
        assert_eq!(receiver.try_recv(), Ok(Some(42)));
        assert!(receiver.try_recv().is_err());
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn on_done_may_cancel_and_start_other_jobs() {
        let pool = pool(1);
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        mark.pid();
        let first = pool.job(double, 1).queue_timeout(Duration::from_millis(20)).run();
        let second = pool.run(double, 2);
        let handle = second.cancel_handle();
        let (sender, receiver) = mpsc::channel();
        let again = pool.clone();
        first.on_done(move |_| {
            handle.cancel();
            sender.send(again.run(double, 5)).unwrap();
        });
        assert!(error(first).is_timed_out());
        assert!(error(second).is_cancelled());
        end.set();
        value(running);
        assert_eq!(value(receiver.recv_timeout(LONG).unwrap()), 10);
        ends(&pool);
    }

    #[tokio::test]
    async fn a_tokio_timeout_really_stops_the_work() {
        let pool = pool(1);
        let mark = Mark::new();
        let task = pool.run(spin, mark.arg());
        let worker = mark.pid();
        assert!(tokio::time::timeout(Duration::from_millis(1), task).await.is_err());
        gone(worker);
    }

    #[test]
    fn queue_timeout_ends_what_waits_and_what_was_sent_ahead() {
        let pool = pool(1);
        let (mark, end, never) = (Mark::new(), Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        mark.pid();
        // The first is sent ahead, the others wait.
        let limit = Duration::from_millis(30);
        let tasks: Vec<Task<()>> =
            (0..50).map(|_| pool.job(hang, never.arg()).queue_timeout(limit).run()).collect();
        for task in tasks {
            let error = error(task);
            assert!(error.is_timed_out() && error.to_string().contains("queue_timeout is 30ms"), "{error}");
        }
        end.set();
        value(running);
        assert!(!never.is_set());
        let metrics = pool.metrics();
        assert_eq!((metrics.queued, metrics.timed_out), (0, 50));
        ends(&pool);
    }

    #[test]
    fn run_timeout_counts_from_the_beginning_and_is_kept_to() {
        let pool = builder(1).run_timeout(Duration::from_millis(200)).build().unwrap();
        let mark = Mark::new();
        let task = pool.run(spin, mark.arg());
        let worker = mark.pid();
        let begun = Instant::now();
        let error = error(task);
        assert!(error.is_timed_out() && error.to_string().contains("run_timeout is 200ms"), "{error}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        gone(worker);
        assert_eq!(value(pool.run(double, 1)), 2);
        ends(&pool);
    }

    #[test]
    fn waiting_behind_a_long_job_does_not_count_as_running() {
        let pool = pool(1);
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        mark.pid();
        let task = pool.job(double, 1).run_timeout(Duration::from_millis(500)).run();
        assert!(!holds_within(Duration::from_millis(600), || task.is_finished()));
        end.set();
        value(running);
        assert_eq!(value(task), 2);
        ends(&pool);
    }

    #[test]
    fn a_stopped_worker_is_killed_in_time() {
        let pool = builder(1).kill_grace(Duration::from_millis(50)).build().unwrap();
        let mark = Mark::new();
        let task = pool.job(spin, mark.arg()).run_timeout(Duration::from_millis(100)).run();
        let worker = mark.pid();
        signal(worker, Signal::STOP);
        assert!(error(task).is_timed_out());
        gone(worker);
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn an_idle_worker_that_was_stopped_does_not_keep_its_job() {
        let pool = builder(2).min_workers(2).build().unwrap();
        let (one, two, end) = (Mark::new(), Mark::new(), Mark::new());
        let both = [&one, &two].map(|mark| pool.run(wait_for, (mark.arg(), end.arg())));
        let stopped = one.pid();
        two.pid();
        end.set();
        both.into_iter().for_each(|task| {
            value(task);
        });
        signal(stopped, Signal::STOP);
        for n in 0..20 {
            assert_eq!(value(pool.run(double, n)), 2 * n);
        }
        signal(stopped, Signal::CONT);
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn the_only_worker_takes_jobs_again_after_it_was_stopped_and_continued() {
        let pool = pool(1);
        let worker = value(pool.run(pid, ()));
        for round in 0..3 {
            signal(worker, Signal::STOP);
            let tasks: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
            // Long enough for the job to be taken back.
            assert!(!holds_within(Duration::from_millis(300), || tasks[0].is_finished()));
            signal(worker, Signal::CONT);
            for (n, task) in (0..).zip(tasks) {
                assert_eq!(value(task), 2 * n, "round {round}");
            }
            let begun = Instant::now();
            assert_eq!(value(pool.run(pid, ())), worker);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        ends(&pool);
    }

    #[test]
    fn a_worker_that_stays_silent_is_killed_and_its_job_runs_elsewhere() {
        let pool = builder(1).start_timeout(Duration::from_millis(700)).build().unwrap();
        let worker = value(pool.run(pid, ()));
        signal(worker, Signal::STOP);
        assert_ne!(value(pool.run(pid, ())), worker);
        gone(worker);
        ends(&pool);
    }

    /// Stops when it is asked to, and says so.
    fn polite((started, asked): (String, String)) {
        set_mark(&started, &std::process::id().to_string());
        while !heavylift::is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        set_mark(&asked, "asked");
    }

    #[test]
    fn with_a_grace_the_job_is_asked_first_and_a_worker_that_obeys_lives_on() {
        let pool = builder(1).kill_grace(LONG).build().unwrap();
        let (started, asked) = (Mark::new(), Mark::new());
        let task = pool.run(polite, (started.arg(), asked.arg()));
        let worker = started.pid();
        task.cancel();
        assert!(error(task).is_cancelled());
        assert_eq!(asked.text(), "asked");
        assert_eq!(value(pool.run(pid, ())), worker, "pardoned");
        assert!(!value(pool.run(|()| heavylift::is_cancelled(), ())));
        ends(&pool);
    }

    #[test]
    fn a_job_that_does_not_obey_is_killed_after_the_grace() {
        let pool = builder(1).kill_grace(Duration::from_millis(100)).build().unwrap();
        let mark = Mark::new();
        let task = pool.run(spin, mark.arg());
        let worker = mark.pid();
        task.cancel();
        assert!(error(task).is_cancelled());
        gone(worker);
        still_works(&pool);
        ends(&pool);
    }
}

mod queueing {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_hands_back_and_makes_wait() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        let queued = pool.run(double, 1);
        assert!(pool.run(double, 2).await.unwrap_err().is_overloaded());
        let refused = pool.try_run(double, 3).unwrap_err();
        assert!(refused.is_full());
        let (job, argument) = refused.into_inner();
        assert_eq!(job(argument), 6);
        let mut first = tokio_test::task::spawn(pool.submit(double, 4));
        let mut second = tokio_test::task::spawn(pool.submit(double, 5));
        assert!(first.poll().is_pending() && second.poll().is_pending());
        end.set();
        running.await.unwrap();
        let (first, second) = (first.into_inner(), second.into_inner());
        assert_eq!(first.await.unwrap().await.unwrap(), 8);
        assert_eq!(second.await.unwrap().await.unwrap(), 10);
        assert_eq!(queued.await.unwrap(), 2);
        assert_eq!(pool.metrics().refused, 2);
    }

    #[test]
    fn waiting_needs_no_runtime_and_any_number_of_runtimes_share_a_pool() {
        let pool = pool(2);
        assert_eq!(pool.run(double, 1).blocking_wait().unwrap(), 2);
        let runtimes: Vec<_> = (0..2).map(|_| tokio::runtime::Runtime::new().unwrap()).collect();
        let crossing = {
            let _entered = runtimes[0].enter();
            pool.run(double, 5)
        };
        for runtime in &runtimes {
            assert_eq!(runtime.block_on(pool.run(double, 3)).unwrap(), 6);
        }
        assert_eq!(runtimes[1].block_on(crossing).unwrap(), 10);
        ends(&pool);
    }

    #[test]
    fn an_idle_worker_takes_over_what_waits_behind_a_long_job() {
        let pool = builder(2).min_workers(2).build().unwrap();
        for _ in 0..50 {
            let (mark, end) = (Mark::new(), Mark::new());
            let long = pool.run(wait_for, (mark.arg(), end.arg()));
            let short: Vec<Task<u64>> = (0..8).map(|n| pool.run(double, n)).collect();
            for (n, task) in (0..).zip(short) {
                assert_eq!(value(task), 2 * n);
            }
            end.set();
            value(long);
        }
        ends(&pool);
    }
}

mod ending {
    use super::*;

    #[test]
    fn drain_finishes_everything_and_refuses_what_comes_later() {
        let pool = pool(2);
        let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.run(double, n)).collect();
        let closing = pool.shutdown(Shutdown::Drain);
        assert!(error(pool.run(double, 1)).is_closed());
        assert!(pool.try_run(double, 1).unwrap_err().is_closed());
        let report = closing.timeout(LONG).blocking_wait();
        assert_eq!((report.succeeded, report.abandoned), (200, 0));
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(value(task), 2 * n);
        }
        ends(&pool);
    }

    #[test]
    fn draining_while_a_worker_is_forked_does_not_cost_the_running_job() {
        for _ in 0..20 {
            let pool = pool(4);
            let (mark, end) = (Mark::new(), Mark::new());
            let running = pool.run(wait_for, (mark.arg(), end.arg()));
            mark.pid();
            let more: Vec<Task<u64>> = (0..3).map(|n| pool.run(double, n)).collect();
            let closing = pool.shutdown(Shutdown::Drain);
            more.into_iter().for_each(|task| {
                value(task);
            });
            end.set();
            value(running);
            assert!(closing.timeout(LONG).blocking_wait().is_complete());
        }
    }

    #[test]
    fn cancel_queued_lets_the_running_job_end() {
        let pool = pool(1);
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        let worker = mark.pid();
        let queued: Vec<Task<u64>> = (0..50).map(|n| pool.run(double, n)).collect();
        let closing = pool.shutdown(Shutdown::CancelQueued);
        queued.into_iter().for_each(|task| assert!(error(task).is_cancelled()));
        end.set();
        assert_eq!(value(running), worker);
        let report = closing.timeout(LONG).blocking_wait();
        assert_eq!((report.succeeded, report.cancelled), (1, 50));
        gone(worker);
    }

    #[test]
    fn kill_ends_everything_at_once() {
        let pool = pool(2);
        let marks = [Mark::new(), Mark::new()];
        let running = [0, 1].map(|n: usize| pool.run(spin, marks[n].arg()));
        let workers = [0, 1].map(|n: usize| marks[n].pid());
        let queued: Vec<Task<u64>> = (0..50).map(|n| pool.run(double, n)).collect();
        let report = pool.shutdown(Shutdown::Kill).timeout(LONG).blocking_wait();
        assert_eq!((report.cancelled, report.abandoned), (52, 0));
        running.into_iter().for_each(|task| assert!(error(task).is_cancelled()));
        queued.into_iter().for_each(|task| assert!(error(task).is_cancelled()));
        assert!(workers.iter().all(|&pid| !exists(pid)), "the end of a shutdown leaves no process");
    }

    #[test]
    fn a_shutdown_resolves_unused_twice_while_starting_while_crashing_and_from_on_done() {
        let unused = pool(1);
        assert!(unused.shutdown(Shutdown::Drain).blocking_wait().is_complete());
        assert!(unused.shutdown(Shutdown::Kill).blocking_wait().is_complete());
        for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
            let starting = pool(2);
            let task = starting.run(double, 1);
            let (one, two) = (starting.shutdown(mode), starting.shutdown(mode));
            assert!(one.timeout(LONG).blocking_wait().is_complete());
            assert!(two.timeout(LONG).blocking_wait().is_complete());
            assert!(task.is_finished());

            let crashing = pool(2);
            let tasks: Vec<Task<()>> =
                (0..20).map(|_| crashing.run(|()| std::process::abort(), ())).collect();
            assert!(crashing.shutdown(mode).timeout(LONG).blocking_wait().is_complete());
            assert!(tasks.iter().all(Task::is_finished));

            let called_back = pool(1);
            let (again, (sender, receiver)) = (called_back.clone(), mpsc::channel());
            let task = called_back.run(double, 1);
            task.on_done(move |_| sender.send(again.shutdown(mode)).unwrap());
            assert!(receiver.recv_timeout(LONG).unwrap().timeout(LONG).blocking_wait().is_complete());
            value(task);
        }
    }

    #[test]
    fn a_shutdown_with_a_limit_gives_up_and_says_so() {
        let pool = pool(1);
        let mark = Mark::new();
        let task = pool.run(spin, mark.arg());
        let worker = mark.pid();
        let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_millis(50)).blocking_wait();
        assert_eq!(report.abandoned, 1);
        assert!(error(task).is_cancelled());
        gone(worker);
    }

    #[test]
    fn kill_does_not_wait_for_a_hanging_initializer() {
        let pool = builder(1).initializer(hang, Mark::new().arg()).start_timeout(LONG).build().unwrap();
        let mark = Mark::new();
        let pool2 = builder(1).initializer(hang, mark.arg()).start_timeout(LONG).build().unwrap();
        let task = pool2.run(double, 1);
        let worker = mark.pid();
        let begun = Instant::now();
        assert!(pool2.shutdown(Shutdown::Kill).timeout(LONG).blocking_wait().is_complete());
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(error(task).is_cancelled());
        gone(worker);
        drop(pool);
    }

    #[test]
    fn the_last_handle_lets_queued_and_detached_jobs_run_and_then_the_workers_end() {
        let pool = pool(1);
        let (mark, end, done) = (Mark::new(), Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        let worker = mark.pid();
        let queued = pool.run(double, 4);
        pool.run(|path: String| set_mark(&path, "done"), done.arg()).detach();
        drop(pool);
        end.set();
        assert_eq!(value(running), worker);
        assert_eq!(value(queued), 8);
        assert_eq!(done.text(), "done");
        gone(worker);
    }
}

mod workers {
    use super::*;

    #[test]
    fn a_worker_is_replaced_after_its_number_of_jobs() {
        let pool = builder(1).max_tasks_per_worker(3).build().unwrap();
        let tasks: Vec<Task<u32>> = (0..30).map(|_| pool.run(pid, ())).collect();
        let mut pids: Vec<u32> = tasks.into_iter().map(value).collect();
        pids.sort_unstable();
        assert!(pids.chunk_by(|a, b| a == b).all(|jobs| jobs.len() == 3), "{pids:?}");
        until("the last one is recycled", || pool.metrics().recycled == 10);
        assert_eq!(pool.metrics().worker_deaths, 0);
        ends(&pool);
    }

    #[test]
    fn a_worker_is_replaced_at_its_age_even_under_load() {
        let pool = builder(1).max_age_per_worker(Duration::from_millis(50)).build().unwrap();
        let first = value(pool.run(pid, ()));
        until("another worker", || value(pool.run(pid, ())) != first);
        gone(first);
        assert!(pool.metrics().recycled >= 1);
        ends(&pool);
    }

    #[test]
    fn a_worker_that_holds_too_much_memory_is_replaced() {
        fn leak(megabytes: usize) -> u32 {
            std::mem::forget(std::hint::black_box(vec![1u8; megabytes << 20]));
            std::process::id()
        }
        let pool = builder(1).max_memory_per_worker(64 << 20).build().unwrap();
        let small = value(pool.run(leak, 1));
        assert_eq!(value(pool.run(leak, 1)), small);
        let large = value(pool.run(leak, 100));
        assert_eq!(large, small);
        assert_ne!(value(pool.run(leak, 1)), large);
        gone(large);
        let metrics = pool.metrics();
        assert_eq!((metrics.recycled, metrics.worker_deaths), (1, 0));
        ends(&pool);
    }

    #[test]
    fn idle_workers_end_down_to_the_minimum_which_is_started_early() {
        let pool = builder(3).min_workers(1).idle_timeout(Duration::from_millis(50)).build().unwrap();
        until("one worker is started", || pool.metrics().idle_workers == 1);
        let (marks, end) = ([Mark::new(), Mark::new(), Mark::new()], Mark::new());
        let tasks = marks.each_ref().map(|mark| pool.run(wait_for, (mark.arg(), end.arg())));
        marks.iter().for_each(|mark| {
            mark.pid();
        });
        assert_eq!(pool.metrics().workers, 3);
        end.set();
        let pids = tasks.map(value);
        until("one is left", || pool.metrics().workers == 1);
        until("two are gone", || pids.iter().filter(|&&pid| exists(pid)).count() == 1);
        assert!(!holds_within(Duration::from_millis(200), || pool.metrics().workers != 1));
        ends(&pool);
    }

    #[test]
    fn a_worker_that_was_killed_while_idle_is_replaced() {
        let pool = pool(2);
        for _ in 0..20 {
            let worker = value(pool.run(pid, ()));
            signal(worker, Signal::KILL);
            gone(worker);
            until("it is replaced", || pool.metrics().idle_workers >= 1);
        }
        still_works(&pool);
        ends(&pool);
    }

    #[test]
    fn one_job_starts_one_worker() {
        for round in 0..20 {
            let pool = pool(4);
            assert_eq!(value(pool.run(double, 1)), 2);
            until("it is idle", || pool.metrics().idle_workers == pool.metrics().workers);
            assert_eq!(pool.metrics().workers, 1, "round {round}");
            ends(&pool);
        }
    }

    #[test]
    fn resizing_starts_and_ends_workers() {
        let pool = pool(1);
        let busy = |n: usize| {
            let (marks, end): (Vec<Mark>, Mark) = ((0..n).map(|_| Mark::new()).collect(), Mark::new());
            let tasks: Vec<_> =
                marks.iter().map(|mark| pool.run(wait_for, (mark.arg(), end.arg()))).collect();
            marks.iter().for_each(|mark| {
                mark.pid();
            });
            end.set();
            tasks.into_iter().for_each(|task| {
                value(task);
            });
        };
        busy(1);
        pool.resize(3).unwrap();
        busy(3);
        pool.resize(1).unwrap();
        until("two have ended", || pool.metrics().workers == 1);
        still_works(&pool);
        assert_eq!(pool.resize(0).unwrap_err().field(), "max_workers");
        ends(&pool);
    }

    #[test]
    fn a_pool_is_not_resized_below_its_minimum() {
        let pool = builder(3).min_workers(3).build().unwrap();
        assert_eq!(pool.resize(2).unwrap_err().field(), "min_workers");
        ends(&pool);
    }

    #[test]
    fn a_killed_zygote_costs_running_jobs_and_no_queued_ones() {
        let pool = pool(1);
        let mark = Mark::new();
        let running = pool.run(spin, mark.arg());
        let worker = mark.pid();
        let queued: Vec<Task<u64>> = (0..50).map(|n| pool.run(double, n)).collect();
        signal(parent_of(worker), Signal::KILL);
        assert!(error(running).is_worker_died());
        for (n, task) in (0..).zip(queued) {
            assert_eq!(value(task), 2 * n);
        }
        gone(worker);
        ends(&pool);
    }

    #[test]
    fn a_zygote_that_does_not_answer_is_replaced_and_its_workers_live_on() {
        let pool = builder(2).start_timeout(Duration::from_millis(500)).build().unwrap();
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        let worker = mark.pid();
        let zygote = parent_of(worker);
        signal(zygote, Signal::STOP);
        assert_ne!(value(pool.run(pid, ())), worker);
        end.set();
        assert_eq!(value(running), worker);
        ends(&pool);
        gone(zygote);
        gone(worker);
    }

    fn parent_of(pid: u32) -> u32 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        fields.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("a pid")
    }
}

mod surroundings {
    use super::*;

    #[test]
    fn environment_directory_and_names_are_as_asked() {
        let directory = tempfile::tempdir().unwrap();
        let pool =
            builder(1).name("thumbs").env("HL_ONE", "1").current_dir(directory.path()).build().unwrap();
        let look = |name: String| std::env::var(name).ok();
        assert_eq!(value(pool.run(look, "HL_ONE".to_owned())).as_deref(), Some("1"));
        assert_eq!(value(pool.run(look, "PATH".to_owned())), std::env::var("PATH").ok());
        assert_eq!(value(pool.run(look, "HEAVYLIFT_CHILD".to_owned())), None);
        let cpus = std::thread::available_parallelism().unwrap().to_string();
        for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
            assert_eq!(value(pool.run(look, variable.to_owned())), Some(cpus.clone()), "{variable}");
        }
        let seen = value(pool.run(|()| std::env::current_dir().unwrap(), ()));
        assert_eq!(seen, directory.path().canonicalize().unwrap());
        let shown = value(pool.run(|()| std::fs::read_to_string("/proc/self/cmdline").unwrap(), ()));
        let program = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(shown.trim_end_matches('\0'), format!("{program} thumbs-0"));
        assert_eq!(
            value(pool.run(|()| std::env::args().collect::<Vec<_>>(), ())),
            std::env::args().collect::<Vec<_>>()
        );
        ends(&pool);
    }

    #[test]
    fn a_cleared_environment_holds_what_was_set_and_nothing_of_the_programs() {
        let pool = builder(1).env_clear().env("ONLY", "this").build().unwrap();
        let names = value(pool.run(|()| std::env::vars().map(|(name, _)| name).collect::<Vec<_>>(), ()));
        assert!(names.contains(&"ONLY".to_owned()) && !names.contains(&"PATH".to_owned()), "{names:?}");
        ends(&pool);
    }

    #[test]
    fn standard_input_is_empty_and_standard_output_works() {
        let pool = pool(1);
        let read = value(pool.run(
            |()| {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).map(|_| text).ok()
            },
            (),
        ));
        assert_eq!(read.as_deref(), Some(""));
        assert_eq!(
            value(pool.run(|()| std::fs::read_link("/proc/self/fd/0").unwrap(), ())).to_str(),
            Some("/dev/null")
        );
        value(pool.run(|()| println!("from a worker"), ()));
        ends(&pool);
    }

    static LOADED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

    #[test]
    fn preload_runs_once_and_initializer_in_each_worker() {
        use std::sync::atomic::Ordering::Relaxed;
        let pool = builder(2)
            .preload(|n: u32| LOADED.store(n, Relaxed), 40)
            .initializer(
                |n: u32| -> Result<(), String> {
                    LOADED.fetch_add(n, Relaxed);
                    Ok(())
                },
                2,
            )
            .max_tasks_per_worker(1)
            .build()
            .unwrap();
        for _ in 0..4 {
            assert_eq!(value(pool.run(|()| LOADED.load(Relaxed), ())), 42);
        }
        assert_eq!(LOADED.load(Relaxed), 0);
        ends(&pool);
    }

    fn fail(how: u32) -> Result<(), String> {
        match how {
            0 => Err("no licence".to_owned()),
            1 => panic!("no luck"),
            2 => std::process::exit(9),
            3 => std::process::abort(),
            4 => loop {
                std::thread::sleep(LONG);
            },
            _ => {
                std::thread::spawn(|| std::thread::sleep(LONG));
                Ok(())
            }
        }
    }

    #[test]
    fn a_failing_preload_or_initializer_makes_tasks_unavailable_with_the_reason() {
        let reasons = ["no licence", "no luck", "code 9", "SIGABRT", "in time"];
        let limited = |how: u32| {
            let limit = if how == 4 { Duration::from_millis(100) } else { LONG };
            builder(1).start_timeout(limit)
        };
        for (how, reason) in (0..).zip(reasons) {
            let initializer = limited(how).initializer(fail, how).build().unwrap();
            let preload = limited(how).preload(fail, how).build().unwrap();
            for (pool, what) in [(initializer, "initializer"), (preload, "preload")] {
                let begun = Instant::now();
                let error = error(pool.run(double, 1));
                assert!(error.is_unavailable(), "{error}");
                let text = error.to_string();
                // The zygote's own status is shown as `std` shows it.
                let found = text.contains(reason)
                    || (what == "preload" && (text.contains("exit status: 9") || text.contains("signal: 6")));
                assert!(found, "{what} {how}: {error}");
                assert!(begun.elapsed() < Duration::from_secs(20), "{what} {how}: {:?}", begun.elapsed());
                ends(&pool);
            }
        }
    }

    #[test]
    fn a_preload_that_leaves_a_thread_is_run_by_each_worker_instead() {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static LOADED: AtomicU32 = AtomicU32::new(0);
        fn load(n: u32) {
            LOADED.fetch_add(n, Relaxed);
            std::thread::spawn(|| std::thread::sleep(LONG));
        }
        let pool = builder(2).preload(load, 7).env("SURROUNDINGS", "kept").build().unwrap();
        let meeting = [0, 1].map(|_| (Mark::new(), Mark::new()));
        let tasks = [0, 1].map(|n| pool.run(wait_for, (meeting[n].0.arg(), meeting[n].1.arg())));
        let pids = [0, 1].map(|n| meeting[n].0.pid());
        assert_ne!(pids[0], pids[1]);
        meeting.iter().for_each(|(_, end)| end.set());
        tasks.into_iter().for_each(|task| assert!(pids.contains(&value(task))));
        assert_eq!(value(pool.run(|()| LOADED.load(Relaxed), ())), 7);
        assert_eq!(value(pool.run(|()| std::env::var("SURROUNDINGS").unwrap(), ())), "kept");
        assert_eq!(value(pool.run(|bytes: Vec<u8>| bytes.len(), vec![1; 1 << 20])), 1 << 20);
        assert!(error(pool.run(kill_self, 9)).is_worker_died());
        let spinning = Mark::new();
        let endless = pool.run(spin, spinning.arg());
        let pid = spinning.pid();
        drop(endless);
        gone(pid);
        assert_eq!(value(pool.run(double, 4)), 8);
        ends(&pool);
        pids.into_iter().for_each(gone);
    }

    #[test]
    fn a_preload_that_uses_a_process_pool_is_told_not_to() {
        fn load(_: ()) -> Result<(), TaskError> {
            heavylift::run_in_process_pool(double, 1).blocking_wait().map(drop)
        }
        let pool = builder(1).preload(load, ()).build().unwrap();
        let error = error(pool.run(double, 1));
        assert!(error.to_string().contains("a preload must not use process pools"), "{error}");
        ends(&pool);
    }

    /// Fails while the mark is not there.
    fn fail_unless(mark: String) -> Result<(), String> {
        if std::path::Path::new(&mark).exists() { Ok(()) } else { Err("not yet".to_owned()) }
    }

    #[test]
    fn a_pool_whose_start_failed_works_once_it_succeeds() {
        let mark = Mark::new();
        let pool = builder(1).initializer(fail_unless, mark.arg()).build().unwrap();
        assert!(error(pool.run(double, 1)).is_unavailable());
        assert!(error(pool.run(double, 1)).is_unavailable());
        mark.set();
        assert_eq!(value(pool.run(double, 2)), 4);
        ends(&pool);
    }

    #[test]
    fn a_worker_that_cannot_be_added_does_not_fail_what_others_run() {
        /// The first worker starts, no other does.
        fn only_one(mark: String) -> Result<(), String> {
            match std::fs::File::create_new(mark) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        }
        let first = Mark::new();
        let pool = builder(2).initializer(only_one, first.arg()).build().unwrap();
        let (mark, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (mark.arg(), end.arg()));
        mark.pid();
        let queued: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
        assert!(!holds_within(Duration::from_secs(1), || queued.iter().any(Task::is_finished)));
        end.set();
        value(running);
        for (n, task) in (0..).zip(queued) {
            assert_eq!(value(task), 2 * n);
        }
        ends(&pool);
    }

    #[test]
    fn a_job_may_use_process_pools_itself_to_a_depth() {
        fn nested(n: u64) -> (u32, u64) {
            let inner = heavylift::run_in_process_pool(|n: u64| (std::process::id(), n + 1), n);
            inner.blocking_wait().unwrap()
        }
        fn deepest(_: ()) -> String {
            fn third(_: ()) -> String {
                heavylift::run_in_process_pool(pid, ()).blocking_wait().unwrap_err().to_string()
            }
            heavylift::run_in_process_pool(third, ()).blocking_wait().unwrap()
        }
        let pool = pool(1);
        let (inner, n) = value(pool.run(nested, 1));
        assert_eq!(n, 2);
        assert!(exists(inner));
        let why = value(pool.run(deepest, ()));
        assert!(why.contains("nested 2 deep"), "{why}");
        ends(&pool);
        gone(inner);
    }

    #[test]
    fn metrics_count_what_happened() {
        let pool = pool(1);
        value(pool.run(double, 1));
        error(pool.run(|()| -> () { panic!("x") }, ()));
        error(pool.run(kill_self, 6));
        let task = pool.run(double, 1);
        until("it ends", || task.is_finished());
        let metrics = pool.metrics();
        assert_eq!(
            (metrics.submitted, metrics.succeeded, metrics.panicked, metrics.worker_deaths),
            (4, 2, 1, 1)
        );
        assert_eq!((metrics.queued, metrics.running), (0, 0));
        ends(&pool);
    }

    /// `Payload` can be asked for by name.
    #[test]
    fn any_serde_type_is_a_payload() {
        fn is<T: Payload>() {}
        is::<Vec<Option<(String, f64)>>>();
    }
}
