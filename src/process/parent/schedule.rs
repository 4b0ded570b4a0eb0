//! [`Schedule`]: what waits, who works, and who is to be woken; guarded by the pool's one lock.
//!
//! Decides only: no process, no clock, no wake; the order of the jobs is that of [`Queue`]. Its answers say whom the caller must wake after it has let go of the lock.
//!
//! 1. A worker that asks for jobs gets the first ones in the queue, except those that are promised to others.
//! 2. A worker in `idle` has no job, and its keeper waits, or looks at the queue again before it does; it leaves `idle` by being
//!    woken, by being sent a job directly, by retiring or by dying.
//! 3. Whenever a job is in the queue then a worker has been woken for it, a worker is being started, or all are busy and look
//!    at the queue when they are done. Where a job is promised to a worker that is not in `idle`, another idle one is woken too,
//!    which waits for the end of the promise.
//! 4. A successor has no place, and so no jobs, until the worker that it replaces leaves its own: `workers` never has both, and is
//!    never longer than `max_workers`, unless a resize made the pool smaller.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{
    homes::Homes,
    queue::{Queue, Rank},
    seat::ProcessJob,
    term::Succession,
    waiting::Waiting,
    worker::Worker,
};
use crate::{
    Priority, Shutdown,
    counted::Counted,
    metrics::{Outcomes, Staff},
};

#[derive(Default)]
pub(super) struct Schedule {
    pub(super) queue: Queue<Queued>,
    pub(super) homes: Homes,
    /// The last rank of all that was taken since a job came before it.
    pub(super) last_taken: Option<Rank>,
    /// Workers that serve or start, in the order of their birth.
    pub(super) workers: Vec<Arc<Worker>>,
    /// How many those were, over time.
    pub(super) staff: Staff,
    pub(super) idle: Vec<Arc<Worker>>,
    /// Those of `workers` that have been forked and have not said that they are ready.
    pub(super) starting: usize,
    /// Workers that start or stand by to take the place of one that is to be replaced on schedule.
    pub(super) successors: Vec<Arc<Worker>>,
    pub(super) succession: Succession,
    /// Workers that no longer serve and are not gone yet.
    pub(super) departing: Vec<Arc<Worker>>,
    /// Dead workers to be replaced although nothing waits.
    pub(super) to_replace: usize,
    pub(super) max_workers: usize,
    pub(super) closing: Option<Closing>,
    /// What became of started workers, for the manager.
    pub(super) starts: VecDeque<Start>,
    /// Whether the manager has come to its end, or was never needed.
    pub(super) ended: bool,
    pub(super) has_manager: bool,
}

/// A job in the queue, with what decides about it: so that the task's own memory is not touched under the lock.
pub(super) struct Queued {
    pub(super) job: Counted<dyn ProcessJob>,
    priority: Priority,
    has_affinity: bool,
}

impl Queued {
    fn new(job: Counted<dyn ProcessJob>) -> Self {
        Self { priority: job.priority(), has_affinity: job.affinity().is_some(), job }
    }
}

/// A shutdown under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) mode: Shutdown,
    pub(super) before: Outcomes,
}

/// What became of a started worker.
#[derive(Debug)]
pub(super) enum Start {
    Succeeded,
    Failed(String),
    /// The pool came to its end first.
    Unneeded,
}

impl Schedule {
    /// Adds a job. Returns the worker to be woken.
    pub(super) fn push(&mut self, job: Counted<dyn ProcessJob>) -> Option<Arc<Worker>> {
        self.queue.push(job.rank(), Queued::new(job));
        self.idle.pop()
    }

    /// Adds a job, and promises it to the worker that knows its key, if that has nothing to do. Returns the workers to be
    /// woken.
    pub(super) fn push_new(&mut self, job: Counted<dyn ProcessJob>) -> [Option<Arc<Worker>>; 2] {
        let Some(key) = job.affinity() else { return [self.push(job), None] };
        let now = Instant::now();
        let Some(home) = self.home(key, now) else { return [self.push(job), None] };
        let rank = job.rank();
        self.queue.push(rank, Queued::new(job));
        self.queue.promise(rank, home.ticket, now);
        // One that waits comes at once. One that is about to look at the queue may be held up, by somebody's callback.
        let guard = if self.not_idle(&home) { None } else { self.idle.pop() };
        [Some(home), guard]
    }

    /// The worker that ran the last job with this key, if it has nothing to do.
    fn home(&self, key: u64, now: Instant) -> Option<Arc<Worker>> {
        let ticket = self.homes.of(key)?;
        let home = self.workers.iter().find(|worker| worker.ticket == ticket)?;
        let is_free =
            home.serves.load(Relaxed) && !self.queue.has_promise_for(ticket, now) && home.is_without_jobs();
        is_free.then(|| home.clone())
    }

    /// Whether a job comes before others that were taken and may not have begun. From now on these are as good as taken back.
    pub(super) fn overtakes(&mut self, job: &dyn ProcessJob, waiting: &Waiting) -> bool {
        // Looked at first, so that jobs of equal priority that come from several threads do not push each other back.
        let overtakes = waiting.has_less_urgent(job.priority()) && self.last_taken > Some(job.rank());
        if overtakes {
            self.last_taken = Some(job.rank());
        }
        overtakes
    }

    /// Takes up to `most` jobs for a worker, first ones first, that has `load` others, and puts them into `jobs`, which is empty.
    /// Returns the worker to be woken for what is left.
    ///
    /// Nothing is taken to be sent ahead while something more urgent waits, wherever that is: its worker would begin it first.
    pub(super) fn take(
        &mut self,
        worker: &Worker,
        most: usize,
        load: usize,
        waiting: &Waiting,
        jobs: &mut VecDeque<Counted<dyn ProcessJob>>,
    ) -> Option<Arc<Worker>> {
        if self.queue.is_empty() || self.has_surplus() {
            // Of a surplus whoever asks is the one to go, as soon as its worker has nothing to do.
            return None;
        }
        let now = Instant::now();
        // What could begin at once elsewhere must not wait behind a running job.
        let elsewhere = self.max_workers - self.workers.len() + self.starting + self.idle.len();
        let open = self.queue.open_to(worker.ticket, now);
        let ahead = open.saturating_sub(elsewhere);
        let share = share(open, self.workers.len(), most).min(ahead.max(usize::from(load == 0)));
        // Asked once for all jobs of a priority: what is submitted meanwhile waits for this lock, and then overtakes them.
        let mut least_urgent = None;
        while jobs.len() < share {
            let may_go = |queued: &Queued| {
                let is_first = load + jobs.len() == 0;
                if is_first || least_urgent == Some(queued.priority) {
                    return true;
                }
                least_urgent = Some(queued.priority);
                !waiting.has_more_urgent(queued.priority)
            };
            let Some((rank, queued)) = self.queue.pop_for(worker.ticket, now, may_go) else { break };
            self.last_taken = self.last_taken.max(Some(rank));
            if queued.has_affinity {
                self.note_home(&*queued.job, worker);
            }
            jobs.push_back(queued.job);
        }
        if !jobs.is_empty() {
            self.queue.release(worker.ticket);
        }
        if self.queue.is_open(now) { self.idle.pop() } else { None }
    }

    /// A job goes to this worker.
    pub(super) fn note_taken(&mut self, job: &dyn ProcessJob, worker: &Worker) {
        self.last_taken = self.last_taken.max(Some(job.rank()));
        self.note_home(job, worker);
    }

    fn note_home(&mut self, job: &dyn ProcessJob, worker: &Worker) {
        if let Some(key) = job.affinity() {
            self.homes.note(key, worker.ticket);
        }
    }

    /// Takes a worker off the list of idle ones. Says whether it was there.
    pub(super) fn not_idle(&mut self, worker: &Arc<Worker>) -> bool {
        let before = self.idle.len();
        self.idle.retain(|other| !Arc::ptr_eq(other, worker));
        self.idle.len() < before
    }

    pub(super) fn remove(&mut self, worker: &Arc<Worker>) {
        self.not_idle(worker);
        let before = self.workers.len();
        self.workers.retain(|other| !Arc::ptr_eq(other, worker));
        if self.workers.len() < before {
            self.staff.left(Instant::now());
        }
        self.successors.retain(|other| !Arc::ptr_eq(other, worker));
        self.succession.leave(worker.ticket);
    }

    /// A worker has been forked: it gets a place, or stands by for one.
    pub(super) fn employ(&mut self, worker: Arc<Worker>, min_workers: usize) {
        let stands_by = self.places_to_fill(min_workers) == 0
            && (self.successors_to_start() > 0 || self.workers.len() >= self.max_workers);
        if stands_by {
            self.succession.stand_by(worker.ticket);
            self.successors.push(worker);
        } else {
            self.place(worker);
            self.to_replace = self.to_replace.saturating_sub(1);
            self.limit_replacements();
        }
    }

    fn place(&mut self, worker: Arc<Worker>) {
        if !worker.serves.load(Relaxed) {
            self.starting += 1;
            worker.awaited.store(true, Relaxed);
        }
        self.workers.push(worker);
        self.staff.came(Instant::now());
    }

    /// A worker has said whether it is ready. Returns whom to wake: it may relieve another.
    pub(super) fn started(&mut self, worker: &Worker, outcome: Start) -> Vec<Arc<Worker>> {
        if worker.awaited.swap(false, Relaxed) {
            self.starting -= 1;
        }
        let ready = matches!(outcome, Start::Succeeded);
        self.starts.push_back(outcome);
        if !ready || !self.succession.stands_by(worker.ticket) {
            return Vec::new();
        }
        self.succession.ready(worker.ticket);
        self.concerned()
    }

    /// A worker is to be replaced; it serves on for now. Says whether the manager has something to do.
    pub(super) fn order_successor(&mut self, worker: &Worker) -> bool {
        self.succession.order(worker.ticket);
        self.successors_to_start() > 0
    }

    /// Whether a worker waits for a place, and so gets no jobs.
    pub(super) fn stands_by(&self, worker: &Worker) -> bool {
        self.succession.stands_by(worker.ticket)
    }

    /// Whether a worker that is to be replaced need not serve on.
    pub(super) fn is_relieved(&self, worker: &Worker) -> bool {
        self.succession.is_relieved(worker.ticket)
    }

    /// Whether a worker that stands by should go.
    pub(super) fn has_needless_successor(&self) -> bool {
        self.is_finishing() || self.succession.has_needless(self.surplus())
    }

    /// The workers that are to be replaced, and those that stand by for them.
    fn concerned(&self) -> Vec<Arc<Worker>> {
        let all = self.workers.iter().chain(&self.successors);
        all.filter(|worker| self.succession.concerns(worker.ticket)).cloned().collect()
    }

    /// Whether a worker serves, starts or stands by.
    pub(super) fn employs(&self, worker: &Arc<Worker>) -> bool {
        self.workers.iter().chain(&self.successors).any(|other| Arc::ptr_eq(other, worker))
    }

    /// All workers whose process may live.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter().chain(&self.successors).chain(&self.departing)
    }

    /// The worker serves no more, but its process is not gone yet. Returns the workers to be woken: the one that leaves may
    /// have been woken for a job that it did not take, and who is to be replaced next may be another.
    pub(super) fn leave(&mut self, worker: &Arc<Worker>) -> Vec<Arc<Worker>> {
        self.remove(worker);
        self.queue.release(worker.ticket);
        self.departing.push(worker.clone());
        let mut woken = self.concerned();
        if !self.queue.is_empty() {
            woken.extend(self.idle.pop());
        }
        woken
    }

    /// As [`leave`](Self::leave), and its place is taken whether or not something waits: by who stands by, else by a worker that
    /// is to be started.
    pub(super) fn leave_to_successor(&mut self, worker: &Arc<Worker>) -> Vec<Arc<Worker>> {
        if self.stands_by(worker) {
            // It had no place.
            return self.leave(worker);
        }
        let followed = self.workers.len() <= self.max_workers;
        let successor = if followed { self.succession.next() } else { None };
        let promoted = successor.and_then(|ticket| self.promote(ticket));
        let mut woken = self.leave(worker);
        if promoted.is_none() && self.closing.is_none() {
            self.to_replace += 1;
            self.limit_replacements();
        }
        woken.extend(promoted);
        woken
    }

    /// Gives a successor a place. If it is ready it is as good as idle.
    fn promote(&mut self, ticket: u64) -> Option<Arc<Worker>> {
        let index = self.successors.iter().position(|worker| worker.ticket == ticket)?;
        let worker = self.successors.remove(index);
        if worker.serves.load(Relaxed) {
            self.idle.push(worker.clone());
        }
        self.place(worker.clone());
        Some(worker)
    }

    /// Workers that are started for the queue are replacements as good as any.
    pub(super) fn limit_replacements(&mut self) {
        self.to_replace = self.to_replace.min(self.max_workers.saturating_sub(self.workers.len()));
    }

    /// Whether there is a worker that has come to serve.
    pub(super) fn has_serving(&self) -> bool {
        // Not to be had from `starting`, which still counts workers that have failed and are being buried.
        self.workers.iter().any(|worker| worker.serves.load(Relaxed))
    }

    /// Whether there are more workers than there may be.
    pub(super) fn has_surplus(&self) -> bool {
        self.workers.len() > self.max_workers
    }

    fn surplus(&self) -> usize {
        self.workers.len().saturating_sub(self.max_workers)
    }

    /// Whether a zygote still has workers.
    pub(super) fn needs_zygote(&self, serial: u64) -> bool {
        self.alive().any(|worker| worker.zygote == serial)
    }

    /// How many workers should be started now, for places and to stand by.
    pub(super) fn to_start(&self, min_workers: usize) -> usize {
        self.places_to_fill(min_workers) + self.successors_to_start()
    }

    fn successors_to_start(&self) -> usize {
        if self.is_finishing() || !self.starts.is_empty() {
            0
        } else {
            self.succession.to_start(self.surplus())
        }
    }

    fn places_to_fill(&self, min_workers: usize) -> usize {
        // A failure that the manager has not seen yet may ask for a pause.
        if self.is_finishing() || !self.starts.is_empty() {
            return 0;
        }
        let min_workers = if self.closing.is_some() { 0 } else { min_workers };
        let to_replace = if self.closing.is_some() { 0 } else { self.to_replace };
        demand(Demand {
            queued: self.queue.len(),
            ready_to_take: self.idle.len() + self.starting,
            alive: self.workers.len(),
            at_least: min_workers.max(self.workers.len() + to_replace),
            at_most: self.max_workers,
        })
    }

    /// Whether the pool closes and nothing waits any more.
    pub(super) fn is_finishing(&self) -> bool {
        self.closing.is_some() && self.queue.is_empty()
    }

    /// Whether everything is done and gone.
    pub(super) fn is_over(&self) -> bool {
        self.is_finishing() && self.alive().next().is_none()
    }
}

/// What the number of workers to start depends on.
struct Demand {
    queued: usize,
    ready_to_take: usize,
    alive: usize,
    at_least: usize,
    at_most: usize,
}

/// One worker for each waiting job that nobody is about to take, within the limits.
fn demand(demand: Demand) -> usize {
    let Demand { queued, ready_to_take, alive, at_least, at_most } = demand;
    let for_queue = queued.saturating_sub(ready_to_take);
    let for_floor = at_least.saturating_sub(alive);
    for_queue.max(for_floor).min(at_most.saturating_sub(alive))
}

/// How many of the waiting jobs a worker may take at once: not more than its share while there are others.
fn share(queued: usize, workers: usize, most: usize) -> usize {
    queued.div_ceil(workers.max(1)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_started_for_each_job_that_nobody_takes() {
        let table = [
            // queued, ready, alive, at least, at most => start
            ((0, 0, 0, 0, 4), 0),
            ((1, 0, 0, 0, 4), 1),
            ((9, 0, 0, 0, 4), 4),
            ((2, 1, 1, 0, 4), 1),
            ((2, 2, 2, 0, 4), 0),
            ((0, 0, 1, 2, 4), 1),
            ((5, 0, 4, 0, 4), 0),
            ((0, 0, 6, 0, 4), 0),
        ];
        for ((queued, ready_to_take, alive, at_least, at_most), start) in table {
            let found = demand(Demand { queued, ready_to_take, alive, at_least, at_most });
            assert_eq!(found, start, "{queued} {ready_to_take} {alive} {at_least} {at_most}");
        }
    }

    #[test]
    fn a_worker_takes_its_share_and_no_more_than_it_has_room_for() {
        assert_eq!(share(0, 2, 8), 0);
        assert_eq!(share(1, 2, 8), 1);
        assert_eq!(share(3, 2, 8), 2);
        assert_eq!(share(100, 2, 8), 8);
        assert_eq!(share(5, 0, 8), 5);
    }
}
