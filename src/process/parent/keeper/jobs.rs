//! Which jobs a worker is sent, and how.

use std::{io, sync::Arc, time::Instant};

use super::{AHEAD, DEEPEST, Keeper};
use crate::{
    TaskError,
    process::{
        message::Signal,
        parent::{
            link::Flight,
            seat::{Call, ProcessJob},
            zygote::explain,
        },
        ring::INLINE,
        sys::monotonic_ns,
    },
};

/// The most segments in use at a time: beyond it, nothing is sent ahead.
const MOST_SEGMENTS: usize = 4;

impl Keeper {
    /// Sends jobs as far as it makes sense. Says whether there was one.
    pub(super) fn fill(&mut self) -> bool {
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

    /// Sends jobs from the queue. Says whether there was one.
    fn take(&mut self, room: usize, load: usize) -> bool {
        let (jobs, next) =
            self.shared.schedule().take(&self.worker, room, load, self.shared.waiting(), Instant::now());
        self.shared.wake(next);
        let taken = !jobs.is_empty();
        self.in_hand.extend(jobs.iter().cloned());
        for job in jobs {
            // Finished meanwhile: nothing is left of it but this.
            let Some(call) = job.claim() else { continue };
            self.send(job, call);
        }
        self.in_hand.clear();
        taken
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

    /// How many more jobs the worker should have.
    fn room(&mut self) -> usize {
        if !self.lent.is_empty() {
            self.free_segments();
        }
        let now = Instant::now();
        if self.silent_since.is_some() || self.hung_up || self.is_spent(now) {
            return 0;
        }
        let link = self.worker.link();
        if link.condemned.is_some() || !link.ring.has_room() || link.is_slow(now) {
            return 0;
        }
        let left =
            self.shared.config().max_tasks_per_worker.map_or(u64::MAX, |most| most.saturating_sub(self.sent));
        let depth = if self.outgoing.in_use() >= MOST_SEGMENTS { 1 } else { depth(self.mean_ns) };
        depth.saturating_sub(link.flights.len()).min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Sends a claimed job, unless it must not begin any more.
    fn send(&mut self, job: Arc<dyn ProcessJob>, call: Call) {
        let bytes = call.argument.as_bytes();
        let segment = if bytes.len() <= INLINE {
            None
        } else {
            // Copied here, under no lock: it may be gigabytes.
            match self.outgoing.write(bytes, &self.worker.socket) {
                Ok(id) => Some(id),
                Err(error) if is_disconnect(&error) => {
                    // Nothing is wrong with the job.
                    self.shared.put_back_calls(vec![(job, call)]);
                    return self.hang_up();
                }
                Err(error) => {
                    let why = format!("no shared memory for its argument: {}", explain(&error));
                    crate::panic::drop_shielded(call);
                    return job.finish(Err(TaskError::unavailable(job.label().clone(), why)));
                }
            }
        };
        let now = Instant::now();
        let mut seen = self.overtakings;
        let (mut link, overtaken) = loop {
            let overtaken = self.is_overtaken(&*job, &mut seen, now);
            let link = self.worker.link();
            if overtaken || seen == self.shared.overtakings() {
                break (link, overtaken);
            }
        };
        job.assign(&self.worker);
        // Only looked at under the lock: ending the task runs foreign code.
        let expired = job.is_queue_expired(now);
        let refused = job.is_stopped() || expired;
        if !refused && !overtaken && link.condemned.is_none() && link.ring.has_room() {
            let position = link.send(job, call, segment, monotonic_ns());
            if link.flights.len() > 1 {
                self.shared.count_ahead();
            }
            self.lent.extend(segment.map(|id| (id, position)));
            self.sent += 1;
            return;
        }
        drop(link);
        if let Some(id) = segment {
            self.outgoing.release(id, &self.worker.socket);
        }
        if !refused {
            return self.shared.put_back_calls(vec![(job, call)]);
        }
        crate::panic::drop_shielded(call);
        if expired {
            job.queue_expired(now);
        }
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
        let Some((rank, other)) = firsts.min_by_key(|(rank, _)| *rank) else {
            self.shared.found_none_ahead(ahead);
            return false;
        };
        if in_queue.is_some_and(|first| first < rank) {
            return false;
        }
        let Some(Flight { job, call, .. }) = other.link().steal(rank) else { return false };
        self.shared.schedule().note_taken(&*job, &self.worker);
        self.send(job, call);
        true
    }

    fn ring_worker(&self) {
        if self.worker.link().ring.should_ring_worker() {
            // A worker that cannot be rung is dying: the pidfd will tell.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
        }
    }
}

/// Whether the other end is gone, or has not read its socket for so long that it is no worker any more.
fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | WouldBlock)
}

/// How many jobs a worker should have, so that about [`AHEAD`] of work waits behind the running one.
fn depth(mean_ns: u64) -> usize {
    let ahead = AHEAD.as_nanos() as u64 / mean_ns.max(1);
    usize::try_from(ahead).unwrap_or(DEEPEST).clamp(1, DEEPEST - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_jobs_are_sent_far_ahead_and_long_ones_hardly() {
        assert_eq!(depth(0), DEEPEST);
        assert_eq!(depth(1_000), DEEPEST);
        assert_eq!(depth(20_000), 11);
        assert_eq!(depth(1_000_000), 2);
        assert_eq!(depth(u64::MAX), 2);
    }
}
