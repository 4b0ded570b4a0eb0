//! [`Link`]: what has been sent to a worker and is not finished, and what is to become of the worker.
//!
//! 1. `flights` has one entry for each position in flight in the ring, oldest first.
//! 2. A condemned worker is sent nothing more; what it had not begun has been taken back.
//! 3. A worker is killed only while the job that it is to be killed for is the one that runs: looked at after everything
//!    behind it has been taken back, so that no later job can begin in between.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    direct::Direct,
    known::Known,
    queue::Rank,
    seat::{Call, ProcessJob},
};
use crate::{
    TaskId,
    counted::Counted,
    process::{
        message::note_flag,
        ring::{Arena, JobHeader, Look, ParentRing, Place},
        sys::{Mapped, Moment},
    },
};

/// How long jobs may wait behind a running one. It is far more than the work that is sent ahead is thought to take: whoever
/// waits so long was sent behind a job that takes longer than those before it.
const PATIENCE: Duration = Duration::from_millis(10);
/// As good as without end, and a time that an `Instant` can hold.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// How much work is sent ahead; and how long a job is thought to take of which nothing is known.
pub(super) const AHEAD: Duration = Duration::from_micros(200);

/// One worker's ring, and the jobs in it. Guarded by the worker's lock.
pub(super) struct Link {
    pub(super) ring: ParentRing<Mapped<Arena>>,
    pub(super) flights: VecDeque<Flight>,
    /// Whether no job in flight ranks before one that was sent earlier; and the rank of the last one that was sent.
    in_order: bool,
    last_rank: Option<Rank>,
    pub(super) condemned: Option<Condemned>,
    /// When something last showed that the worker is at work: a job sent to an idle worker, a reply.
    pub(super) last_sign: Instant,
    /// Replies taken so far.
    pub(super) answered: u64,
    /// A running mean of how long a job takes, in nanoseconds.
    pub(super) mean_ns: u64,
    /// The shared memory that the worker has been told of.
    pub(super) known: Known,
    pub(super) direct: Direct,
}

/// A job that was sent.
pub(super) struct Flight {
    pub(super) position: u64,
    pub(super) job: Counted<dyn ProcessJob>,
    /// What it takes to send it again.
    pub(super) call: Call,
    pub(super) sent_ns: u64,
    /// When it was first seen to run: what the worker says later of its beginning cannot put that off.
    pub(super) seen_ns: Option<u64>,
}

impl Flight {
    /// How long the job took, in nanoseconds: the worker's word, if it can be true.
    pub(super) fn took_ns(&self, begun_ns: u64, took_ns: u32, now: Moment) -> u64 {
        let since = now.ns.saturating_sub(begun_ns);
        let took_ns = if took_ns == u32::MAX { since } else { took_ns.into() };
        took_ns.min(now.ns.saturating_sub(self.sent_ns))
    }

    /// When the job began: the worker's word, if it can be true.
    pub(super) fn began_at(&self, begun_ns: u64, now: Moment) -> Instant {
        let latest = self.seen_ns.unwrap_or(now.ns).min(now.ns);
        let begun_ns = begun_ns.clamp(self.sent_ns.min(latest), latest);
        now.at.checked_sub(Duration::from_nanos(now.ns - begun_ns)).unwrap_or(now.at)
    }
}

/// Why a worker is to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condemned {
    /// The job that it is killed for.
    pub(super) position: Option<u64>,
    /// When SIGKILL follows the polite request; `None` once it was sent.
    pub(super) kill_at: Option<Instant>,
    /// What the worker did, for the error of the job that dies with it; `None` if it did nothing wrong.
    pub(super) note: Option<&'static str>,
    /// Since when: SIGKILL, if it was sent, was sent no earlier.
    pub(super) since: Instant,
}

/// A job taken back from a worker.
pub(super) type Returned = (Counted<dyn ProcessJob>, Call);

/// What a look at a job in flight says.
pub(super) enum Stop {
    /// It was not begun, and is the worker's no more.
    TakenBack(Flight),
    /// It runs, at this position: the worker is to be stopped.
    Running(u64),
    /// What the worker has written is impossible: its keeper is to look, and will convict it.
    Suspect,
    /// The worker does not have it, or is done with it.
    Nothing,
}

impl Link {
    pub(super) fn new(arena: Mapped<Arena>) -> Self {
        Self {
            ring: ParentRing::new(arena),
            flights: VecDeque::new(),
            in_order: true,
            last_rank: None,
            condemned: None,
            last_sign: Instant::now(),
            answered: 0,
            mean_ns: AHEAD.as_nanos() as u64,
            known: Known::default(),
            direct: Direct::default(),
        }
    }

    /// Sends a job, whose argument lies in `segment` or fits into the slot. Returns its position.
    ///
    /// The ring must have room.
    pub(super) fn send(
        &mut self,
        job: Counted<dyn ProcessJob>,
        call: Call,
        segment: Option<u32>,
        flags: u32,
        now: Moment,
    ) -> u64 {
        let (bytes, note) = (call.argument.as_bytes(), call.note.as_bytes());
        let place = match segment {
            Some(id) => Place::Segment { id, len: bytes.len() as u64 },
            None => Place::Inline(bytes),
        };
        let header = JobHeader {
            trampoline: call.function.distance,
            type_hash: call.function.type_hash,
            task: job.id().as_u64(),
            flags: flags | note_flag(note),
        };
        let sent = self.ring.send_with_note(&header, place, note);
        let position = sent.expect("the keeper sends only while the ring has room");
        let rank = job.rank();
        if self.flights.is_empty() {
            self.last_sign = now.at;
            self.in_order = true;
        } else {
            self.in_order &= self.last_rank.is_none_or(|last| last < rank);
        }
        self.last_rank = Some(rank);
        self.flights.push_back(Flight { position, job, call, sent_ns: now.ns, seen_ns: None });
        position
    }

    /// Takes note of a reply to a job that took so long.
    pub(super) fn note_answer(&mut self, took_ns: u64) {
        self.mean_ns = (self.mean_ns.saturating_mul(7).saturating_add(took_ns)) / 8;
        self.answered += 1;
    }

    /// Takes a job back if it has not begun.
    pub(super) fn stop(&mut self, task: TaskId) -> Stop {
        let Some(index) = self.flights.iter().position(|flight| flight.job.id() == task) else {
            return Stop::Nothing;
        };
        let position = self.flights[index].position;
        if self.ring.take_back(position) {
            return Stop::TakenBack(self.flights.remove(index).expect("the index was found just now"));
        }
        match self.ring.look(position) {
            Look::Claimed { .. } => Stop::Running(position),
            Look::Violation(_) => Stop::Suspect,
            Look::Sent | Look::Done | Look::Gone => Stop::Nothing,
        }
    }

    /// Whether the worker has begun a job that it was sent.
    pub(super) fn has_begun(&self, task: TaskId) -> bool {
        let flight = self.flights.iter().find(|flight| flight.job.id() == task);
        flight.is_some_and(|flight| {
            matches!(self.ring.look(flight.position), Look::Claimed { .. } | Look::Done)
        })
    }

    /// What the items of a running job have published, if it is several.
    pub(super) fn published(&self, task: TaskId) -> Option<Vec<u8>> {
        let flight = self.flights.iter().find(|flight| flight.job.id() == task)?;
        let Look::Claimed { .. } = self.ring.look(flight.position) else { return None };
        // If it is impossible its keeper will see that, too.
        self.ring.items(flight.position).ok().map(|(_, bytes)| bytes)
    }

    /// When what waits behind the running job has waited for too long; `None` if nothing waits.
    pub(super) fn stuck_at(&self) -> Option<Instant> {
        (self.flights.len() > 1).then(|| self.last_sign + PATIENCE)
    }

    /// Whether the running job has taken so long that nothing should be sent behind it.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        !self.flights.is_empty() && now >= self.last_sign + PATIENCE
    }

    /// The first job by rank that waits behind another: its rank and its position; `None` if there is none.
    pub(super) fn first_behind(&self) -> Option<(Rank, u64)> {
        let begun = |flight: &Flight| !matches!(self.ring.look(flight.position), Look::Sent);
        // A worker begins jobs in order, so this finds the first that has not begun; whatever one does that does not, nothing is taken
        // that has. The oldest of all runs, or is about to: taking that away would gain nothing.
        let first = self.flights.partition_point(begun).max(1);
        let mut behind = self
            .flights
            .range(first.min(self.flights.len())..)
            .map(|flight| (flight.job.rank(), flight.position));
        if self.in_order { behind.next() } else { behind.min() }
    }

    /// Takes back the job at `position` if it waits behind another.
    pub(super) fn steal(&mut self, position: u64) -> Option<Flight> {
        let is_behind = self.flights.front().is_some_and(|first| first.position < position);
        if is_behind && self.ring.take_back(position) { self.remove(position) } else { None }
    }

    /// Takes back everything that has not begun and ranks after `rank`.
    pub(super) fn take_back_after(&mut self, rank: Rank) -> Vec<Flight> {
        let after = self.flights.iter().filter(|flight| flight.job.rank() > rank);
        let after: Vec<u64> = after.map(|flight| flight.position).collect();
        let taken: Vec<u64> = after.into_iter().filter(|&position| self.ring.take_back(position)).collect();
        taken.into_iter().filter_map(|position| self.remove(position)).collect()
    }

    /// Takes back everything that has not begun.
    pub(super) fn take_back_all(&mut self) -> Vec<Flight> {
        let positions = self.ring.take_back_all();
        positions.into_iter().filter_map(|position| self.remove(position)).collect()
    }

    pub(super) fn remove(&mut self, position: u64) -> Option<Flight> {
        if self.flights.front()?.position == position {
            return self.flights.pop_front();
        }
        let index = self.flights.binary_search_by_key(&position, |flight| flight.position).ok()?;
        self.flights.remove(index)
    }

    /// Sends nothing more, takes back what has not begun, and says whether the job at `position` still runs: only then is
    /// the worker condemned.
    pub(super) fn condemn_for(&mut self, position: u64, grace: Duration) -> (bool, Vec<Flight>) {
        if self.condemned.is_some() {
            return (false, Vec::new());
        }
        let taken = self.take_back_all();
        let runs = matches!(self.ring.look(position), Look::Claimed { .. });
        if runs {
            let kill_at = (!grace.is_zero()).then(|| Instant::now() + grace.min(FOREVER));
            if kill_at.is_some() {
                self.ring.request_stop(position);
            }
            self.condemned =
                Some(Condemned { position: Some(position), kill_at, note: None, since: Instant::now() });
        }
        (runs, taken)
    }

    /// The job that the worker runs, with when it says that it began. Takes note of having seen it, at `now_ns`.
    pub(super) fn running(&mut self, now_ns: u64) -> Option<(&Flight, u64)> {
        // Before it lie only jobs whose replies have not been taken yet.
        self.flights.iter_mut().find_map(|flight| match self.ring.look(flight.position) {
            Look::Claimed { begun_ns } => {
                flight.seen_ns.get_or_insert(now_ns);
                Some((&*flight, begun_ns))
            }
            _ => None,
        })
    }

    /// Whether the worker has, or may yet come to, the job at `position`.
    pub(super) fn expects(&self, position: u64) -> bool {
        let is_killed = self.condemned.is_some_and(|condemned| condemned.kill_at.is_none());
        !is_killed && self.flights.iter().any(|flight| flight.position == position)
    }

    /// Whether the worker has a job to begin and nothing else to do.
    pub(super) fn awaits_claim(&self) -> bool {
        let front = self.flights.front();
        front.is_some_and(|front| matches!(self.ring.look(front.position), Look::Sent))
    }

    /// The jobs that have not begun.
    pub(super) fn not_begun(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter().filter(|flight| matches!(self.ring.look(flight.position), Look::Sent))
    }
}
