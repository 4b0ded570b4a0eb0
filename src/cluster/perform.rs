//! [`perform`]: runs a registered function by its name, in a worker of a node's local pool.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A job as an argument of a local pool's job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Perform {
    pub(super) job: String,
    /// The job's id in the cluster, for `job::current()`.
    pub(super) id: String,
    pub(super) attempt: u32,
    /// As packed by `content`.
    pub(super) argument: Bytes,
}

/// How it went. A panic of the job is none of these: it is the local pool's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Performed {
    /// The result, as packed by `content`, and how long the function ran.
    Value(Bytes, Duration),
    ArgumentNotDecodable(String),
    ResultNotEncodable(String),
    /// No function of that name is here.
    Unknown,
}

/// Runs a job. A plain function without captures: it is a job on any pool.
pub(super) fn perform(_job: Perform) -> Performed {
    todo!()
}
