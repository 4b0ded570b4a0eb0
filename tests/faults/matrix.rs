//! Every step of a job, and every way in which it can fail.
//!
//! [`Trap`] is argument and result at once. It carries the pid of the program, so that each of its four conversions knows
//! in which process it runs, and misbehaves in the one step for which it is set.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use heavylift::{JobError, ProcessPool, Shutdown, Task, TaskError, TaskErrorKind};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::processes::*;

/// What happens to a job, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    EncodeArgument,
    DecodeArgument,
    Run,
    EncodeResult,
    DecodeResult,
}

/// The ways in which a step can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Misdeed {
    ReturnError,
    /// Returns an error whose `Display` panics.
    ReturnUnprintable,
    Panic,
    /// Panics with a payload whose `Drop` panics.
    PanicWithBomb,
    Exit,
    Abort,
    Kill,
    Segfault,
    OverflowStack,
    RunForEver,
}

use Misdeed::*;
use Step::*;

const STEPS: [Step; 5] = [EncodeArgument, DecodeArgument, Run, EncodeResult, DecodeResult];
/// The steps that happen in the worker.
const REMOTE: [Step; 3] = [DecodeArgument, Run, EncodeResult];
/// What a process survives.
const SURVIVABLE: [Misdeed; 4] = [ReturnError, ReturnUnprintable, Panic, PanicWithBomb];
/// How a worker ends of what it does not survive.
const DEADLY: [(Misdeed, &str); 5] = [
    (Exit, "exited with code 77"),
    (Abort, "died of SIGABRT"),
    (Kill, "died of SIGKILL"),
    (Segfault, "died of SIGSEGV"),
    (OverflowStack, "died of SIGSEGV"),
];

/// Does `misdeed` in `step`, and nothing in the others.
#[derive(Debug, PartialEq)]
struct Trap {
    step: Step,
    misdeed: Misdeed,
    program: u32,
    /// Where the pid is written before a worker runs for ever.
    mark: String,
}

type Wire = (Step, Misdeed, u32, String);

impl Trap {
    fn new(step: Step, misdeed: Misdeed, mark: &Mark) -> Self {
        Self { step, misdeed, program: std::process::id(), mark: mark.arg() }
    }

    fn is_at_home(&self) -> bool {
        std::process::id() == self.program
    }

    /// Passes a step, unless it is the one.
    fn pass(&self, step: Step) -> Result<(), Failure> {
        if step != self.step {
            return Ok(());
        }
        match self.misdeed {
            ReturnError => Err(Failure::Plain),
            ReturnUnprintable => Err(Failure::Unprintable),
            Panic => panic!("caught in {step:?}"),
            PanicWithBomb => std::panic::panic_any(Bomb),
            deadly => {
                assert!(REMOTE.contains(&step) && !self.is_at_home(), "only a worker may die of {deadly:?}");
                self.die(deadly)
            }
        }
    }

    fn die(&self, misdeed: Misdeed) -> ! {
        match misdeed {
            Exit => std::process::exit(77),
            Abort => std::process::abort(),
            Kill => kill_self(Signal::KILL.as_raw()),
            Segfault => segfault(),
            OverflowStack => drop(overflow(0)),
            _ => spin(self.mark.clone()),
        }
        unreachable!("{misdeed:?} ends the process or nothing")
    }
}

/// Writes where nothing is.
#[expect(unsafe_code, reason = "a wild pointer is what this is about")]
fn segfault() -> ! {
    // SAFETY: none. The first page is never mapped, so this ends the worker, and it runs nowhere else.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    unreachable!("the kernel has refused the write")
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in the drop of a payload");
    }
}

#[derive(Debug)]
enum Failure {
    Plain,
    Unprintable,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("a plain failure"),
            Self::Unprintable => panic!("a failure without words"),
        }
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let step = if self.is_at_home() { EncodeArgument } else { EncodeResult };
        self.pass(step).map_err(ser::Error::custom)?;
        (self.step, self.misdeed, self.program, &self.mark).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (step, misdeed, program, mark) = Wire::deserialize(deserializer)?;
        let trap = Self { step, misdeed, program, mark };
        trap.pass(if trap.is_at_home() { DecodeResult } else { DecodeArgument })
            .map_err(de::Error::custom)?;
        Ok(trap)
    }
}

fn run_trap(trap: Trap) -> Result<Trap, JobError> {
    // Boxed, as an application's error would be.
    trap.pass(Run)
        .map_err(|failure| JobError::new(Box::<dyn std::error::Error + Send + Sync>::from(failure)))?;
    Ok(trap)
}

/// What became of a job.
type Outcome = Result<Result<Trap, JobError>, TaskError>;

#[track_caller]
fn outcome<T>(mut task: Task<T>, cell: &str) -> Result<T, TaskError> {
    task.blocking_wait_timeout(LONG).unwrap_or_else(|| panic!("{cell}: the task does not finish"))
}

#[track_caller]
fn value<T>(task: Task<T>, cell: &str) -> T {
    outcome(task, cell).unwrap_or_else(|error| panic!("{cell}: {error}"))
}

/// A job on another worker than the one that is in trouble, from before the trouble until after it.
struct Neighbour {
    pid: u32,
    end: Mark,
    task: Task<u32>,
}

impl Neighbour {
    fn start(pool: &ProcessPool) -> Self {
        let (started, end) = (Mark::new(), Mark::new());
        let task = pool.run(wait_for, (started.arg(), end.arg()));
        Self { pid: started.pid(), end, task }
    }

    #[track_caller]
    fn ends_unharmed(self, cell: &str) {
        self.end.set();
        assert_eq!(value(self.task, cell), self.pid, "{cell}");
    }
}

/// Runs a trap among other jobs, has `judge` look at its end, and looks at everybody else.
fn play(
    pool: &ProcessPool,
    (step, misdeed): (Step, Misdeed),
    limit: Option<Duration>,
    judge: impl FnOnce(Outcome, u32),
) {
    let (cell, mark) = (format!("{step:?}, {misdeed:?}"), Mark::new());
    let neighbour = Neighbour::start(pool);
    let job = pool.job(run_trap, Trap::new(step, misdeed, &mark));
    let task = if let Some(limit) = limit { job.run_timeout(limit) } else { job }.run();
    // Some of these are sent ahead, behind the trap.
    let others: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
    judge(outcome(task, &cell), neighbour.pid);
    for (n, other) in others.into_iter().enumerate() {
        assert_eq!(value(other, &cell), 2 * n as u64, "{cell}");
    }
    neighbour.ends_unharmed(&cell);
    the_next_hundred(pool, &cell);
}

#[track_caller]
fn the_next_hundred(pool: &ProcessPool, cell: &str) {
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(value(task, cell), 2 * n as u64, "{cell}");
    }
}

#[track_caller]
fn ends(pool: &ProcessPool) {
    let report = pool.shutdown(Shutdown::Drain).timeout(LONG).blocking_wait();
    assert!(report.is_complete(), "{report}");
}

#[test]
fn an_error_or_a_panic_in_any_step_ends_its_task_and_no_worker() {
    let pool = pool(2);
    for step in STEPS {
        for misdeed in SURVIVABLE {
            play(&pool, (step, misdeed), None, |outcome, _| judge_survived(step, misdeed, outcome));
        }
    }
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[track_caller]
fn judge_survived(step: Step, misdeed: Misdeed, outcome: Outcome) {
    let cell = format!("{step:?}, {misdeed:?}");
    if let (Run, ReturnError) = (step, misdeed) {
        let error = outcome.unwrap_or_else(|error| panic!("{cell}: {error}")).expect_err(&cell);
        return assert_eq!(error.to_string(), "a plain failure");
    }
    let error = outcome.expect_err(&cell);
    let (kind, operand) = match step {
        EncodeArgument => (TaskErrorKind::Encode, "the argument of task"),
        DecodeArgument => (TaskErrorKind::Decode, "the argument of task"),
        Run => (TaskErrorKind::Panicked, "panicked at"),
        EncodeResult => (TaskErrorKind::Encode, "the result of task"),
        DecodeResult => (TaskErrorKind::Decode, "the result of task"),
    };
    let cause = match misdeed {
        ReturnError => "a plain failure".to_owned(),
        ReturnUnprintable => "a failure without words".to_owned(),
        Panic => format!("caught in {step:?}"),
        _ => "Box<dyn Any>".to_owned(),
    };
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{cell}: {message}");
    assert!(message.contains(operand) && message.contains(&cause), "{cell}: {message}");
}

#[test]
fn a_worker_that_dies_in_any_step_costs_only_the_job_it_ran() {
    let pool = pool(2);
    for step in REMOTE {
        for (misdeed, end) in DEADLY {
            play(&pool, (step, misdeed), None, |outcome, neighbour| {
                let error = outcome.expect_err("the worker died");
                let message = error.to_string();
                assert!(error.is_worker_died() && message.contains(end), "{step:?}, {misdeed:?}: {message}");
                assert_ne!(error.worker().map(heavylift::WorkerExit::pid), Some(neighbour), "{message}");
            });
        }
    }
    assert_eq!(pool.metrics().worker_deaths, (REMOTE.len() * DEADLY.len()) as u64);
    ends(&pool);
}

#[test]
fn a_step_that_runs_for_ever_is_ended_by_run_timeout() {
    let pool = pool(2);
    for step in REMOTE {
        play(&pool, (step, RunForEver), Some(Duration::from_millis(50)), |outcome, _| {
            let error = outcome.expect_err("it ran for ever");
            assert!(error.is_timed_out(), "{step:?}: {error}");
            assert!(error.to_string().contains("run_timeout is 50ms"), "{step:?}: {error}");
        });
    }
    // Killed on purpose.
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn a_step_that_runs_for_ever_is_ended_by_dropping_its_task() {
    let pool = pool(2);
    for step in REMOTE {
        let (cell, mark) = (format!("{step:?}, dropped"), Mark::new());
        let neighbour = Neighbour::start(&pool);
        let task = pool.run(run_trap, Trap::new(step, RunForEver, &mark));
        let others: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
        let pid = mark.pid();
        drop(task);
        gone(pid);
        others.into_iter().enumerate().for_each(|(n, task)| assert_eq!(value(task, &cell), 2 * n as u64));
        neighbour.ends_unharmed(&cell);
        the_next_hundred(&pool, &cell);
    }
    ends(&pool);
}

/// A value that panics when it is dropped, in the worker or in the program.
#[derive(Debug, Serialize, Deserialize)]
struct Touchy {
    n: u64,
    program: u32,
    panics_at_home: bool,
}

impl Drop for Touchy {
    fn drop(&mut self) {
        assert_ne!(std::process::id() == self.program, self.panics_at_home, "dropped touchily");
    }
}

fn touchy(panics_at_home: bool) -> Touchy {
    Touchy { n: 3, program: std::process::id(), panics_at_home }
}

/// Takes a touchy value out of harm's way.
fn n_of(value: Touchy) -> u64 {
    std::mem::ManuallyDrop::new(value).n
}

#[test]
fn an_argument_whose_drop_panics_has_been_sent_all_the_same() {
    let pool = pool(1);
    assert_eq!(value(pool.run(n_of, touchy(true)), "argument"), 3);
    // One that is never sent is dropped by the pool.
    let (started, end) = (Mark::new(), Mark::new());
    let running = pool.run(wait_for, (started.arg(), end.arg()));
    started.pid();
    let waiting = pool.run(n_of, touchy(true));
    waiting.cancel();
    assert!(outcome(waiting, "cancelled").expect_err("it was cancelled").is_cancelled());
    end.set();
    value(running, "the one before");
    the_next_hundred(&pool, "argument");
    ends(&pool);
}

#[test]
fn a_result_whose_drop_panics_hurts_nobody_wherever_it_is_dropped() {
    let pool = pool(1);
    // In the worker, once it is encoded.
    let in_worker = pool.run(|program| Touchy { n: 5, program, panics_at_home: false }, std::process::id());
    assert_eq!(n_of(value(in_worker, "dropped in the worker")), 5);
    let at_home = |program| Touchy { n: 6, program, panics_at_home: true };
    // In the program: dropped by whoever has it, or by the pool when nobody wants it.
    for _ in 0..10 {
        pool.run(at_home, std::process::id()).detach();
        let task = pool.run(at_home, std::process::id());
        until("it has finished", || task.is_finished());
        drop(task);
    }
    the_next_hundred(&pool, "result");
    let metrics = pool.metrics();
    assert_eq!((metrics.worker_deaths, metrics.panicked), (0, 0));
    ends(&pool);
}

#[test]
fn a_callback_that_panics_hurts_nobody() {
    let pool = pool(2);
    let called = Arc::new(AtomicU32::new(0));
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    for task in &tasks {
        for _ in 0..2 {
            let called = called.clone();
            task.on_done(move |_| {
                called.fetch_add(1, SeqCst);
                std::panic::panic_any(Bomb);
            });
        }
    }
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(value(task, "with callbacks"), 2 * n as u64);
    }
    assert_eq!(called.load(SeqCst), 200);
    the_next_hundred(&pool, "callback");
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}
