//! [`ProcessorUse`]: how jobs used the processor; [`Measured`]: the same in numbers that are added up.

use std::time::Duration;

use super::meter::{Nature, Span};

/// How jobs used the processor, as far as that was measured: on Linux, and there of long jobs all and of short ones a sample.
///
/// Jobs are measured by the clock of the thread that runs them, in a worker process by that of all its threads. So a job that has
/// threads of other pools compute for it, as with rayon, counts in a thread pool as one that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorUse {
    /// All jobs that were measured.
    pub measured: JobGroup,
    /// Of these, the ones that mostly waited: they were on a processor for a quarter of their run time at most, and had given it up
    /// by themselves.
    pub waiting: JobGroup,
    /// Of these, the ones that mostly computed: they were on a processor for three quarters of their run time at least, or would have
    /// been if others had not had it.
    pub computing: JobGroup,
    /// The processor time that the whole program has had since the pool was built, worker processes not counted; `None` where that
    /// is not known.
    pub program: Option<Duration>,
}

/// Some jobs. Short ones are measured several at a time, and then counted as what they did together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobGroup {
    /// How many jobs. Items of a `map` that travel together to a worker process count as one.
    pub jobs: u64,
    /// How long they ran, together.
    pub run_time: Duration,
    /// How much of that they were on a processor.
    pub cpu_time: Duration,
}

impl JobGroup {
    /// Returns the share of the run time that was spent on a processor, from 0 to 1; `None` without any run time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use heavylift::JobGroup;
    ///
    /// let mut group = JobGroup::default();
    /// assert_eq!(group.cpu_share(), None);
    /// (group.run_time, group.cpu_time) = (Duration::from_secs(4), Duration::from_secs(1));
    /// assert_eq!(group.cpu_share(), Some(0.25));
    /// ```
    pub fn cpu_share(&self) -> Option<f64> {
        (!self.run_time.is_zero()).then(|| self.cpu_time.as_secs_f64() / self.run_time.as_secs_f64())
    }
}

/// How many numbers [`Measured`] is.
pub(crate) const FIGURES: usize = 9;

/// What was measured of jobs: for all, those that waited, and those that computed, each their number, run time and processor time
/// in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measured(pub(crate) [u64; FIGURES]);

impl From<Span> for Measured {
    fn from(span: Span) -> Self {
        let all = [span.jobs, span.run_ns, span.cpu_ns];
        let nature = span.nature();
        let of = |other| if nature == other { all } else { [0; 3] };
        let mut figures = [all, of(Nature::Waiting), of(Nature::Computing)].into_iter().flatten();
        Self(std::array::from_fn(|_| figures.next().unwrap_or(0)))
    }
}

impl Measured {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for worker processes"))]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_add(other.0[at])))
    }

    /// The figures of a worker that has lived so long, as far as they can be true.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for worker processes"))]
    pub(crate) fn limited(self, life: Duration) -> Self {
        let life = u64::try_from(life.as_nanos()).unwrap_or(u64::MAX);
        let [jobs, run, cpu, waiting @ .., c_jobs, c_run, c_cpu] = self.0;
        let [w_jobs, w_run, w_cpu] = waiting;
        let run = run.min(life);
        let (w_run, c_run) = (w_run.min(run), c_run.min(run));
        Self([
            jobs,
            run,
            cpu.min(run),
            w_jobs.min(jobs),
            w_run,
            w_cpu.min(w_run),
            c_jobs.min(jobs),
            c_run,
            c_cpu.min(c_run),
        ])
    }

    pub(crate) fn into_use(self, program: Option<Duration>) -> ProcessorUse {
        let [measured, waiting, computing] = [0, 3, 6].map(|at| JobGroup {
            jobs: self.0[at],
            run_time: Duration::from_nanos(self.0[at + 1]),
            cpu_time: Duration::from_nanos(self.0[at + 2]),
        });
        ProcessorUse { measured, waiting, computing, program }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_for_all_and_for_what_its_jobs_did() {
        let span = Span { jobs: 2, run_ns: 100, cpu_ns: 10, waits: 1, preemptions: 0 };
        let measured = Measured::from(span).plus(Measured::from(Span { cpu_ns: 50, ..span }));
        let processor = measured.into_use(None);
        let group = |jobs, run, cpu| JobGroup {
            jobs,
            run_time: Duration::from_nanos(run),
            cpu_time: Duration::from_nanos(cpu),
        };
        assert_eq!(processor.measured, group(4, 200, 60));
        assert_eq!(processor.waiting, group(2, 100, 10));
        assert_eq!(processor.computing, JobGroup::default());
    }

    #[test]
    fn figures_that_cannot_be_true_are_cut_down() {
        let limited = Measured([u64::MAX; FIGURES]).limited(Duration::from_nanos(7));
        assert_eq!(limited.0, [u64::MAX, 7, 7, u64::MAX, 7, 7, u64::MAX, 7, 7]);
        let figures = Measured([3, 6, 5, 1, 2, 1, 1, 3, 3]);
        assert_eq!(figures.limited(Duration::from_nanos(6)), figures);
    }
}
