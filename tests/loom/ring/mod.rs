//! Models of the ring between the parent and one worker process.
//!
//! Two slots and one word of payload: small enough to check, large enough that a slot is used again while the
//! worker still stands before it.

use std::{cell::Cell, sync::Mutex as StdMutex};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use self::protocol::{
    arena::Arena,
    job::{Claim, JobHeader},
    look::{Fate, Look},
    parent::ParentRing,
    place::Place,
    reply::Reply,
    worker::WorkerRing,
};
use crate::{check, sync::mortal};

#[path = "../../../src/process/ring"]
mod protocol {
    pub(crate) mod arena;
    pub(crate) mod asleep;
    pub(crate) mod copied;
    pub(crate) mod job;
    pub(crate) mod look;
    pub(crate) mod parent;
    pub(crate) mod place;
    pub(crate) mod progress;
    pub(crate) mod reply;
    pub(crate) mod slot;
    pub(crate) mod violation;
    pub(crate) mod word;
    pub(crate) mod worker;

    /// In place of `size.rs`.
    pub(crate) mod size {
        pub(crate) const SLOTS: usize = 2;
        pub(crate) const INLINE: usize = 8;
        pub(crate) const FIGURES: usize = 1;
        pub(crate) const SOON: u64 = 1;
    }
}

type Parent = ParentRing<Arc<Arena>>;
type Worker = WorkerRing<Arc<Arena>>;

fn ring() -> (Parent, Worker) {
    let arena = Arc::new(Arena::new());
    (ParentRing::new(Arc::clone(&arena)), WorkerRing::new(arena))
}

/// Sends the job whose every field says `number`.
fn send(parent: &mut Parent, number: u64) -> u64 {
    let header =
        JobHeader { trampoline: number as i64, type_hash: number, task: number, flags: number as u32 };
    parent
        .send(&header, Place::Inline(&number.to_ne_bytes()))
        .expect("the model sends only while there is room")
}

/// Returns the number of a job, of which no field may say another.
fn number_of(claim: &Claim) -> u64 {
    let number = claim.header.task;
    let whole =
        JobHeader { trampoline: number as i64, type_hash: number, task: number, flags: number as u32 };
    assert_eq!(claim.header, whole);
    assert_eq!(claim.argument, Place::Inline(number.to_ne_bytes().to_vec().into()));
    number
}

fn begin(worker: &mut Worker) -> Option<(u64, u64)> {
    let claim = worker.claim(|| 7).expect("the parent writes sound words")?;
    Some((claim.position, number_of(&claim)))
}

fn finish(worker: &mut Worker, number: u64) {
    worker.publish(number as u8, Place::Inline(&(number + 100).to_ne_bytes()));
}

fn check_reply(reply: &Reply, number: u64) {
    assert_eq!(reply.kind, number as u8);
    assert_eq!(reply.begun_ns, 7);
    assert_eq!(reply.result, Place::Inline((number + 100).to_ne_bytes().to_vec().into()));
}

#[test]
fn either_the_worker_claims_a_job_or_the_parent_takes_it_back() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let position = send(&mut parent, 10);
        let claimer = thread::spawn(move || begin(&mut worker));
        let taken = parent.take_back(position);
        let claimed = claimer.join().unwrap();
        assert_eq!(claimed, (!taken).then_some((position, 10)));
        assert_eq!(parent.look(position), if taken { Look::Gone } else { Look::Claimed { begun_ns: 7 } });
    });
}

#[test]
fn a_slot_used_again_never_shows_a_torn_or_a_taken_job() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let first = send(&mut parent, 10);
        let claimer = thread::spawn(move || {
            let mut run = Vec::new();
            while let Some((_, number)) = begin(&mut worker) {
                finish(&mut worker, number);
                run.push(number);
            }
            (worker, run)
        });
        let second = send(&mut parent, 11);
        let mut expected: Vec<u64> = Vec::new();
        let taken_first = parent.take_back(first);
        let taken_second = parent.take_back(second);
        if !taken_first {
            expected.push(10);
        }
        if !taken_second {
            expected.push(11);
        }
        // Into the slot of `first`, while the worker may still look at it.
        if taken_first {
            send(&mut parent, 12);
            expected.push(12);
        }
        let (mut worker, mut run) = claimer.join().unwrap();
        while let Some((_, number)) = begin(&mut worker) {
            finish(&mut worker, number);
            run.push(number);
        }
        assert_eq!(run, expected);
        for number in expected {
            check_reply(&parent.take_reply().unwrap().unwrap(), number);
        }
        assert_eq!(parent.oldest(), None);
    });
}

#[test]
fn a_claimed_job_shows_its_begin_time_and_a_finished_one_its_result() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let position = send(&mut parent, 10);
        let runner = thread::spawn(move || {
            begin(&mut worker);
            finish(&mut worker, 10);
        });
        if let Look::Claimed { begun_ns } = parent.look(position) {
            assert_eq!(begun_ns, 7);
        }
        if let Some(reply) = parent.take_reply().unwrap() {
            check_reply(&reply, 10);
        }
        runner.join().unwrap();
    });
}

#[test]
fn a_finished_slot_is_used_again_only_after_its_result_was_copied() {
    check(|| {
        let (mut parent, mut worker) = ring();
        send(&mut parent, 10);
        send(&mut parent, 11);
        let runner = thread::spawn(move || {
            for _ in 0..2 {
                let (_, number) = begin(&mut worker).unwrap();
                finish(&mut worker, number);
            }
            worker
        });
        let early = parent.take_reply().unwrap();
        if let Some(reply) = &early {
            check_reply(reply, 10);
            send(&mut parent, 12);
        }
        let mut worker = runner.join().unwrap();
        let rest = if early.is_some() { vec![11, 12] } else { vec![10, 11] };
        if let Some((_, number)) = begin(&mut worker) {
            finish(&mut worker, number);
        }
        for number in rest {
            check_reply(&parent.take_reply().unwrap().unwrap(), number);
        }
    });
}

#[test]
fn the_time_of_a_lost_claim_is_never_shown() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let first = send(&mut parent, 10);
        let claimer = thread::spawn(move || {
            let time = Cell::new(0);
            let mut begun = Vec::new();
            while let Some(claim) = worker.claim(|| time.replace(time.get() + 1)).unwrap() {
                begun.push((claim.position, time.get() - 1));
                worker.publish(0, Place::Inline(&[]));
            }
            begun
        });
        if parent.take_back(first) {
            send(&mut parent, 11);
            // In the slot for which the worker may just have written a time.
            let reused = send(&mut parent, 12);
            let look = parent.look(reused);
            let begun = claimer.join().unwrap();
            if let Look::Claimed { begun_ns } = look {
                assert!(begun.contains(&(reused, begun_ns)));
            }
        } else {
            claimer.join().unwrap();
        }
    });
}

/// A doorbell that remembers being rung, as a socket does. Waiting for a bell that nobody rings is a
/// deadlock, which loom reports.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

fn begin_or_sleep(worker: &mut Worker, bell: &Bell) -> u64 {
    loop {
        if let Some((_, number)) = begin(worker) {
            return number;
        }
        worker.fall_asleep();
        if worker.may_sleep() {
            bell.wait();
        }
        worker.wake_up();
    }
}

fn take_or_sleep(parent: &mut Parent, bell: &Bell) -> Reply {
    loop {
        if let Some(reply) = parent.take_reply().unwrap() {
            return reply;
        }
        parent.fall_asleep();
        if parent.may_sleep() {
            bell.wait();
        }
        parent.wake_up();
    }
}

#[test]
fn a_worker_does_not_sleep_through_a_job() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let bell = Arc::new(Bell::default());
        let at_worker = Arc::clone(&bell);
        let runner = thread::spawn(move || {
            for number in [10, 11] {
                assert_eq!(begin_or_sleep(&mut worker, &at_worker), number);
                finish(&mut worker, number);
            }
        });
        for number in [10, 11] {
            send(&mut parent, number);
            if parent.should_ring_worker() {
                bell.ring();
            }
        }
        runner.join().unwrap();
    });
}

#[test]
fn a_parent_does_not_sleep_through_a_result() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let bell = Arc::new(Bell::default());
        let at_worker = Arc::clone(&bell);
        send(&mut parent, 10);
        send(&mut parent, 11);
        let runner = thread::spawn(move || {
            for number in [10, 11] {
                begin(&mut worker);
                finish(&mut worker, number);
                if worker.should_ring_parent() {
                    at_worker.ring();
                }
            }
        });
        for number in [10, 11] {
            check_reply(&take_or_sleep(&mut parent, &bell), number);
        }
        runner.join().unwrap();
    });
}

#[test]
fn taking_a_job_back_does_not_hide_the_next_one_from_a_sleeper() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let bell = Arc::new(Bell::default());
        let at_worker = Arc::clone(&bell);
        let runner = thread::spawn(move || {
            let mut run = Vec::new();
            while run.last() != Some(&11) {
                run.push(begin_or_sleep(&mut worker, &at_worker));
                finish(&mut worker, *run.last().unwrap());
            }
            run
        });
        let position = send(&mut parent, 10);
        let taken = parent.take_back(position);
        send(&mut parent, 11);
        if parent.should_ring_worker() {
            bell.ring();
        }
        assert_eq!(runner.join().unwrap(), if taken { vec![11] } else { vec![10, 11] });
    });
}

/// How far the worker knows to have come with its two jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Jobs whose `claim` was entered, has returned; whose `publish` was entered, has returned.
    claiming: u64,
    claimed: u64,
    publishing: u64,
    published: u64,
}

/// More than a worker needs for two jobs, so that the last lives of the sweep end naturally.
const LONGEST_LIFE: usize = 48;

/// Runs two jobs, telling `progress`, and lets the worker die after `steps`.
fn live(steps: usize, mut worker: Worker, progress: &StdMutex<Progress>) -> bool {
    let note = |change: fn(&mut Progress)| change(&mut progress.lock().unwrap());
    mortal(steps, || {
        for _ in 0..2 {
            note(|p| p.claiming += 1);
            let Some((_, number)) = begin(&mut worker) else { return };
            note(|p| p.claimed += 1);
            note(|p| p.publishing += 1);
            finish(&mut worker, number);
            note(|p| p.published += 1);
            let _ = worker.should_ring_parent();
        }
    })
}

/// Asserts that `fate` is what became of the `nth` job (from 1), as far as the dead worker could tell.
fn check_fate(nth: u64, fate: &Fate, progress: Progress) {
    match fate {
        Fate::NotBegun => assert!(progress.claimed < nth, "job {nth} was running"),
        Fate::Begun { begun_ns } => {
            assert_eq!(*begun_ns, 7);
            assert!(progress.claiming >= nth && progress.published < nth);
        }
        Fate::Finished(reply) => {
            assert!(progress.publishing >= nth);
            check_reply(reply, 9 + nth);
        }
        Fate::Unknown(violation) => panic!("job {nth}: {violation}"),
    }
    let is_finished = matches!(fate, Fate::Finished(_));
    assert!(is_finished || progress.published < nth, "job {nth} was published");
}

fn rank(fate: &Fate) -> u8 {
    match fate {
        Fate::NotBegun => 0,
        Fate::Begun { .. } => 1,
        Fate::Finished(_) => 2,
        Fate::Unknown(violation) => panic!("{violation}"),
    }
}

#[test]
fn after_a_death_at_any_step_every_job_is_known_to_be_finished_begun_or_not_begun() {
    let mut before = [0, 0];
    let mut seen = std::collections::BTreeSet::new();
    for steps in 0..LONGEST_LIFE {
        let ranks = std::sync::Arc::new(StdMutex::new([0, 0]));
        let told = std::sync::Arc::clone(&ranks);
        check(move || {
            let (mut parent, worker) = ring();
            send(&mut parent, 10);
            send(&mut parent, 11);
            let progress = std::sync::Arc::new(StdMutex::new(Progress::default()));
            let worker_progress = std::sync::Arc::clone(&progress);
            // The join is what the pidfd is in production: what the dead had stored is visible.
            thread::spawn(move || live(steps, worker, &worker_progress)).join().unwrap();
            let fates = parent.drain();
            for (nth, (position, fate)) in (1..).zip(&fates) {
                assert_eq!(*position, nth - 1);
                check_fate(nth, fate, *progress.lock().unwrap());
            }
            assert_eq!(parent.oldest(), None);
            *told.lock().unwrap() = [rank(&fates[0].1), rank(&fates[1].1)];
        });
        // One step more changes the fate of at most one job, by one.
        let now = *ranks.lock().unwrap();
        assert!(now[0] + now[1] - before[0] - before[1] <= 1 && now >= before, "{before:?} to {now:?}");
        before = now;
        seen.insert(now);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [[0, 0], [1, 0], [2, 0], [2, 1], [2, 2]]);
}

#[test]
fn taking_back_from_a_worker_that_dies_loses_and_doubles_nothing() {
    // The claim and the take-back race for the first job, and the death cuts the race short at every step.
    for steps in 0..LONGEST_LIFE / 2 {
        check(move || {
            let (mut parent, worker) = ring();
            let first = send(&mut parent, 10);
            let progress = std::sync::Arc::new(StdMutex::new(Progress::default()));
            let worker_progress = std::sync::Arc::clone(&progress);
            let dying = thread::spawn(move || live(steps, worker, &worker_progress));
            let taken = parent.take_back(first);
            dying.join().unwrap();
            let progress = *progress.lock().unwrap();
            let fates = parent.drain();
            assert_eq!(fates.len(), usize::from(!taken));
            assert!(!taken || progress.claimed == 0);
            for (_, fate) in &fates {
                assert_ne!(*fate, Fate::NotBegun, "take_back failed though nobody had begun");
                check_fate(1, fate, progress);
            }
        });
    }
}

#[test]
fn a_worker_that_dies_before_it_rings_leaves_its_result_behind() {
    for steps in 0..LONGEST_LIFE / 2 {
        check(move || {
            let (mut parent, worker) = ring();
            send(&mut parent, 10);
            let progress = std::sync::Arc::new(StdMutex::new(Progress::default()));
            let worker_progress = std::sync::Arc::clone(&progress);
            let bell = Arc::new(Bell::default());
            let pidfd = Arc::clone(&bell);
            let dying = thread::spawn(move || {
                live(steps, worker, &worker_progress);
                // The kernel reports the death, whether or not the worker came to ring.
                pidfd.ring();
            });
            parent.fall_asleep();
            if parent.may_sleep() {
                bell.wait();
            }
            parent.wake_up();
            if let Some(reply) = parent.take_reply().unwrap() {
                check_reply(&reply, 10);
            }
            dying.join().unwrap();
            for (_, fate) in parent.drain() {
                check_fate(1, &fate, *progress.lock().unwrap());
            }
        });
    }
}

/// The parent's side where others than the keeper may take a reply (`src/process/parent/direct.rs`).
struct Link {
    ring: Parent,
    asleep: bool,
    watched: bool,
}

/// What the keeper does until it has taken a reply.
fn keep(link: &Mutex<Link>, bell: &Bell) -> Reply {
    loop {
        let mut guard = link.lock().unwrap();
        if let Some(reply) = guard.ring.take_reply().unwrap() {
            return reply;
        }
        guard.asleep = true;
        if !guard.watched {
            guard.ring.fall_asleep();
        }
        let may_sleep = guard.watched || guard.ring.may_sleep();
        drop(guard);
        if may_sleep {
            bell.wait();
        }
        let mut guard = link.lock().unwrap();
        guard.asleep = false;
        guard.ring.wake_up();
    }
}

/// What somebody does who awaits the job, for two looks at the ring.
fn watch(link: &Mutex<Link>, bell: &Bell) -> Option<Reply> {
    let mut guard = link.lock().unwrap();
    guard.watched = true;
    guard.ring.wake_up();
    let first = guard.ring.take_reply().unwrap();
    drop(guard);
    let mut guard = link.lock().unwrap();
    let found = first.or_else(|| guard.ring.take_reply().unwrap());
    guard.watched = false;
    if found.is_some() && guard.asleep {
        guard.ring.fall_asleep();
    }
    drop(guard);
    if found.is_none() {
        bell.ring();
    }
    found
}

#[test]
fn a_reply_is_taken_by_who_watches_or_by_the_keeper_and_so_is_the_next() {
    check(|| {
        let (mut parent, mut worker) = ring();
        let bell = Arc::new(Bell::default());
        send(&mut parent, 10);
        let link = Arc::new(Mutex::new(Link { ring: parent, asleep: false, watched: false }));
        let at_worker = Arc::clone(&bell);
        let runner = thread::spawn(move || {
            begin(&mut worker);
            finish(&mut worker, 10);
            if worker.should_ring_parent() {
                at_worker.ring();
            }
            worker
        });
        let (at_keeper, of_keeper) = (Arc::clone(&bell), Arc::clone(&link));
        let keeper = thread::spawn(move || keep(&of_keeper, &at_keeper));
        let watched = watch(&link, &bell);
        let mut worker = runner.join().unwrap();
        let mut kept = 10;
        if let Some(reply) = watched {
            check_reply(&reply, 10);
            // Nobody watches for the next one.
            kept = 11;
            send(&mut link.lock().unwrap().ring, 11);
            begin(&mut worker);
            finish(&mut worker, 11);
            if worker.should_ring_parent() {
                bell.ring();
            }
        }
        check_reply(&keeper.join().unwrap(), kept);
    });
}

#[test]
fn the_results_of_items_are_known_after_a_death_at_any_step_and_during_the_job() {
    for steps in 0..12 {
        check(move || {
            let arena = Arc::new(Arena::new());
            let (mut parent, mut worker) = (ParentRing::new(arena.clone()), WorkerRing::new(arena.clone()));
            let position = send(&mut parent, 10);
            let begun = thread::spawn(move || {
                let mut published = 0;
                mortal(steps, || {
                    begin(&mut worker);
                    arena.begin_items(position);
                    assert!(arena.add_item(1, b"a", 0));
                    published = 1;
                    assert!(arena.add_item(2, b"ab", 1));
                    published = 2;
                });
                published
            });
            let check_items = |least: u32| {
                let (items, bytes) = parent.items(position).unwrap();
                assert!(items >= least && bytes == b"ab"[..items as usize]);
                items
            };
            let seen = check_items(0);
            let published = begun.join().unwrap();
            // What was stored may be more than what the worker had the time to take note of.
            assert!(check_items(published) >= seen);
        });
    }
}

#[test]
fn the_results_of_one_job_are_never_taken_for_those_of_another() {
    check(|| {
        let arena = Arc::new(Arena::new());
        let mut parent = ParentRing::new(arena.clone());
        let position = send(&mut parent, 10);
        arena.begin_items(position);
        assert!(arena.add_item(1, b"a", 0));
        let other = thread::spawn(move || {
            arena.begin_items(position + 1);
            assert!(arena.add_item(1, b"b", 0));
        });
        let (items, bytes) = parent.items(position).unwrap();
        assert!((items, &bytes[..]) == (1, b"a") || (items, &bytes[..]) == (0, b""), "{bytes:?}");
        other.join().unwrap();
        assert_eq!(parent.items(position + 1).unwrap(), (1, b"b".to_vec()));
    });
}
