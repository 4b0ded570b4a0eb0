//! [`Advice`]: which executor, how, and why.

use std::{fmt, time::Duration};

use super::{Choice, Reason};

/// Which executor suits a job, how to use it, and why. Made by [`advise`](super::advise).
///
/// Printed, it is a few lines for a person.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use = "an advice does nothing by itself"]
#[non_exhaustive]
pub struct Advice {
    /// Where the job goes.
    pub executor: Choice,
    /// How many workers have work. More do no harm where the pool is elastic.
    pub workers: usize,
    /// For [`Map::chunk_size`](crate::Map::chunk_size).
    pub chunk_size: usize,
    /// For [`Map::in_flight`](crate::Map::in_flight), or as bound of a queue.
    pub in_flight: usize,
    /// How long all calls take there, from the first hand-off to the last result.
    pub predicted: Duration,
    /// How long all calls take one after the other on the calling thread.
    pub inline: Duration,
    /// `inline / predicted`.
    pub speed_up: f64,
    /// Why, the most important first. Never empty.
    pub reasons: Vec<Reason>,
    /// What comes next, if there is something.
    pub runner_up: Option<RunnerUp>,
    /// How sure this is.
    pub confidence: Confidence,
}

/// The executor that comes next, and what would have to be different for it to win.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RunnerUp {
    /// The executor.
    pub executor: Choice,
    /// How long all calls take there.
    pub predicted: Duration,
    /// When it would be the better one, as the end of a sentence.
    pub wins: String,
}

/// How sure an advice is: how far the runner-up is, and how good the figures are that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Confidence {
    /// Measure: job, machine or both are assumed, the calls differ widely, or other programs had the cores.
    Low,
    /// The runner-up would be about as good, or something is assumed.
    Medium,
    /// The job's needs decide, or it wins by far.
    High,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.executor, self.executor.how())?;
        if self.workers > 1 {
            write!(f, ", {} workers", self.workers)?;
        }
        if self.chunk_size > 1 {
            write!(f, ", chunks of {}, {} in flight", self.chunk_size, self.in_flight)?;
        }
        writeln!(f)?;
        for reason in &self.reasons {
            writeln!(f, "  because {reason}")?;
        }
        let Self { inline, predicted, speed_up, confidence, .. } = self;
        writeln!(
            f,
            "  predicted {predicted:.1?}, inline {inline:.1?}: {speed_up:.1} ×, confidence {confidence}"
        )?;
        if let Some(RunnerUp { executor, predicted, wins }) = &self.runner_up {
            writeln!(f, "  next {executor}, {predicted:.1?}: better {wins}")?;
        }
        Ok(())
    }
}
