//! [`predict`]: how long calls take on an executor. Pure: plain data in, seconds out.
//!
//! ```text
//! time = start + hand-offs + moving + max(computing / processors it scales to, rounds of waiting)
//! ```
//!
//! * *start* is a hand-off after a pause: somebody has to be woken. Nothing inline.
//! * *hand-offs* are counted in full, as many as there are: who hands over and who is handed to share the cores with the jobs,
//!   so what was measured for no-op jobs adds to what jobs compute.
//! * *moving*: what one thread wrote and another reads has to change caches, and memory goes back to whoever took it. It is counted in
//!   full, too: where a thread waits for it, another waits for the same lock or the same bus.
//! * *computing* is shared by the workers, but by no more than there are cores; where the calls were measured to hinder one
//!   another, by less than they scaled to. A call is not shared: nothing is faster than one call.
//! * Measured calls found their arguments in the cache. Those of many calls do not fit into it, and are fetched from memory, whoever
//!   runs the calls.
//! * *waiting* is shared by all workers, a round of them at a time.
//! * Bytes that cross cost their copy for each, and their encoding: the caller's part adds to the hand-offs, the worker's part to what it
//!   computes.

use super::{Choice, HandOff, Machine, Profile, profile::COMPUTES};
use crate::{
    map::{Known, MOST_IN_FLIGHT, chunk_for},
    metrics, process, thread,
};

/// Larger items do not cross together.
const ITEM_BYTES: u64 = 256;
/// Waiting is never even: with so many times the workers that even waiting would need, cores have work.
const HEADROOM: f64 = 1.5;

/// More bytes of arguments are not in a cache of the core when their call comes.
const CACHE: u64 = 4 << 20;
/// To fetch a byte from memory takes so many times what it takes to copy it.
const FETCH: f64 = 1.2;
/// What is larger than a number lies on the heap, and is given back by another thread than has taken it.
const NUMBER: u64 = 16;
const GIVE_BACK: f64 = 150e-9;
/// A byte that changes threads takes so many times what it takes to copy it: of the first few thousand, before the processor sees
/// where this leads to; of the rest of an argument; and of a result, whose memory was never touched.
const FIRST: f64 = 2.0;
const FIRST_BYTES: u64 = 4 << 10;
const ARGUMENT: f64 = 0.33;
const RESULT: f64 = 0.7;
/// What is larger crosses into a process, or back, in a piece of memory of its own, which takes so long.
const IN_PLACE: u64 = metrics::LARGE as u64;
const PIECE: f64 = 20e-6;
/// Who hinders another most is still not slower than so many times the speed of one.
const LEAST_SPEED_UP: f64 = 0.25;

/// What is under way takes at most this much memory together.
const IN_FLIGHT_BYTES: u64 = 256 << 20;
/// A result from this size on is to be taken before its worker makes the next: then that finds the memory of the last one warm. It costs a
/// wake-up for each call, which these do not notice.
const HUGE: u64 = 4 << 20;

/// How an executor would run the calls of a [`Profile`], and how long that would take. Made by [`predict`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Plan {
    /// Where the calls would run.
    pub executor: Choice,
    /// How many workers would have work.
    pub workers: usize,
    /// For [`Map::chunk_size`](crate::Map::chunk_size).
    pub chunk_size: usize,
    /// How long all calls would take, in seconds.
    pub seconds: f64,
}

/// Plans the calls of `profile` on `executor`, whether or not it is the one to advise; `None` where this machine does not have it.
///
/// Pure, as [`advise`](super::advise), which chooses among these plans.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use heavylift::{
///     Machine, Profile,
///     guidance::{Choice, predict},
/// };
///
/// let page = Profile::new(Duration::from_millis(2)).calls(1_000).cpu_share(0.1);
/// let machine = Machine::typical();
/// let seconds = |executor| predict(executor, &page, &machine).map(|plan| plan.seconds);
/// assert_eq!(seconds(Choice::Inline), Some(2.0));
/// assert!(seconds(Choice::Threads) < seconds(Choice::Inline));
/// ```
pub fn predict(executor: Choice, profile: &Profile, machine: &Machine) -> Option<Plan> {
    let one = |seconds| Plan { executor, workers: 1, chunk_size: 1, seconds };
    let calls = profile.calls.max(1) as f64;
    let fetching = fetching(profile, machine);
    let run_time = alone(profile, machine);
    match executor {
        // As for a future that does not compute: all of them wait at the same time.
        Choice::Await => {
            let computing = calls * (profile.computing() + fetching);
            Some(one(computing.max(run_time)))
        }
        Choice::Inline | Choice::Thread => Some(one(calls * run_time)),
        // One call at a time has all cores already.
        Choice::Cpu if profile.needs.already_parallel => {
            Some(one(machine.cpu.after_pause.as_secs_f64() + calls * run_time))
        }
        _ => on_workers(executor, profile, machine),
    }
}

fn on_workers(executor: Choice, profile: &Profile, machine: &Machine) -> Option<Plan> {
    let hand_off = hand_off(executor, machine)?;
    let workers = workers(executor, profile, machine);
    let chunk_size = chunk_size(executor, profile, workers);
    let crossing = Crossing::of(executor, profile, machine);
    let calls = profile.calls.max(1) as f64;
    let in_worker = crossing.worker + fetching(profile, machine);
    let computing = profile.computing() + in_worker;
    let run_time = alone(profile, machine) + crossing.worker;
    let chunks = calls / chunk_size as f64;
    let handed = match profile.calls {
        0 | 1 => hand_off.round_trip.as_secs_f64(),
        _ if chunk_size == 1 => calls * hand_off.per_job.as_secs_f64(),
        _ => calls * hand_off.per_item.as_secs_f64() + chunks * hand_off.per_job.as_secs_f64(),
    };
    let rounds = (chunks / workers as f64).ceil() * chunk_size as f64;
    let all = calls * computing / speed_up(workers, profile, machine);
    let is_split = executor == Choice::Rayon && profile.needs.data_parallel;
    let longest = if is_split { all } else { all.max(rounds.min(calls) * run_time) };
    let start = hand_off.after_pause.saturating_sub(hand_off.round_trip).as_secs_f64();
    let moving = match executor {
        Choice::Processes => 0.0,
        _ => calls * moving(profile, machine),
    };
    let seconds = match tried(executor, profile, machine) {
        // All that has to be done for a call is in it.
        Some(tried) => start + (calls * tried).max(rounds.min(calls) * run_time),
        None => start + handed + moving + calls * crossing.caller + longest,
    };
    Some(Plan { executor, workers, chunk_size, seconds })
}

/// What a call takes that has nobody beside it, in seconds. The arguments of a trial are as many as a cache of the core holds, and more.
fn alone(profile: &Profile, machine: &Machine) -> f64 {
    let measured = || profile.run_time.as_secs_f64() + fetching(profile, machine);
    tried(Choice::Inline, profile, machine).unwrap_or_else(measured)
}

/// What a call takes by this executor, in seconds, if that was tried on a machine like this one.
fn tried(executor: Choice, profile: &Profile, machine: &Machine) -> Option<f64> {
    let is_like_this = profile.measured_cores == machine.cores;
    let found = profile.tried.on(executor).filter(|_| is_like_this)?;
    Some(found.as_secs_f64())
}

/// How many calls are best under way at a time.
pub(super) fn in_flight(plan: &Plan, profile: &Profile) -> usize {
    let enough = match profile.result_bytes {
        HUGE.. => plan.workers,
        _ => plan.workers.saturating_mul(plan.chunk_size).saturating_mul(4).max(64),
    };
    let affordable = IN_FLIGHT_BYTES / profile.bytes().max(1);
    let affordable = usize::try_from(affordable).unwrap_or(usize::MAX).max(plan.workers + 1);
    enough.min(affordable).min(calls(profile)).max(1)
}

/// What it takes each call to fetch its argument, where the calls that were measured had it in the cache.
fn fetching(profile: &Profile, machine: &Machine) -> f64 {
    let all = profile.arg_bytes.saturating_mul(profile.calls);
    let was_in_cache = profile.measured_calls > 0 && profile.arg_bytes <= CACHE;
    if was_in_cache && all > CACHE { FETCH * copying(profile.arg_bytes, machine) } else { 0.0 }
}

/// What it takes a call that its argument and its result change threads.
fn moving(profile: &Profile, machine: &Machine) -> f64 {
    let Profile { arg_bytes, result_bytes, .. } = *profile;
    let largest = arg_bytes.max(result_bytes);
    if largest <= NUMBER {
        return 0.0;
    }
    // A result that is no larger than the argument is often the same memory.
    let new = result_bytes.saturating_sub(arg_bytes.max(FIRST_BYTES));
    GIVE_BACK
        + FIRST * copying(largest.min(FIRST_BYTES), machine)
        + ARGUMENT * copying(arg_bytes.saturating_sub(FIRST_BYTES), machine)
        + RESULT * copying(new, machine)
}

/// Seconds in which a core copies so many bytes.
fn copying(bytes: u64, machine: &Machine) -> f64 {
    bytes as f64 / machine.memory_bandwidth.max(1.0)
}

fn hand_off(executor: Choice, machine: &Machine) -> Option<HandOff> {
    match executor {
        Choice::Threads => Some(machine.threads),
        Choice::Cpu => Some(machine.cpu),
        Choice::Rayon => machine.rayon,
        Choice::Processes => machine.processes,
        // Decided in `elsewhere`: how long it takes depends on how long it may.
        Choice::Await | Choice::Inline | Choice::Thread | Choice::Cluster => None,
    }
}

/// How many workers have work: as many as there are cores, and where calls wait, so many more that the cores are not idle.
fn workers(executor: Choice, profile: &Profile, machine: &Machine) -> usize {
    let cores = machine.cores.max(1);
    let wanted = match executor {
        Choice::Rayon if profile.needs.data_parallel => return cores,
        Choice::Threads if profile.cpu_share > COMPUTES => machine.max_threads.max(cores),
        Choice::Threads => for_waiting(cores, profile.cpu_share).clamp(cores, machine.max_threads.max(cores)),
        _ => cores,
    };
    wanted.min(calls(profile)).max(1)
}

fn calls(profile: &Profile) -> usize {
    usize::try_from(profile.calls).unwrap_or(usize::MAX)
}

/// With calls that compute a quarter of their time, four of them keep a core busy, if they take turns.
pub(super) fn for_waiting(cores: usize, cpu_share: f64) -> usize {
    // A call computes a little, if only to begin.
    (cores as f64 / cpu_share.clamp(0.001, 1.0) * HEADROOM).round() as usize
}

/// What computes on this many workers is so many times faster than on one.
fn speed_up(workers: usize, profile: &Profile, machine: &Machine) -> f64 {
    let cores = machine.cores.max(1);
    let most = profile.scaling.map_or(cores as f64, |found| scaled(found, profile, cores));
    let used = workers.min(cores);
    match cores {
        1 => 1.0,
        // In proportion, where there are fewer calls than cores.
        _ => 1.0 + (most - 1.0) * (used - 1) as f64 / (cores - 1) as f64,
    }
}

/// What calls scale to on so many cores that scaled to `found` where they were measured.
fn scaled(found: f64, profile: &Profile, cores: usize) -> f64 {
    let measured = if profile.measured_cores > 1 { profile.measured_cores } else { cores };
    let found = found.clamp(LEAST_SPEED_UP, measured as f64);
    if measured == cores {
        return found;
    }
    let of_each_further_core = (found - 1.0) / (measured - 1) as f64;
    (1.0 + of_each_further_core * (cores - 1) as f64).max(LEAST_SPEED_UP)
}

/// What `map` would choose, too, once it knows the run time.
fn chunk_size(executor: Choice, profile: &Profile, workers: usize) -> usize {
    let (hand_off, most) = match executor {
        Choice::Processes => (process::map::HAND_OFF, fit_together(profile)),
        // Each item is a job of its own there.
        Choice::Rayon => return 1,
        _ => (thread::map::HAND_OFF, usize::MAX),
    };
    let known = Known {
        per_item: Some(profile.run_time),
        measured: usize::MAX,
        hand_off,
        workers,
        remaining: Some(calls(profile)),
        in_flight: MOST_IN_FLIGHT,
    };
    chunk_for(&known).min(most)
}

/// How many items a chunk holds in a process.
fn fit_together(profile: &Profile) -> usize {
    let bytes = profile.arg_bytes.max(profile.result_bytes).max(1);
    if bytes > ITEM_BYTES { 1 } else { (IN_PLACE / bytes) as usize }
}

/// What crossing costs each call, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Crossing {
    /// On the side of the caller: its encoding, and the copies.
    pub(super) caller: f64,
    /// In the worker.
    pub(super) worker: f64,
}

impl Crossing {
    pub(super) fn of(executor: Choice, profile: &Profile, machine: &Machine) -> Self {
        if executor != Choice::Processes {
            return Self::default();
        }
        let copies = profile.bytes() as f64 / f64::from(1 << 20) * machine.process_per_mib.as_secs_f64();
        let pieces = [profile.arg_bytes, profile.result_bytes].into_iter().filter(|bytes| *bytes > IN_PLACE);
        let copies = copies + PIECE * pieces.count() as f64;
        let out = profile.arg_bytes as f64 / profile.bytes().max(1) as f64;
        let (encode, decode) = (profile.encode.as_secs_f64(), profile.decode.as_secs_f64());
        Self {
            caller: copies + out * encode + (1.0 - out) * decode,
            worker: (1.0 - out) * encode + out * decode,
        }
    }

    pub(super) fn total(self) -> f64 {
        self.caller + self.worker
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn two_cores() -> Machine {
        Machine { cores: 2, max_threads: 32, ..Machine::typical() }
    }

    fn seconds(executor: Choice, profile: &Profile) -> f64 {
        predict(executor, profile, &two_cores()).unwrap().seconds
    }

    #[test]
    fn computing_is_shared_by_the_cores_and_waiting_by_the_workers() {
        let job = Profile::new(Duration::from_millis(10)).calls(16);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
        assert!(near(seconds(Choice::Inline, &job), 0.16));
        assert!(near(seconds(Choice::Cpu, &job), 0.08));
        assert!(near(seconds(Choice::Threads, &job), 0.08));
        let waiting = job.cpu_share(0.0);
        assert!(near(seconds(Choice::Cpu, &waiting), 0.08));
        assert!(near(seconds(Choice::Threads, &waiting), 0.01));
    }

    #[test]
    fn what_hinders_itself_is_not_predicted_to_scale() {
        let mut job = Profile::new(Duration::from_millis(10)).calls(16);
        job.scaling = Some(1.0);
        assert!(seconds(Choice::Cpu, &job) > 0.16);
    }

    #[test]
    fn bytes_cost_processes_most_and_a_plain_loop_nothing() {
        let small = Profile::new(Duration::from_millis(1)).calls(100);
        let large = small.clone().arg_bytes(1 << 20);
        let more = |executor| seconds(executor, &large) - seconds(executor, &small);
        assert_eq!(more(Choice::Inline), 0.0);
        let expected = 100.0 * (two_cores().process_per_mib.as_secs_f64() + PIECE);
        assert!((more(Choice::Processes) / expected - 1.0).abs() < 0.01, "{}", more(Choice::Processes));
        assert!(more(Choice::Cpu) > 0.0 && more(Choice::Cpu) < 0.5 * more(Choice::Processes));
    }

    #[test]
    fn arguments_that_were_measured_in_the_cache_are_fetched_when_there_are_many() {
        let mut job = Profile::new(Duration::from_micros(5)).arg_bytes(64 << 10);
        let few = seconds(Choice::Inline, &job.clone().calls(10));
        let by_hand = seconds(Choice::Inline, &job.clone().calls(10_000));
        assert!((by_hand / few - 1_000.0).abs() < 1e-6, "the time that somebody states is the time");
        job.measured_calls = 100;
        assert_eq!(seconds(Choice::Inline, &job.clone().calls(10)), few);
        assert!(seconds(Choice::Inline, &job.calls(10_000)) > 2.0 * by_hand);
    }

    #[test]
    fn what_was_tried_decides_on_a_machine_like_the_one_it_was_tried_on() {
        let mut job = Profile::new(Duration::from_millis(1)).calls(100);
        (job.tried.cpu, job.measured_cores) = (Some(Duration::from_micros(900)), 2);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
        assert!(near(seconds(Choice::Cpu, &job), 0.09));
        assert!(near(seconds(Choice::Threads, &job), 0.05));
        let many = Machine { cores: 4, ..two_cores() };
        assert!(near(predict(Choice::Cpu, &job, &many).unwrap().seconds, 0.025));
    }

    #[test]
    fn what_was_measured_on_few_cores_holds_in_proportion_on_many() {
        let mut job = Profile::new(Duration::from_millis(10)).calls(160);
        (job.scaling, job.measured_cores) = (Some(2.0), 2);
        let many = Machine { cores: 16, ..two_cores() };
        assert!(predict(Choice::Cpu, &job, &many).unwrap().seconds < 0.11);
    }

    #[test]
    fn what_is_parallel_already_runs_one_at_a_time() {
        let job = Profile::new(Duration::from_millis(50)).calls(100).already_parallel();
        let plan = predict(Choice::Cpu, &job, &two_cores()).unwrap();
        assert_eq!((plan.workers, plan.chunk_size), (1, 1));
        assert!(plan.seconds > 5.0);
    }

    #[test]
    fn only_small_items_travel_together() {
        let table = [
            (Choice::Cpu, 20, 1_000_000, 8, 1_024),
            (Choice::Cpu, 1_000, 1_000_000, 8, 250),
            (Choice::Cpu, 60_000, 1_000_000, 8, 1),
            (Choice::Cpu, 1_000, 80, 8, 20),
            (Choice::Cpu, 20_000, 4, 8, 1),
            (Choice::Rayon, 1_000, 1_000_000, 8, 1),
            (Choice::Processes, 1_000, 1_000_000, 64, 32),
            (Choice::Processes, 1_000, 1_000_000, 300, 1),
        ];
        for (executor, nanos, calls, bytes, expected) in table {
            let job = Profile::new(Duration::from_nanos(nanos)).calls(calls).arg_bytes(bytes);
            let found = chunk_size(executor, &job, 2);
            assert_eq!(found, expected, "{executor}, {nanos} ns, {calls} calls, {bytes} bytes");
        }
    }
}
