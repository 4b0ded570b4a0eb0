//! What is to happen at its time: limits, silence, recycling; and the wait until then.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{BEYOND_REACH, DYING, FIRST_LOOK, Keeper, Next, Woken};
use crate::{
    counted::Counted,
    process::{
        message::Signal,
        parent::{
            direct::LOOK,
            seat::ProcessJob,
            term::{Tenure, Term},
        },
        sys::{Interest, Moment, wait},
    },
    record::Ending,
};

/// How soon a job must be claimed by a worker that has nothing else to do.
const CLAIM_WITHIN: Duration = Duration::from_millis(100);

impl Keeper {
    /// Acts on every clock that has run out.
    pub(super) fn look_at_clocks(&mut self) {
        let now = Instant::now();
        self.worker.carry_out(&mut self.worker.link(), now);
        if let Some((job, deadline)) = self.running() {
            self.silent_since = None;
            self.free_stuck(now);
            if deadline.is_some_and(|deadline| now >= deadline) {
                job.run_expired();
            }
            self.look_at_memory_in_use(now);
        } else {
            self.look_for_claim(now);
        }
    }

    /// The running job, and when its time is over. Takes note of its beginning.
    fn running(&mut self) -> Option<(Counted<dyn ProcessJob>, Option<Instant>)> {
        let mut link = self.worker.link();
        let now = Moment::now();
        let (flight, begun_ns) = link.running(now.ns)?;
        let begun = flight.began_at(begun_ns, now);
        let job = flight.job.clone();
        drop(link);
        job.begun(begun);
        let deadline = job.run_timeout().and_then(|limit| begun.checked_add(limit));
        Some((job, deadline))
    }

    /// Puts back what has waited behind the running job for too long: others may begin it sooner.
    fn free_stuck(&self, now: Instant) {
        let mut link = self.worker.link();
        let is_stuck = link.stuck_at().is_some_and(|at| now >= at);
        let taken = if is_stuck { link.take_back_all() } else { Vec::new() };
        drop(link);
        self.shared.put_back(taken);
    }

    /// A worker that has a job and runs none should claim it soon.
    fn look_for_claim(&mut self, now: Instant) {
        if self.silent_since.is_some() {
            self.look_for_sign();
        }
        let mut link = self.worker.link();
        let since = link.last_sign;
        let overdue = link.awaits_claim() && now.saturating_duration_since(since) >= CLAIM_WITHIN;
        let taken = if overdue { link.take_back_all() } else { Vec::new() };
        drop(link);
        if !taken.is_empty() {
            self.silent_since.get_or_insert(since);
            self.shared.put_back(taken);
        }
        let limit = self.shared.config().start_timeout;
        if self.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= limit) {
            self.convict("it did not take a job in time");
        }
    }

    /// Whether a silent worker has declared itself asleep since it was last rung: then it lives.
    fn look_for_sign(&mut self) {
        let link = self.worker.link();
        if link.flights.is_empty() && link.ring.should_ring_worker() {
            // Asking has cleared the flag, so it must be rung, or it would sleep through its next job.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
            self.silent_since = None;
        }
    }

    /// When to look again although nothing has been heard.
    pub(super) fn next(&mut self) -> Next {
        let now = Instant::now();
        let link = self.worker.link();
        let (is_empty, condemned, stuck_at) = (link.flights.is_empty(), link.condemned, link.stuck_at());
        drop(link);
        if let Some(condemned) = condemned {
            return Next::Wait(Some(condemned.kill_at.unwrap_or(condemned.since + BEYOND_REACH)));
        }
        if self.hung_up {
            // It is dying, though not convicted.
            return Next::Wait(Some(now + DYING));
        }
        if self.silent_since.is_some() {
            return Next::Wait(Some(now + FIRST_LOOK * 10));
        }
        if let Some((_, deadline)) = self.running() {
            let looks = [deadline, self.memory_look_at(), self.due_at(), stuck_at];
            return Next::Wait(looks.into_iter().flatten().min());
        }
        if is_empty && !self.worker.forgotten.pass_on(&self.worker.socket) {
            // It has nothing to do, so it is about to read what is in its socket.
            return Next::Wait(Some(now + FIRST_LOOK * 10));
        }
        if !is_empty {
            // About to be claimed: look soon, so that its clock runs, then less and less often.
            let at = now + self.look;
            self.look = (self.look * 2).min(CLAIM_WITHIN);
            return Next::Wait(Some(at));
        }
        self.next_when_idle(now)
    }

    fn next_when_idle(&mut self, now: Instant) -> Next {
        if self.stands_by {
            return self.next_when_standing_by(now);
        }
        let config = self.shared.config();
        let term = self.term(now);
        let mut schedule = self.shared.schedule();
        let spent = term == Term::Over || (term == Term::Due && schedule.is_relieved(&self.worker));
        if spent && !schedule.is_finishing() {
            let woken = schedule.leave_to_successor(&self.worker);
            drop(schedule);
            self.shared.counters().recycled();
            self.record_end(Ending::Recycled);
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        let surplus = schedule.has_surplus();
        let opens = schedule.queue.opens_at(self.worker.ticket, now);
        if opens.is_some_and(|at| at <= now) && !spent && !surplus {
            return Next::Wait(Some(now));
        }
        let idle_until = config.idle_timeout.filter(|_| schedule.workers.len() > config.min_workers);
        let idle_until = idle_until.and_then(|limit| self.idle_since().checked_add(limit));
        if spent || schedule.closing.is_some() || surplus || idle_until.is_some_and(|at| now >= at) {
            let woken = schedule.leave(&self.worker);
            drop(schedule);
            self.record_end(Ending::Retired);
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        if !schedule.idle.iter().any(|other| Arc::ptr_eq(other, &self.worker)) {
            schedule.idle.push(self.worker.clone());
        }
        self.listed = true;
        self.worker.link().direct.open = self.may_be_open(term);
        Next::Wait([idle_until, self.due_at(), opens].into_iter().flatten().min())
    }

    /// Since when the worker has had no job.
    fn idle_since(&self) -> Instant {
        self.idle_since.max(self.worker.link().last_sign)
    }

    /// Whether jobs may be sent to the worker, which has none, without a look at what this keeper would look at.
    fn may_be_open(&self, term: Term) -> bool {
        term == Term::Serves && !self.congested && self.has_no_limits() && self.sends_ahead()
    }

    /// Whether there is no limit that a single job could reach.
    fn has_no_limits(&self) -> bool {
        let config = self.shared.config();
        self.most_tasks.is_none() && config.max_memory_per_worker.is_none() && !config.output.is_told()
    }

    /// The worker waits for the place of another, until nobody needs it any more.
    fn next_when_standing_by(&mut self, now: Instant) -> Next {
        let mut schedule = self.shared.schedule();
        // It is put on the list of idle ones when it gets its place, which may be so already.
        self.listed = true;
        if !schedule.stands_by(&self.worker) {
            return Next::Wait(Some(now));
        }
        if schedule.has_needless_successor() {
            let woken = schedule.leave(&self.worker);
            drop(schedule);
            self.record_end(Ending::Retired);
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        Next::Wait(None)
    }

    pub(super) fn term(&self, now: Instant) -> Term {
        let link = self.worker.link();
        let tasks = link.answered + link.flights.len() as u64;
        drop(link);
        let tenure = Tenure {
            // One that is taken back was never begun, and does not count.
            tasks,
            most: self.most_tasks,
            age: now.saturating_duration_since(self.worker.born),
            oldest: self.oldest,
            bloated: self.memory.is_bloated,
            ordered: self.is_due,
        };
        tenure.term()
    }

    /// Whether the worker gets no more jobs: it is over, or its successor is ready.
    pub(super) fn is_done(&self, term: Term) -> bool {
        match term {
            Term::Serves => false,
            Term::Due => self.shared.schedule().is_relieved(&self.worker),
            Term::Over => true,
        }
    }

    /// Has a successor started, once.
    pub(super) fn order_successor(&mut self) {
        if !std::mem::replace(&mut self.is_due, true) {
            self.shared.order_successor(&self.worker);
        }
    }

    /// When the worker becomes too old, if its successor has not been ordered already.
    fn due_at(&self) -> Option<Instant> {
        let oldest = self.oldest.filter(|_| !self.is_due);
        oldest.and_then(|oldest| self.worker.born.checked_add(oldest))
    }

    pub(super) fn wait(&mut self, deadline: Option<Instant>) {
        if self.lingers() {
            self.worker.bell.silence();
            self.worker.link().direct.close();
        } else {
            self.sleep(deadline);
        }
        if std::mem::take(&mut self.listed) {
            self.shared.schedule().not_idle(&self.worker);
        }
    }

    /// Stays awake for a moment. Says whether there is something to look at.
    fn lingers(&mut self) -> bool {
        let worker = self.worker.clone();
        let link = worker.link();
        let (is_condemned, sent) = (link.condemned.is_some(), link.direct.sent);
        drop(link);
        // What is sent directly is not for this thread, which would only be in the way.
        let is_needed = || worker.link().direct.sent == sent;
        if sent != self.sent_directly {
            return false;
        }
        let has_news = || worker.bell.is_rung() || (!is_condemned && !worker.link().ring.may_sleep());
        self.pause.linger(|| !is_needed() || has_news()) && is_needed()
    }

    fn sleep(&mut self, deadline: Option<Instant>) {
        let mut link = self.worker.link();
        let sent = std::mem::replace(&mut self.sent_directly, link.direct.sent);
        link.direct.asleep = true;
        link.direct.looks = link.direct.open && sent != self.sent_directly;
        let look_at = link.direct.looks.then(|| Instant::now() + LOOK);
        // Who watches does so instead of us, and rings if it finds nothing.
        if !link.direct.watched {
            link.ring.fall_asleep();
        }
        let may_sleep = link.direct.watched || link.ring.may_sleep() || link.condemned.is_some();
        drop(link);
        if may_sleep {
            let socket =
                if self.hung_up { Interest::Nothing } else { Interest::Read(self.worker.socket.as_fd()) };
            let [rung, heard, dead] = wait(
                [Interest::Read(self.worker.bell.as_fd()), socket, Interest::Read(self.worker.pidfd.as_fd())],
                deadline.into_iter().chain(look_at).min(),
            );
            if rung {
                self.worker.bell.silence();
            }
            self.woken = Woken { heard, dead };
        }
        let mut link = self.worker.link();
        link.direct.close();
        link.ring.wake_up();
    }
}
