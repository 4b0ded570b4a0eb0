//! [`Profile::measure`]: finds out about a job by running it a few times.
//!
//! ```text
//! samples ──encode──▶ copies ──decode──▶ calls, alone ──▶ calls by each executor (`trial`)
//!                                           └──▶ results ──encode, decode
//! ```
//!
//! 1. An argument is used up by a call, so each call gets a copy: the sample is encoded once and decoded as often as needed,
//!    outside of what is timed.
//! 2. Calls are timed in groups that take [`GROUP`] or longer, so that the clocks weigh nothing. Groups grow until they are that
//!    long; those before are the warm-up.
//! 3. Every step has a limit of time, and each runs at least once: a job that takes seconds is called twice.
//! 4. Whether a call waits is told by two clocks and by how often the thread gave its processor away of itself. Who never did has not
//!    waited: the rest of the time somebody else had the processor. What a thread that does wait has lost in that way is taken off, where
//!    the system tells.

use std::{
    fmt, fs, thread,
    time::{Duration, Instant},
};

use super::{
    Profile,
    samples::{Crossed, Samples, caught, median, timed},
    trial::{Trial, try_out},
};
use crate::{
    Payload,
    metrics::processor::{self, Whose},
    task::assert_may_block,
    wire::{CodecError, decode, encode, is_bulk},
};

/// Calls that are timed together take this long or longer.
const GROUP: Duration = Duration::from_micros(200);
/// So many groups are enough.
const GROUPS: usize = 60;
const FOR_CALLS: Duration = Duration::from_millis(100);
const RESULTS: usize = 8;
/// Payloads are encoded and decoded so often at most, and for so long.
const CODINGS: usize = 32;
const FOR_CODING: Duration = Duration::from_millis(15);

/// Why a job could not be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeasureError {
    /// There was no sample.
    NoSample,
    /// The job panicked, with this message.
    Panicked(String),
    /// An argument or a result could not be encoded or decoded, for this reason.
    Payload(String),
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSample => f.write_str("the job cannot be measured: `samples` has no argument for it"),
            Self::Panicked(message) => write!(f, "the job panicked while it was measured: {message}"),
            Self::Payload(why) => {
                write!(f, "an argument or a result of the job cannot cross into a process: {why}")
            }
        }
    }
}

impl std::error::Error for MeasureError {}

impl From<CodecError> for MeasureError {
    fn from(why: CodecError) -> Self {
        Self::Payload(why.to_string())
    }
}

impl Profile {
    /// Measures a job: runs it a few times with the samples as arguments, and returns what it takes.
    ///
    /// First on this thread. Then, if a call takes from 200 ns to 20 ms and does not mostly wait, by every executor in turn, as many by
    /// `map` would be run, on pools that are gone afterwards: what calls cost one another (a lock, the allocator, memory that changes
    /// threads) shows only so. Executors that are close take more turns. Takes a third to half of a second, or as long as two calls, if that is
    /// longer. At most 128 samples are used, up to 16 MiB of them, one after the other and again, as copies. They should be like what comes in
    /// earnest, and name as many different things; [`calls`](Self::calls) tells how many come.
    ///
    /// Best while nothing else runs: where others use the processors, too, more threads get a larger share of them, many threads look
    /// better than they are, and calls that scale may seem not to. On Linux that is noticed ([`others`](Self::others)): beyond 15 % of the cores
    /// the executors are tried again, at most twice, and what counts is the trial that was disturbed least. All of it then takes about a
    /// second; if it was disturbed all the same, the advice says so. Time on this thread does not count while others have its processor.
    ///
    /// Whether the job waits is known on Linux only; elsewhere it is taken to compute. What a file read finds in the cache here, it may
    /// not find there.
    ///
    /// The job runs in this process, and, if it captures nothing, in worker processes: one that crashes ends this one. One that is not
    /// thread-safe, or must not run in another process, wants [`measure_alone`](Self::measure_alone).
    /// Blocks: on a runtime, call it inside a job of a thread pool.
    ///
    /// # Errors
    ///
    /// There is no sample, the job panicked, or an argument or a result cannot be encoded.
    ///
    /// # Panics
    ///
    /// On a thread that drives async tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::{Profile, Workload};
    ///
    /// let sum = |numbers: Vec<u64>| numbers.iter().fold(0u64, |sum, n| sum.wrapping_mul(31) ^ n);
    /// let profile = Profile::measure(sum, [(0..100_000).collect::<Vec<u64>>()])?;
    /// assert_eq!(profile.workload(), Workload::CpuBound);
    /// assert_eq!(profile.arg_bytes, 800_000);
    /// # Ok::<(), heavylift::guidance::MeasureError>(())
    /// ```
    pub fn measure<F, A, R>(job: F, samples: impl IntoIterator<Item = A>) -> Result<Self, MeasureError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        let (mut profile, samples) = measure_alone(job, samples)?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Trial { tried: profile.tried, others: profile.others } = try_out(job, &samples, &profile)?;
        profile.scaling = profile.tried.scaling(cores);
        profile.measured_cores = cores;
        Ok(profile)
    }

    /// As [`measure`](Self::measure), on this thread only: never two calls at once. What calls cost one another stays unknown.
    ///
    /// # Errors
    ///
    /// As [`measure`](Self::measure).
    ///
    /// # Panics
    ///
    /// As [`measure`](Self::measure).
    pub fn measure_alone<F, A, R>(job: F, samples: impl IntoIterator<Item = A>) -> Result<Self, MeasureError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        measure_alone(job, samples).map(|(profile, _)| profile)
    }
}

fn measure_alone<F, A, R>(
    job: F,
    samples: impl IntoIterator<Item = A>,
) -> Result<(Profile, Samples), MeasureError>
where
    F: Fn(A) -> R,
    A: Payload,
    R: Payload,
{
    assert_may_block();
    let samples = Samples::take(samples)?;
    let before = processor::read(Whose::Thread);
    let mut caller = Caller::new(job, &samples);
    let (timed, results) = caller.run(FOR_CALLS)?;
    let switches = before.zip(processor::read(Whose::Thread));
    let switches = switches.map(|(from, to)| (to.waits - from.waits) as f64 / caller.calls as f64);
    let args = Codec::of::<A>(&samples.encoded)?;
    let results = results.into_iter().map(Crossed::new).collect::<Result<Vec<_>, _>>()?;
    let results = Codec::of::<R>(&results)?;
    Ok((profile(args, results, &timed, switches), samples))
}

fn profile(args: Codec, results: Codec, timed: &Timed, switches: Option<f64>) -> Profile {
    let computes = switches == Some(0.0) || timed.computing.is_none();
    let mut profile = Profile::new(if computes { timed.mean_computing() } else { timed.mean() });
    profile.run_time_p99 = timed.at(99);
    profile.spread = (timed.at(75) - timed.at(25)).as_secs_f64() / timed.at(50).as_secs_f64().max(1e-9);
    if !computes {
        profile.cpu_share = timed.cpu_share();
        profile.switches = switches.unwrap_or(0.0);
    }
    profile.arg_bytes = args.bytes;
    profile.result_bytes = results.bytes;
    profile.encode = args.encode + results.encode;
    profile.decode = args.decode + results.decode;
    profile.measured_calls = timed.calls;
    profile
}

/// What a payload takes to cross, on average, apart from being copied.
#[derive(Debug, Clone, Copy, Default)]
struct Codec {
    bytes: u64,
    encode: Duration,
    decode: Duration,
}

impl Codec {
    /// Encodes and decodes for some milliseconds. What is one bulk buffer is only copied.
    fn of<T: Payload>(payloads: &[Crossed]) -> Result<Self, MeasureError> {
        let count = payloads.len().max(1) as u64;
        let bytes = payloads.iter().map(|payload| payload.bytes.len() as u64).sum::<u64>() / count;
        if is_bulk::<T>() {
            return Ok(Self { bytes, ..Self::default() });
        }
        let begun = Instant::now();
        let (mut encoding, mut decoding) = (Vec::new(), Vec::new());
        // The first is the warm-up.
        for payload in payloads.iter().cycle().take(CODINGS) {
            let arrived = payload.arrived();
            let (decode, value) = timed(|| caught(|| decode::<T>(arrived)));
            let value = value??;
            let (encode, encoded) = timed(|| caught(|| encode(value)));
            drop(encoded??);
            encoding.push(encode);
            decoding.push(decode);
            if begun.elapsed() > FOR_CODING && encoding.len() > 1 {
                break;
            }
        }
        Ok(Self { bytes, encode: median(encoding), decode: median(decoding) })
    }
}

/// Calls a job again and again.
struct Caller<'a, F> {
    job: F,
    samples: &'a Samples,
    /// How many calls are timed together.
    group: usize,
    calls: u64,
}

impl<'a, F> Caller<'a, F> {
    fn new(job: F, samples: &'a Samples) -> Self {
        Self { job, samples, group: 1, calls: 0 }
    }

    /// Calls for so long, at least twice, and returns the times of what came after warming up, with some results.
    fn run<A: Payload, R>(&mut self, limit: Duration) -> Result<(Timed, Vec<R>), MeasureError>
    where
        F: Fn(A) -> R,
    {
        let begun = Instant::now();
        let mut timed = Timed::default();
        let largest = self.samples.together();
        let (mut is_warm, mut kept) = (false, Vec::with_capacity(RESULTS));
        loop {
            let (wall, computing, mut results) = self.call_group()?;
            if is_warm {
                timed.add(self.group, wall, computing);
            }
            kept.extend(results.drain(..results.len().min(RESULTS - kept.len())));
            caught(|| drop(results))?;
            let is_over = begun.elapsed() > limit || timed.groups.len() >= GROUPS;
            if is_over && !timed.groups.is_empty() {
                return Ok((timed, kept));
            }
            if wall < GROUP && self.group < largest && !is_over {
                self.group = (self.group * 2).min(largest);
                // The times of groups of different size do not mix.
                timed = Timed::default();
            }
            is_warm = true;
        }
    }

    fn call_group<A: Payload, R>(&mut self) -> Result<(Duration, Option<Duration>, Vec<R>), MeasureError>
    where
        F: Fn(A) -> R,
    {
        let mut args = Vec::with_capacity(self.group);
        for _ in 0..self.group {
            args.push(self.samples.make::<A>(self.calls)?);
            self.calls += 1;
        }
        let mut results = Vec::with_capacity(self.group);
        let (before, delayed) = (processor::read(Whose::Thread), delay());
        let start = Instant::now();
        caught(|| results.extend(args.drain(..).map(&self.job)))?;
        let wall = start.elapsed().saturating_sub(delay().saturating_sub(delayed));
        let computing = before
            .zip(processor::read(Whose::Thread))
            .map(|(from, to)| to.cpu_ns.saturating_sub(from.cpu_ns));
        Ok((wall, computing.map(Duration::from_nanos), results))
    }
}

/// How long this thread has waited for a processor that others had, since it began; nothing where the system does not tell
/// ([proc_pid_schedstat](https://docs.kernel.org/scheduler/sched-stats.html)).
fn delay() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split_whitespace().nth(1)?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Times of groups of calls of the same size.
#[derive(Default)]
struct Timed {
    /// Per call, in each group, one after the other.
    groups: Vec<Duration>,
    calls: u64,
    wall: Duration,
    /// `None` where the platform does not tell.
    computing: Option<Duration>,
}

impl Timed {
    fn add(&mut self, calls: usize, wall: Duration, computing: Option<Duration>) {
        self.groups.push(wall.div_f64(calls as f64));
        self.calls += calls as u64;
        self.wall += wall;
        self.computing = computing.map(|more| more + self.computing.unwrap_or_default());
    }

    /// So many percent of the groups took no longer.
    fn at(&self, percent: usize) -> Duration {
        let mut groups = self.groups.clone();
        groups.sort_unstable();
        groups[(groups.len() * percent / 100).min(groups.len() - 1)]
    }

    /// The mean call.
    fn mean(&self) -> Duration {
        each(self.wall, self.calls)
    }

    /// The mean call of a job that never waited: what was not its own, somebody else has had the processor for.
    fn mean_computing(&self) -> Duration {
        each(self.computing.unwrap_or(self.wall), self.calls)
    }

    fn cpu_share(&self) -> f64 {
        let computing = self.computing.unwrap_or(self.wall).as_secs_f64();
        (computing / self.wall.as_secs_f64().max(1e-9)).clamp(0.0, 1.0)
    }
}

/// Not below a nanosecond: what the compiler has done away with takes no time.
fn each(all: Duration, calls: u64) -> Duration {
    all.div_f64(calls as f64).max(Duration::from_nanos(1))
}
