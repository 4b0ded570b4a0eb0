//! [`Options`]: what a job's builder was told.

use std::{sync::Arc, time::Duration};

use super::Priority;
use crate::metrics::Pace;

/// Name, limits and order of one job. What is `None` is as the pool says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) kill_grace: Option<Duration>,
    /// How many times the job may be run again after the death of its worker.
    pub(crate) retry: u32,
    pub(crate) priority: Priority,
    /// The hash of a key: jobs with one key should go to one worker.
    pub(crate) affinity: Option<u64>,
    /// Where to take note of how long the job runs.
    pub(crate) pace: Option<Arc<Pace>>,
}
