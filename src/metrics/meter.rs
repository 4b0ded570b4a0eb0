//! [`Meter`]: how much of the time in which a worker runs jobs it computes.
//!
//! To read the clock of a thread takes longer than a small job. So it is read at the ends of *spans*, at least [`SPAN`] apart, and a span
//! is one long job or many short ones:
//!
//! ```text
//!            read, if the last time is long ago                  read, if the last time is long ago, or was just before
//!                      │                                         │  this job
//! ──── idle ───────────┤ job ├┤ job ├┤ job ├┤ …   …   ├┤ job ├──┤
//!                      └────────────────── span ─────────────────┘
//! ```
//!
//! 1. Between two readings lie at least [`SPAN`], or one job: two readings in that time at most, of half a microsecond each.
//! 2. A span begins with a reading and ends with a job. What was begun and not measured when a worker has been idle is left out.
//! 3. A job that takes [`SPAN`] or longer is measured, unless it is the first of them after small ones and a rest; of shorter ones a part is,
//!    that does not depend on what they do.
//! 4. After small jobs one rest in [`RESTS`] is followed by a reading. Else two of them could be as long as the job between, in a worker
//!    that sleeps after each.

use std::cell::RefCell;

use super::{
    Measured,
    processor::{Reading, Whose, read},
};

/// The least time between two readings, in nanoseconds, unless a job lies between them. Then they cost 0.2 % at most.
const SPAN: u64 = 500_000;

/// What is shorter than this is a small job, in nanoseconds: a reading takes a noticeable part of it.
const SMALL: u64 = 20_000;
/// See invariant 4.
const RESTS: u8 = 16;

/// What one worker remembers. See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// When the span began, in nanoseconds after some time, and the processor's figures then, unless they were not read.
    read_at: u64,
    reading: Option<Reading>,
    /// Whether no job has ended since then.
    is_fresh: bool,
    /// The jobs that have ended since then, and how long they ran, in nanoseconds.
    jobs: u64,
    run_ns: u64,
    /// Whether the last jobs were small, and after how many rests nothing has been read since.
    is_small: bool,
    rests: u8,
}

/// What a worker did in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) jobs: u64,
    pub(crate) run_ns: u64,
    /// At most `run_ns`.
    pub(crate) cpu_ns: u64,
    pub(crate) waits: u64,
    pub(crate) preemptions: u64,
}

/// What the jobs of a span mostly did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Waiting,
    Computing,
    Both,
}

impl Meter {
    pub(crate) const fn new() -> Self {
        Self { read_at: 0, reading: None, is_fresh: false, jobs: 0, run_ns: 0, is_small: false, rests: 0 }
    }

    /// A job begins at this time.
    #[inline]
    pub(crate) fn begin(&mut self, now: u64, read: impl FnOnce() -> Option<Reading>) {
        if now.saturating_sub(self.read_at) < SPAN {
            return;
        }
        self.rests += 1;
        if self.is_small && self.rests < RESTS {
            return self.start(now, None, false);
        }
        self.rests = 0;
        self.start(now, read(), true);
    }

    /// So many jobs, which ran so long together, have ended by this time. Returns what has been measured, if it is time for that.
    #[inline]
    pub(crate) fn end(
        &mut self,
        now: u64,
        jobs: u64,
        run_ns: u64,
        read: impl FnOnce() -> Option<Reading>,
    ) -> Option<Span> {
        self.is_small = run_ns < SMALL * jobs;
        self.jobs += jobs;
        self.run_ns = self.run_ns.saturating_add(run_ns);
        let since = now.saturating_sub(self.read_at);
        if !std::mem::take(&mut self.is_fresh) && since < SPAN {
            return None;
        }
        let (jobs, before, after) = (self.jobs, self.reading, read());
        // A job that has run others within it was measured with them, and may have begun before all of this.
        let run_ns = self.run_ns.min(since);
        self.start(now, after, false);
        let (before, after) = (before?, after?);
        Some(Span {
            jobs,
            run_ns,
            cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns).min(run_ns),
            waits: after.waits.saturating_sub(before.waits),
            preemptions: after.preemptions.saturating_sub(before.preemptions),
        })
    }

    fn start(&mut self, now: u64, reading: Option<Reading>, is_fresh: bool) {
        *self = Self { read_at: now, reading, is_fresh, jobs: 0, run_ns: 0, ..*self };
    }
}

impl Span {
    /// What its jobs mostly did.
    ///
    /// Who has had three quarters of a processor computes. So does who has had less, and has never waited: others had the processor.
    /// Who has had a quarter at most, and has given it up by itself, waits.
    pub(crate) fn nature(&self) -> Nature {
        let has_a_processor = self.cpu_ns >= self.run_ns / 4 * 3;
        if has_a_processor || self.preemptions >= 2 * self.waits {
            Nature::Computing
        } else if self.cpu_ns <= self.run_ns / 4 {
            Nature::Waiting
        } else {
            Nature::Both
        }
    }
}

thread_local! {
    static METER: RefCell<Meter> = const { RefCell::new(Meter::new()) };
}

/// A job begins on this thread at this time, in nanoseconds after some time.
#[inline]
pub(crate) fn begin(now: u64) {
    METER.with_borrow_mut(|meter| meter.begin(now, || read(Whose::Thread)));
}

/// So many jobs, which ran so long together, have ended on this thread by this time. Returns what has been measured, if anything.
#[inline]
pub(crate) fn end(now: u64, jobs: u64, run_ns: u64) -> Option<Measured> {
    let span = METER.with_borrow_mut(|meter| meter.end(now, jobs, run_ns, || read(Whose::Thread)));
    span.map(Measured::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn at(cpu_us: u64) -> impl FnOnce() -> Option<Reading> {
        move || Some(Reading { cpu_ns: cpu_us * US, waits: cpu_us, preemptions: 1 })
    }

    fn never() -> Option<Reading> {
        panic!("the clock is not to be read")
    }

    #[test]
    fn the_first_job_after_a_pause_is_measured_and_then_what_fills_a_span() {
        let mut meter = Meter::new();
        meter.begin(1_000 * US, at(10));
        let first = meter.end(1_050 * US, 1, 50 * US, at(40)).unwrap();
        assert_eq!(first, Span { jobs: 1, run_ns: 50 * US, cpu_ns: 30 * US, waits: 30, preemptions: 0 });
        meter.begin(1_060 * US, never);
        assert_eq!(meter.end(1_540 * US, 3, 90 * US, never), None);
        meter.begin(1_545 * US, never);
        let rest = meter.end(1_550 * US, 1, 5 * US, at(90)).unwrap();
        assert_eq!((rest.jobs, rest.run_ns, rest.cpu_ns), (4, 95 * US, 50 * US));
    }

    #[test]
    fn what_lies_before_a_pause_and_was_not_measured_is_left_out() {
        let mut meter = Meter::new();
        meter.begin(1_000 * US, at(0));
        assert!(meter.end(1_030 * US, 1, 30 * US, at(10)).is_some());
        assert_eq!(meter.end(1_100 * US, 1, 30 * US, never), None);
        meter.begin(1_600 * US, at(20));
        let span = meter.end(1_630 * US, 1, 30 * US, at(30)).unwrap();
        assert_eq!((span.jobs, span.run_ns), (1, 30 * US));
    }

    #[test]
    fn after_small_jobs_one_rest_in_several_is_followed_by_a_reading() {
        let mut meter = Meter::new();
        let mut now = 1_000 * US;
        let mut trip = |meter: &mut Meter, run: u64| {
            let reads = std::cell::Cell::new(0);
            let read = || {
                reads.set(reads.get() + 1);
                Some(Reading::default())
            };
            meter.begin(now, read);
            let span = meter.end(now + run, 1, run, read);
            now += run + SPAN;
            (reads.get(), span.is_some())
        };
        assert_eq!(trip(&mut meter, 5 * US), (2, true));
        for _ in 1..RESTS {
            assert_eq!(trip(&mut meter, 5 * US), (0, false));
        }
        assert_eq!(trip(&mut meter, 5 * US), (2, true));
        // The first long one begins without a reading, and ends with one.
        assert_eq!(trip(&mut meter, SPAN), (1, false));
        assert_eq!(trip(&mut meter, SPAN), (2, true));
        assert_eq!(trip(&mut meter, 50 * US), (2, true));
    }

    #[test]
    fn a_job_that_ran_others_counts_only_for_what_they_have_left() {
        let mut meter = Meter::new();
        meter.begin(1_000 * US, at(0));
        meter.begin(1_900 * US, at(1));
        assert!(meter.end(2_000 * US, 1, 100 * US, at(2)).is_some());
        let outer = meter.end(2_600 * US, 1, 1_600 * US, at(3)).unwrap();
        assert_eq!(outer.run_ns, 600 * US);
    }

    #[test]
    fn nothing_is_measured_where_the_system_does_not_tell() {
        let mut meter = Meter::new();
        meter.begin(1_000 * US, || None);
        assert_eq!(meter.end(2_000 * US, 1, 1_000 * US, || None), None);
    }

    #[test]
    fn who_was_kept_from_the_processor_has_not_waited() {
        let table = [
            // ran, processor, waits, preemptions
            ((100, 75, 9, 0), Nature::Computing),
            ((100, 74, 9, 0), Nature::Both),
            ((100, 25, 9, 0), Nature::Waiting),
            ((100, 26, 9, 0), Nature::Both),
            ((100, 0, 1, 0), Nature::Waiting),
            ((100, 0, 1, 1), Nature::Waiting),
            ((100, 5, 0, 0), Nature::Computing),
            ((100, 5, 1, 2), Nature::Computing),
        ];
        for ((run, cpu, waits, preemptions), nature) in table {
            let span = Span { jobs: 1, run_ns: run * US, cpu_ns: cpu * US, waits, preemptions };
            assert_eq!(span.nature(), nature, "{span:?}");
        }
    }
}
