//! The list of what is told of a pool, apart from the two histograms.

use std::time::Duration;

use ::metrics::Unit;

use crate::{JobGroup, Metrics, pool::registry::Kind};

/// One figure of a pool.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// What tells it from the others of its name.
    pub(super) label: Option<(&'static str, &'static str)>,
    pub(super) sort: Sort,
    pub(super) help: &'static str,
    pub(super) figure: fn(&Metrics) -> u64,
}

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Adds up.
    Counter,
    /// Of bytes.
    Bytes,
    /// Nanoseconds that add up, told in seconds.
    Time,
    /// Comes and goes: pools that have ended have none.
    Level,
}

impl Sort {
    pub(super) fn adds_up(self) -> bool {
        self != Self::Level
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Counter | Self::Level => Unit::Count,
            Self::Bytes => Unit::Bytes,
            Self::Time => Unit::Seconds,
        }
    }
}

impl Series {
    /// Whether pools of this kind have it.
    pub(super) fn is_of(&self, kind: Kind) -> bool {
        let is_of_processes = [DEATHS, RECYCLED, PAYLOAD_BYTES, PAYLOAD_SECONDS].contains(&self.name);
        match kind {
            Kind::Processes => true,
            Kind::Threads => !is_of_processes,
            // Its threads are rayon's, which come and go unasked.
            #[cfg(feature = "rayon")]
            Kind::Rayon => !is_of_processes && ![LEAST, MOST, UNUSED, WORKER_SECONDS].contains(&self.name),
            // Its workers are places for jobs under way: the nodes tell of theirs.
            #[cfg(feature = "nats")]
            Kind::Cluster => ![LEAST, MOST, UNUSED, WORKER_SECONDS, RECYCLED].contains(&self.name),
        }
    }

    const fn new(name: &'static str, sort: Sort, help: &'static str, figure: fn(&Metrics) -> u64) -> Self {
        Self { name, label: None, sort, help, figure }
    }

    const fn labelled(mut self, label: &'static str, value: &'static str) -> Self {
        self.label = Some((label, value));
        self
    }
}

const FINISHED: &str = "heavylift_jobs_finished_total";
const LEAST: &str = "heavylift_workers_min";
const MOST: &str = "heavylift_workers_most";
const UNUSED: &str = "heavylift_workers_unused";
const WORKER_SECONDS: &str = "heavylift_worker_seconds";
const DEATHS: &str = "heavylift_worker_deaths_total";
const RECYCLED: &str = "heavylift_workers_recycled_total";
const MEASURED_JOBS: &str = "heavylift_measured_jobs_total";
const MEASURED_RUN: &str = "heavylift_measured_run_seconds";
const MEASURED_CPU: &str = "heavylift_measured_cpu_seconds";
const PAYLOAD_BYTES: &str = "heavylift_payload_bytes_total";
const PAYLOAD_SECONDS: &str = "heavylift_payload_seconds";

/// The histograms, and what they are of.
pub(super) const WAIT: (&str, &str) =
    ("heavylift_job_queue_wait_seconds", "How long jobs waited before they began.");
pub(super) const RUN: (&str, &str) = ("heavylift_job_run_time_seconds", "How long jobs ran.");

pub(super) const SERIES: [Series; 33] = [
    Series::new("heavylift_jobs_submitted_total", Sort::Counter, "Jobs taken.", |m| m.submitted),
    finished("succeeded", |m| m.succeeded),
    finished("panicked", |m| m.panicked),
    finished("cancelled", |m| m.cancelled),
    finished("timed_out", |m| m.timed_out),
    finished("failed", |m| m.failed),
    Series::new(
        "heavylift_jobs_refused_total",
        Sort::Counter,
        "Jobs not taken: the queue was full or the pool closed.",
        |m| m.refused,
    ),
    Series::new(
        "heavylift_hand_overs_total",
        Sort::Counter,
        "How often jobs were handed to the pool: items of a map that travel together count once.",
        |m| m.hand_overs,
    ),
    Series::new("heavylift_jobs_queued", Sort::Level, "Jobs that wait for a worker.", |m| m.queued as u64),
    Series::new("heavylift_jobs_running", Sort::Level, "Jobs that workers run.", |m| m.running as u64),
    Series::new(
        "heavylift_jobs_abandoned",
        Sort::Level,
        "Jobs that still run in a thread although their task has finished.",
        |m| m.abandoned as u64,
    ),
    Series::new("heavylift_pools", Sort::Level, "Pools of this name and kind that live.", |_| 1),
    Series::new("heavylift_workers", Sort::Level, "Workers that there are.", |m| m.workers as u64),
    Series::new("heavylift_workers_idle", Sort::Level, "Workers that have no job.", |m| {
        m.idle_workers as u64
    }),
    Series::new("heavylift_workers_max", Sort::Level, "Workers that there may be.", |m| m.max_workers as u64),
    Series::new(LEAST, Sort::Level, "Workers that stay whether or not there are jobs for them.", |m| {
        m.min_workers as u64
    }),
    Series::new(MOST, Sort::Level, "The most workers that there were at a time.", |m| m.most_workers as u64),
    Series::new(UNUSED, Sort::Level, "Workers that have not had a job yet.", |m| m.unused_workers as u64),
    Series::new(
        WORKER_SECONDS,
        Sort::Time,
        "How long all workers have been there, together. Only grows.",
        |m| nanos(m.worker_time),
    ),
    Series::new(DEATHS, Sort::Counter, "Worker processes that died unasked.", |m| m.worker_deaths),
    Series::new(RECYCLED, Sort::Counter, "Worker processes that were replaced on schedule.", |m| m.recycled),
    measured_jobs("waiting", |m| m.processor.waiting.jobs),
    measured_jobs("computing", |m| m.processor.computing.jobs),
    measured_jobs("mixed", |m| mixed(m, |group| group.jobs)),
    measured_run("waiting", |m| nanos(m.processor.waiting.run_time)),
    measured_run("computing", |m| nanos(m.processor.computing.run_time)),
    measured_run("mixed", |m| mixed(m, |group| nanos(group.run_time))),
    measured_cpu("waiting", |m| nanos(m.processor.waiting.cpu_time)),
    measured_cpu("computing", |m| nanos(m.processor.computing.cpu_time)),
    measured_cpu("mixed", |m| mixed(m, |group| nanos(group.cpu_time))),
    payload_bytes("argument", |m| m.payloads.argument_bytes),
    payload_bytes("result", |m| m.payloads.result_bytes),
    Series::new(
        PAYLOAD_SECONDS,
        Sort::Time,
        "How long this program took to encode, copy and decode large payloads. Only grows.",
        |m| nanos(m.payloads.time),
    ),
];

const fn finished(outcome: &'static str, figure: fn(&Metrics) -> u64) -> Series {
    Series::new(FINISHED, Sort::Counter, "Tasks that have finished, by outcome.", figure)
        .labelled("outcome", outcome)
}

const fn measured_jobs(nature: &'static str, figure: fn(&Metrics) -> u64) -> Series {
    let help = "Jobs whose processor time was measured, by whether they mostly waited or computed.";
    Series::new(MEASURED_JOBS, Sort::Counter, help, figure).labelled("nature", nature)
}

const fn measured_run(nature: &'static str, figure: fn(&Metrics) -> u64) -> Series {
    let help = "How long jobs ran whose processor time was measured. Only grows.";
    Series::new(MEASURED_RUN, Sort::Time, help, figure).labelled("nature", nature)
}

const fn measured_cpu(nature: &'static str, figure: fn(&Metrics) -> u64) -> Series {
    let help = "How long measured jobs were on a processor. Only grows.";
    Series::new(MEASURED_CPU, Sort::Time, help, figure).labelled("nature", nature)
}

const fn payload_bytes(direction: &'static str, figure: fn(&Metrics) -> u64) -> Series {
    let help = "Bytes of encoded arguments and results of more than 2 KiB each.";
    Series::new(PAYLOAD_BYTES, Sort::Bytes, help, figure).labelled("direction", direction)
}

/// Of the measured jobs those that neither mostly waited nor mostly computed.
fn mixed(metrics: &Metrics, of: impl Fn(&JobGroup) -> u64) -> u64 {
    let all = &metrics.processor;
    of(&all.measured).saturating_sub(of(&all.waiting).saturating_add(of(&all.computing)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
