//! What a node says of a job without a result, as the [`TaskError`] that it is here.

use std::time::Duration;

use super::message::Failure;
use crate::{
    TaskError, WorkerExit,
    error::{ExitCause, Operand, PanicReport, TaskLabel},
};

impl Failure {
    /// Whether the job had begun.
    pub(super) fn is_of_a_run(&self) -> bool {
        match self {
            Self::Panicked { .. }
            | Self::WorkerDied { .. }
            | Self::ArgumentNotDecodable { .. }
            | Self::ResultNotEncodable { .. }
            | Self::ResultTooLarge { .. } => true,
            Self::TimedOut { limit, .. } => limit_of(limit) == RUN_TIMEOUT,
            Self::Cancelled | Self::Overloaded { .. } | Self::Unavailable { .. } => false,
        }
    }

    /// Says how long a time was that a node has found over: it knows when it was over, not how long it was.
    pub(super) fn with_limits(mut self, deadline: Duration, queue_timeout: Option<Duration>) -> Self {
        if let Self::TimedOut { limit, after_ms: after_ms @ 0 } = &mut self {
            let limit = match limit_of(limit) {
                "deadline" => deadline,
                "queue_timeout" => queue_timeout.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            *after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        }
        self
    }

    /// Whether the job may be kept among the dead letters.
    pub(super) fn may_be_a_dead_letter(&self) -> bool {
        matches!(self, Self::WorkerDied { .. } | Self::Unavailable { .. })
    }

    pub(super) fn into_error(self, label: TaskLabel) -> TaskError {
        match self {
            Self::Panicked { message, location, backtrace } => {
                TaskError::panicked(label, PanicReport { message, location, backtrace, payload: None })
            }
            Self::WorkerDied { pid, code, signal, stderr_tail, note } => {
                let exit = WorkerExit::new(pid, cause(code, signal), stderr_tail).with_note(note);
                TaskError::worker_died(label, exit)
            }
            Self::TimedOut { limit, after_ms } => {
                TaskError::timed_out(label, limit_of(&limit), Duration::from_millis(after_ms))
            }
            Self::Cancelled => TaskError::cancelled(label),
            Self::ArgumentNotDecodable { why } => TaskError::decode(label, Operand::Argument, why),
            Self::ResultNotEncodable { why } => TaskError::encode(label, Operand::Result, why),
            Self::ResultTooLarge { size, limit } => TaskError::too_large(label, Operand::Result, size, limit),
            Self::Overloaded { queue, why } => TaskError::overloaded_there(label, &queue, &why),
            Self::Unavailable { why } => TaskError::unavailable(label, why),
        }
    }
}

const RUN_TIMEOUT: &str = "run_timeout";

/// The setting by its name here; a node of a later version may know others.
fn limit_of(name: &str) -> &'static str {
    match name {
        RUN_TIMEOUT => RUN_TIMEOUT,
        "queue_timeout" | "queue_deadline" => "queue_timeout",
        "deadline" => "deadline",
        _ => "a time limit of the node",
    }
}

fn cause(code: Option<i32>, signal: Option<i32>) -> ExitCause {
    match (signal, code) {
        (Some(signal), _) => ExitCause::Signal(signal),
        (None, Some(code)) => ExitCause::Code(code),
        (None, None) => ExitCause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Options, label};

    #[test]
    fn a_time_that_a_node_has_found_over_is_as_long_as_it_was_here() {
        let over = |limit: &str, after_ms| {
            let failure = Failure::TimedOut { limit: limit.to_owned(), after_ms };
            text(failure.with_limits(Duration::from_secs(60), Some(Duration::from_secs(5))))
        };
        assert_eq!(over("deadline", 0), "it timed out: deadline is 60s");
        assert_eq!(over("queue_timeout", 0), "it timed out: queue_timeout is 5s");
        assert_eq!(over("run_timeout", 1500), "it timed out: run_timeout is 1.5s");
    }

    fn text(failure: Failure) -> String {
        let label = label("f", &mut Options::default(), std::panic::Location::caller());
        let id = label.id;
        failure.into_error(label).to_string().replace(&format!("task {id} (\"f\")"), "it")
    }

    #[test]
    fn a_failure_reads_as_it_would_if_it_had_happened_here() {
        let why = || "no luck".to_owned();
        let panicked =
            Failure::Panicked { message: why(), location: Some("src/a.rs:1:2".into()), backtrace: None };
        let died = |code, signal| Failure::WorkerDied {
            pid: 7,
            code,
            signal,
            stderr_tail: String::new(),
            note: None,
        };
        let timed_out = |limit: &str| Failure::TimedOut { limit: limit.into(), after_ms: 1500 };
        let table = [
            (panicked, "it panicked at src/a.rs:1:2: no luck", true),
            (died(None, Some(9)), "it lost its worker: pid 7 died of SIGKILL", true),
            (died(Some(3), None), "it lost its worker: pid 7 exited with code 3", true),
            (timed_out("run_timeout"), "it timed out: run_timeout is 1.5s", true),
            (timed_out("deadline"), "it timed out: deadline is 1.5s", false),
            (timed_out("patience"), "it timed out: a time limit of the node is 1.5s", false),
            (Failure::Cancelled, "it was cancelled", false),
            (
                Failure::ArgumentNotDecodable { why: why() },
                "the argument of it cannot be decoded: no luck",
                true,
            ),
            (Failure::ResultNotEncodable { why: why() }, "the result of it cannot be encoded: no luck", true),
            (
                Failure::ResultTooLarge { size: 20, limit: 10 },
                "the result of it takes 20 bytes (max_payload is 10)",
                true,
            ),
            (
                Failure::Overloaded { queue: "gpu".into(), why: why() },
                "it was refused: queue \"gpu\" of the cluster is full (no luck)",
                false,
            ),
            (Failure::Unavailable { why: why() }, "it cannot run: no luck", false),
        ];
        for (failure, message, is_of_a_run) in table {
            assert_eq!(failure.is_of_a_run(), is_of_a_run, "{failure:?}");
            assert_eq!(text(failure), message);
        }
    }
}
