//! Chaos: several threads start and end pools and jobs of all kinds, while another kills, stops and continues whatever
//! processes there are.
//!
//! Runs for `RACE_SECONDS` (20 by default). `RACE_SEED` repeats the dice of an earlier run, which are printed; the timing is
//! the machine's.

#![expect(clippy::print_stdout, reason = "the counts of a long run are quoted")]

mod processes;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, Task, TaskError, TaskErrorKind};
use processes::*;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// How many threads start and end pools.
const DRIVERS: u64 = 2;
/// The largest argument or result.
const LARGEST: u64 = 3 << 20;

fn seconds() -> Duration {
    Duration::from_secs(number_from("RACE_SECONDS").unwrap_or(20))
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().and_then(|value| value.parse().ok())
}

/// A generator of numbers that repeats for a seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, number: u64) -> Self {
        // Never zero, on which it would stay for ever.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number) | 1)
    }

    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.throw(sides) == 0
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.throw(most))
    }

    /// Mostly small, sometimes around the boundaries of the ring and its segments, rarely megabytes.
    fn size(&mut self) -> usize {
        let most = [64, 64, 64, 2100, 70_000, 300_000][self.throw(6) as usize];
        let most = if self.one_in(60) { LARGEST } else { most };
        self.throw(most) as usize
    }
}

/// What a job does in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Deed {
    Return,
    /// Returns, and leaves a process behind.
    Litter,
    Panic,
    Exit,
    Abort,
    Kill,
    Overflow,
    Spin,
}

use Deed::*;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Order {
    deed: Deed,
    n: u64,
    input: usize,
    output: usize,
}

/// What job `n` gets and gives.
fn bytes(n: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![n as u8; size];
    let head = size.min(8);
    bytes[..head].copy_from_slice(&n.to_le_bytes()[..head]);
    bytes
}

fn job((order, input): (Order, Vec<u8>)) -> (u64, Vec<u8>) {
    assert!(input == bytes(order.n, order.input), "the argument came otherwise than it was sent");
    match order.deed {
        Return => {}
        Litter => drop(Command::new("setsid").args(["sleep", "1004"]).spawn()),
        Panic => panic!("job {}", order.n),
        Exit => std::process::exit(79),
        Abort => std::process::abort(),
        Kill => kill_self(Signal::KILL.as_raw()),
        Overflow => assert_eq!(overflow(0), 0),
        Spin => loop {
            std::hint::spin_loop();
        },
    }
    (order.n, bytes(order.n, order.output))
}

/// What was done to a pool.
struct PoolLog {
    name: String,
    has_limits: bool,
    has_queue_limit: bool,
    /// It has been shut down, or is about to be.
    closed: AtomicBool,
    /// It has been told to cancel, or is about to be.
    cancels: AtomicBool,
}

/// What was done to a task, and what became of it.
struct TaskLog {
    order: Order,
    has_limits: bool,
    /// It has been cancelled or dropped, or is about to be.
    unwanted: AtomicBool,
    pool: Arc<PoolLog>,
    ends: AtomicU32,
}

/// What was done to processes, and everything that was seen.
#[derive(Default)]
struct Log {
    /// Processes that were hit by a signal.
    hit: Mutex<HashSet<u32>>,
    /// How many times a process of a pool was hit, by the pool's name; under no name those that did not show it yet.
    hits: Mutex<HashMap<String, u64>>,
    /// Pools whose zygote was hit.
    orphaned: Mutex<HashSet<String>>,
    outcomes: Mutex<BTreeMap<String, u64>>,
    /// What must not have happened.
    wrongs: Mutex<Vec<String>>,
    jobs: AtomicU64,
    pools: AtomicU64,
    signals: Mutex<BTreeMap<&'static str, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn count(&self, what: String) {
        *lock(&self.outcomes).entry(what).or_default() += 1;
    }

    fn wrong(&self, what: String) {
        lock(&self.wrongs).push(what);
    }

    /// Takes note of how a task ended, and whether anything was done to it that explains it.
    fn ended(&self, task: &TaskLog, outcome: &Result<(u64, Vec<u8>), TaskError>) {
        let Order { deed, n, output, .. } = task.order;
        if task.ends.fetch_add(1, SeqCst) > 0 {
            self.wrong(format!("job {n} ended twice"));
        }
        match outcome {
            Ok((found, result)) => {
                let right = *found == n && *result == bytes(n, output) && matches!(deed, Return | Litter);
                if !right {
                    self.wrong(format!("job {n}, {deed:?}: a wrong result"));
                }
                self.count("Succeeded".to_owned());
            }
            Err(error) => {
                self.count(format!("{:?}", error.kind()));
                if !self.explains(task, error) {
                    self.wrong(format!("job {n}, {deed:?}, on {}: {error}", task.pool.name));
                }
            }
        }
    }

    fn explains(&self, task: &TaskLog, error: &TaskError) -> bool {
        let (Order { deed, n, .. }, pool) = (task.order, &task.pool);
        match error.kind() {
            TaskErrorKind::Panicked => deed == Panic && error.panic_message() == Some(&*format!("job {n}")),
            TaskErrorKind::WorkerDied => self.explains_death(deed, pool, error),
            TaskErrorKind::TimedOut => task.has_limits || pool.has_limits,
            TaskErrorKind::Cancelled => task.unwanted.load(SeqCst) || pool.cancels.load(SeqCst),
            TaskErrorKind::Overloaded => pool.has_queue_limit,
            TaskErrorKind::Closed => pool.closed.load(SeqCst),
            // Five starts in a row have failed, each because a process was hit.
            TaskErrorKind::Unavailable => {
                let hits = lock(&self.hits);
                let of = |name: &str| hits.get(name).copied().unwrap_or_default();
                of(&pool.name) + of("") >= 5
            }
            _ => false,
        }
    }

    fn explains_death(&self, deed: Deed, pool: &PoolLog, error: &TaskError) -> bool {
        let Some(worker) = error.worker() else { return false };
        let ends = match deed {
            Exit => Some((Some(79), None)),
            Abort => Some((None, Some(6))),
            Kill => Some((None, Some(9))),
            Overflow => Some((None, Some(11))),
            _ => None,
        };
        // On a machine that is busy enough the status may be lost, and the message says so.
        let end = (worker.code(), worker.signal());
        let own = ends.is_some_and(|expected| end == expected || end == (None, None));
        own || lock(&self.hit).contains(&worker.pid()) || lock(&self.orphaned).contains(&pool.name)
    }

    /// Hits a process, and takes note of it first.
    fn hit(&self, pid: u32, blow: Signal) {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title);
        let title = title.trim_end_matches('\0').rsplit(' ').next().unwrap_or_default();
        let (pool, role) =
            title.rsplit_once('-').filter(|(pool, _)| pool.starts_with("chaos")).unwrap_or_default();
        lock(&self.hit).insert(pid);
        *lock(&self.hits).entry(pool.to_owned()).or_default() += 1;
        if role == "zygote" {
            lock(&self.orphaned).insert(pool.to_owned());
        }
        let to = if role == "zygote" { "zygote" } else { "other" };
        let name = match (blow, to) {
            (Signal::KILL, "zygote") => "SIGKILL to zygotes",
            (Signal::KILL, _) => "SIGKILL to others",
            (_, "zygote") => "SIGSTOP to zygotes",
            _ => "SIGSTOP to others",
        };
        *lock(&self.signals).entry(name).or_default() += 1;
        signal(pid, blow);
    }
}

/// Kills, stops and continues random processes until it is told to end.
fn torment(log: &Log, mut dice: Dice, over: &AtomicBool) {
    let mut stopped = VecDeque::new();
    while !over.load(SeqCst) {
        thread::sleep(dice.millis(15));
        let victims = descendants();
        if let Some(&victim) = victims.get(dice.throw(victims.len().max(1) as u64) as usize) {
            match dice.throw(4) {
                0 => log.hit(victim, Signal::KILL),
                1 => {
                    log.hit(victim, Signal::STOP);
                    stopped.push_back(victim);
                }
                _ => {}
            }
        }
        if stopped.len() > 2 || dice.one_in(20) {
            stopped.drain(..).for_each(|pid| signal(pid, Signal::CONT));
        }
    }
    stopped.into_iter().for_each(|pid| signal(pid, Signal::CONT));
}

/// A task that has not been dealt with yet.
type Waiting = VecDeque<(Task<(u64, Vec<u8>)>, Arc<TaskLog>)>;

/// One thread that starts and ends pools.
struct Driver<'a> {
    log: &'static Log,
    dice: Dice,
    /// Every task's log, looked at when all is over: dropped and detached ones end when they end.
    logs: &'a Mutex<Vec<Arc<TaskLog>>>,
}

impl Driver<'_> {
    /// One pool's life.
    fn round(&mut self) {
        let (pool, log) = self.pool();
        let mut waiting = Waiting::new();
        let (begun, length) = (Instant::now(), Duration::from_millis(100) + self.dice.millis(900));
        while begun.elapsed() < length {
            self.start(&pool, &log, &mut waiting);
            // A bounded queue is filled a bit beyond its bound.
            let most = if log.has_queue_limit { 28 } else { 80 };
            if waiting.len() > most {
                (0..most / 2).for_each(|_| self.finish(&mut waiting));
            }
            if self.dice.one_in(500) {
                pool.resize(1 + self.dice.throw(4) as usize).expect("a number of workers");
            }
        }
        self.end(pool, &log, &mut waiting);
        while !waiting.is_empty() {
            self.finish(&mut waiting);
        }
    }

    fn pool(&mut self) -> (ProcessPool, Arc<PoolLog>) {
        let number = self.log.pools.fetch_add(1, SeqCst);
        let dice = &mut self.dice;
        let (queue_limit, run_timeout) = (dice.one_in(4), dice.one_in(4));
        let name = format!("chaos{number}");
        let mut builder =
            builder(1 + dice.throw(4) as usize).name(&*name).start_timeout(Duration::from_secs(1));
        builder = builder.kill_grace(Duration::from_millis([0, 0, 5][dice.throw(3) as usize]));
        if queue_limit {
            builder = builder.queue_limit(20);
        }
        if run_timeout {
            builder = builder.run_timeout(Duration::from_millis(200));
        }
        if dice.one_in(3) {
            builder = builder.max_tasks_per_worker(1 + dice.throw(50));
        }
        if dice.one_in(4) {
            builder = builder.idle_timeout(Duration::from_millis(1 + dice.throw(20)));
        }
        let log = PoolLog {
            name,
            has_limits: run_timeout,
            has_queue_limit: queue_limit,
            closed: AtomicBool::new(false),
            cancels: AtomicBool::new(false),
        };
        (builder.build().expect("a pool"), Arc::new(log))
    }

    fn order(&mut self) -> Order {
        let deed = match self.dice.throw(100) {
            0..=2 => Panic,
            3 => Exit,
            4 => Abort,
            5 => Kill,
            6 => Overflow,
            7..=8 => Spin,
            9 => Litter,
            _ => Return,
        };
        let n = self.log.jobs.fetch_add(1, SeqCst);
        Order { deed, n, input: self.dice.size(), output: self.dice.size() }
    }

    fn start(&mut self, pool: &ProcessPool, pool_log: &Arc<PoolLog>, waiting: &mut Waiting) {
        let order = self.order();
        let dice = &mut self.dice;
        let mut job = pool.job(job, (order, bytes(order.n, order.input)));
        let (queue, run) = (dice.one_in(10), order.deed == Spin || dice.one_in(10));
        if queue {
            job = job.queue_timeout(Duration::from_millis(1 + dice.throw(50)));
        }
        if run {
            job = job.run_timeout(Duration::from_millis(1 + dice.throw(50)));
        }
        let task_log = Arc::new(TaskLog {
            order,
            has_limits: queue || run,
            unwanted: AtomicBool::new(false),
            pool: pool_log.clone(),
            ends: AtomicU32::new(0),
        });
        let task = job.run();
        let (log, of_task) = (self.log, task_log.clone());
        task.on_done(move |outcome| log.ended(&of_task, outcome));
        lock(self.logs).push(task_log.clone());
        if dice.one_in(12) {
            task.detach();
        } else {
            waiting.push_back((task, task_log));
        }
    }

    /// Ends the oldest task in one of the ways there are.
    fn finish(&mut self, waiting: &mut Waiting) {
        let Some((mut task, log)) = waiting.pop_front() else { return };
        match self.dice.throw(12) {
            0 => {
                log.unwanted.store(true, SeqCst);
                return drop(task);
            }
            1 => {
                log.unwanted.store(true, SeqCst);
                task.cancel();
            }
            _ => {}
        }
        if task.blocking_wait_timeout(LONG).is_none() {
            self.log.wrong(format!("job {} on {} never ends: {task:?}", log.order.n, log.pool.name));
        }
    }

    /// Ends the pool in one of the ways there are.
    fn end(&mut self, pool: ProcessPool, log: &Arc<PoolLog>, waiting: &mut Waiting) {
        let mode = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill][self.dice.throw(3) as usize];
        let hurried = self.dice.one_in(4);
        log.closed.store(true, SeqCst);
        if self.dice.one_in(4) {
            // By dropping the last handle; the tasks are waited for afterwards.
            return drop(pool);
        }
        log.cancels.store(mode != Shutdown::Drain || hurried, SeqCst);
        let closing = pool.shutdown(mode);
        // Refused, each of them.
        (0..3).for_each(|_| self.start(&pool, log, waiting));
        if hurried {
            closing.timeout(self.dice.millis(30)).blocking_wait();
        }
        let report = pool.shutdown(mode).timeout(LONG).blocking_wait();
        let metrics = pool.metrics();
        if !report.is_complete() || metrics.workers + metrics.queued + metrics.running > 0 {
            self.log.wrong(format!("{} did not end, {mode:?}: {report}, {metrics:?}", log.name));
        }
    }
}

/// Mappings of shared memory in this process.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("a list");
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

/// Descriptors, threads and mappings of this process.
fn belongings() -> [usize; 3] {
    [open_descriptors(), threads(), mappings()]
}

/// Starts what stays: the timer's thread and the like.
fn warm_up() {
    let pool = pool(1);
    let task = pool.job(double, 1).queue_timeout(LONG).run();
    task.blocking_wait().expect("a value");
    pool.shutdown(Shutdown::Drain).blocking_wait();
    drop(pool);
    until("the first pool is gone", || threads() <= 3 && descendants().is_empty());
}

#[test]
fn whatever_is_done_to_them_every_task_ends_once_and_rightly_and_nothing_is_left() {
    let seed = number_from("RACE_SEED")
        .unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) % 1_000_000);
    println!("RACE_SEED={seed} RACE_SECONDS={}", seconds().as_secs());
    warm_up();
    let before = belongings();
    let log: &'static Log = Box::leak(Box::default());
    let (logs, over, begun) = (Mutex::new(Vec::new()), AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let drivers: Vec<_> = (0..DRIVERS)
            .map(|number| {
                let mut driver = Driver { log, dice: Dice::new(seed, number), logs: &logs };
                scope.spawn(move || {
                    while begun.elapsed() < seconds() {
                        driver.round();
                    }
                })
            })
            .collect();
        scope.spawn(|| torment(log, Dice::new(seed, DRIVERS), &over));
        for driver in drivers {
            driver.join().expect("a driver has no assertions of its own");
        }
        over.store(true, SeqCst);
    });
    report(log, begun.elapsed());
    let logs = logs.into_inner().unwrap_or_else(PoisonError::into_inner);
    until("every task has ended", || logs.iter().all(|task| task.ends.load(SeqCst) > 0));
    assert_eq!(*lock(&log.wrongs), [""; 0]);
    until("no process and no zombie is left", || descendants().is_empty());
    let no_more = || belongings().iter().zip(before).all(|(after, before)| *after <= before);
    assert!(holds_within(Duration::from_secs(10), no_more), "{before:?} became {:?}", belongings());
    assert!(!Path::new("/dev/shm").read_dir().is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().contains("heavylift")))
    }));
}

fn report(log: &Log, took: Duration) {
    let (jobs, pools) = (log.jobs.load(SeqCst), log.pools.load(SeqCst));
    println!("{jobs} jobs on {pools} pools in {took:?}");
    println!("outcomes: {:?}", lock(&log.outcomes));
    println!("signals: {:?}", lock(&log.signals));
    lock(&log.wrongs).iter().take(20).for_each(|wrong| println!("WRONG: {wrong}"));
}
