//! How much memory a worker may hold: looked at after each job, when it holds what earlier jobs have left, and now and then while
//! one runs, when it holds what that one has taken.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use super::Keeper;
use crate::process::sys::{Interest, MemoryGauge, monotonic_ns, wait};

/// How often the memory of a worker that runs a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a worker may take, after an answer, to let go of what the job has left to be dropped.
const LET_GO_WITHIN: Duration = Duration::from_millis(100);

/// What a keeper knows of its worker's memory.
#[derive(Debug)]
pub(super) struct Memory {
    gauge: MemoryGauge,
    /// When the next look during a job is due.
    next_look: Instant,
    /// It holds more than it may, though nothing runs: it is to be replaced.
    pub(super) is_bloated: bool,
    /// Why it was killed during a job.
    pub(super) overuse: Option<String>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            gauge: MemoryGauge::default(),
            next_look: Instant::now() + LOOK_EVERY,
            is_bloated: false,
            overuse: None,
        }
    }

    /// A job is sent to the worker, which has no other.
    pub(super) fn job_begins(&mut self, now: Instant) {
        self.next_look = now + LOOK_EVERY;
    }
}

impl Keeper {
    /// A worker has said that it is ready: looks whether its memory can be watched, and leaves room for jobs.
    pub(super) fn look_at_first_memory(&mut self) -> Result<(), String> {
        let Some(limit) = self.shared.config().max_memory_per_worker else { return Ok(()) };
        match self.memory.gauge.excess(self.worker.pid, limit) {
            Ok(None) => Ok(()),
            Ok(Some(held)) => Err(format!("before its first job, {}", too_much(held, limit))),
            Err(_) if self.is_dead() => Ok(()),
            Err(error) => {
                Err(format!("max_memory_per_worker is set, but its memory cannot be looked at: {error}"))
            }
        }
    }

    /// After an answer. Nothing has been sent ahead to a worker with a limit, so what it holds now is what its jobs have left.
    pub(super) fn look_at_memory_left(&mut self) {
        let Some(limit) = self.shared.config().max_memory_per_worker else { return };
        // To look may take a while.
        self.deliver_all();
        if !self.worker.link().flights.is_empty() {
            return;
        }
        self.memory.is_bloated |= self.keeps_too_much(limit);
    }

    /// Whether a worker without a job holds more than `limit`, also once it has dropped what belonged to its last one: it does
    /// that after its answer, and then falls asleep.
    fn keeps_too_much(&mut self, limit: u64) -> bool {
        let patience = Instant::now() + LET_GO_WITHIN;
        loop {
            let is_asleep = self.worker.link().ring.worker_is_asleep();
            if !matches!(self.memory.gauge.excess(self.worker.pid, limit), Ok(Some(_))) {
                return false;
            }
            let now = Instant::now();
            if is_asleep || now >= patience {
                return true;
            }
            let [dead] =
                wait([Interest::Read(self.worker.pidfd.as_fd())], Some(now + Duration::from_millis(1)));
            if dead {
                return false;
            }
        }
    }

    /// When the memory of a worker that runs a job is to be looked at.
    pub(super) fn memory_look_at(&self) -> Option<Instant> {
        self.shared.config().max_memory_per_worker.map(|_| self.memory.next_look)
    }

    /// During a job: ends the worker if it holds too much. What its earlier jobs have left was less.
    pub(super) fn look_at_memory_in_use(&mut self, now: Instant) {
        let Some(limit) = self.shared.config().max_memory_per_worker else { return };
        if now < self.memory.next_look {
            return;
        }
        self.memory.next_look = now + LOOK_EVERY;
        let Some(position) = self.worker.link().running(monotonic_ns()).map(|(flight, _)| flight.position)
        else {
            return;
        };
        let Ok(Some(held)) = self.memory.gauge.excess(self.worker.pid, limit) else { return };
        let mut link = self.worker.link();
        // The job may have ended meanwhile: then the worker is looked at again as one that has none.
        let (runs, taken) = link.condemn_for(position, Duration::ZERO);
        if runs {
            self.worker.kill();
            self.memory.overuse = Some(too_much(held, limit));
        }
        drop(link);
        self.shared.put_back(taken);
    }
}

fn too_much(held: u64, limit: u64) -> String {
    format!("it held {held} bytes of memory of its own, and max_memory_per_worker is {limit} bytes")
}
