//! Timelines from records that were made up.

use super::*;
use crate::{JobEnd, TaskErrorKind, WorkerEnd, error::TaskName};

const fn at(micros: u64) -> Stamp {
    Stamp::from_nanos(1_000_000_000 + 1_000 * micros)
}

fn failure(stage: Stage, kind: TaskErrorKind, text: &str) -> Option<Arc<Failure>> {
    Some(Failure::with_text(stage, kind, text))
}

fn job(
    id: u64,
    worker: u32,
    [submitted, begun, ended]: [u64; 3],
    failure: Option<Arc<Failure>>,
) -> JobRecord {
    JobRecord {
        id: TaskId::from_raw(id),
        name: TaskName::OfFunction("job"),
        submitted: at(submitted),
        begun: at(begun),
        ended: at(ended),
        worker,
        items: 1,
        failure,
    }
}

fn change(worker: u32, number: u32, micros: u64, what: Change) -> WorkerRecord {
    WorkerRecord { worker, number, pid: Some(1_000 + worker), at: at(micros), what }
}

fn lane(worker: u32, number: u32, running: Option<Running>) -> Lane {
    let state = crate::record::LaneState::Busy;
    Lane { worker, number, pid: Some(1_000 + worker), born: Some(at(1)), state, running }
}

/// A recording from 100 to 1100.
fn timeline(jobs: Vec<JobRecord>, workers: Vec<WorkerRecord>, before: &[Lane], now: &[Lane]) -> Timeline {
    timeline_of(Kind::Processes, jobs, workers, before, now)
}

fn timeline_of(
    kind: Kind,
    jobs: Vec<JobRecord>,
    workers: Vec<WorkerRecord>,
    before: &[Lane],
    now: &[Lane],
) -> Timeline {
    let taken = Taken { jobs, workers, ..nothing() };
    Timeline::new(Parts { taken, ..parts(kind, before, now) })
}

fn nothing() -> Taken {
    Taken {
        jobs: Vec::new(),
        workers: Vec::new(),
        places: Vec::new(),
        queued: Vec::new(),
        dropped: 0,
        begins: at(100),
    }
}

fn parts<'a>(kind: Kind, before: &'a [Lane], now: &'a [Lane]) -> Parts<'a> {
    let (since, until) = (at(100), at(1_100));
    Parts { pool: "made up", kind, since, until, taken: nothing(), before, now, queued_now: 0 }
}

fn running(id: u64, since: u64) -> Option<Running> {
    Some(Running { id: TaskId::from_raw(id), name: TaskName::OfFunction("job"), since: at(since) })
}

fn micros(time: Duration) -> u128 {
    time.as_micros()
}

#[test]
fn what_belongs_together_becomes_one_job() {
    use TaskErrorKind::{Cancelled, Panicked, TimedOut};
    let jobs = vec![
        job(1, 7, [90, 95, 150], None),
        job(2, UNKNOWN, [150, 250, 250], failure(Stage::NeverBegan, Cancelled, "unwanted")),
        job(3, UNKNOWN, [150, 300, 300], failure(Stage::Abandoned, TimedOut, "too slow")),
        job(3, 7, [150, 200, 400], failure(Stage::Outlived, Cancelled, "")),
        // It was cancelled between its end and the moment at which that was told.
        job(4, 8, [150, 410, 420], None),
        job(4, UNKNOWN, [150, 421, 421], failure(Stage::Abandoned, Cancelled, "too late")),
        JobRecord { items: 10, ..job(50, 7, [150, 500, 600], None) },
        JobRecord {
            submitted: Stamp::NEVER,
            ..job(57, UNKNOWN, [0, 601, 601], failure(Stage::Item, Panicked, "seven"))
        },
        job(60, UNKNOWN, [150, 900, 900], failure(Stage::Abandoned, Cancelled, "goes on")),
    ];
    // Task 4 ran when somebody looked, and has ended before the records were read.
    let now = [lane(7, 0, running(60, 800)), lane(8, 1, running(4, 410)), lane(9, 2, running(70, 1_000))];
    let timeline = timeline(jobs, Vec::new(), &[lane(7, 0, None)], &now);
    let found: Vec<_> =
        timeline.jobs().iter().map(|job| (job.id().as_u64(), job.worker(), job.end(), job.error())).collect();
    let failed = JobEnd::Failed;
    assert_eq!(
        found,
        [
            (1, Some(0), JobEnd::Value, None),
            (2, None, failed(Cancelled), Some("unwanted")),
            (3, Some(0), failed(TimedOut), Some("too slow")),
            (4, Some(1), failed(Cancelled), Some("too late")),
            (50, Some(0), JobEnd::Value, None),
            (60, Some(0), failed(Cancelled), Some("goes on")),
            (70, Some(2), JobEnd::Running, None),
        ]
    );
    let across = &timeline.jobs()[0];
    assert_eq!([across.begun(), across.ran(), across.ended()].map(micros), [0, 55, 50]);
    assert_eq!(across.waited().map(micros), Some(5));
    let [item] = &timeline.failed_items[..] else { panic!("{:?}", timeline.failed_items) };
    assert_eq!((item.worker(), item.pid(), item.waited()), (Some(0), Some(1_007), None));
    assert_eq!(timeline.failures().count(), 5);
    assert_eq!(timeline.duration(), Duration::from_millis(1));
}

#[test]
fn runs_whose_clocks_were_read_in_two_ways_follow_one_another_and_others_stay_as_they_are() {
    let jobs = vec![
        job(1, 0, [0, 200, 300], None),
        JobRecord { begun: Stamp::from_nanos(at(300).nanos() - 40), ..job(2, 0, [0, 300, 350], None) },
        job(3, 0, [0, 400, 450], None),
        job(4, 0, [0, 390, 500], None),
    ];
    let begun = |kind| {
        let timeline = timeline_of(kind, jobs.clone(), Vec::new(), &[], &[]);
        timeline.jobs().iter().map(|job| job.begun().as_nanos()).collect::<Vec<_>>()
    };
    let nested = [100_000, 200_000, 300_000, 290_000];
    assert_eq!(begun(Kind::Threads), nested, "the last has run the third on top of it");
    assert_eq!(begun(Kind::Processes), [100_000, 200_000, 300_000, 350_000], "one at a time");
}

#[test]
fn the_life_of_each_worker_is_known_as_far_as_it_was_seen() {
    let died = || Change::Ended(Ending::Died("SIGSEGV".into()));
    let workers = vec![
        change(2, 1, 200, Change::Started),
        change(1, 0, 300, died()),
        change(3, 0, 310, Change::Started),
        change(3, 0, 400, Change::Ended(Ending::Killed("task 9".into()))),
        change(4, 0, 410, Change::Started),
        change(5, 2, 500, Change::Started),
        change(4, 0, 600, Change::Ended(Ending::Recycled)),
        // Its start was dropped.
        change(6, 3, 700, Change::Ended(Ending::Retired)),
    ];
    // Worker 4 is still about to be gone when the recording ends; worker 8 was never told of.
    let now = [
        lane(2, 1, None),
        lane(4, 0, None),
        lane(5, 2, None),
        Lane { born: Some(at(900)), ..lane(8, 0, None) },
    ];
    let timeline = timeline(Vec::new(), workers, &[lane(1, 0, None), lane(2, 1, None)], &now);
    let micros = |time: Option<Duration>| time.map(|time| time.as_micros());
    let lives: Vec<_> = timeline
        .workers()
        .iter()
        .map(|worker| {
            (worker.number(), worker.pid(), micros(worker.started()), micros(worker.ended()), worker.end())
        })
        .collect();
    assert_eq!(
        lives,
        [
            (0, Some(1_001), None, Some(200), Some(WorkerEnd::Died)),
            (0, Some(1_003), Some(210), Some(300), Some(WorkerEnd::Killed)),
            (0, Some(1_004), Some(310), Some(500), Some(WorkerEnd::Recycled)),
            (0, Some(1_008), Some(800), None, None),
            (1, Some(1_002), Some(100), None, None),
            (2, Some(1_005), Some(400), None, None),
            (3, Some(1_006), None, Some(600), Some(WorkerEnd::Retired)),
        ]
    );
    assert_eq!(timeline.workers()[0].why(), Some("SIGSEGV"));
    let marks: Vec<_> = timeline.marks().iter().map(|(at, mark, _)| (at / 1_000, *mark)).collect();
    use Mark::{Died, Killed, Recycled, Restarted, Retired, Started};
    assert_eq!(
        marks,
        [
            (200, Died),
            (210, Restarted),
            (300, Killed),
            (310, Restarted),
            (500, Recycled),
            (800, Started),
            (100, Started),
            (400, Started),
            (600, Retired),
        ]
    );
    assert_eq!(timeline.lanes(), 4);
}

#[test]
fn what_runs_again_or_goes_on_with_the_next_items_is_running() {
    let died = || failure(Stage::Ran, TaskErrorKind::WorkerDied, "to be run again");
    let jobs = || {
        vec![
            // Lost with worker 1, and run again.
            job(10, 1, [150, 200, 300], died()),
            // The first items of eight, and those of a helper.
            job(20, 2, [150, 200, 400], None),
            job(24, 3, [150, 250, 500], None),
        ]
    };
    let now = [
        lane(4, 0, running(10, 350)),
        lane(2, 1, running(20, 400)),
        lane(3, 2, running(20, 500)),
        // On top of one that has not ended.
        lane(5, 3, running(30, 600)),
    ];
    let still = |jobs: Vec<JobRecord>| {
        let timeline = timeline_of(Kind::Threads, jobs, Vec::new(), &[], &now);
        let running = timeline.jobs().iter().filter(|job| job.end() == JobEnd::Running);
        running.map(|job| (job.id().as_u64(), job.begun().as_micros())).collect::<Vec<_>>()
    };
    assert_eq!(still(jobs()), [(10, 250), (20, 300), (20, 400), (30, 500)]);
    // They have ended between the look and the reading of the records; of the helper's other items.
    let mut all = jobs();
    all.extend([
        job(10, 4, [150, 350, 900], None),
        job(21, 2, [150, 400, 900], None),
        job(25, 3, [150, 500, 900], None),
        job(31, 5, [150, 650, 700], None),
    ]);
    assert_eq!(still(all), [(30, 500)]);
}

#[test]
fn a_worker_with_the_pid_of_one_that_has_ended_is_another_and_none_ends_twice() {
    let with_pid_9 = |record: WorkerRecord| WorkerRecord { pid: Some(9), ..record };
    let ended = || Change::Ended(Ending::Recycled);
    let workers = [
        change(20, 0, 200, Change::Started),
        change(20, 0, 300, ended()),
        change(70, 1, 400, Change::Started),
        change(70, 1, 500, ended()),
        change(70, 1, 501, ended()),
    ];
    let now = [Lane { pid: Some(9), ..lane(70, 1, None) }];
    let timeline = timeline(Vec::new(), workers.map(with_pid_9).into(), &[], &now);
    let lives: Vec<_> = timeline.workers().iter().map(|it| (it.number(), it.started, it.ended)).collect();
    assert_eq!(lives, [(0, Some(100_000), Some(200_000)), (1, Some(300_000), Some(400_000))]);
}

#[test]
fn processes_of_which_nothing_is_known_share_a_lane() {
    let jobs = (0..1_000).map(|worker| job(worker.into(), worker, [100, 200, 300], None)).collect();
    let place = |worker| Place { worker, number: worker % 2, pid: Some(1_000 + worker) };
    let timeline = Timeline::new(Parts {
        taken: Taken { jobs, places: (500..900).map(place).collect(), ..nothing() },
        ..parts(Kind::Processes, &[lane(999, 1, None)], &[])
    });
    let lanes: Vec<_> = [0, 499, 500, 501, 999].map(|job: usize| timeline.jobs()[job].worker()).into();
    assert_eq!(lanes, [Some(2), Some(2), Some(0), Some(1), Some(1)]);
    assert_eq!(timeline.jobs()[501].pid(), Some(1_501));
    assert_eq!(timeline.lanes(), 3);
}

#[test]
fn a_failed_item_has_a_lane_although_all_else_of_its_worker_was_dropped() {
    let item = job(1, 5, [150, 200, 200], failure(Stage::Item, TaskErrorKind::Panicked, "alone"));
    let timeline = timeline_of(Kind::Threads, vec![item], Vec::new(), &[], &[]);
    assert_eq!(timeline.lanes(), 6);
    timeline.write_svg(std::io::sink()).unwrap();
    timeline.write_trace(std::io::sink()).unwrap();
}

#[test]
fn only_the_items_of_processes_are_known_to_be_contiguous() {
    let jobs = || {
        vec![
            JobRecord { items: 10, ..job(50, 7, [150, 500, 600], None) },
            job(53, UNKNOWN, [150, 700, 700], failure(Stage::Item, TaskErrorKind::Cancelled, "whose?")),
        ]
    };
    let worker =
        |kind| timeline_of(kind, jobs(), Vec::new(), &[lane(7, 3, None)], &[]).failed_items[0].worker();
    assert_eq!((worker(Kind::Processes), worker(Kind::Threads)), (Some(3), None));
}

/// Jobs of up to so many nanoseconds, in all ways to end, on so many lanes; and workers that die all the time.
pub(super) fn chaos(jobs: u64, lanes: u32, width: u64) -> Timeline {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    use TaskErrorKind::{Cancelled, Decode, Overloaded, Panicked, TimedOut, WorkerDied};
    let kinds = [Cancelled, Decode, Overloaded, Panicked, TimedOut, WorkerDied];
    let text = "<&\"'>".repeat(100);
    let nanos = 1_000_000;
    let mut records: Vec<_> = (0..jobs)
        .map(|id| {
            let begun = random(nanos);
            let kind = kinds[random(6) as usize];
            let stage = if random(10) == 0 { Stage::NeverBegan } else { Stage::Ran };
            let failure = (random(3) == 0).then(|| Failure::with_text(stage, kind, &text));
            let stamp = |nanos| Stamp::from_nanos(at(100).nanos() + nanos);
            JobRecord {
                name: TaskName::given(text.as_str().into()),
                begun: stamp(begun),
                ended: stamp((begun + random(width)).min(nanos)),
                worker: if stage == Stage::Ran { random(u64::from(lanes)) as u32 } else { UNKNOWN },
                failure,
                ..job(id, 0, [100, 0, 0], None)
            }
        })
        .collect();
    records.sort_by_key(|job| job.ended);
    let mut workers = Vec::new();
    for worker in 0..8_000 {
        let (number, begun) = (random(u64::from(lanes)) as u32, 100 + random(1_000));
        workers.push(change(worker, number, begun, Change::Started));
        let ending = if worker % 2 == 0 { Ending::Recycled } else { Ending::Died(text.as_str().into()) };
        workers.push(change(worker, number, begun + 1, Change::Ended(ending)));
    }
    let lanes: Vec<_> = (0..lanes).map(|number| lane(number, number, None)).collect();
    timeline(records, workers, &lanes, &[])
}
