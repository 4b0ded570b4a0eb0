//! [`Onlooker`]: what is seen of one pool while pages are open: what its workers do, and what goes wrong.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::snapshot::{Event, Failure, Lane, NAME, RunningJob, TEXT, cut};
use crate::{
    TaskErrorKind,
    clock::Stamp,
    pool::registry::AnyPool,
    record::{self, Attached, Change, Ending, JobRecord, LaneState, Scope, Stage, WorkerRecord},
};

/// How many workers are told of.
pub(super) const LANES: usize = 64;
/// How many failures, and how many events of workers, are told.
const LATEST: usize = 20;
/// How many failures are kept between two frames, in records.
const KEPT: usize = 512;

/// Somebody looks at a pool. Jobs that succeed do not notice: its workers are looked at from outside, ten times per frame.
#[derive(Debug)]
pub(super) struct Onlooker {
    attached: Attached,
    /// What was seen of each worker since the last frame, by its serial number.
    seen: HashMap<u32, Seen>,
    looks: u32,
    /// Latest first.
    failures: VecDeque<JobRecord>,
    events: VecDeque<WorkerRecord>,
}

#[derive(Debug, Default)]
struct Seen {
    busy: u32,
    /// The latest job that it was seen to run.
    job: Option<String>,
}

/// What is told of it.
#[derive(Debug)]
pub(super) struct Seeing {
    pub(super) lanes: Vec<Lane>,
    pub(super) more_lanes: usize,
    /// Absent where nobody has looked before.
    pub(super) failures: Option<Vec<Failure>>,
    pub(super) events: Option<Vec<Event>>,
}

impl Seeing {
    /// What a single look tells.
    pub(super) fn once(pool: &dyn AnyPool) -> Self {
        let lanes = pool.lanes();
        let told = lanes.iter().take(LANES).map(|lane| self::lane(lane, None, None));
        let (told, more_lanes) = (told.collect(), lanes.len().saturating_sub(LANES));
        Self { lanes: told, more_lanes, failures: None, events: None }
    }
}

impl Onlooker {
    pub(super) fn new(pool: &Arc<dyn AnyPool>) -> Self {
        let attached = pool.record(Scope::Failures, KEPT).without_keeping();
        Self { attached, seen: HashMap::new(), looks: 0, failures: VecDeque::new(), events: VecDeque::new() }
    }

    /// Looks at the workers, between two frames.
    pub(super) fn look(&mut self, pool: &dyn AnyPool) -> Vec<record::Lane> {
        let lanes = pool.lanes();
        self.looks += 1;
        for lane in lanes.iter().take(LANES) {
            let seen = self.seen.entry(lane.worker).or_default();
            if let Some(running) = &lane.running {
                seen.busy += 1;
                seen.job = Some(cut(running.name.as_str(), NAME));
            }
        }
        lanes
    }

    /// Tells what was seen since the last frame. `at_ms` tells the time of a stamp.
    pub(super) fn tell(&mut self, pool: &dyn AnyPool, at_ms: impl Fn(Stamp) -> u64) -> Seeing {
        let lanes = self.look(pool);
        let (mut seen, looks) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.looks));
        let told = lanes.iter().take(LANES).map(|lane| {
            let seen = seen.remove(&lane.worker).unwrap_or_default();
            self::lane(lane, Some(f64::from(seen.busy) / f64::from(looks)), seen.job)
        });
        let (told, more_lanes) = (told.collect(), lanes.len().saturating_sub(LANES));
        self.take_records();
        Seeing {
            lanes: told,
            more_lanes,
            failures: Some(self.failures.iter().map(|job| failure(job, &at_ms)).collect()),
            events: Some(self.events.iter().map(|event| self::event(event, &at_ms)).collect()),
        }
    }

    fn take_records(&mut self) {
        let taken = self.attached.take();
        keep_latest(&mut self.failures, taken.jobs.into_iter().filter(is_failure));
        keep_latest(&mut self.events, taken.workers);
    }
}

/// Puts what came in its order before what was there, and lets go of the oldest.
fn keep_latest<T>(kept: &mut VecDeque<T>, came: impl IntoIterator<Item = T>) {
    came.into_iter().for_each(|one| kept.push_front(one));
    kept.truncate(LATEST);
}

/// Whether something went wrong: it was not just cancelled or refused, which is counted, and it was not told before.
///
/// A pool that is overloaded refuses any number of jobs; nobody would find the others among them.
fn is_failure(job: &JobRecord) -> bool {
    use TaskErrorKind::{Cancelled, Closed, Overloaded};
    job.failure.as_deref().is_some_and(|failure| {
        failure.stage != Stage::Outlived && !matches!(failure.kind, Cancelled | Overloaded | Closed)
    })
}

fn lane(lane: &record::Lane, busy: Option<f64>, latest_job: Option<String>) -> Lane {
    let job = lane.running.as_ref().map(|running| RunningJob {
        task: running.id.as_u64(),
        name: cut(running.name.as_str(), NAME),
        running_ms: super::snapshot::millis(running.since.elapsed()),
    });
    let state = match lane.state {
        LaneState::Starting => "starting",
        LaneState::StandingBy => "standing_by",
        LaneState::Idle => "idle",
        LaneState::Busy => "busy",
        LaneState::Leaving => "leaving",
    };
    Lane { worker: lane.number, serial: lane.worker, pid: lane.pid, state, busy, job, latest_job }
}

fn failure(job: &JobRecord, at_ms: impl Fn(Stamp) -> u64) -> Failure {
    let (outcome, error) =
        job.failure.as_deref().map_or(("", ""), |failure| (failure.kind.label(), &*failure.text));
    Failure {
        at_ms: at_ms(job.ended),
        task: job.id.as_u64(),
        name: cut(job.name.as_str(), NAME),
        outcome,
        error: cut(error, TEXT),
    }
}

fn event(event: &WorkerRecord, at_ms: impl Fn(Stamp) -> u64) -> Event {
    let (what, reason) = match &event.what {
        Change::Started => ("started", ""),
        Change::Ended(Ending::Retired) => ("retired", ""),
        Change::Ended(Ending::Recycled) => ("recycled", ""),
        Change::Ended(Ending::Killed(reason)) => ("killed", &**reason),
        Change::Ended(Ending::Died(reason)) => ("died", &**reason),
    };
    Event {
        at_ms: at_ms(event.at),
        worker: event.number,
        serial: event.worker,
        pid: event.pid,
        what,
        reason: cut(reason, TEXT),
    }
}
