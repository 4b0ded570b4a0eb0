//! [`judge`] and [`after`]: what to do with a delivery, and what to do once its job has ended. Pure.

use std::time::{Duration, SystemTime};

use super::super::{
    message::{Answer, Content, Failure, Reply, Request},
    perform::Performed,
};
use crate::{TaskError, TaskErrorKind, error::Operand, text::beginning};

/// How far the clocks of a client and a node may be apart. A client keeps its limits by its own: a node only spares itself what nobody wants.
pub(super) const CLOCKS: Duration = Duration::from_secs(5);
/// How long a refused job stays away, the first time; then twice as long, and so on, until it is [`LATER_REFUSAL`].
const FIRST_REFUSAL: Duration = Duration::from_millis(250);
const LATER_REFUSAL: Duration = Duration::from_secs(2);
/// After so many refusals at that pace it becomes slower: the nodes that have the job are busy, it seems, and the servers deliver nothing for ever.
/// So a job outlives nearly an hour of refusals with the hundred deliveries that it has by default.
const AT_ONE_PACE: u32 = 8;
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);
/// How long a job stays away after a worker died under it.
const AFTER_DEATH: Duration = Duration::from_millis(300);
/// How long it does when the pool had no room for it.
const AFTER_OVERLOAD: Duration = Duration::from_millis(250);
/// How much of a text is told to others.
const MOST_TEXT: usize = 1000;

/// What this program has under a job's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Here {
    Nothing,
    /// A function with other types.
    Other(u64),
    Same,
    /// The request cannot be read here: why.
    Unreadable(String),
}

/// What was published of a job that has no outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// How many deliveries were no runs.
    pub(super) refusals: u32,
    /// The number of the last that was published; 0 if nothing was.
    pub(super) seen: u64,
}

impl Past {
    /// `None` if there is an outcome.
    pub(super) fn of(last: Option<&(u64, Reply)>) -> Option<Self> {
        match last.map(|(seen, reply)| (*seen, &reply.answer)) {
            None => Some(Self::default()),
            Some((seen, Answer::Refused { count, .. })) => Some(Self { refusals: *count, seen }),
            Some(_) => None,
        }
    }
}

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It is that run of the job, from 1.
    Run {
        attempt: u32,
    },
    End(End),
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// Its outcome is known to the client already.
    Known,
    Answered(Answer),
    /// This node cannot run it, and says why; another may. It does not count as a run.
    Refused {
        has: String,
        delay: Duration,
    },
    /// Its run has failed, and another may succeed. It counts as one.
    Again {
        delay: Duration,
    },
    /// It goes back as if it had not been delivered. It does not count.
    Untouched {
        delay: Duration,
    },
    /// This node can run nothing, for this reason; others may. It does not count.
    Unable {
        why: String,
    },
    /// It goes back untouched, but what was published of it before could not be learnt yet.
    Unknown,
    /// Nobody can do it: it is kept, with the reason.
    Dead(Failure),
}

impl End {
    /// How many bytes of a result wait to be published.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Answered(Answer::Value(Content::Here(bytes))) => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// Decides about a delivery of a job that has no outcome.
pub(super) fn judge(
    request: &Request,
    delivered: u64,
    refusals: u32,
    now: SystemTime,
    here: Here,
) -> Verdict {
    let attempts = delivered.saturating_sub(refusals.into()).max(1);
    let over = |limit: &str| {
        let failure = Failure::TimedOut { limit: limit.to_owned(), after_ms: 0 };
        Verdict::End(End::Answered(Answer::Failed(failure)))
    };
    // By a clock that may be ahead.
    let is_over = |limit: Option<SystemTime>| limit.is_some_and(|limit| limit + CLOCKS <= now);
    if is_over(request.deadline) {
        return over("deadline");
    }
    // A later run is one of a job that has begun.
    if attempts == 1 && is_over(request.queue_deadline) {
        return over("queue_timeout");
    }
    if attempts > u64::from(request.retries) + 1 {
        return Verdict::End(End::Dead(given_up(Some(attempts - 1), None)));
    }
    let has = match here {
        Here::Same => {
            let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
            return Verdict::Run { attempt };
        }
        Here::Nothing => format!("it has no job `{}`", request.job),
        Here::Other(fingerprint) => format!(
            "it has `{}` with fingerprint {fingerprint:016x}, not {:016x}: its types are others",
            request.job, request.fingerprint
        ),
        Here::Unreadable(why) => format!("it cannot read it: {why}"),
    };
    Verdict::End(End::Refused { has, delay: refusal_delay(refusals) })
}

/// What to do with a refusal that was not published, because something else was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    /// The job has its outcome.
    Outcome,
    /// It was published: the answer to that was lost.
    Mine,
    /// Others have refused it, or what was there is forgotten.
    Again(Past),
}

/// Decides about a refusal when this is what was last published.
pub(super) fn clash(last: Option<&(u64, Reply)>, mine: &Reply) -> Clash {
    match (last, Past::of(last)) {
        (_, None) => Clash::Outcome,
        (Some((_, last)), Some(_)) if last == mine => Clash::Mine,
        (_, Some(past)) => Clash::Again(past),
    }
}

pub(super) fn refusal_delay(before: u32) -> Duration {
    let quick = FIRST_REFUSAL.saturating_mul(1 << before.min(8)).min(LATER_REFUSAL);
    let slower = 1 << (before / AT_ONE_PACE).saturating_sub(1).min(8);
    quick.saturating_mul(slower).min(LONGEST_REFUSAL)
}

/// The job was delivered, that often if that is known, and nobody has answered but by `last`.
pub(super) fn given_up(deliveries: Option<u64>, last: Option<&Answer>) -> Failure {
    let after = match deliveries {
        None => String::new(),
        Some(1) => " after 1 delivery".to_owned(),
        Some(times) => format!(" after {times} deliveries"),
    };
    let because = match last {
        Some(Answer::Refused { has, .. }) if !has.is_empty() => format!("of the last node: {has}"),
        _ => "the nodes that took it died, or lost it".to_owned(),
    };
    Failure::Unavailable { why: format!("given up{after}: {because}") }
}

/// Decides about a job that the local pool has ended. Says how long it ran, where the job's own clock knows.
pub(super) fn after(
    outcome: Result<Performed, &TaskError>,
    attempt: u32,
    retries: u32,
) -> (End, Option<Duration>) {
    let failed = |failure| (End::Answered(Answer::Failed(failure)), None);
    match outcome {
        Ok(Performed::Value(value, ran)) => (End::Answered(Answer::Value(Content::Here(value))), Some(ran)),
        Ok(Performed::ArgumentNotDecodable(why)) => failed(Failure::ArgumentNotDecodable { why }),
        Ok(Performed::ResultNotEncodable(why)) => failed(Failure::ResultNotEncodable { why }),
        Ok(Performed::Unknown) => {
            failed(Failure::Unavailable { why: "the worker does not know the job".to_owned() })
        }
        Err(error) => (after_error(error, attempt <= retries), None),
    }
}

fn after_error(error: &TaskError, is_left: bool) -> End {
    let failure = || failure(error);
    match error.kind() {
        TaskErrorKind::WorkerDied if is_left => End::Again { delay: AFTER_DEATH },
        TaskErrorKind::WorkerDied => End::Dead(failure()),
        // Its workers do not start, say.
        TaskErrorKind::Unavailable => End::Unable {
            why: format!("its pool can run nothing: {}", beginning(&error.to_string(), MOST_TEXT)),
        },
        TaskErrorKind::Overloaded => End::Untouched { delay: AFTER_OVERLOAD },
        // The pool is being shut down: others run it.
        TaskErrorKind::Closed | TaskErrorKind::Cancelled => End::Untouched { delay: Duration::ZERO },
        _ => End::Answered(Answer::Failed(failure())),
    }
}

/// The error of a local task, for another machine.
pub(super) fn failure(error: &TaskError) -> Failure {
    let why = || error.to_string();
    match error.kind() {
        TaskErrorKind::Panicked => Failure::Panicked {
            message: error.panic_message().unwrap_or_default().to_owned(),
            location: error.panic_location().map(str::to_owned),
            backtrace: error.backtrace().map(str::to_owned),
        },
        TaskErrorKind::TimedOut => match error.time_limit() {
            Some((limit, after)) => Failure::TimedOut {
                limit: limit.to_owned(),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            None => Failure::Unavailable { why: why() },
        },
        TaskErrorKind::WorkerDied => match error.worker() {
            Some(exit) => Failure::WorkerDied {
                pid: exit.pid(),
                code: exit.code(),
                signal: exit.signal(),
                stderr_tail: exit.stderr_tail().to_owned(),
                note: exit.note().map(str::to_owned),
            },
            None => Failure::Unavailable { why: why() },
        },
        TaskErrorKind::Cancelled => Failure::Cancelled,
        TaskErrorKind::TooLarge => match error.size_limit() {
            Some((Operand::Result, size, limit)) => Failure::ResultTooLarge { size, limit },
            _ => Failure::Unavailable { why: why() },
        },
        // What comes from the worker is ours: bytes with a time. It is not as it should be.
        TaskErrorKind::Decode => Failure::ResultNotEncodable { why: why() },
        _ => Failure::Unavailable { why: why() },
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use bytes::Bytes;

    use super::*;
    use crate::{
        WorkerExit,
        error::{ExitCause, PanicReport, TaskLabel},
        task::{Options, label},
    };

    fn second(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(n)
    }

    fn request() -> Request {
        Request {
            id: "c-1".into(),
            resubmission: 0,
            client: "c".into(),
            job: "job".into(),
            fingerprint: 7,
            queue: "default".into(),
            deadline: Some(second(100)),
            queue_deadline: Some(second(50)),
            run_timeout: None,
            retries: 1,
            traceparent: None,
            argument: Content::Here(Bytes::new()),
        }
    }

    fn last(answer: Answer) -> Reply {
        Reply { id: "c-1".into(), node: "n".into(), attempt: 1, ran: Duration::ZERO, answer }
    }

    fn refused(count: u32) -> Reply {
        last(Answer::Refused { count, has: "nothing".into() })
    }

    #[test]
    fn a_delivery_is_run_answered_refused_or_given_up() {
        let run = |attempt| Verdict::Run { attempt };
        let late = |limit: &str| {
            let failure = Failure::TimedOut { limit: limit.into(), after_ms: 0 };
            Verdict::End(End::Answered(Answer::Failed(failure)))
        };
        let no = |has: &str, ms| {
            let delay = Duration::from_millis(ms);
            Verdict::End(End::Refused { has: has.into(), delay })
        };
        let nothing = "it has no job `job`";
        let other =
            "it has `job` with fingerprint 00000000000000ff, not 0000000000000007: its types are others";
        let strange = || Here::Unreadable("no".into());
        let dead = |n| Verdict::End(End::Dead(given_up(Some(n), None)));
        let table = [
            (1, 0, 0, Here::Same, run(1)),
            (2, 0, 0, Here::Same, run(2)),
            (3, 0, 0, Here::Same, dead(2)),
            (3, 1, 0, Here::Same, run(2)),
            (9, 8, 0, Here::Same, run(1)),
            (9, 6, 0, Here::Same, dead(2)),
            (1, 0, 54, Here::Same, run(1)),
            (1, 0, 55, Here::Same, late("queue_timeout")),
            (2, 0, 55, Here::Same, run(2)),
            (2, 1, 55, Here::Same, late("queue_timeout")),
            (2, 0, 104, Here::Same, run(2)),
            (2, 0, 105, Here::Same, late("deadline")),
            (1, 0, 0, Here::Nothing, no(nothing, 250)),
            (2, 1, 0, Here::Other(255), no(other, 500)),
            (7, 6, 0, Here::Nothing, no(nothing, 2000)),
            (1, 0, 0, strange(), no("it cannot read it: no", 250)),
            (1, 0, 200, Here::Nothing, late("deadline")),
        ];
        for (delivered, refusals, now, here, verdict) in table {
            let found = judge(&request(), delivered, refusals, second(now), here.clone());
            assert_eq!(found, verdict, "delivery {delivered}, {refusals} refusals, at {now} with {here:?}");
        }
    }

    #[test]
    fn an_outcome_stays_and_a_refusal_that_was_not_published_is_counted_anew() {
        let value = last(Answer::Value(Content::Here(Bytes::new())));
        let failed = last(Answer::Failed(Failure::Cancelled));
        let again = |refusals, seen| Clash::Again(Past { refusals, seen });
        let table = [
            (None, again(0, 0)),
            (Some((3, refused(4))), again(4, 3)),
            (Some((3, Reply { node: "other".into(), ..refused(2) })), again(2, 3)),
            (Some((3, refused(2))), Clash::Mine),
            (Some((3, value)), Clash::Outcome),
            (Some((3, failed)), Clash::Outcome),
        ];
        for (last, is) in table {
            assert_eq!(clash(last.as_ref(), &refused(2)), is, "{last:?}");
        }
    }

    #[test]
    fn a_job_may_be_refused_for_nearly_an_hour() {
        let delay = |before| refusal_delay(before).as_millis();
        let table = [
            (0, 250),
            (1, 500),
            (3, 2000),
            (15, 2000),
            (16, 4000),
            (24, 8000),
            (48, 60_000),
            (u32::MAX, 60_000),
        ];
        for (before, ms) in table {
            assert_eq!(delay(before), ms, "after {before}");
        }
        assert!((0..99).map(refusal_delay).sum::<Duration>() > Duration::from_secs(3500));
    }

    #[test]
    fn a_job_without_limits_is_never_late() {
        let request = Request { deadline: None, queue_deadline: None, ..request() };
        let verdict = judge(&request, 1, 0, SystemTime::now(), Here::Same);
        assert_eq!(verdict, Verdict::Run { attempt: 1 });
    }

    fn of_task() -> TaskLabel {
        label("job", &mut Options::default(), Location::caller())
    }

    #[test]
    fn an_ended_job_is_answered_or_run_again_or_dead() {
        let exit = WorkerExit::new(42, ExitCause::Signal(11), "oh".into()).with_note(Some("why"));
        let died = Failure::WorkerDied {
            pid: 42,
            code: None,
            signal: Some(11),
            stderr_tail: "oh".into(),
            note: Some("why".into()),
        };
        let report = PanicReport {
            message: "no luck".into(),
            location: Some("a.rs:1:2".into()),
            ..Default::default()
        };
        let panicked = Failure::Panicked {
            message: "no luck".into(),
            location: Some("a.rs:1:2".into()),
            backtrace: None,
        };
        let answered = |failure| End::Answered(Answer::Failed(failure));
        let unavailable = TaskError::unavailable(of_task(), "no workers");
        let no_workers = format!("its pool can run nothing: {unavailable}");
        let table = [
            (TaskError::worker_died(of_task(), exit.clone()), 1, End::Again { delay: AFTER_DEATH }),
            (TaskError::worker_died(of_task(), exit), 2, End::Dead(died)),
            (TaskError::panicked(of_task(), report), 1, answered(panicked)),
            (
                TaskError::timed_out(of_task(), "run_timeout", Duration::from_secs(2)),
                1,
                answered(Failure::TimedOut { limit: "run_timeout".into(), after_ms: 2000 }),
            ),
            (TaskError::overloaded(of_task(), "p", 1), 2, End::Untouched { delay: AFTER_OVERLOAD }),
            (TaskError::closed(of_task(), "p"), 2, End::Untouched { delay: Duration::ZERO }),
            (TaskError::cancelled(of_task()), 2, End::Untouched { delay: Duration::ZERO }),
            (
                TaskError::too_large(of_task(), Operand::Result, 9, 8),
                1,
                answered(Failure::ResultTooLarge { size: 9, limit: 8 }),
            ),
            (unavailable, 9, End::Unable { why: no_workers }),
        ];
        for (error, attempt, end) in table {
            assert_eq!(after(Err(&error), attempt, 1), (end, None), "{error}, attempt {attempt}");
        }
        let (value, ran) = (Bytes::from_static(b"v"), Duration::from_millis(3));
        let end = End::Answered(Answer::Value(Content::Here(value.clone())));
        assert_eq!(after(Ok(Performed::Value(value, ran)), 1, 0), (end, Some(ran)));
    }
}
