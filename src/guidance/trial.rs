//! [`Tried`]: what a call takes by each executor, found out by having them run some.
//!
//! ```text
//! for each executor:  a pool of its own ──▶ round: make arguments │ clock │ map them, drop results │ clock ──▶ next round …
//! ```
//!
//! What calls cost each other (a lock, the allocator, the memory's bandwidth, a result that one thread makes and another frees) depends
//! on who runs them where, and cannot be told from calls on one thread. So they are run as they would be.
//!
//! 1. Every executor gets the same arguments, made outside of what is timed, in rounds of about [`FOR_ROUND`]; the first round is the
//!    warm-up.
//! 2. Each has [`FOR_TRIAL`], making arguments included, and at least one round that counts. What has arguments so
//!    large that one for each core is too much is tried in a plain loop only.
//! 3. The pools are the trial's own and gone afterwards: those of the program may be busy, or may be waiting for this very call.

use std::{
    any::type_name,
    hint::black_box,
    panic::Location,
    time::{Duration, Instant},
};

use super::{
    Choice, Machine, MeasureError, Plan, Profile,
    calibrate::drained,
    predict::{in_flight, predict},
    profile::WAITS,
    samples::{Samples, caught, median},
};
use crate::{Map, Payload, ProcessPool, Shutdown, ThreadPool, task::block_on};

/// What takes less than this has no trial: it would tell of hand-offs, which are known. Nor has what takes longer than that: two rounds
/// on each executor would take too long.
const SHORTEST: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_millis(20);
const FOR_ROUND: f64 = 10e-3;
const FOR_TRIAL: Duration = Duration::from_millis(35);
/// A worker process that needs longer to start is not waited for, nor a pool that needs longer to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a call of a job takes by each executor, where [`Profile::measure`] has tried that: the time of many, divided by their number.
///
/// Plain data. `None` where it was not tried, or could not be: for processes also if the job captures something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Tried {
    /// In a plain loop.
    pub inline: Option<Duration>,
    /// By `map` on as many threads as [`ThreadPool::global`](crate::ThreadPool::global) may have.
    pub threads: Option<Duration>,
    /// By `map` on a thread for each core.
    pub cpu: Option<Duration>,
    /// By `map` on a process for each core.
    pub processes: Option<Duration>,
}

impl Tried {
    /// What a call takes by this executor.
    pub fn on(&self, executor: Choice) -> Option<Duration> {
        match executor {
            Choice::Inline => self.inline,
            Choice::Threads => self.threads,
            Choice::Cpu => self.cpu,
            Choice::Processes => self.processes,
            _ => None,
        }
    }

    /// How many times as many calls a core each does as one alone.
    pub(super) fn scaling(&self, cores: usize) -> Option<f64> {
        let (alone, together) = (self.inline?.as_secs_f64(), self.cpu?.as_secs_f64());
        Some((alone / together.max(1e-12)).clamp(1.0, cores.max(1) as f64))
    }
}

/// Has every executor run some calls. Nothing is tried of what mostly waits: threads wait for nobody.
pub(super) fn try_out<F, A, R>(job: F, samples: &Samples, profile: &Profile) -> Result<Tried, MeasureError>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    if profile.cpu_share < WAITS || !(SHORTEST..=LONGEST).contains(&profile.run_time) {
        return Ok(Tried::default());
    }
    let machine = Machine::typical();
    let trial = |executor| Trial::new(executor, samples, profile, &machine);
    Ok(Tried {
        inline: inline(job, trial(Choice::Inline))?,
        threads: on_threads(job, trial(Choice::Threads), machine.max_threads)?,
        cpu: on_threads(job, trial(Choice::Cpu), machine.cores)?,
        processes: on_processes(job, trial(Choice::Processes), machine.cores)?,
    })
}

/// The trial of one executor.
struct Trial<'a> {
    samples: &'a Samples,
    /// How many calls a round has, how they travel, and how many are under way.
    calls: usize,
    plan: Plan,
    in_flight: usize,
}

impl<'a> Trial<'a> {
    fn new(executor: Choice, samples: &'a Samples, profile: &Profile, machine: &Machine) -> Option<Self> {
        let mut profile = profile.clone().calls(10_000);
        let each = predict(executor, &profile, machine)?.seconds / 10_000.0;
        let cores = machine.cores.max(1);
        let (wanted, most) = ((FOR_ROUND / each) as usize, samples.together_on(cores));
        let calls = match executor {
            Choice::Inline => wanted.clamp(1, samples.together()),
            // Nobody is to be left over in the last turn; who cannot have a call for each core has no trial.
            _ if most < cores => return None,
            _ => wanted.clamp(cores, most) / cores * cores,
        };
        profile = profile.calls(calls as u64);
        let plan = predict(executor, &profile, machine)?;
        Some(Self { samples, calls, plan, in_flight: in_flight(&plan, &profile) })
    }

    /// The time of a call, over rounds that take as long as `round` says; `None` as soon as that does.
    fn run<A: Payload>(
        &self,
        mut round: impl FnMut(Vec<A>) -> Result<Option<Duration>, MeasureError>,
    ) -> Result<Option<Duration>, MeasureError> {
        let begun = Instant::now();
        let mut each = Vec::new();
        for number in 0.. {
            let args = (0..self.calls as u64).map(|n| self.samples.make(n)).collect::<Result<_, _>>()?;
            let Some(took) = round(args)? else { return Ok(None) };
            if number > 0 {
                each.push(took.div_f64(self.calls as f64));
            }
            if number > 0 && begun.elapsed() > FOR_TRIAL {
                break;
            }
        }
        Ok(Some(median(each)))
    }

    /// The same, with a map for each round.
    fn run_maps<A: Payload, R>(
        &self,
        map: impl Fn(Vec<A>) -> Map<std::vec::IntoIter<A>, R>,
    ) -> Result<Option<Duration>, MeasureError> {
        self.run(|args| {
            let begun = Instant::now();
            let results = map(args).chunk_size(self.plan.chunk_size).in_flight(self.in_flight);
            let outcome = caught(|| block_on(drained(results), None))?;
            match outcome.expect("a wait without a deadline ends with a result") {
                Ok(()) => Ok(Some(begun.elapsed())),
                Err(error) => match error.panic_message() {
                    Some(message) => Err(MeasureError::Panicked(message.to_owned())),
                    // What the executor fails on, the job need not fail on.
                    None => Ok(None),
                },
            }
        })
    }
}

fn inline<F, A: Payload, R>(job: F, trial: Option<Trial<'_>>) -> Result<Option<Duration>, MeasureError>
where
    F: Fn(A) -> R,
{
    let Some(trial) = trial else { return Ok(None) };
    trial.run(|args| {
        let begun = Instant::now();
        caught(|| args.into_iter().for_each(|arg| drop(black_box(job(arg)))))?;
        Ok(Some(begun.elapsed()))
    })
}

fn on_threads<F, A, R>(
    job: F,
    trial: Option<Trial<'_>>,
    workers: usize,
) -> Result<Option<Duration>, MeasureError>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    let Some(trial) = trial else { return Ok(None) };
    let Ok(pool) = ThreadPool::builder().name("trial").max_workers(workers).build() else { return Ok(None) };
    let found = trial.run_maps(|args| pool.map(job, args));
    pool.shutdown(Shutdown::Drain).timeout(PATIENCE).blocking_wait();
    found
}

fn on_processes<F, A, R>(
    job: F,
    trial: Option<Trial<'_>>,
    workers: usize,
) -> Result<Option<Duration>, MeasureError>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    // A job that captures something cannot be named to another process.
    let Some(trial) = trial.filter(|_| size_of::<F>() == 0) else { return Ok(None) };
    let pool = ProcessPool::builder().name("trial").max_workers(workers).start_timeout(PATIENCE).build();
    let Ok(pool) = pool else { return Ok(None) };
    let map = |args: Vec<A>| Map::new(args.into_iter(), pool.feed(job), type_name::<F>(), Location::caller());
    let found = trial.run_maps(map);
    pool.shutdown(Shutdown::Kill).timeout(PATIENCE).blocking_wait();
    found
}
