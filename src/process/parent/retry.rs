//! Whether a job is run again after the death of its worker.

/// A job whose worker has died under it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    /// How many times the job may be run again.
    pub(super) retry: u32,
    /// How many workers have died under it before.
    pub(super) before: usize,
    /// The job was cancelled, dropped or timed out, or its task has finished.
    pub(super) stopped: bool,
    /// The pool is being shut down, and cancels what is queued.
    pub(super) cancels: bool,
}

impl Death {
    pub(super) fn is_forgiven(self) -> bool {
        !self.stopped && !self.cancels && self.before < self.retry as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_run_again_as_often_as_was_asked_unless_nobody_wants_it() {
        let table = [
            // retry, before, stopped, cancels => again
            ((0, 0, false, false), false),
            ((1, 0, false, false), true),
            ((1, 1, false, false), false),
            ((3, 2, false, false), true),
            ((3, 3, false, false), false),
            ((u32::MAX, 1000, false, false), true),
            ((3, 0, true, false), false),
            ((3, 0, false, true), false),
        ];
        for ((retry, before, stopped, cancels), again) in table {
            let death = Death { retry, before, stopped, cancels };
            assert_eq!(death.is_forgiven(), again, "{death:?}");
        }
    }
}
