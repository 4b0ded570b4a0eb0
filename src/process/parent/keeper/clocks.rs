//! What is to happen at its time: limits, silence, recycling; and the wait until then.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{BEYOND_REACH, DYING, FIRST_LOOK, Keeper, Next, Woken, results::began_at};
use crate::process::{
    message::Signal,
    parent::seat::ProcessJob,
    sys::{Interest, private_memory_exceeds, wait},
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
        } else {
            self.look_for_claim(now);
        }
    }

    /// The running job, and when its time is over. Takes note of its beginning.
    fn running(&mut self) -> Option<(Arc<dyn ProcessJob>, Option<Instant>)> {
        let link = self.worker.link();
        let (flight, begun_ns) = link.running()?;
        let begun = began_at(flight, begun_ns, Instant::now());
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
            return Next::Wait(deadline.into_iter().chain(stuck_at).min());
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
        let config = self.shared.config();
        let spent = self.is_spent(now);
        let mut schedule = self.shared.schedule();
        if spent && schedule.closing.is_none() {
            let woken = schedule.leave_to_successor(&self.worker);
            drop(schedule);
            self.shared.counters().recycled();
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
        let idle_until = idle_until.and_then(|limit| self.idle_since.checked_add(limit));
        if spent || schedule.closing.is_some() || surplus || idle_until.is_some_and(|at| now >= at) {
            let woken = schedule.leave(&self.worker);
            drop(schedule);
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        if !schedule.idle.iter().any(|other| Arc::ptr_eq(other, &self.worker)) {
            schedule.idle.push(self.worker.clone());
            self.listed = true;
        }
        Next::Wait([idle_until, self.old_at(), opens].into_iter().flatten().min())
    }

    /// Whether the worker is to be replaced, and gets no more jobs.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let most = self.shared.config().max_tasks_per_worker;
        self.bloated
            || most.is_some_and(|most| self.sent >= most)
            || self.old_at().is_some_and(|at| now >= at)
    }

    fn old_at(&self) -> Option<Instant> {
        self.shared.config().max_age_per_worker.and_then(|limit| self.worker.born.checked_add(limit))
    }

    /// Looks whether the worker holds more memory than it may. One that just runs its next job is measured with it.
    pub(super) fn look_at_memory(&mut self) {
        if let Some(limit) = self.shared.config().max_memory_per_worker {
            self.bloated |= private_memory_exceeds(self.worker.pid, limit);
        }
    }

    pub(super) fn wait(&mut self, deadline: Option<Instant>) {
        let link = self.worker.link();
        link.ring.fall_asleep();
        let may_sleep = link.ring.may_sleep() || link.condemned.is_some();
        drop(link);
        if may_sleep {
            let socket =
                if self.hung_up { Interest::Nothing } else { Interest::Read(self.worker.socket.as_fd()) };
            let [rung, heard, dead] = wait(
                [Interest::Read(self.worker.bell.as_fd()), socket, Interest::Read(self.worker.pidfd.as_fd())],
                deadline,
            );
            if rung {
                self.worker.bell.silence();
            }
            self.woken = Woken { heard, dead };
        }
        self.worker.link().ring.wake_up();
        if std::mem::take(&mut self.listed) {
            self.shared.schedule().not_idle(&self.worker);
        }
    }
}
