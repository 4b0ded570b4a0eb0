//! [`Options`]: what a job's builder was told.

use std::{sync::Arc, time::Duration};

/// Name and time limits of one job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
}
