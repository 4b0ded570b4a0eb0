//! Which jobs a worker is sent, and how.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{DEEPEST, Keeper, SOON};
#[cfg(feature = "tracing")]
use crate::process::message::want_events;
use crate::{
    counted::Counted,
    prefetch::prefetch_whole,
    process::{
        message::{HAS_NAMES, LISTEN, Signal},
        parent::{
            assigned::Assigned,
            link::{AHEAD, Flight, Returned},
            seat::{Call, ProcessJob},
            term::Term,
        },
        segments::Reserved,
        sys::Moment,
    },
};

/// The most segments in use at a time: beyond it, nothing is sent ahead.
const MOST_SEGMENTS: usize = 4;

/// From which length on an argument is written only when its job has been sent, so that both sides copy at once.
const ANNOUNCED: usize = 512 * 1024;

/// With fewer jobs in flight a keeper lets no time pass; and with fewer of several items each, whose outcomes come many at a time anyway.
const FEW: usize = 8;
const FEW_OF_ITEMS: usize = 2;
/// No more than so many are looked at: what comes behind them is not late.
const MANY: usize = 128;
/// How long it lets pass at most; and half of how much work is so much that it would only be late with the first result.
const LONGEST_GATHER: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_micros(80);
/// What a worker spends on a job besides the job itself.
const HANDLING: Duration = Duration::from_nanos(200);

/// An argument that does not fit into a slot.
enum Large {
    Written(Reserved),
    Announced(Reserved, Bytes),
}

impl Large {
    fn id(&self) -> u32 {
        match self {
            Self::Written(reserved) | Self::Announced(reserved, _) => reserved.id,
        }
    }
}

impl Keeper {
    /// Sends jobs as far as it makes sense. Says whether there was one.
    pub(super) fn fill(&mut self) -> bool {
        if self.has_no_place() {
            return false;
        }
        let room = self.room();
        if room == 0 {
            return false;
        }
        // Before anything is taken: what comes from now on is seen when it is sent.
        self.overtakings = self.shared.overtakings();
        let load = self.worker.link().flights.len();
        let sent = (load == 0 && self.steal()) || self.take(room, load);
        if sent {
            self.ring_worker();
            self.shared.cancel_if_closing(&self.worker);
            self.offer();
        }
        sent
    }

    /// Where many short jobs are under way, lets the worker do half of them before it looks again: others use the processor
    /// meanwhile, who submits has the queue for itself, and there is more to be taken at once.
    pub(super) fn let_jobs_gather(&self) {
        let link = self.worker.link();
        let is_of_items = link.flights.back().is_some_and(|last| last.job.is_of_items());
        let few = if is_of_items { FEW_OF_ITEMS } else { FEW };
        let time = gather_time(link.flights.len(), few, link.mean_ns);
        drop(link);
        let begun = Instant::now();
        while !time.is_zero() && begun.elapsed() < time {
            thread::yield_now();
        }
    }

    /// Sends jobs from the queue. Says whether there was one.
    fn take(&mut self, room: usize, load: usize) -> bool {
        let next =
            self.shared.schedule().take(&self.worker, room, load, self.shared.waiting(), &mut self.in_hand);
        self.shared.wake(next);
        let taken = !self.in_hand.is_empty();
        if taken {
            self.memory.job_begins(Instant::now());
        }
        // Who sleeps is not to wait for more than its first job.
        let mut most = if self.worker.link().ring.worker_is_asleep() { 1 } else { usize::MAX };
        while !self.in_hand.is_empty() {
            if let Some((job, call)) = self.send_plain(most) {
                self.send_in_hand(job, call);
            }
            if most == 1 {
                self.ring_worker();
                most = usize::MAX;
            }
        }
        taken
    }

    /// Sends up to `most` jobs in hand, under one lock, for as long as they need nothing but a slot. Returns one that needs more, or
    /// that must not be sent.
    fn send_plain(&mut self, most: usize) -> Option<Returned> {
        if self.congested || self.shared.config().output.is_told() {
            let job = self.in_hand.pop_front()?;
            return job.claim().map(|call| (job, call));
        }
        let mut flags = self.listen_flag();
        // Foreign code, perhaps: to be dropped after the link is free.
        let mut finished = Vec::new();
        let mut link = self.worker.link();
        let now = Moment::now();
        let may_send = link.condemned.is_none() && self.overtakings == self.shared.overtakings();
        for (at, job) in self.in_hand.iter().take(most).enumerate() {
            self.in_hand.get(at + SOON).into_iter().for_each(|soon| prefetch_whole(&**soon));
            job.assign(&self.worker);
        }
        Assigned::settle();
        let (mut ahead, mut left) = (0, None);
        // No more than were assigned, also if some of them turn out to be finished: who stops another would not find its worker.
        for _ in 0..most {
            let Some(job) = self.in_hand.pop_front() else { break };
            let Some(call) = job.claim() else {
                finished.push(job);
                continue;
            };
            let is_wanted = !job.is_stopped() && !job.is_queue_expired(now.at);
            if !may_send || !is_wanted || !call.is_plain() || !link.ring.has_room() {
                left = Some((job, call));
                break;
            }
            ahead += usize::from(!link.flights.is_empty());
            link.send(job, call, None, std::mem::take(&mut flags), now);
        }
        self.shared.count_ahead(ahead);
        left
    }

    /// Wakes an idle worker to steal what waits behind the running job. It may have looked before that was sent.
    fn offer(&self) {
        if self.worker.link().flights.len() > 1 {
            let idle = self.shared.schedule().idle.pop();
            self.shared.wake(idle);
        }
    }

    /// Frees the segments of jobs that are no longer in flight.
    fn free_segments(&mut self) {
        let link = self.worker.link();
        let gone = |position: u64| !link.flights.iter().any(|flight| flight.position == position);
        let (free, lent) = self.lent.iter().partition(|&&(_, position)| gone(position));
        drop(link);
        self.lent = lent;
        let free: Vec<(u32, u64)> = free;
        for (id, _) in free {
            self.outgoing.release(id, &self.worker.socket);
        }
    }

    /// Whether the worker stands by. When it gets a place, its idle time begins.
    fn has_no_place(&mut self) -> bool {
        if self.stands_by && !self.shared.schedule().stands_by(&self.worker) {
            self.stands_by = false;
            self.idle_since = Instant::now();
        }
        self.stands_by
    }

    /// How many more jobs the worker should have.
    fn room(&mut self) -> usize {
        if !self.lent.is_empty() {
            self.free_segments();
        }
        let now = Instant::now();
        let term = self.term(now);
        if term != Term::Serves {
            self.order_successor();
        }
        if self.silent_since.is_some() || self.hung_up || self.is_done(term) {
            return 0;
        }
        let link = self.worker.link();
        self.congested &= !link.flights.is_empty();
        if self.congested || link.condemned.is_some() || !link.ring.has_room() || link.is_slow(now) {
            return 0;
        }
        let given = link.answered + link.flights.len() as u64;
        let left = self.most_tasks.map_or(u64::MAX, |most| most.saturating_sub(given));
        let depth = if self.sends_ahead() { depth(link.mean_ns) } else { 1 };
        depth.saturating_sub(link.flights.len()).min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Whether a worker may be sent another job while it runs one.
    pub(super) fn sends_ahead(&self) -> bool {
        let config = self.shared.config();
        // Where output is told with its task: see the copier. Where memory is limited, what the worker holds after a job must be
        // what that has left.
        !config.output.is_told()
            && config.max_memory_per_worker.is_none()
            && self.outgoing.in_use() < MOST_SEGMENTS
    }

    fn send_in_hand(&mut self, job: Counted<dyn ProcessJob>, call: Call) {
        self.in_hand.push_front(job.clone());
        self.send(job, call);
        self.in_hand.pop_front();
    }

    /// Sends a claimed job, unless it must not begin any more.
    fn send(&mut self, job: Counted<dyn ProcessJob>, mut call: Call) {
        // Nobody is to wait for a result while an argument is copied.
        self.deliver_all();
        if self.congested {
            // Jobs are sent in the order of submission: none overtakes the one that found no room.
            return self.shared.put_back_calls(vec![(job, call)]);
        }
        if let Err(error) = self.introduce(call.argument.pieces()) {
            return self.not_sent(job, call, &error);
        }
        let large = match self.place(&mut call) {
            Ok(large) => large,
            Err(error) => return self.not_sent(job, call, &error),
        };
        let segment = large.as_ref().map(|large| large.id());
        let names = if call.argument.pieces().is_empty() { 0 } else { HAS_NAMES };
        let flags = names | self.listen_flag() | self.events_flag();
        let now = Moment::now();
        self.mark_output(Some(&*job));
        let mut seen = self.overtakings;
        let (mut link, overtaken) = loop {
            let overtaken = self.is_overtaken(&*job, &mut seen, now.at);
            let link = self.worker.link();
            if overtaken || seen == self.shared.overtakings() {
                break (link, overtaken);
            }
        };
        job.assign(&self.worker);
        Assigned::settle();
        // Only looked at under the lock: ending the task runs foreign code.
        let expired = job.is_queue_expired(now.at);
        let refused = job.is_stopped() || expired;
        if !refused && !overtaken && link.condemned.is_none() && link.ring.has_room() {
            let ahead = usize::from(!link.flights.is_empty());
            let position = link.send(job, call, segment, flags, now);
            self.shared.count_ahead(ahead);
            self.lent.extend(segment.map(|id| (id, position)));
            drop(link);
            if let Some(Large::Announced(reserved, bytes)) = large {
                self.hand_over(position, &reserved, bytes);
            }
            return;
        }
        drop(link);
        self.mark_output(None);
        // While the call has a handle of the same bytes: the last one may run foreign code.
        drop(large);
        if let Some(id) = segment {
            self.outgoing.release(id, &self.worker.socket);
        }
        if !refused {
            return self.shared.put_back_calls(vec![(job, call)]);
        }
        crate::panic::drop_shielded(call);
        if expired {
            job.queue_expired(now.at);
        }
    }

    /// Finds a segment for an argument that does not fit into the slot, and writes it there if it is not very large.
    fn place(&mut self, call: &mut Call) -> io::Result<Option<Large>> {
        if call.fits_slot() {
            return Ok(None);
        }
        let len = call.argument.len();
        let reserved = self.outgoing.reserve(len, &self.worker.socket)?;
        Ok(Some(if len < ANNOUNCED {
            let begun = Instant::now();
            reserved.segment.write(call.argument.as_bytes(), || true);
            self.shared.counters().payload_took(begun.elapsed());
            Large::Written(reserved)
        } else {
            Large::Announced(reserved, call.argument.share())
        }))
    }

    /// Writes an argument whose job has been sent: the worker copies each piece as soon as it is there.
    ///
    /// Under no lock, for it may be gigabytes; so the job may be taken back meanwhile, or its worker killed.
    fn hand_over(&self, position: u64, reserved: &Reserved, bytes: Bytes) {
        self.ring_worker();
        let begun = Instant::now();
        reserved.segment.write(&bytes, || self.worker.link().expects(position));
        self.shared.counters().payload_took(begun.elapsed());
        // They may belong to somebody.
        crate::panic::drop_shielded(bytes);
    }

    /// `LISTEN` if the worker is to look at its socket before it looks at the argument.
    fn listen_flag(&self) -> u32 {
        if !self.worker.forgotten.take_unread() {
            return 0;
        }
        self.worker.forgotten.pass_on(&self.worker.socket);
        LISTEN
    }

    /// Ascribes what the worker prints from now on, where that is told.
    pub(super) fn mark_output(&self, job: Option<&dyn ProcessJob>) {
        if self.shared.config().output.is_told() {
            self.worker.mark_output(job);
        }
    }

    /// Up to which level the program wants the worker's events, where these are told.
    fn events_flag(&self) -> u32 {
        #[cfg(feature = "tracing")]
        if self.shared.config().output.is_told() {
            return want_events();
        }
        0
    }

    /// Whether a job in hand has been overtaken by one that came into the queue since it was taken.
    fn is_overtaken(&self, job: &dyn ProcessJob, seen: &mut u64, now: Instant) -> bool {
        if *seen == self.shared.overtakings() {
            return false;
        }
        let schedule = self.shared.schedule();
        *seen = self.shared.overtakings();
        schedule.queue.first_for(self.worker.ticket, now).is_some_and(|first| first < job.rank())
    }

    /// Takes a job that waits behind another worker's and is to begin before all in the queue.
    fn steal(&mut self) -> bool {
        let Some(ahead) = self.shared.ahead() else { return false };
        let schedule = self.shared.schedule();
        let in_queue = schedule.queue.first_for(self.worker.ticket, Instant::now());
        let others = schedule.workers.clone();
        drop(schedule);
        let behind = others.iter().filter(|other| !Arc::ptr_eq(other, &self.worker));
        let firsts = behind.filter_map(|other| Some((other.link().first_behind()?, other)));
        let Some(((rank, position), other)) = firsts.min_by_key(|(first, _)| *first) else {
            self.shared.found_none_ahead(ahead);
            return false;
        };
        if in_queue.is_some_and(|first| first < rank) {
            return false;
        }
        let Some(Flight { job, call, .. }) = other.link().steal(position) else { return false };
        self.shared.schedule().note_taken(&*job, &self.worker);
        self.memory.job_begins(Instant::now());
        self.send_in_hand(job, call);
        true
    }

    fn ring_worker(&self) {
        if self.worker.link().ring.should_ring_worker() {
            // A worker that cannot be rung is dying: the pidfd will tell.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
        }
    }
}

/// How many jobs a worker should have, so that about [`AHEAD`] of work waits behind the running one.
fn depth(mean_ns: u64) -> usize {
    let ahead = AHEAD.as_nanos() as u64 / mean_ns.max(1);
    usize::try_from(ahead).unwrap_or(DEEPEST).clamp(1, DEEPEST - 1) + 1
}

/// How long a keeper need not look at a worker that has so many jobs, where less than a `few` are looked after at once, which take so long.
fn gather_time(load: usize, few: usize, mean_ns: u64) -> Duration {
    let each = HANDLING.saturating_add(Duration::from_nanos(mean_ns));
    let half = each.saturating_mul(load.min(MANY) as u32) / 2;
    if load < few || half > LONG { Duration::ZERO } else { half.min(LONGEST_GATHER) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_looks_away_only_while_many_short_jobs_are_under_way() {
        let micros = Duration::from_micros;
        let table = [
            // jobs, how many are a few, how long each takes, for how long
            ((0, FEW, 0), micros(0)),
            ((7, FEW, 800), micros(0)),
            ((8, FEW, 800), micros(4)),
            ((128, FEW, 200), LONGEST_GATHER),
            ((128, FEW, 1_000), LONGEST_GATHER),
            ((256, FEW, 1_000), LONGEST_GATHER),
            ((256, FEW, 1_500), micros(0)),
            ((20, FEW, 10_000), micros(0)),
            ((usize::MAX, FEW, u64::MAX), micros(0)),
            ((1, FEW_OF_ITEMS, 5_800), micros(0)),
            ((2, FEW_OF_ITEMS, 5_800), micros(6)),
            ((2, FEW_OF_ITEMS, 1_000_000), micros(0)),
        ];
        for ((load, few, mean_ns), time) in table {
            assert_eq!(gather_time(load, few, mean_ns), time, "{load} jobs of {mean_ns} ns");
        }
    }

    #[test]
    fn short_jobs_are_sent_far_ahead_and_long_ones_hardly() {
        assert_eq!(depth(0), DEEPEST);
        assert_eq!(depth(500), DEEPEST);
        assert_eq!(depth(1_000), 201);
        assert_eq!(depth(20_000), 11);
        assert_eq!(depth(1_000_000), 2);
        assert_eq!(depth(u64::MAX), 2);
    }
}
