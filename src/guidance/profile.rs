//! [`Profile`]: what is known about a job, as plain data.

use std::time::Duration;

use super::{Needs, Tried, Workload};

/// From here on a job is not tiny: less is not worth a hand-off of its own.
pub(super) const TINY: Duration = Duration::from_micros(10);
/// Who computes less than this share of the time waits.
pub(super) const WAITS: f64 = 0.2;
/// Who computes more than this share of the time computes.
pub(super) const COMPUTES: f64 = 0.8;

/// What is known about a job, as plain data: for [`advise`](super::advise).
///
/// Made by [`measure`](Self::measure), which runs the job a few times, or by hand, starting from [`new`](Self::new).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use heavylift::{Machine, Profile, advise, guidance::Choice};
///
/// // A thumbnail takes 8 ms and may hit a bug in the decoder; 100 of them come at once, 2 MB each.
/// let thumbnail =
///     Profile::new(Duration::from_millis(8)).calls(100).arg_bytes(2_000_000).result_bytes(30_000).untrusted_input();
/// let advice = advise(&thumbnail, &Machine::typical());
/// assert_eq!(advice.executor, Choice::Processes);
/// println!("{advice}");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Profile {
    /// How long a call takes, on average.
    pub run_time: Duration,
    /// Ninety-nine calls in a hundred take at most this long.
    pub run_time_p99: Duration,
    /// How far the calls are apart: the middle half of them spans this part of the median. 0 by hand.
    pub spread: f64,
    /// The part of the run time in which a processor computes, from 0 (waits) to 1. Default by hand: 1.
    pub cpu_share: f64,
    /// How often it gives the processor away of itself, for each call.
    pub switches: f64,
    /// Bytes of an argument as it crosses into a process.
    pub arg_bytes: u64,
    /// Bytes of a result as it crosses back.
    pub result_bytes: u64,
    /// Time to encode argument and result of one call.
    pub encode: Duration,
    /// Time to decode argument and result of one call.
    pub decode: Duration,
    /// How many calls are expected at about the same time. Default: 1.
    pub calls: u64,
    /// How many times faster the calls are on all cores than on one, for machines with more cores or fewer than the one that they were tried
    /// on; at most the number of its cores. `None`: as many times as there are cores.
    pub scaling: Option<f64>,
    /// What a call takes by each executor, as tried: decides before anything else where the machine has as many cores as the one that
    /// it was tried on. By hand: nothing.
    pub tried: Tried,
    /// On how many cores that is so. 0: on those of whatever machine is asked about.
    pub measured_cores: usize,
    /// How many calls this comes from. 0: made by hand.
    pub measured_calls: u64,
    /// The share of the cores that other programs had while the executors were tried, from 0 to 1. Above 0.15 they disturb: more threads got a
    /// larger share, and calls that scale may seem not to. `None`: nothing was tried, or it is not known (it is on Linux). By hand: `None`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub others: Option<f64>,
    /// How long all calls together may take. Default: however long.
    #[cfg_attr(feature = "serde", serde(default))]
    pub within: Option<Duration>,
    /// What it asks for besides time.
    pub needs: Needs,
}

impl Profile {
    /// Makes a profile by hand: one call, which computes for `run_time` and carries next to nothing.
    pub fn new(run_time: Duration) -> Self {
        Self {
            run_time,
            run_time_p99: run_time,
            spread: 0.0,
            cpu_share: 1.0,
            switches: 0.0,
            arg_bytes: 8,
            result_bytes: 8,
            encode: Duration::ZERO,
            decode: Duration::ZERO,
            calls: 1,
            scaling: None,
            tried: Tried::default(),
            measured_cores: 0,
            measured_calls: 0,
            others: None,
            within: None,
            needs: Needs::default(),
        }
    }

    /// How many calls are expected at about the same time. 0 counts as 1.
    pub fn calls(mut self, calls: u64) -> Self {
        self.calls = calls.max(1);
        self
    }

    /// The part of the run time in which a processor computes, from 0 to 1.
    ///
    /// # Panics
    ///
    /// If it is not a number from 0 to 1.
    #[track_caller]
    pub fn cpu_share(mut self, share: f64) -> Self {
        assert!((0.0..=1.0).contains(&share), "cpu_share({share}) is not from 0 to 1");
        self.cpu_share = share;
        self
    }

    /// How long all calls together may take. Where the best plan on this machine takes longer, the advice says whether other machines can
    /// do it in time, and how many slots that needs.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heavylift::{Machine, Profile, advise};
    ///
    /// let night = Duration::from_secs(8 * 60 * 60);
    /// let frames = Profile::new(Duration::from_secs(40)).calls(100_000).arg_bytes(20_000).within(night);
    /// println!("{}", advise(&frames, &Machine::typical()));
    /// ```
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// The time that ninety-nine calls in a hundred stay below.
    pub fn run_time_p99(mut self, time: Duration) -> Self {
        self.run_time_p99 = time;
        self
    }

    /// Bytes of an argument.
    pub fn arg_bytes(mut self, bytes: u64) -> Self {
        self.arg_bytes = bytes;
        self
    }

    /// Bytes of a result.
    pub fn result_bytes(mut self, bytes: u64) -> Self {
        self.result_bytes = bytes;
        self
    }

    /// What the job is, by its needs first and then by how long it takes and how much of that it computes.
    ///
    /// Less than 10 µs is [`Tiny`](Workload::Tiny); less than 20 % computing is [`BlockingIo`](Workload::BlockingIo), more than 80 %
    /// [`CpuBound`](Workload::CpuBound), and between them lies [`Mixed`](Workload::Mixed).
    pub fn workload(&self) -> Workload {
        match self.needs {
            needs if needs.is_awaited() => Workload::AsyncIo,
            needs if !needs.isolation().is_empty() => Workload::Isolated,
            Needs { runs_forever: true, .. } => Workload::LongRunning,
            Needs { already_parallel: true, .. } => Workload::CpuBound,
            Needs { data_parallel: true, .. } => Workload::DataParallel,
            _ if self.run_time < TINY => Workload::Tiny,
            _ if self.cpu_share < WAITS => Workload::BlockingIo,
            _ if self.cpu_share > COMPUTES => Workload::CpuBound,
            _ => Workload::Mixed,
        }
    }

    /// Time in which a call computes.
    pub(super) fn computing(&self) -> f64 {
        self.run_time.as_secs_f64() * self.cpu_share.clamp(0.0, 1.0)
    }

    /// Bytes that cross for a call.
    pub(super) fn bytes(&self) -> u64 {
        self.arg_bytes.saturating_add(self.result_bytes)
    }
}

macro_rules! needs {
    ($($(#[$doc:meta])* $need:ident)*) => {
        impl Profile {$(
            $(#[$doc])*
            pub fn $need(mut self) -> Self {
                self.needs.$need = true;
                self
            }
        )*}
    };
}

needs! {
    /// Says that there is an async library for it.
    async_library
    /// Says that a time limit or a cancelled request must really stop it.
    killable
    /// Says that its memory must be limited.
    memory_cap
    /// Says that it may end its process.
    may_crash
    /// Says that it reads what a stranger sent.
    untrusted_input
    /// Says that it must not run twice at once in one process.
    not_thread_safe
    /// Says that it loses memory or descriptors.
    leaks
    /// Says that it is parallel inside.
    already_parallel
    /// Says that it works on data of the program.
    shared_state
    /// Says that it ends with the program.
    runs_forever
    /// Says that one job can be split over its own data.
    data_parallel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_what_its_needs_say_and_then_what_its_times_say() {
        let ms = Profile::new(Duration::from_millis(1));
        let table = [
            (Profile::new(Duration::from_micros(9)), Workload::Tiny),
            (ms.clone(), Workload::CpuBound),
            (ms.clone().cpu_share(0.1), Workload::BlockingIo),
            (ms.clone().cpu_share(0.5), Workload::Mixed),
            (ms.clone().data_parallel(), Workload::DataParallel),
            (ms.clone().runs_forever(), Workload::LongRunning),
            (ms.clone().runs_forever().may_crash(), Workload::Isolated),
            (Profile::new(Duration::from_nanos(5)).killable(), Workload::Isolated),
            (ms.clone().cpu_share(0.1).already_parallel(), Workload::CpuBound),
            (ms.clone().killable().async_library(), Workload::AsyncIo),
            (ms.may_crash().async_library(), Workload::Isolated),
        ];
        for (profile, workload) in table {
            assert_eq!(profile.workload(), workload, "{profile:?}");
        }
    }

    #[test]
    #[should_panic(expected = "cpu_share(1.5) is not from 0 to 1")]
    fn a_share_is_a_share() {
        let _ = Profile::new(Duration::ZERO).cpu_share(1.5);
    }
}
