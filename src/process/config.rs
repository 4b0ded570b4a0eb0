//! [`Config`]: how a process pool was built.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{Output, message::SetupCall};

/// How a process pool was built; checked by its builder.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) min_workers: usize,
    pub(super) max_workers: usize,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) queue_limit: Option<usize>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) run_timeout: Option<Duration>,
    pub(super) start_timeout: Duration,
    pub(super) kill_grace: Duration,
    pub(super) max_tasks_per_worker: Option<u64>,
    pub(super) max_age_per_worker: Option<Duration>,
    pub(super) max_memory_per_worker: Option<u64>,
    pub(super) preload: Option<SetupCall>,
    pub(super) initializer: Option<SetupCall>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) env_clear: bool,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) max_payload: u64,
    pub(super) stack_size: u64,
    pub(super) output: Output,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) address_space_limit: Option<u64>,
}
