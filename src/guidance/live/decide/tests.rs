//! One table for all rules: a healthy pool, what is changed about it, and what is then found.

use super::*;
use crate::{Distribution, PayloadUse, ProcessorUse};

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);
const CORES: usize = 4;

fn times(count: u64, each: Duration) -> Distribution {
    let mut times = Distribution::default();
    (times.count, times.sum) = (count, each * count as u32);
    (times.p50, times.p90, times.p99, times.max) = (each, each, each, each);
    times
}

fn group(jobs: u64, each: Duration, cpu_share: f64) -> JobGroup {
    let mut group = JobGroup::default();
    (group.jobs, group.run_time) = (jobs, each * jobs as u32);
    group.cpu_time = group.run_time.mul_f64(cpu_share);
    group
}

/// So many jobs that wait, and compute with so much of a core, of a millisecond each.
fn jobs(waiting: u64, computing: u64, cpu_share: f64) -> ProcessorUse {
    let mut jobs = ProcessorUse::default();
    (jobs.waiting, jobs.computing) = (group(waiting, MS, 0.01), group(computing, MS, cpu_share));
    jobs.measured = group(waiting + computing, MS, 0.0);
    jobs.measured.cpu_time = jobs.waiting.cpu_time + jobs.computing.cpu_time;
    jobs.program = Some(jobs.measured.cpu_time);
    jobs
}

/// A pool with which nothing is wrong: 1000 jobs of a millisecond that compute, on as many workers as cores.
fn healthy() -> Metrics {
    Metrics {
        workers: CORES,
        max_workers: CORES,
        most_workers: CORES,
        worker_time: Duration::from_secs(4),
        age: Duration::from_secs(1),
        submitted: 1000,
        hand_overs: 1000,
        queue_wait: times(1000, 20 * US),
        run_time: times(1000, MS),
        processor: jobs(0, 1000, 0.99),
        ..Metrics::default()
    }
}

fn elastic(metrics: &mut Metrics) {
    (metrics.workers, metrics.max_workers, metrics.most_workers) = (32, 32, 32);
}

fn long_queue(metrics: &mut Metrics) {
    metrics.queue_wait = times(1000, 50 * MS);
}

fn payloads(metrics: &mut Metrics, kib_per_job: u64, time_per_job: Duration) {
    metrics.payloads =
        PayloadUse { argument_bytes: 1000 * kib_per_job * 1024, result_bytes: 0, time: time_per_job * 1000 };
}

fn rules(metrics: &Metrics, kind: PoolKind) -> Vec<PoolRule> {
    findings(metrics, Setting { kind, cores: CORES }).iter().map(PoolFinding::rule).collect()
}

type Change = fn(&mut Metrics);

use PoolKind::{Processes, Threads};
use PoolRule::{Mixed, Oversubscribed, Payload, Saturated, TooFewWorkers, TooManyWorkers, TooSmall};

const TABLE: &[(&str, PoolKind, Change, &[PoolRule])] = &[
    ("healthy threads", Threads, |_| {}, &[]),
    ("healthy processes", Processes, |_| {}, &[]),
    // How small.
    ("less than a hand-over", Threads, |m| m.run_time = times(1000, 1_400 * US / 1000), &[TooSmall]),
    ("more than a hand-over", Threads, |m| m.run_time = times(1000, 1_600 * US / 1000), &[]),
    ("small, in a process", Processes, |m| m.run_time = times(1000, US), &[TooSmall]),
    (
        "small, and others have the core",
        Threads,
        |m| {
            m.run_time = times(1000, 5 * US);
            m.processor = jobs(0, 1000, 0.25)
        },
        &[TooSmall],
    ),
    ("small, but many at a time", Threads, |m| (m.run_time, m.hand_overs) = (times(1000, US), 10), &[]),
    (
        "small, and the queue is long",
        Threads,
        |m| (m.run_time, m.queue_wait) = (times(1000, US), times(1000, MS)),
        &[TooSmall],
    ),
    ("a few long ones", Threads, |m| m.run_time.p50 = US, &[]),
    // What computes on more workers than cores.
    (
        "each has a quarter of a core",
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(0, 1000, 0.25)
        },
        &[Oversubscribed],
    ),
    (
        "and the queue is long",
        Threads,
        |m| {
            elastic(m);
            long_queue(m);
            m.processor = jobs(0, 1000, 0.25)
        },
        &[Oversubscribed],
    ),
    (
        "in processes",
        Processes,
        |m| {
            elastic(m);
            m.processor = jobs(0, 1000, 0.25)
        },
        &[Oversubscribed],
    ),
    (
        "each has nearly a core",
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(0, 1000, 0.8)
        },
        &[],
    ),
    ("others use the cores", Threads, |m| m.processor = jobs(0, 1000, 0.25), &[]),
    (
        "few at a time, others use the cores",
        Threads,
        |m| {
            elastic(m);
            m.most_workers = 2;
            m.processor = jobs(0, 1000, 0.25)
        },
        &[],
    ),
    (
        "elastic, and jobs wait",
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(1000, 100, 0.25)
        },
        &[],
    ),
    // The queue.
    (
        "jobs wait for few workers",
        Threads,
        |m| {
            long_queue(m);
            m.processor = jobs(1000, 0, 0.0)
        },
        &[TooFewWorkers],
    ),
    (
        "in few processes",
        Processes,
        |m| {
            long_queue(m);
            m.processor = jobs(1000, 0, 0.0)
        },
        &[TooFewWorkers],
    ),
    (
        "cores are left",
        Threads,
        |m| {
            long_queue(m);
            (m.max_workers, m.most_workers) = (2, 2)
        },
        &[TooFewWorkers],
    ),
    ("no cores are left", Threads, long_queue, &[Saturated]),
    (
        "some jobs wait and use all cores",
        Threads,
        |m| {
            long_queue(m);
            elastic(m);
            m.processor = jobs(850, 150, 0.99)
        },
        &[Saturated],
    ),
    (
        "a burst: the median job did not wait",
        Threads,
        |m| {
            long_queue(m);
            m.queue_wait.p50 = 10 * US;
            m.processor = jobs(1000, 0, 0.0)
        },
        &[],
    ),
    (
        "the pool could grow",
        Threads,
        |m| {
            long_queue(m);
            m.most_workers = 3;
            m.processor = jobs(1000, 0, 0.0)
        },
        &[],
    ),
    (
        "a wait as long as the jobs",
        Threads,
        |m| {
            m.queue_wait = times(1000, MS);
            m.processor = jobs(1000, 0, 0.0)
        },
        &[],
    ),
    (
        "a short wait for shorter jobs",
        Threads,
        |m| (m.queue_wait, m.run_time) = (times(1000, 99 * US), times(1000, 20 * US)),
        &[],
    ),
    (
        "not known what jobs do",
        Threads,
        |m| {
            long_queue(m);
            m.processor = ProcessorUse::default()
        },
        &[],
    ),
    (
        "not known, and cores are left",
        Threads,
        |m| {
            long_queue(m);
            (m.max_workers, m.most_workers) = (2, 2);
            m.processor = ProcessorUse::default()
        },
        &[TooFewWorkers],
    ),
    (
        "jobs wait for rayon",
        Threads,
        |m| {
            long_queue(m);
            m.processor = jobs(1000, 0, 0.0);
            m.processor.program = Some(Duration::from_secs(4))
        },
        &[],
    ),
    // Workers without a job.
    ("kept for nothing", Threads, |m| (m.min_workers, m.unused_workers) = (CORES, 3), &[TooManyWorkers]),
    ("one spare", Threads, |m| (m.min_workers, m.unused_workers) = (CORES, 1), &[]),
    (
        "unused after a burst, and about to go",
        Threads,
        |m| {
            elastic(m);
            m.unused_workers = 20
        },
        &[],
    ),
    (
        "unused after a burst, the others are kept",
        Threads,
        |m| {
            elastic(m);
            (m.min_workers, m.unused_workers) = (8, 20)
        },
        &[],
    ),
    ("replaced", Processes, |m| (m.min_workers, m.unused_workers, m.recycled) = (CORES, 3, 3), &[]),
    (
        "scaled down",
        Threads,
        |m| {
            elastic(m);
            (m.workers, m.worker_time, m.age) = (0, Duration::from_secs(9), LONG_TIME)
        },
        &[],
    ),
    ("idle threads come and go", Threads, |m| (m.worker_time, m.age) = (4 * LONG_TIME, LONG_TIME), &[]),
    (
        "idle processes stay",
        Processes,
        |m| (m.worker_time, m.age) = (4 * LONG_TIME, LONG_TIME),
        &[TooManyWorkers],
    ),
    ("one idle process", Processes, |m| (m.worker_time, m.age) = (LONG_TIME, LONG_TIME), &[]),
    ("idle for nine minutes", Processes, |m| (m.worker_time, m.age) = (4 * LONG_TIME, LONG_TIME - MS), &[]),
    (
        "unused ones while jobs queue",
        Threads,
        |m| {
            long_queue(m);
            (m.min_workers, m.unused_workers) = (CORES, 3)
        },
        &[Saturated],
    ),
    // Payloads.
    ("a large payload", Processes, |m| payloads(m, 64, MS), &[Payload]),
    ("a payload that costs little", Processes, |m| payloads(m, 64, 300 * US), &[]),
    ("a small payload that costs much", Processes, |m| payloads(m, 63, 9 * MS), &[]),
    (
        "a payload, and the queue is long",
        Processes,
        |m| {
            payloads(m, 64, MS);
            long_queue(m)
        },
        &[Payload, Saturated],
    ),
    // Both kinds.
    ("half and half", Threads, |m| m.processor = jobs(500, 500, 0.99), &[Mixed]),
    (
        "half and half, elastic",
        Threads,
        |m| {
            elastic(m);
            long_queue(m);
            m.processor = jobs(500, 500, 0.99)
        },
        &[Mixed],
    ),
    (
        "half and half, and each has half a core",
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(500, 500, 0.5)
        },
        &[Mixed, Oversubscribed],
    ),
    ("half and half, in processes", Processes, |m| m.processor = jobs(500, 500, 0.99), &[Mixed]),
    ("few that wait", Threads, |m| m.processor = jobs(150, 850, 0.99), &[]),
    ("a handful of each", Threads, |m| m.processor = jobs(9, 9, 0.99), &[]),
    (
        "jobs wait for the program's own computing",
        Threads,
        |m| {
            m.processor = jobs(500, 500, 0.99);
            m.processor.program = Some(Duration::from_secs(4))
        },
        &[],
    ),
];

#[test]
fn each_rule_is_found_where_it_holds_and_nowhere_else() {
    for (what, kind, change, expected) in TABLE {
        let mut metrics = healthy();
        change(&mut metrics);
        assert_eq!(rules(&metrics, *kind), *expected, "{what}, {kind:?}");
    }
}

#[test]
fn nothing_is_said_before_enough_was_seen() {
    let mut metrics = healthy();
    metrics.run_time = times(1000, US);
    assert!(is_enough(&metrics) && !rules(&metrics, Threads).is_empty());
    for change in [|m: &mut Metrics| m.run_time.count = 99, |m: &mut Metrics| m.age = 999 * MS] {
        let mut early = metrics.clone();
        change(&mut early);
        assert!(!is_enough(&early) && rules(&early, Threads).is_empty());
    }
    assert_eq!(rules(&Metrics::default(), Processes), []);
}

#[test]
fn two_findings_never_ask_for_opposite_changes() {
    let opposites = [
        [TooFewWorkers, TooManyWorkers],
        [TooFewWorkers, Saturated],
        [TooFewWorkers, Oversubscribed],
        [Saturated, TooManyWorkers],
    ];
    let changes = || TABLE.iter().map(|(_, _, change, _)| change);
    for (first, second) in changes().flat_map(|first| changes().map(move |second| (first, second))) {
        let mut metrics = healthy();
        first(&mut metrics);
        second(&mut metrics);
        for kind in [Threads, Processes] {
            let found = rules(&metrics, kind);
            let contradiction = opposites.iter().find(|pair| pair.iter().all(|rule| found.contains(rule)));
            assert_eq!(contradiction, None, "{metrics:?}");
        }
    }
}

/// What is said of a pool after this change.
fn said(kind: PoolKind, change: Change) -> String {
    let mut metrics = healthy();
    change(&mut metrics);
    let findings = findings(&metrics, Setting { kind, cores: CORES });
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const TEXTS: &[(PoolKind, Change, &str)] = &[
    (
        Processes,
        |m| m.run_time = times(1000, US / 2),
        "L1-too-small: what is handed over runs for 495.0ns, and to hand it over takes about 3.0µs (1000 times so far)\n  \
             do it where you are, unless it is here to be isolated, or hand over many at once: `pool.map(job, inputs).chunk_size(100)`",
    ),
    (
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(0, 1000, 0.25)
        },
        "L2-oversubscribed: up to 32 workers on 4 cores: jobs that compute (100 % of the run time) had 25 % of a core\n  \
             run what computes on `ThreadPool::cpu()`, or allow as many workers as cores: `pool.resize(4)`",
    ),
    (
        Threads,
        |m| {
            long_queue(m);
            m.processor = jobs(1000, 0, 0.0)
        },
        "L3-too-few-workers: jobs wait for 50.0ms and run for 1.0ms, with at most 4 workers; 400 of them use all cores\n  \
             allow more workers, if what jobs wait for allows it: `pool.resize(16)`, or `max_workers(16)` when it is built",
    ),
    (
        Threads,
        |m| {
            long_queue(m);
            (m.max_workers, m.most_workers) = (2, 2)
        },
        "L3-too-few-workers: jobs wait for 50.0ms and run for 1.0ms, with at most 2 workers; 4 of them use all cores\n  \
             allow more workers: `pool.resize(4)`, or `max_workers(4)` when it is built",
    ),
    (
        Threads,
        |m| (m.min_workers, m.unused_workers) = (CORES, 3),
        "L4-too-many-workers: 4 workers, 3 of which never had a job; on average 1.00 of 4.0 were busy\n  \
             set `min_workers` lower when the pool is built: workers start when there are jobs for them",
    ),
    (
        Processes,
        |m| payloads(m, 2048, MS),
        "L5-payload: a job takes 2.0 MiB and returns 0 KiB: to carry them takes 2.0ms, 100 % of all\n  \
             put what jobs read into shared memory once, by `Shared::create` or `SharedBytes`, and pass the handle",
    ),
    (
        Threads,
        |m| {
            elastic(m);
            m.processor = jobs(400, 600, 0.99)
        },
        "L6-mixed: 400 jobs waited (40 % of the time) and 600 computed (60 %)\n  \
             run what computes on `ThreadPool::cpu()`, and leave here what waits",
    ),
    (
        Threads,
        long_queue,
        "L7-saturated: jobs wait for 50.0ms and run for 1.0ms, with at most 4 workers; 4 of them use all cores\n  \
             more workers would not help: bound the queue by `queue_limit` and start jobs by `submit`, or make jobs fewer or smaller",
    ),
];

#[test]
fn people_can_read_it() {
    for (kind, change, text) in TEXTS {
        assert_eq!(said(*kind, *change), *text);
    }
}
