//! Decides what to say about a pool. Pure: no clock, no pool.

use std::time::Duration;

use super::{PoolEvidence, PoolFinding, PoolKind, PoolRule};
use crate::{JobGroup, Metrics};

/// What must have been seen before anything is said: fewer jobs are an accident, and in less time the start of the pool is
/// most of what was seen.
pub(super) const ENOUGH_JOBS: u64 = 100;
pub(super) const ENOUGH_TIME: Duration = Duration::from_secs(1);

/// What a hand-over costs: a round trip to a worker that is awake, in a thread or in a process (README, "Measured"). With jobs that are
/// shorter more than half of the effort goes into handing them over.
const HAND_OVER: Duration = Duration::from_nanos(1_500);
/// The same for processes, and what a worker takes to decode an argument and encode a result, which is part of the run time.
const HAND_OVER_TO_PROCESS: Duration = Duration::from_micros(3);
/// How much work is worth a hand-over: thirty times what it costs.
const WORTH_HANDING_OVER: Duration = Duration::from_micros(50);

/// Jobs that compute had a core while they ran if they had so much of it. A core that is shared by two gives each a half.
const A_CORE: f64 = 0.75;
/// From this share of the run time on, jobs of a kind are most of what a pool does.
const MOST: f64 = 0.5;
/// From this share of the run time on, and this number, jobs of a kind are not an exception.
const MANY: f64 = 0.2;
const MANY_JOBS: u64 = 10;

/// A wait that is worth mentioning: twice what it takes to wake a worker.
const LONG_WAIT: Duration = Duration::from_micros(100);

/// A worker too many is a spare one. This number is waste.
const SPARE: usize = 2;
/// The share of their time for which workers have jobs that are needed.
const HARDLY_BUSY: f64 = 0.05;
/// How long a pool must have been there before its workers are said to have nothing to do.
const LONG_TIME: Duration = Duration::from_secs(600);

/// From how many bytes per job on a payload is worth putting into shared memory.
const LARGE_PAYLOAD: u64 = 64 * 1024;

/// What decides besides the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) kind: PoolKind,
    pub(super) cores: usize,
}

/// Whether enough was seen to say anything.
pub(super) fn is_enough(metrics: &Metrics) -> bool {
    metrics.run_time.count >= ENOUGH_JOBS && metrics.age >= ENOUGH_TIME
}

/// What there is to say, causes first.
pub(super) fn findings(metrics: &Metrics, setting: Setting) -> Vec<PoolFinding> {
    if !is_enough(metrics) {
        return Vec::new();
    }
    let pool = Pool { metrics, setting };
    let small = pool.too_small();
    let mixed = pool.mixed();
    let oversubscribed = pool.oversubscribed();
    // What makes the queue long, or the cores too few, is told; that the queue is long is not.
    let has_cause = small.is_some() || mixed.is_some() || oversubscribed.is_some();
    let queue = if has_cause { None } else { pool.queue() };
    // Whoever waits for a worker does not want fewer.
    let idle = if queue.is_some() { None } else { pool.idle() };
    let found = [small, pool.payload(), mixed, oversubscribed, queue, idle];
    let found = found.into_iter().flatten();
    found.map(|evidence| PoolFinding { change: pool.change(&evidence), evidence }).collect()
}

struct Pool<'a> {
    metrics: &'a Metrics,
    setting: Setting,
}

/// One reason to say something each.
impl Pool<'_> {
    fn too_small(&self) -> Option<PoolEvidence> {
        let Metrics { run_time, hand_overs, .. } = self.metrics;
        // Those that have not begun do not weigh: they are few, or there is no hurry.
        let ended = run_time.count as f64 / self.metrics.submitted.max(1) as f64;
        let handed_over = (*hand_overs as f64 * ended).max(1.0);
        // While others had the core a job took longer, and was not larger.
        let run_time = run_time.sum.mul_f64(1.0 - self.share_kept_from_cores()).div_f64(handed_over);
        let hand_over = match self.setting.kind {
            PoolKind::Threads => HAND_OVER,
            PoolKind::Processes => HAND_OVER_TO_PROCESS,
        };
        let hand_overs = *hand_overs;
        (run_time < hand_over).then_some(PoolEvidence::TooSmall { hand_overs, run_time, hand_over })
    }

    fn oversubscribed(&self) -> Option<PoolEvidence> {
        let Metrics { max_workers, most_workers, unused_workers, .. } = *self.metrics;
        let most_used = most_workers.saturating_sub(unused_workers);
        let cores = self.setting.cores;
        let group = self.metrics.processor.computing;
        let (computing, cpu_share) = (self.share(group), group.cpu_share()?);
        let is_so = max_workers > cores && most_used > cores && computing >= MOST && cpu_share < A_CORE;
        is_so.then_some(PoolEvidence::Oversubscribed { cores, most_workers, computing, cpu_share })
    }

    fn mixed(&self) -> Option<PoolEvidence> {
        let processor = &self.metrics.processor;
        let (waiting, computing) = (processor.waiting, processor.computing);
        // As if those that compute had had a core each: they take longer where they have not, and do not do more for that.
        let all = processor.measured.run_time.saturating_sub(self.kept_from_cores()).as_secs_f64();
        let shares = [waiting.run_time, computing.cpu_time].map(|time| time.as_secs_f64() / all);
        let is_much = |group: JobGroup, share: f64| group.jobs >= MANY_JOBS && share >= MANY;
        let is_so = is_much(waiting, shares[0]) && is_much(computing, shares[1]) && self.really_waits();
        is_so.then_some(PoolEvidence::Mixed {
            waiting_jobs: waiting.jobs,
            waiting: shares[0],
            computing_jobs: computing.jobs,
            computing: shares[1],
        })
    }

    fn queue(&self) -> Option<PoolEvidence> {
        let Metrics { queue_wait, run_time, max_workers, most_workers, .. } = *self.metrics;
        let (wait, run) = (queue_wait.mean(), run_time.mean());
        let is_long = wait > run && queue_wait.p50 > run_time.p50 && wait >= LONG_WAIT;
        let useful_workers = self.useful_workers();
        // Where it is not known what jobs do, a worker for each core is certain to be useful.
        let is_known = useful_workers.is_some() || max_workers < self.setting.cores;
        let is_so = is_long && most_workers >= max_workers && is_known;
        is_so.then_some(PoolEvidence::Queue { wait, run_time: run, max_workers, useful_workers })
    }

    fn idle(&self) -> Option<PoolEvidence> {
        let Metrics { workers, unused_workers, worker_time, age, .. } = *self.metrics;
        let of_age = |time: Duration| time.as_secs_f64() / age.as_secs_f64();
        let evidence = PoolEvidence::Idle {
            workers,
            unused_workers,
            mean_workers: of_age(worker_time),
            mean_busy: of_age(self.metrics.run_time.sum),
        };
        (self.keeps_unused_workers() || self.has_idled_for_long()).then_some(evidence)
    }

    fn payload(&self) -> Option<PoolEvidence> {
        let Metrics { payloads, run_time, .. } = self.metrics;
        let jobs = run_time.count;
        let per_job = (payloads.argument_bytes + payloads.result_bytes) / jobs;
        // The workers' half is part of the run time.
        let time = payloads.time * 2;
        let share = time.as_secs_f64() / (run_time.sum + payloads.time).as_secs_f64();
        let is_so = per_job >= LARGE_PAYLOAD && share >= MOST;
        is_so.then(|| PoolEvidence::Payload {
            argument_bytes: payloads.argument_bytes / jobs,
            result_bytes: payloads.result_bytes / jobs,
            time: time.div_f64(jobs as f64),
            share: share.min(1.0),
        })
    }
}

/// What the reasons are made of.
impl Pool<'_> {
    /// The share of some jobs in the run time of all that were measured.
    fn share(&self, group: JobGroup) -> f64 {
        let all = self.metrics.processor.measured.run_time.as_secs_f64();
        if all == 0.0 { 0.0 } else { group.run_time.as_secs_f64() / all }
    }

    /// For how long jobs that compute had no core.
    fn kept_from_cores(&self) -> Duration {
        let computing = self.metrics.processor.computing;
        computing.run_time.saturating_sub(computing.cpu_time)
    }

    /// The share of that in the run time.
    fn share_kept_from_cores(&self) -> f64 {
        let all = self.metrics.processor.measured.run_time.as_secs_f64();
        if all == 0.0 { 0.0 } else { (self.kept_from_cores().as_secs_f64() / all).min(1.0) }
    }

    /// Whether jobs that wait do not wait for what the rest of the program computes. A worker process has been measured as a whole.
    fn really_waits(&self) -> bool {
        let processor = &self.metrics.processor;
        let Some(program) = processor.program else { return self.setting.kind == PoolKind::Processes };
        let elsewhere = program.saturating_sub(processor.measured.cpu_time);
        self.setting.kind == PoolKind::Processes || elsewhere <= processor.waiting.run_time / 2
    }

    /// With how many workers these jobs use all cores: those that compute take one each, all others as much as they had.
    fn useful_workers(&self) -> Option<usize> {
        let processor = &self.metrics.processor;
        let all = processor.measured.run_time;
        if all.is_zero() {
            return None;
        }
        let share = (processor.measured.cpu_time + self.kept_from_cores()).as_secs_f64() / all.as_secs_f64();
        let useful = (self.setting.cores as f64 / share.clamp(0.001, 1.0)).round() as usize;
        (self.really_waits() || useful <= self.setting.cores).then_some(useful)
    }

    /// Whether workers that are there whether or not they have a job have never had one.
    fn keeps_unused_workers(&self) -> bool {
        let Metrics { workers, unused_workers, min_workers, recycled, worker_deaths, .. } = *self.metrics;
        let used = workers - unused_workers.min(workers);
        let kept = unused_workers.min(min_workers.saturating_sub(used));
        // Who has taken the place of another need not have had a job yet.
        kept >= SPARE && kept * 4 >= workers && recycled + worker_deaths == 0
    }

    /// Whether worker processes, which stay unless they are told not to, hardly had anything to do for long.
    fn has_idled_for_long(&self) -> bool {
        let Metrics { workers, worker_time, age, .. } = *self.metrics;
        let busy = self.metrics.run_time.sum.as_secs_f64() / worker_time.as_secs_f64();
        self.setting.kind == PoolKind::Processes
            && age >= LONG_TIME
            && workers >= SPARE
            && worker_time >= age.mul_f64(1.5)
            && busy < HARDLY_BUSY
    }
}

/// What to do.
impl Pool<'_> {
    fn change(&self, evidence: &PoolEvidence) -> String {
        let is_elastic = self.metrics.max_workers > self.setting.cores;
        let cores = self.setting.cores;
        match (evidence.rule(), self.setting.kind) {
            (PoolRule::TooSmall, _) => self.change_of_size(),
            (PoolRule::Oversubscribed, PoolKind::Threads) => {
                format!("run what computes on `ThreadPool::cpu()`, or allow as many workers as cores: `pool.resize({cores})`")
            }
            (PoolRule::Oversubscribed, PoolKind::Processes) => {
                format!("allow as many workers as cores: `pool.resize({cores})`, or `max_workers({cores})` when it is built")
            }
            (PoolRule::TooFewWorkers, _) => self.change_of_number(evidence),
            (PoolRule::TooManyWorkers, PoolKind::Threads) => {
                "set `min_workers` lower when the pool is built: workers start when there are jobs for them".to_owned()
            }
            (PoolRule::TooManyWorkers, PoolKind::Processes) => {
                "set `idle_timeout`, and `min_workers` lower, when the pool is built: workers start when there are jobs for them".to_owned()
            }
            (PoolRule::Payload, _) => self.change_of_payload(),
            (PoolRule::Mixed, PoolKind::Threads) if is_elastic => {
                "run what computes on `ThreadPool::cpu()`, and leave here what waits".to_owned()
            }
            (PoolRule::Mixed, PoolKind::Threads) => {
                "run what waits on `ThreadPool::global()`, and leave here what computes".to_owned()
            }
            (PoolRule::Mixed, PoolKind::Processes) => {
                "run what waits in a pool of its own: `ProcessPool::builder().max_workers(…)`, with more workers than cores".to_owned()
            }
            (PoolRule::Saturated, _) => {
                "more workers would not help: bound the queue by `queue_limit` and start jobs by `submit`, or make jobs fewer or smaller"
                    .to_owned()
            }
        }
    }

    fn change_of_size(&self) -> String {
        let mean = self.metrics.run_time.mean().as_secs_f64().max(1e-9);
        let items = (WORTH_HANDING_OVER.as_secs_f64() / mean).round().clamp(2.0, 10_000.0) as u64;
        let unless = match self.setting.kind {
            PoolKind::Threads => "",
            PoolKind::Processes => ", unless it is here to be isolated",
        };
        format!(
            "do it where you are{unless}, or hand over many at once: `pool.map(job, inputs).chunk_size({items})`"
        )
    }

    fn change_of_number(&self, evidence: &PoolEvidence) -> String {
        let useful = match evidence {
            PoolEvidence::Queue { useful_workers: Some(useful), .. } => *useful,
            _ => self.setting.cores,
        };
        // What is known of the jobs is known with so many workers. Step by step, then.
        let workers = useful.min(self.metrics.max_workers.saturating_mul(4));
        let if_so = if workers > self.setting.cores { ", if what jobs wait for allows it" } else { "" };
        format!(
            "allow more workers{if_so}: `pool.resize({workers})`, or `max_workers({workers})` when it is built"
        )
    }

    fn change_of_payload(&self) -> String {
        let payloads = &self.metrics.payloads;
        if payloads.argument_bytes >= payloads.result_bytes {
            "put what jobs read into shared memory once, by `Shared::create` or `SharedBytes`, and pass the handle".to_owned()
        } else {
            "have jobs return less, or their result as `SharedBytes` or `Shared`, which is not copied"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
