//! [`perform`]: runs a registered function by its name, in a worker of a node's local pool.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::registry;
use crate::job;

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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Performed {
    /// The result, as packed by `content`, and how long the function ran: without decoding and encoding.
    Value(Bytes, Duration),
    ArgumentNotDecodable(String),
    ResultNotEncodable(String),
    /// No function of that name is here.
    Unknown,
}

/// Runs a job. A plain function without captures: it is a job on any pool.
pub(super) fn perform(perform: Perform) -> Performed {
    let Perform { job, id, attempt, argument } = perform;
    let Some(function) = registry::named(&job) else { return Performed::Unknown };
    job::enter(id, attempt, || function.run(argument))
}
