//! What an onlooker sees, on real pools.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc,
    },
    thread,
    time::Duration,
};

use super::*;
use crate::{
    ProcessPool, TaskErrorKind, ThreadPool,
    clock::Stamp,
    error::{TaskLabel, TaskName},
    pool::registry::{self, AnyPool},
};

/// The pool of that name: no other test has one.
fn pool_named(name: &str) -> Arc<dyn AnyPool> {
    registry::all().into_iter().find(|pool| pool.name() == name).unwrap()
}

fn stages(jobs: &[JobRecord]) -> Vec<(u64, Option<(Stage, TaskErrorKind)>)> {
    let unusual = |job: &JobRecord| job.failure.as_ref().map(|failure| (failure.stage, failure.kind));
    jobs.iter().map(|job| (job.id.as_u64(), unusual(job))).collect()
}

#[test]
fn each_job_of_a_thread_pool_is_recorded_before_its_outcome_can_be_seen() {
    let pool = ThreadPool::builder().name("recorded").max_workers(1).queue_limit(1).build().unwrap();
    let any = pool_named("recorded");
    let attached = any.record(Scope::All, 1000);
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let value = pool.job(|| 7).name("seven").run();
    let (value_id, _) = (value.id(), value.blocking_wait().unwrap());
    let panicked = pool.run(|| panic!("no luck"));
    let (panicked_id, _) = (panicked.id(), panicked.blocking_wait().unwrap_err());
    let running = pool.run(move || {
        begun.send(()).unwrap();
        released.recv().is_err()
    });
    begins.recv().unwrap();
    let lane = any.lanes().pop().unwrap();
    assert_eq!((lane.number, lane.state), (0, LaneState::Busy));
    assert_eq!(lane.running.unwrap().id, running.id());
    let queued = pool.run(|| ());
    let (running_id, queued_id) = (running.id(), queued.id());
    let refused = pool.run(|| ());
    let refused_id = refused.id();
    assert!(pool.try_run(|| ()).is_err(), "what is handed back is no task, and not recorded");
    assert!(queued.cancel() && running.cancel());
    drop(release);
    let after = pool.run(|| ());
    let (after_id, _) = (after.id(), after.blocking_wait().unwrap());

    let taken = attached.take();
    let ran = |kind| Some((Stage::Ran, kind));
    let cancelled = |stage| Some((stage, TaskErrorKind::Cancelled));
    let expected = [
        (value_id, None),
        (panicked_id, ran(TaskErrorKind::Panicked)),
        (refused_id, Some((Stage::NeverBegan, TaskErrorKind::Overloaded))),
        (queued_id, cancelled(Stage::NeverBegan)),
        (running_id, cancelled(Stage::Abandoned)),
        (running_id, cancelled(Stage::Outlived)),
        (after_id, None),
    ];
    assert_eq!(stages(&taken.jobs), expected.map(|(id, unusual)| (id.as_u64(), unusual)));
    let seven = &taken.jobs[0];
    assert_eq!((seven.name.as_str(), seven.worker, seven.items), ("seven", 0, 1));
    assert!(seven.submitted <= seven.begun && seven.begun <= seven.ended && attached.since() <= seven.ended);
    let text = &taken.jobs[1].failure.as_ref().unwrap().text;
    assert!(text.ends_with("no luck"), "{text}");
    assert_eq!(taken.workers[0].what, Change::Started);
    assert!(!taken.queued.is_empty());
    assert!(attached.take().jobs.is_empty());
}

#[test]
fn who_looks_for_failures_sees_no_others_and_two_onlookers_each_have_all() {
    let pool = ThreadPool::builder().name("looked-at").max_workers(2).build().unwrap();
    let any = pool_named("looked-at");
    let (failures, all) = (any.record(Scope::Failures, 100), any.record(Scope::All, 100));
    pool.run(|| ()).blocking_wait().unwrap();
    assert!(pool.run(|| panic!("seen by both")).blocking_wait().is_err());
    assert_eq!((failures.copy().jobs.len(), all.copy().jobs.len()), (1, 2));
    drop(all);
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(failures.take().jobs.len(), 1);
    drop(failures);
    assert!(!Recorded::counters(&*any).recorders().looks_for(Scope::Failures));
}

#[test]
fn the_items_of_a_chunk_are_recorded_together_and_none_is_forgotten() {
    use futures::{StreamExt, executor::block_on};
    let pool = ThreadPool::builder().name("chunks").max_workers(2).build().unwrap();
    let attached = pool_named("chunks").record(Scope::All, 100_000);
    let job = |n: u32| assert!(n != 77, "not this one");
    // Of a given size: chunks of the automatic one are small where a machine is slow.
    let failed =
        pool.map(job, 0..10_000).chunk_size(100).filter(|outcome| std::future::ready(outcome.is_err()));
    assert_eq!(block_on(failed.count()), 1);
    let jobs = attached.take().jobs;
    let (items, runs): (Vec<_>, Vec<_>) =
        jobs.iter().partition(|job| job.failure.as_ref().is_some_and(|it| it.stage == Stage::Item));
    assert_eq!(items.len(), 1);
    assert_eq!(runs.iter().map(|run| run.items).sum::<u32>(), 10_000);
    assert!(runs.len() < 2_000, "{}", runs.len());
    for worker in 0..2 {
        let mut bars: Vec<_> = runs.iter().filter(|run| run.worker == worker).collect();
        bars.sort_by_key(|bar| bar.begun);
        assert!(bars.windows(2).all(|two| two[0].ended <= two[1].begun));
    }
}

#[cfg(target_os = "linux")]
fn crash((): ()) {
    std::process::exit(3)
}

#[cfg(target_os = "linux")]
#[test]
fn the_jobs_and_workers_of_a_process_pool_are_recorded() {
    let pool = ProcessPool::builder().name("recorded-too").max_workers(1).build().unwrap();
    let any = pool_named("recorded-too");
    let attached = any.record(Scope::All, 1000);
    pool.run(|()| (), ()).blocking_wait().unwrap();
    assert!(pool.run(crash, ()).blocking_wait().is_err());
    let slow = pool.job(|()| thread::sleep(Duration::from_secs(60)), ()).name("slow").run();
    while slow.status() != crate::TaskStatus::Running {
        thread::yield_now();
    }
    let lanes = any.lanes();
    let busy: Vec<_> = lanes.iter().filter(|lane| lane.state == LaneState::Busy).collect();
    assert_eq!(busy.len(), 1, "{lanes:?}");
    assert_eq!((busy[0].number, busy[0].running.as_ref().unwrap().name.as_str()), (0, "slow"));
    assert!(slow.cancel());
    pool.run(|()| (), ()).blocking_wait().unwrap();
    let taken = attached.take();
    let kinds: Vec<_> = stages(&taken.jobs).into_iter().map(|(_, unusual)| unusual).collect();
    let ran = |kind| Some((Stage::Ran, kind));
    assert_eq!(kinds, [None, ran(TaskErrorKind::WorkerDied), ran(TaskErrorKind::Cancelled), None]);
    let workers: Vec<_> = taken.jobs.iter().map(|job| job.worker).collect();
    assert!(workers[0] == workers[1] && workers[1] < workers[2] && workers[2] < workers[3], "{workers:?}");
    let changes: Vec<_> = taken.workers.iter().map(|change| &change.what).collect();
    let killed = format!("task {} (\"slow\")", taken.jobs[2].id);
    assert!(changes.contains(&&Change::Ended(Ending::Killed(killed.into()))), "{changes:?}");
    assert!(
        changes
            .iter()
            .any(|what| matches!(what, Change::Ended(Ending::Died(why)) if why.ends_with("code 3")))
    );
    assert_eq!(changes.iter().filter(|&&what| *what == Change::Started).count(), 3);
}

#[cfg(feature = "rayon")]
#[test]
fn the_jobs_of_a_rayon_pool_are_recorded() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let pool = crate::RayonPool::builder().name("recorded-three").threads(Arc::new(threads)).build().unwrap();
    let any = pool_named("recorded-three");
    let attached = any.record(Scope::All, 1000);
    let lanes = pool
        .run(|| pool_named("recorded-three").lanes().iter().filter(|lane| lane.running.is_some()).count());
    assert_eq!(lanes.blocking_wait().unwrap(), 1);
    assert!(pool.run(|| panic!("no luck")).blocking_wait().is_err());
    let taken = attached.take();
    let kinds: Vec<_> = stages(&taken.jobs).into_iter().map(|(_, unusual)| unusual).collect();
    assert_eq!(kinds, [None, Some((Stage::Ran, TaskErrorKind::Panicked))]);
    assert!(taken.jobs.iter().all(|job| job.worker < 2));
    assert_eq!(any.lanes().len(), 2);
}

#[test]
fn a_recorder_keeps_the_latest_within_its_limit_and_counts_the_others() {
    let pool = ThreadPool::builder().name("limited").max_workers(1).build().unwrap();
    let any = pool_named("limited");
    for limit in [1, 100, 5_000] {
        let attached = any.record(Scope::All, limit);
        let tasks: Vec<_> = (0..20_000).map(|_| pool.run(|| ())).collect();
        let last = tasks.into_iter().map(|task| (task.id(), task.blocking_wait().unwrap()).0).max().unwrap();
        let taken = attached.take();
        // However small the limit, each shelf may hold one, and the recorder one.
        assert!(taken.jobs.len() <= limit.max(64), "{} of {limit}", taken.jobs.len());
        assert!(2 * taken.jobs.len() >= limit.min(64), "{} of {limit}", taken.jobs.len());
        assert_eq!(taken.jobs.len() as u64 + taken.dropped, 20_000);
        assert!(taken.jobs.iter().any(|job| job.id == last));
    }
}

/// Attaches and detaches while jobs run: each onlooker has all jobs that began after it came and ended before it left.
#[test]
fn onlookers_come_and_go_while_jobs_run_and_miss_none() {
    let pool = ThreadPool::builder().name("hammered").max_workers(4).build().unwrap();
    let any = pool_named("hammered");
    let over = Arc::new(AtomicBool::new(false));
    let noise: Vec<_> = (0..2)
        .map(|_| {
            let (pool, over) = (pool.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let tasks: Vec<_> = (0..50).map(|_| pool.run(|| ())).collect();
                    tasks.into_iter().for_each(|task| task.blocking_wait().unwrap());
                }
            })
        })
        .collect();
    let onlookers: Vec<_> = (0..3)
        .map(|_| {
            let (pool, any) = (pool.clone(), any.clone());
            thread::spawn(move || {
                for _ in 0..300 {
                    let attached = any.record(Scope::All, 1_000_000);
                    let tasks: Vec<_> = (0..20).map(|_| pool.run(|| ())).collect();
                    let ids: Vec<_> =
                        tasks.into_iter().map(|task| (task.id(), task.blocking_wait()).0).collect();
                    let mut seen: Vec<_> = attached.take().jobs.iter().map(|job| job.id).collect();
                    let count = seen.len();
                    seen.sort();
                    seen.dedup();
                    assert_eq!(seen.len(), count, "none twice");
                    assert!(ids.iter().all(|id| seen.binary_search(id).is_ok()));
                }
            })
        })
        .collect();
    onlookers.into_iter().for_each(|onlooker| onlooker.join().unwrap());
    over.store(true, Relaxed);
    noise.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!Recorded::counters(&*any).recorders().looks_for(Scope::Failures));
}

/// A run that no pool had.
fn note_run(recorders: &Recorders, id: u64) {
    let (id, name) = (crate::TaskId::from_raw(id), TaskName::OfFunction("made up"));
    let label = &TaskLabel { id, name, submitted_at: std::panic::Location::caller() };
    let now = Stamp::now();
    recorders.ran(Run { label, submitted: now, begun: now, ended: now, worker: 0, items: 1 }, None);
}

/// Takes all the time while another thread hands over full blocks.
#[test]
fn whoever_takes_has_all_that_was_recorded_before_and_in_that_order() {
    /// Fewer than there is room for, so that none is dropped.
    const AHEAD: u64 = 30;
    const RECORDS: u64 = 200_000;
    let _pool = ThreadPool::builder().name("taken-from").max_workers(1).build().unwrap();
    let any = pool_named("taken-from");
    let recorders = Recorded::counters(&*any).recorders();
    let shelves = crate::shards::Shards::new(|| ()).iter().count();
    // Blocks of four.
    let attached = any.record(Scope::All, shelves * 8);
    let (recorded, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..RECORDS {
                while id > taken.load(Acquire) + AHEAD {
                    thread::yield_now();
                }
                note_run(recorders, id);
                recorded.store(id + 1, Release);
            }
        });
        let mut next = 0;
        let mut check = || {
            let least = recorded.load(Acquire);
            for job in attached.take().jobs {
                assert_eq!(job.id.as_u64(), next);
                next += 1;
            }
            assert!(next >= least, "{} are missing", least - next);
            taken.store(next, Release);
            next < RECORDS
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while check() {}));
        // The other thread comes to its end in any case.
        taken.store(RECORDS, Release);
        result.unwrap();
    });
}

/// Forks while threads record, at any moment of theirs.
#[cfg(target_os = "linux")]
#[test]
#[expect(unsafe_code, reason = "forks")]
fn a_copy_of_the_program_can_drop_what_it_has_inherited() {
    let _pool = ThreadPool::builder().name("copied").max_workers(1).build().unwrap();
    let any = pool_named("copied");
    let recorders = Recorded::counters(&*any).recorders();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                note_run(recorders, 7);
            }
        });
        let ended = (0..500)
            .map(|_| {
                let attached = any.record(Scope::All, 1_000);
                // SAFETY: the copy does nothing but drop that, and is gone.
                let copy = unsafe { libc::fork() };
                if copy == 0 {
                    // SAFETY: it is killed if it waits.
                    unsafe { libc::alarm(5) };
                    drop(attached);
                    // SAFETY: ends the copy.
                    unsafe { libc::_exit(0) };
                }
                let mut status = -1;
                // SAFETY: a child of ours, and where its status goes.
                unsafe { libc::waitpid(copy, &raw mut status, 0) };
                status
            })
            .take_while(|status| *status == 0)
            .count();
        over.store(true, Relaxed);
        assert_eq!(ended, 500, "a copy waits for a lock that nobody gives back");
    });
}

#[test]
fn of_more_workers_than_changes_are_kept_the_places_stay_known() {
    let _pool = ThreadPool::builder().name("short-lived").max_workers(1).build().unwrap();
    let any = pool_named("short-lived");
    let attached = any.record(Scope::All, 1_000);
    for worker in 0..12_000 {
        for what in [Change::Started, Change::Ended(Ending::Recycled)] {
            let change =
                WorkerRecord { worker, number: worker % 2, pid: Some(worker + 1), at: Stamp::now(), what };
            Recorded::counters(&*any).recorders().worker_changed(|| change);
        }
    }
    let taken = attached.copy();
    let known: Vec<_> = taken.workers.iter().map(|change| (change.worker, change.number)).collect();
    let places: Vec<_> = taken.places.iter().map(|place| (place.worker, place.number)).collect();
    assert_eq!((known.len(), places.len()), (16 * 1024, 12_000 - 8 * 1024));
    for worker in 0..12_000 {
        assert!(known.contains(&(worker, worker % 2)) || places.contains(&(worker, worker % 2)));
    }
    assert_eq!(attached.take().places, taken.places);
    assert!(attached.take().places.is_empty());
}
