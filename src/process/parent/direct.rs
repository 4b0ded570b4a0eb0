//! Jobs that are sent and answered without the keeper: where all is quiet it would only be one more thread to be woken.
//!
//! ```text
//! keeper:   has nothing to do, says that the worker is *open* ──▶ waits ─────────────────▶ wakes: the worker is no longer open
//! whoever submits:  takes the worker off the list of idle ones, writes the job into its ring
//! whoever awaits:   *watches* the ring for a few microseconds ──reply──▶ finishes the task, puts the worker on the list again
//!                                                              └─none──▶ rings the keeper
//! ```
//!
//! 1. A worker is open only while its keeper waits, on the list of idle ones, with nothing in flight. All that the keeper looks at before
//!    it sends a job has been looked at then: its term, its silence, its memory. The keeper closes it, under the link, before it does
//!    anything else.
//! 2. Only a job that needs nothing but a slot, or a piece of shared memory that the worker knows, is sent directly, and only where nothing
//!    waits: neither in the queue nor behind another job.
//! 3. A job in flight always has somebody who will look at it: whoever watches; else the keeper, which the worker rings when it
//!    replies, and which looks by itself within [`LOOK`], so that a claim that does not come is noticed. A keeper that would not do so is
//!    rung by whoever sends.
//! 4. While somebody watches, the worker need not ring (the flag *parent asleep* is clear). Who stops watching without the reply
//!    rings the keeper. Who has the reply leaves the flag as the keeper, if that still sleeps, had set it.
//! 5. Who watches takes a plain value and nothing else. Whatever takes more than a look at the slot (a segment, shared memory, an
//!    error, a violation) is left to the keeper.
//!
//! A reply is watched for only if jobs are short and the worker is awake, or has just fallen asleep: else to sleep costs less.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    link::{Flight, Link},
    schedule::Schedule,
    seat::ProcessJob,
    shared::Shared,
    worker::Worker,
};
use crate::{
    TaskId,
    counted::Counted,
    pause::is_parallel,
    process::{
        message::{HAS_NAMES, Signal},
        reply::VALUE,
        ring::{Copied, Place, Reply},
        sys::Moment,
    },
};

/// How soon a keeper looks by itself at what was sent directly.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// How long the mean job may take where its reply is watched for.
const SHORT: Duration = Duration::from_micros(5);
/// How long a reply is watched for.
const WATCH: Duration = Duration::from_micros(10);
/// How long it is watched for if the worker has to be woken, though the last reply is no longer ago than [`SOON`]: who awaits one job
/// after the other would else wake the worker, the keeper and itself for each of them, while each has just fallen asleep.
const WATCH_WAKING: Duration = Duration::from_micros(60);
const SOON: Duration = Duration::from_micros(300);

/// What it takes to send a job, besides a worker.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) enum Needs {
    Slot,
    /// A slot, and a worker that knows this piece of shared memory.
    Piece(u64),
    /// What only a keeper can do.
    Keeper,
}

/// How far others may act for a keeper. Guarded by the worker's link.
#[derive(Debug, Default)]
pub(super) struct Direct {
    /// Jobs may be sent, and replies taken, by others.
    pub(super) open: bool,
    /// The keeper sleeps; else it will look at the ring before it does.
    pub(super) asleep: bool,
    /// The keeper looks within [`LOOK`], though nobody rings it.
    pub(super) looks: bool,
    /// Somebody watches the ring.
    pub(super) watched: bool,
    /// How long it is worthwhile to watch for the reply to the last job.
    patience: Duration,
    /// How many jobs have been sent directly.
    pub(super) sent: u64,
}

impl Direct {
    /// The keeper acts again.
    pub(super) fn close(&mut self) {
        (self.open, self.asleep, self.looks) = (false, false, false);
    }
}

/// Who is to be woken for a job that was sent.
#[must_use = "they sleep on unless they are rung"]
pub(super) struct Sent {
    worker: Arc<Worker>,
    wake_worker: bool,
    wake_keeper: bool,
}

impl Sent {
    pub(super) fn ring(self) {
        if self.wake_worker {
            // A worker that cannot be rung is dying: the pidfd will tell.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
        }
        if self.wake_keeper {
            self.worker.bell.ring();
        }
    }
}

impl Shared {
    /// Sends a new job to an open worker, if it is one for that.
    pub(super) fn send_directly(
        &self,
        schedule: &mut Schedule,
        job: &Counted<dyn ProcessJob>,
    ) -> Option<Sent> {
        let worker = schedule.idle.last()?;
        if !schedule.queue.is_empty() || self.ahead().is_some() {
            return None;
        }
        let mut link = worker.link();
        if !link.is_open() || worker.forgotten.has_unread() {
            return None;
        }
        let flags = match job.needs() {
            Needs::Slot => 0,
            Needs::Piece(id) if link.known.is_used(id) => HAS_NAMES,
            Needs::Piece(_) | Needs::Keeper => return None,
        };
        // Nobody has seen the task yet, so it can have been neither finished nor stopped.
        let call = job.claim()?;
        job.assign(worker);
        job.note_direct();
        let now = Moment::now();
        let pause = now.at.saturating_duration_since(link.last_sign);
        link.send(job.clone(), call, None, flags, now);
        let wake_worker = link.ring.should_ring_worker();
        link.direct.patience = patience(wake_worker, pause);
        link.direct.sent += 1;
        let wake_keeper = link.direct.asleep && !link.direct.looks;
        drop(link);
        let worker = schedule.idle.pop().expect("it was looked at under this lock");
        schedule.note_taken(&**job, &worker);
        Some(Sent { worker, wake_worker, wake_keeper })
    }

    /// A worker whose keeper waits has answered its only job.
    fn is_idle_again(&self, worker: &Arc<Worker>) {
        let mut schedule = self.schedule();
        // Else its keeper is awake, and will do this. If it wakes after this look it takes the worker off the list, after us.
        if !worker.link().is_open() {
            return;
        }
        if !schedule.queue.is_empty() {
            drop(schedule);
            return worker.bell.ring();
        }
        if !schedule.idle.iter().any(|other| Arc::ptr_eq(other, worker)) {
            schedule.idle.push(worker.clone());
        }
    }

    /// Watches for the reply to the job of `task`, which was sent directly, and takes it.
    pub(super) fn watch(&self, worker: &Arc<Worker>, task: TaskId) -> Option<Watched> {
        let watched = worker.watch(task);
        if watched.is_some() {
            self.is_idle_again(worker);
        }
        watched
    }
}

/// A reply that was watched for.
pub(super) struct Watched {
    pub(super) flight: Flight,
    pub(super) begun: Instant,
    /// How long the job ran.
    pub(super) took: Duration,
    /// The bytes of a value that names no shared memory.
    pub(super) value: Copied,
}

impl Worker {
    /// Counts the job that it runs as begun. Its keeper may not have looked yet.
    pub(super) fn note_beginning(&self) {
        let mut link = self.link();
        let now = Moment::now();
        let Some((flight, begun_ns)) = link.running(now.ns) else { return };
        let (begun, job) = (flight.began_at(begun_ns, now), flight.job.clone());
        drop(link);
        job.begun(begun);
    }

    fn watch(&self, task: TaskId) -> Option<Watched> {
        let mut link = self.link();
        if !link.is_worth_watching(task) {
            return None;
        }
        link.direct.watched = true;
        link.ring.wake_up();
        let patience = link.direct.patience;
        let begun = Instant::now();
        loop {
            let found = link.take_watched(task);
            let give_up = match found {
                Ok(None) => begun.elapsed() >= patience,
                _ => true,
            };
            if give_up {
                link.direct.watched = false;
                if let Ok(Some(_)) = found
                    && link.direct.asleep
                {
                    // Nothing is in flight that could have been missed.
                    link.ring.fall_asleep();
                }
                drop(link);
                if !matches!(found, Ok(Some(_))) {
                    self.bell.ring();
                }
                return found.ok().flatten();
            }
            drop(link);
            (0..8).for_each(|_| std::hint::spin_loop());
            link = self.link();
        }
    }
}

/// How long the reply to a short job is watched for, that comes after such a pause.
fn patience(wake_worker: bool, pause: Duration) -> Duration {
    match wake_worker {
        false => WATCH,
        true if pause < SOON => WATCH_WAKING,
        true => Duration::ZERO,
    }
}

/// The reply is none of those that are taken by who watches.
struct NotOurs;

impl Link {
    /// Whether a job may be sent by whoever submits it.
    pub(super) fn is_open(&self) -> bool {
        self.direct.open && self.flights.is_empty() && self.condemned.is_none()
    }

    /// Whether the job of `task` is in flight, alone, on an open worker.
    fn has_directly(&self, task: TaskId) -> bool {
        let is_only = self.flights.len() == 1 && self.flights[0].job.id() == task;
        is_only && self.direct.open && self.condemned.is_none()
    }

    fn is_worth_watching(&self, task: TaskId) -> bool {
        !self.direct.watched
            && !self.direct.patience.is_zero()
            && self.mean_ns < SHORT.as_nanos() as u64
            && is_parallel()
            && self.has_directly(task)
    }

    /// Takes the reply that is watched for, if it is there.
    fn take_watched(&mut self, task: TaskId) -> Result<Option<Watched>, NotOurs> {
        if !self.has_directly(task) {
            return Err(NotOurs);
        }
        let mut other = false;
        let is_plain = |reply: &Reply| {
            other = reply.kind != VALUE || !matches!(reply.result, Place::Inline(_));
            !other
        };
        let reply = self.ring.take_reply_if(is_plain).map_err(|_| NotOurs)?;
        let Some(Reply { position, begun_ns, took_ns, result: Place::Inline(value), .. }) = reply else {
            return if other { Err(NotOurs) } else { Ok(None) };
        };
        let flight = self.remove(position).ok_or(NotOurs)?;
        let now = Moment::now();
        let took_ns = flight.took_ns(begun_ns, took_ns, now);
        self.note_answer(took_ns);
        self.last_sign = now.at;
        let begun = flight.began_at(begun_ns, now);
        Ok(Some(Watched { flight, begun, took: Duration::from_nanos(took_ns), value }))
    }
}
