//! What the API tells, as plain data: the shape of the JSON, which the module's documentation describes.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Distribution, Metrics,
    guidance::{PoolAdvice, PoolFinding},
    text::beginning,
};

/// The version of this shape.
pub(super) const VERSION: u32 = 1;
/// How many bytes of a name are told, and of any other text.
pub(super) const NAME: usize = 120;
pub(super) const TEXT: usize = 500;

/// All pools at a moment.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot<'a> {
    pub(super) version: u32,
    pub(super) instance: &'a str,
    pub(super) at_ms: u64,
    pub(super) program: &'a str,
    pub(super) pid: u32,
    pub(super) cores: usize,
    pub(super) viewers: usize,
    pub(super) pools: Vec<Pool>,
    pub(super) more_pools: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Pool {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) age_ms: u64,
    pub(super) workers: usize,
    pub(super) idle_workers: usize,
    pub(super) max_workers: usize,
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) counts: Counts,
    pub(super) queue_wait: Times,
    pub(super) run_time: Times,
    pub(super) lanes: Vec<Lane>,
    pub(super) more_lanes: usize,
    pub(super) failures: Option<Vec<Failure>>,
    pub(super) events: Option<Vec<Event>>,
    pub(super) advice: Option<Advice>,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts {
    submitted: u64,
    succeeded: u64,
    failed: u64,
    panicked: u64,
    cancelled: u64,
    timed_out: u64,
    refused: u64,
    worker_deaths: u64,
    recycled: u64,
    abandoned: usize,
}

impl From<&Metrics> for Counts {
    fn from(metrics: &Metrics) -> Self {
        Self {
            submitted: metrics.submitted,
            succeeded: metrics.succeeded,
            failed: metrics.failed,
            panicked: metrics.panicked,
            cancelled: metrics.cancelled,
            timed_out: metrics.timed_out,
            refused: metrics.refused,
            worker_deaths: metrics.worker_deaths,
            recycled: metrics.recycled,
            abandoned: metrics.abandoned,
        }
    }
}

/// How long jobs took for something: ever, and lately.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    #[serde(flatten)]
    ever: Percentiles,
    recent: Option<Percentiles>,
}

impl Times {
    pub(super) fn new(ever: &Distribution, recent: Option<Distribution>) -> Self {
        let ever = Percentiles::from(ever);
        // What is recent is known by the ends of buckets, which may lie beyond the longest time that there was.
        let recent = recent.as_ref().map(|recent| Percentiles::from(recent).at_most(ever.max_us));
        Self { ever, recent }
    }
}

#[derive(Debug, Serialize)]
struct Percentiles {
    count: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Percentiles {
    fn at_most(self, us: f64) -> Self {
        Self {
            count: self.count,
            p50_us: self.p50_us.min(us),
            p90_us: self.p90_us.min(us),
            p99_us: self.p99_us.min(us),
            max_us: self.max_us.min(us),
        }
    }
}

impl From<&Distribution> for Percentiles {
    fn from(times: &Distribution) -> Self {
        Self {
            count: times.count,
            p50_us: micros(times.p50),
            p90_us: micros(times.p90),
            p99_us: micros(times.p99),
            max_us: micros(times.max),
        }
    }
}

/// What a worker does.
#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub(super) worker: u32,
    pub(super) serial: u32,
    pub(super) pid: Option<u32>,
    pub(super) state: &'static str,
    pub(super) busy: Option<f64>,
    pub(super) job: Option<RunningJob>,
    pub(super) latest_job: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RunningJob {
    pub(super) task: u64,
    pub(super) name: String,
    pub(super) running_ms: u64,
}

/// A task that did not finish with a value.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) at_ms: u64,
    pub(super) task: u64,
    pub(super) name: String,
    pub(super) outcome: &'static str,
    pub(super) error: String,
}

/// Something that happened to a worker.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub(super) at_ms: u64,
    pub(super) worker: u32,
    pub(super) serial: u32,
    pub(super) pid: Option<u32>,
    pub(super) what: &'static str,
    pub(super) reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Advice {
    is_enough: bool,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    rule: String,
    evidence: String,
    change: String,
}

impl From<PoolAdvice> for Advice {
    fn from(advice: PoolAdvice) -> Self {
        Self {
            is_enough: advice.is_enough,
            findings: advice.findings.into_iter().map(Finding::from).collect(),
        }
    }
}

impl From<PoolFinding> for Finding {
    fn from(finding: PoolFinding) -> Self {
        Self {
            rule: finding.rule().to_string(),
            evidence: finding.evidence.to_string(),
            change: finding.change,
        }
    }
}

/// At most so many bytes of a text of the program's.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", beginning(text, most))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To a tenth of a microsecond.
fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e7).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("a\u{1f980}b", 3), "a…");
    }

    #[test]
    fn microseconds_have_one_digit_behind_the_point() {
        assert_eq!(serde_json::to_string(&micros(Duration::from_nanos(1_260))).unwrap(), "1.3");
    }
}
