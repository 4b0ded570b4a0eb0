//! Deciding: what may be said about a worker, given what was seen of it. Pure: no clock, no runtime, no file.

use std::time::Duration;

use super::{Activity, Verdict};

/// What tokio tells about one worker: it writes both whenever the worker parks, wakes, and after a number of polls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// How often it has parked and woken; odd while it is parked.
    pub parks: u64,
    pub busy: Duration,
}

impl Signature {
    pub(super) const fn is_parked(self) -> bool {
        self.parks % 2 == 1
    }
}

/// How many polls may lie between two times that a worker writes its [`Signature`]: tokio's default `event_interval`, and up to three
/// tasks out of the LIFO slot after each of them.
pub(super) const POLLS_BETWEEN: u32 = 61 * 4;

/// A worker is called busy only after so many limits: by then everything that proves it blocked has been seen.
const LIMITS_TO_BUSY: u32 = 2;

/// What was seen of a worker since it last wrote its signature, and of its thread meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// For how long it has been seen out of its parking place without a change.
    pub quiet: Duration,
    /// How much time has passed meanwhile, with what the watch itself has slept through.
    pub passed: Duration,
    /// For how long its thread has run; unknown where the system does not tell.
    pub cpu: Option<Duration>,
    /// For how long its thread could have run and was given no processor.
    pub starved: Duration,
    /// For how long the heartbeat has waited, with every worker out of its parking place and none changing.
    pub unanswered: Duration,
}

impl Facts {
    /// For how long tasks have held the worker: without the time that others had the processor, and no longer than was seen.
    pub(super) fn held(&self) -> Duration {
        // Not the one less the other: on a machine with more to do than it can, both the worker and the watch get no processor,
        // at the same time.
        self.passed.saturating_sub(self.starved).min(self.quiet)
    }

    /// What the thread has done with most of that time.
    pub(super) fn activity(&self) -> Activity {
        let held = self.held();
        match self.cpu {
            None => Activity::Unknown,
            Some(cpu) if held.saturating_sub(cpu) * 2 >= held => Activity::Waiting,
            Some(_) => Activity::Computing,
        }
    }

    /// What may be said about the worker, if anything.
    pub(super) fn judge(&self, limit: Duration) -> Option<Verdict> {
        let held = self.held();
        if held < limit {
            return None;
        }
        // A worker that has work does not sleep, except where a task makes it. The heartbeat is proof whatever the threads do.
        let is_proven = self.activity() == Activity::Waiting || self.unanswered >= limit;
        // So few polls, and so long: one of them must have taken the limit and more.
        let took_too_few_polls = held >= limit * POLLS_BETWEEN;
        match is_proven || took_too_few_polls {
            true => Some(Verdict::Blocked),
            false => (held >= limit * LIMITS_TO_BUSY).then_some(Verdict::Busy),
        }
    }
}

/// Whether a runtime that has one thread is polled all the time.
///
/// ```text
/// Always (a runtime with threads of its own)
/// Assumed ──was quiet, and tokio did not count that as busy──▶ InTurns (final)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driven {
    /// Its workers are threads of its own.
    Always,
    /// By whoever is in `block_on`, and nobody has been seen to leave it.
    Assumed,
    /// By whoever is in `block_on`, and at times nobody is: only what tokio has counted as busy afterwards is proof.
    InTurns,
}

/// What it was that has ended: a worker was quiet for so long, and tokio has counted so much more as busy since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was held, or nothing to speak of.
    Held,
    /// Nobody drove the runtime.
    NobodyDrove,
}

impl Driven {
    pub(super) fn ending(self, quiet: Duration, counted: Duration) -> Ending {
        match self {
            Self::Assumed | Self::InTurns if counted < quiet / 2 => Ending::NobodyDrove,
            _ => Ending::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn facts(quiet: u64, cpu: Option<u64>, starved: u64, unanswered: u64) -> Facts {
        let (quiet, passed) = (ms(quiet), ms(quiet));
        Facts { quiet, passed, cpu: cpu.map(ms), starved: ms(starved), unanswered: ms(unanswered) }
    }

    #[test]
    fn only_what_is_proven_is_called_blocked() {
        use Verdict::{Blocked, Busy};
        let table = [
            ("short of the limit", facts(99, Some(0), 0, 99), None),
            ("its thread waits", facts(100, Some(2), 0, 0), Some(Blocked)),
            ("its thread waits half of the time", facts(100, Some(50), 0, 0), Some(Blocked)),
            ("it computes, and others answer: wait and see", facts(199, Some(199), 0, 0), None),
            ("it computes, and others answer", facts(200, Some(199), 0, 0), Some(Busy)),
            ("it computes, and nobody answers", facts(125, Some(124), 0, 100), Some(Blocked)),
            ("nobody answers, yet not for long enough", facts(125, Some(124), 0, 99), None),
            ("nothing is known of its thread", facts(150, None, 0, 0), None),
            ("nothing is known of its thread, for longer", facts(250, None, 0, 0), Some(Busy)),
            ("nothing is known of its thread, and nobody answers", facts(150, None, 0, 125), Some(Blocked)),
            ("others have the processor", facts(300, Some(20), 260, 300), None),
            ("others have the processor half of the time", facts(300, Some(145), 150, 300), Some(Blocked)),
            ("longer than any number of short polls", facts(24_400, Some(24_400), 0, 0), Some(Blocked)),
        ];
        for (what, facts, verdict) in table {
            assert_eq!(facts.judge(ms(100)), verdict, "{what}");
        }
    }

    #[test]
    fn what_the_watch_has_slept_through_does_not_count_twice_nor_at_all() {
        let stopped = Facts { passed: ms(5000), ..facts(50, Some(1), 0, 50) };
        assert_eq!((stopped.held(), stopped.judge(ms(100))), (ms(50), None));
        let starved = Facts { passed: ms(400), ..facts(250, Some(110), 290, 250) };
        assert_eq!((starved.held(), starved.judge(ms(100))), (ms(110), Some(Verdict::Blocked)));
    }

    #[test]
    fn what_a_thread_does_is_what_it_does_most() {
        let table = [
            (facts(100, None, 0, 0), Activity::Unknown),
            (facts(100, Some(0), 0, 0), Activity::Waiting),
            (facts(100, Some(51), 0, 0), Activity::Computing),
            (facts(100, Some(40), 40, 0), Activity::Computing),
            // The clock of a thread may be ahead of what was seen of it.
            (facts(100, Some(120), 0, 0), Activity::Computing),
        ];
        for (facts, activity) in table {
            assert_eq!(facts.activity(), activity, "{facts:?}");
        }
    }

    #[test]
    fn a_pause_that_tokio_does_not_count_as_busy_was_nobodys() {
        assert_eq!(Driven::Always.ending(ms(500), ms(0)), Ending::Held);
        for driven in [Driven::Assumed, Driven::InTurns] {
            assert_eq!(driven.ending(ms(500), ms(510)), Ending::Held);
            assert_eq!(driven.ending(ms(500), ms(3)), Ending::NobodyDrove);
        }
    }
}
