//! [`Tried`]: what a call takes by each executor, found out by having them run some.
//!
//! ```text
//! lap: for each executor some rounds: (make arguments │ clock │ map them, drop results │ clock) ──▶ next lap, without who is far behind
//! ```
//!
//! What calls cost each other (a lock, the allocator, the memory's bandwidth, a result that one thread makes and another frees) depends
//! on who runs them where, and cannot be told from calls on one thread. So they are run as they would be.
//!
//! 1. Every executor gets the same arguments, made outside of what is timed, in rounds of about [`FOR_ROUND`], several in a row. The first
//!    in a row is the warm-up: what executors before it have left in caches and heaps is not its own.
//! 2. The first lap is for all, [`FOR_HEAT`] each, making arguments included. What is left of [`FOR_LAPS`] goes to [`LAPS`] more, for those
//!    who have a chance ([`contenders`]): where two are close, more rounds tell more, and what disturbs for a while disturbs both. Each
//!    has one round that counts, however long that takes.
//! 3. What has arguments so large that one for each core is too much is tried in a plain loop only.
//! 4. What other programs take meanwhile is looked at, but not while processes have work ([`Others`]). If they disturb, all is tried again,
//!    and of at most three trials the one counts that they disturbed least.
//! 5. The pools are the trial's own and gone afterwards: those of the program may be busy, or may be waiting for this very call.

use std::{
    any::type_name,
    hint::black_box,
    panic::Location,
    time::{Duration, Instant},
};

use super::{
    Choice, Machine, MeasureError, Plan, Profile,
    calibrate::drained,
    others::{Others, least_disturbed},
    predict::{in_flight, predict},
    profile::{COMPUTES, WAITS},
    race::{contenders, fitting, settled},
    samples::{Samples, caught, timed},
};
use crate::{Map, Payload, ProcessPool, Shutdown, ThreadPool, task::block_on};

/// What takes less than this has no trial: no pool gains anything by it. Nor has what takes longer than that: two rounds on each executor
/// would take too long.
const SHORTEST: Duration = Duration::from_nanos(200);
const LONGEST: Duration = Duration::from_millis(20);
/// Short rounds are many, and long ones know less of how they begin and end.
const FOR_ROUND: Duration = Duration::from_millis(8);
const WITH_MAKING: Duration = Duration::from_millis(25);
const FOR_HEAT: Duration = Duration::from_millis(40);
const FOR_LAPS: Duration = Duration::from_millis(300);
/// Less than that is not worth a lap.
const LEAST_LEFT: Duration = Duration::from_millis(10);
const LAPS: u32 = 2;
/// A chunk is as large as in a map of so many calls, or smaller, for each core to have some.
const CALLS: u64 = 10_000;
const CHUNKS: usize = 4;
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

/// Nothing is tried of what mostly waits: threads wait for nobody.
fn is_worth_a_trial(profile: &Profile) -> bool {
    profile.cpu_share >= WAITS && (SHORTEST..=LONGEST).contains(&profile.run_time)
}

/// What a trial has found, and the share of the cores that others had meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Trial {
    pub(super) tried: Tried,
    pub(super) others: Option<f64>,
}

/// Has every executor run some calls.
pub(super) fn try_out<F, A, R>(job: F, samples: &Samples, profile: &Profile) -> Result<Trial, MeasureError>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    if !is_worth_a_trial(profile) {
        return Ok(Trial::default());
    }
    let machine = Machine::typical();
    let pools = Pools::new(&machine);
    let found = least_disturbed(
        |trial: &Trial| trial.others,
        || {
            let mut others = Others::look();
            let tried = take_turns(runners(job, &pools, samples, profile, &machine), samples, &mut others)?;
            Ok(Trial { tried, others: others.share() })
        },
    );
    pools.end();
    found
}

/// A lap for all, and [`LAPS`] for those who have a chance yet.
fn take_turns<A: Payload>(
    mut runners: Vec<Runner<'_, A>>,
    samples: &Samples,
    others: &mut Others,
) -> Result<Tried, MeasureError> {
    let begun = Instant::now();
    for runner in &mut runners {
        runner.heat(samples, FOR_HEAT, others)?;
    }
    for laps in (1..=LAPS).rev() {
        runners.retain(|runner| !runner.rounds.is_empty());
        let standing: Vec<_> = runners.iter().map(Runner::standing).collect();
        let contends = contenders(&standing);
        let heats = laps * contends.iter().filter(|contends| **contends).count() as u32;
        let left = FOR_LAPS.saturating_sub(begun.elapsed());
        if heats <= laps || left < LEAST_LEFT {
            break;
        }
        let racing = runners.iter_mut().zip(contends).filter(|(_, contends)| *contends);
        for (runner, _) in racing {
            runner.heat(samples, left / heats, others)?;
        }
    }
    Ok(tried(&runners))
}

fn tried<A>(runners: &[Runner<'_, A>]) -> Tried {
    let on = |executor| settled(&runners.iter().find(|runner| runner.executor == executor)?.rounds);
    Tried {
        inline: on(Choice::Inline),
        threads: on(Choice::Threads),
        cpu: on(Choice::Cpu),
        processes: on(Choice::Processes),
    }
}

/// Runs arguments, and says how long that took; `None` if the executor has failed.
type Round<'a, A> = Box<dyn Fn(Vec<A>, Travel) -> Result<Option<Duration>, MeasureError> + 'a>;

/// How the calls of a round travel.
#[derive(Clone, Copy)]
struct Travel {
    chunk_size: usize,
    in_flight: usize,
}

/// An executor in the race.
struct Runner<'a, A> {
    executor: Choice,
    round: Round<'a, A>,
    profile: Profile,
    plan: Plan,
    /// How many calls a round has at least, of which none is to be left over in the last turn, and at most.
    bounds: (usize, usize),
    calls: usize,
    /// What a call took in each round that counts.
    rounds: Vec<Duration>,
}

impl<'a, A: Payload> Runner<'a, A> {
    /// Who cannot have a call for each core, or for each thread that waits, has no trial.
    fn new(
        executor: Choice,
        round: Round<'a, A>,
        samples: &Samples,
        profile: &Profile,
        machine: &Machine,
    ) -> Option<Self> {
        let profile = profile.clone().calls(CALLS);
        let plan = predict(executor, &profile, machine)?;
        let few = match executor {
            Choice::Inline => 1,
            // What waits has a call for each thread.
            Choice::Threads if profile.cpu_share <= COMPUTES => plan.workers,
            _ => machine.cores,
        };
        let few = few.max(1);
        let most = samples.together_in_turns(few);
        let all = Duration::try_from_secs_f64(plan.seconds).unwrap_or(Duration::MAX);
        (few <= most).then(|| {
            let calls = fitting(CALLS as usize, (all, all), (FOR_ROUND, WITH_MAKING), (few, most));
            Self { executor, round, profile, plan, bounds: (few, most), calls, rounds: Vec::new() }
        })
    }

    /// Rounds for so long, one at least that counts. The first does not: the pool sleeps, and memory is as others have left it. An executor
    /// that fails has no rounds.
    fn heat(&mut self, samples: &Samples, limit: Duration, others: &mut Others) -> Result<(), MeasureError> {
        others.before(self.executor);
        let begun = Instant::now();
        for number in 0.. {
            let (with_making, took) = timed(|| self.run(samples));
            let Some(took) = took? else {
                self.rounds.clear();
                return Ok(());
            };
            if number > 0 {
                self.rounds.push(took.div_f64(self.calls as f64));
            }
            self.calls = fitting(self.calls, (took, with_making), (FOR_ROUND, WITH_MAKING), self.bounds);
            if number > 0 && begun.elapsed() + with_making / 2 > limit {
                break;
            }
        }
        Ok(())
    }

    fn run(&self, samples: &Samples) -> Result<Option<Duration>, MeasureError> {
        let args = (0..self.calls as u64).map(|n| samples.make(n)).collect::<Result<_, _>>()?;
        let chunk_size = self.plan.chunk_size.min(self.calls / (CHUNKS * self.bounds.0)).max(1);
        let plan = Plan { chunk_size, ..self.plan };
        let profile = self.profile.clone().calls(self.calls as u64);
        (self.round)(args, Travel { chunk_size, in_flight: in_flight(&plan, &profile) })
    }

    fn standing(&self) -> (Choice, &[Duration]) {
        (self.executor, &self.rounds)
    }
}

fn runners<'a, F, A, R>(
    job: F,
    pools: &'a Pools,
    samples: &Samples,
    profile: &Profile,
    machine: &Machine,
) -> Vec<Runner<'a, A>>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    let in_a_loop: Round<'a, A> = Box::new(move |args, _| {
        let begun = Instant::now();
        caught(|| args.into_iter().for_each(|arg| drop(black_box(job(arg)))))?;
        Ok(Some(begun.elapsed()))
    });
    let on_threads = |pool: &'a ThreadPool| -> Round<'a, A> {
        Box::new(move |args, travel| drain(travel, || pool.map(job, args)))
    };
    let in_processes = |pool: &'a ProcessPool| -> Round<'a, A> {
        let map = move |args: Vec<A>| {
            Map::new(args.into_iter(), pool.feed(job), type_name::<F>(), Location::caller())
        };
        Box::new(move |args, travel| drain(travel, || map(args)))
    };
    // A job that captures something cannot be named to another process.
    let processes = pools.processes.as_ref().filter(|_| size_of::<F>() == 0);
    let rounds = [
        (Choice::Inline, Some(in_a_loop)),
        (Choice::Threads, pools.threads.as_ref().map(on_threads)),
        (Choice::Cpu, pools.cpu.as_ref().map(on_threads)),
        (Choice::Processes, processes.map(in_processes)),
    ];
    let rounds = rounds.into_iter().filter_map(|(executor, round)| Some((executor, round?)));
    rounds.filter_map(|(executor, round)| Runner::new(executor, round, samples, profile, machine)).collect()
}

/// Starts a map, takes all its results, and says how long that took.
fn drain<A: Payload, R>(
    travel: Travel,
    map: impl FnOnce() -> Map<std::vec::IntoIter<A>, R>,
) -> Result<Option<Duration>, MeasureError> {
    let begun = Instant::now();
    let results = map().chunk_size(travel.chunk_size).in_flight(travel.in_flight);
    let outcome = caught(|| block_on(drained(results), None))?;
    match outcome.expect("a wait without a deadline ends with a result") {
        Ok(()) => Ok(Some(begun.elapsed())),
        Err(error) => match error.panic_message() {
            Some(message) => Err(MeasureError::Panicked(message.to_owned())),
            // What the executor fails on, the job need not fail on.
            None => Ok(None),
        },
    }
}

/// The pools of a trial: none where there is none to be had.
struct Pools {
    threads: Option<ThreadPool>,
    cpu: Option<ThreadPool>,
    processes: Option<ProcessPool>,
}

impl Pools {
    fn new(machine: &Machine) -> Self {
        let threads = |workers| ThreadPool::builder().name("trial").max_workers(workers).build().ok();
        let processes = ProcessPool::builder().name("trial").max_workers(machine.cores);
        Self {
            threads: threads(machine.max_threads),
            cpu: threads(machine.cores),
            processes: processes.start_timeout(PATIENCE).build().ok(),
        }
    }

    fn end(self) {
        for pool in [self.threads, self.cpu].into_iter().flatten() {
            pool.shutdown(Shutdown::Drain).timeout(PATIENCE).blocking_wait();
        }
        if let Some(pool) = self.processes {
            pool.shutdown(Shutdown::Kill).timeout(PATIENCE).blocking_wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_very_short_or_long_or_waits_has_no_trial() {
        let table = [(199, 1.0, false), (200, 1.0, true), (20_000_000, 1.0, true), (20_000_001, 1.0, false)];
        for (nanos, cpu_share, expected) in
            table.into_iter().chain([(1_000, 0.2, true), (1_000, 0.19, false)])
        {
            let profile = Profile::new(Duration::from_nanos(nanos)).cpu_share(cpu_share);
            assert_eq!(is_worth_a_trial(&profile), expected, "{nanos} ns, {cpu_share}");
        }
    }
}
