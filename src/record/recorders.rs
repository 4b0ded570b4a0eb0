//! [`Recorders`]: who looks at a pool, and where each thread puts what they are to see.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use super::{
    Attached, Change, Failure, JobRecord, Queued, Run, Scope, Stage, UNKNOWN, WorkerRecord,
    recorder::{Block, Recorded, Recorder},
};
use crate::{TaskError, TaskErrorKind, clock::Stamp, error::TaskLabel, shards::Shards};

/// Nobody looks; else who looks at most, as a [`Scope`] and one.
const NOBODY: u8 = 0;

/// How often the length of the queue is looked at: so many times in the time that a recorder shows.
const LOOKS: u32 = 250;
/// And no more often than this.
const BETWEEN_LOOKS: Duration = Duration::from_micros(100);

/// How many forks without exec lie between this process and the one that was executed, as far as that is known.
static COPIES: AtomicU32 = AtomicU32::new(0);

/// This process is a copy of another, made by `fork`: the locks of what was recorded there may be taken for good. Async-signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn note_copy() {
    // ORDERING: Relaxed. A copy has one thread.
    COPIES.fetch_add(1, Relaxed);
}

/// The recorders of one pool. See the module's page.
#[derive(Default)]
pub(crate) struct Recorders {
    /// ORDERING: Relaxed, but for who reads the shelves after it: see `shelves`. A hint, which publishes nothing else.
    level: AtomicU8,
    rest: OnceLock<Box<Rest>>,
}

/// What there is from the first onlooker on.
struct Rest {
    /// Taken before all others.
    members: Mutex<Vec<Arc<Recorder>>>,
    shelves: Shards<Shelf>,
    /// When to look at the queue again. Put off by whoever does the look; all else is stored under `members`.
    ///
    /// ORDERING: Relaxed. It stands for itself.
    look_at: AtomicU64,
    /// Which process it was made in.
    copies: u32,
}

/// Where the threads of one shard put their records: a block for each recorder. Nothing is dropped under its lock.
#[derive(Default)]
struct Shelf(Mutex<Vec<(Arc<Recorder>, Block)>>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Recorder>, Block)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest {
    fn new() -> Box<Self> {
        let shelves = Shards::new(Shelf::default);
        Box::new(Self {
            members: Mutex::default(),
            shelves,
            look_at: AtomicU64::new(0),
            copies: COPIES.load(Relaxed),
        })
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Recorder>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who looks.
impl Recorders {
    /// Lets somebody look at `pool`, whose recorders these are. `limit` is how many records are kept: see the module's page.
    pub(crate) fn attach(pool: Arc<dyn Recorded>, scope: Scope, limit: usize) -> Attached {
        // Before there are locks that a copy must not take.
        #[cfg(target_os = "linux")]
        crate::process::watch_forks();
        let recorders = pool.counters().recorders();
        let shelves = recorders.rest.get_or_init(Rest::new).shelves.iter().count();
        let recorder = Arc::new(Recorder::new(scope, limit, shelves));
        // Absent in a copy of the program, where nothing is recorded of its pools.
        let Some(rest) = recorders.rest() else { return Attached::new(pool, recorder) };
        let mut members = rest.members();
        members.push(recorder.clone());
        rest.shelves.iter().for_each(|shelf| shelf.lock().push((recorder.clone(), Block::default())));
        rest.look_at.store(0, Relaxed);
        recorders.set_level(&members);
        drop(members);
        Attached::new(pool, recorder)
    }

    /// Nobody looks by way of this recorder any more.
    pub(super) fn detach(&self, recorder: &Arc<Recorder>) {
        let Some(rest) = self.rest() else { return };
        let mut members = rest.members();
        members.retain(|other| !Arc::ptr_eq(other, recorder));
        self.set_level(&members);
        let mut left = Vec::new();
        for shelf in rest.shelves.iter() {
            let mut blocks = shelf.lock();
            let at = blocks.iter().position(|(other, _)| Arc::ptr_eq(other, recorder));
            left.extend(at.map(|at| blocks.swap_remove(at)));
        }
        drop(members);
    }

    fn set_level(&self, members: &[Arc<Recorder>]) {
        let level = members.iter().map(|recorder| recorder.scope as u8 + 1).max().unwrap_or(NOBODY);
        // ORDERING: Release pairs with the Acquire in `shelves`.
        self.level.store(level, Release);
    }

    /// Has the recorder keep what lies on the shelves for it.
    pub(super) fn clear_shelves(&self, recorder: &Arc<Recorder>) {
        for shelf in self.rest().iter().flat_map(|rest| rest.shelves.iter()) {
            let mut blocks = shelf.lock();
            let own = blocks.iter_mut().find(|(other, _)| Arc::ptr_eq(other, recorder));
            let block = own.map(|(_, block)| std::mem::take(block));
            // Under the lock, so that what this shelf hands over next comes after it.
            let surplus = block.map(|block| recorder.keep(block));
            drop(blocks);
            drop(surplus);
        }
    }
}

/// What is recorded.
impl Recorders {
    /// Whether anybody looks, at least for failures.
    #[inline]
    pub(crate) fn looks_for(&self, scope: Scope) -> bool {
        self.level.load(Relaxed) > scope as u8
    }

    /// A run has ended, with an error or a value, which is not to be seen before this.
    pub(crate) fn ran(&self, run: Run<'_>, error: Option<&TaskError>) {
        if error.is_some() || self.looks_for(Scope::All) {
            let failure = error.map(|error| Failure::new(Stage::Ran, error));
            self.put(JobRecord::of_run(run, failure));
        }
    }

    /// A run has ended whose task had finished before.
    pub(crate) fn outlived(&self, run: Run<'_>) {
        if self.looks_for(Scope::All) {
            let failure = Failure::with_text(Stage::Outlived, TaskErrorKind::Cancelled, "");
            self.put(JobRecord::of_run(run, Some(failure)));
        }
    }

    /// A run has ended with the death of its worker, which is not the end of the task.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
    pub(crate) fn lost(&self, run: Run<'_>, text: &str) {
        let failure = Failure::with_text(Stage::Ran, TaskErrorKind::WorkerDied, text);
        self.put(JobRecord::of_run(run, Some(failure)));
    }

    /// A task has finished, though its job has not come to the end of a run: it never began, or is abandoned.
    #[inline]
    pub(crate) fn ended(&self, stage: Stage, items: u32, submitted: Stamp, error: &TaskError) {
        if self.level.load(Relaxed) != NOBODY {
            self.note_ended(stage, UNKNOWN, items, submitted, error);
        }
    }

    /// One item has failed of several that ran together.
    #[inline]
    pub(crate) fn item_failed(&self, worker: u32, submitted: Stamp, error: &TaskError) {
        if self.level.load(Relaxed) != NOBODY {
            self.note_ended(Stage::Item, worker, 1, submitted, error);
        }
    }

    /// As [`item_failed`](Self::item_failed), but it is recorded later, by [`note`](Self::note): for who finds out under a lock whether
    /// it is to be. Nothing while nobody looks.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
    pub(crate) fn failed_item(&self, worker: u32, submitted: Stamp, error: &TaskError) -> Option<JobRecord> {
        self.looks_for(Scope::Failures).then(|| failed(Stage::Item, worker, 1, submitted, error))
    }

    /// Records what was made before.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
    pub(crate) fn note(&self, job: JobRecord) {
        self.put(job);
    }

    /// Something happened to a worker.
    #[inline]
    pub(crate) fn worker_changed(&self, change: impl FnOnce() -> WorkerRecord) {
        if self.level.load(Relaxed) != NOBODY {
            self.note_change(&change());
        }
    }

    /// A thread of a pool began to work, or has left.
    pub(crate) fn thread_changed(&self, number: u32, what: Change) {
        self.worker_changed(|| WorkerRecord { worker: number, number, pid: None, at: Stamp::now(), what });
    }

    #[inline(never)]
    fn note_ended(&self, stage: Stage, worker: u32, items: u32, submitted: Stamp, error: &TaskError) {
        self.put(failed(stage, worker, items, submitted, error));
    }

    #[inline(never)]
    fn note_change(&self, change: &WorkerRecord) {
        let Some(rest) = self.rest() else { return };
        let members = rest.members().clone();
        members.iter().for_each(|recorder| recorder.keep_change(change.clone()));
    }

    /// Puts a record on this thread's shelf, for each recorder that wants it.
    fn put(&self, job: JobRecord) {
        let Some(rest) = self.rest() else { return };
        let is_failure = job.failure.as_ref().is_some_and(|failure| failure.stage != Stage::Outlived);
        let (mut job, mut surplus) = (Some(job), Vec::new());
        let mut blocks = rest.shelves.here().lock();
        let last = blocks.len().wrapping_sub(1);
        for (nth, (recorder, block)) in blocks.iter_mut().enumerate() {
            if is_failure || recorder.scope == Scope::All {
                let job = if nth == last { job.take() } else { job.clone() };
                job.into_iter().for_each(|job| block.push(job));
                if recorder.is_full(block) {
                    surplus.append(&mut recorder.keep(std::mem::take(block)));
                }
            }
        }
        drop(blocks);
        drop(surplus);
    }

    fn rest(&self) -> Option<&Rest> {
        // ORDERING: Acquire pairs with the Release in `set_level`; the cell itself would do, too.
        let _ = self.level.load(Acquire);
        self.rest.get().map(|rest| &**rest).filter(|rest| rest.copies == COPIES.load(Relaxed))
    }

    /// Whether it is time to look at the queue, and this is who is to do so.
    pub(crate) fn is_look_due(&self, now: Stamp) -> bool {
        let Some(rest) = self.rest() else { return false };
        let due = rest.look_at.load(Relaxed);
        let never = u64::MAX;
        now.nanos() >= due && rest.look_at.compare_exchange(due, never, Relaxed, Relaxed).is_ok()
    }

    /// So many jobs wait: what the look was for.
    pub(crate) fn note_queued(&self, now: Stamp, jobs: u64) {
        let Some(rest) = self.rest() else { return };
        // Held to the end: whoever comes later has the next look come at once, which is not to be put off again.
        let members = rest.members();
        let all = members.iter().filter(|recorder| recorder.scope == Scope::All);
        let mut shortest = Duration::MAX;
        for recorder in all {
            recorder.keep_queued(Queued { at: now, jobs });
            shortest = shortest.min(now.since(recorder.begins()));
        }
        let pause = u64::try_from((shortest / LOOKS).max(BETWEEN_LOOKS).as_nanos()).unwrap_or(u64::MAX);
        rest.look_at.store(now.nanos().saturating_add(pause), Relaxed);
        drop(members);
    }
}

/// What has ended just now, without a run of its own.
fn failed(stage: Stage, worker: u32, items: u32, submitted: Stamp, error: &TaskError) -> JobRecord {
    let now = Stamp::now();
    let label: &TaskLabel = error.label();
    let run = Run { label, submitted, begun: now, ended: now, worker, items };
    JobRecord::of_run(run, Some(Failure::new(stage, error)))
}

impl fmt::Debug for Recorders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorders").field("level", &self.level).finish_non_exhaustive()
    }
}
