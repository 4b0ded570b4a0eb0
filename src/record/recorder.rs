//! [`Recorder`]: what one onlooker has recorded; [`Attached`]: the onlooker's hold on it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{Change, JobRecord, Queued, Recorders, WorkerRecord};
use crate::{clock::Stamp, metrics::Counters, panic::drop_shielded};

/// The most records that a shelf gathers before it hands them over.
const LARGEST_BLOCK: usize = 1024;
/// How many changes of workers, and depths of the queue, are kept.
const MOST_CHANGES: usize = 16 * 1024;
const MOST_DEPTHS: usize = 8 * 1024;
/// Of how many workers more the place is known whose changes were dropped.
const MOST_PLACES: usize = 64 * 1024;

/// What is recorded of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Those that did not return a value, and what happens to workers. Jobs that succeed cost what they cost while nobody looks.
    Failures,
    /// Each, and how many wait.
    All,
}

/// What has been recorded since the last time.
#[derive(Debug)]
pub(crate) struct Taken {
    /// In the order of their ends, nearly.
    pub(crate) jobs: Vec<JobRecord>,
    pub(crate) workers: Vec<WorkerRecord>,
    /// Where workers were whose ends were dropped, as there were too many changes.
    pub(crate) places: Vec<Place>,
    pub(crate) queued: Vec<Queued>,
    /// How many records of jobs were dropped since the recorder was attached, because the limit was reached; and from when on there are
    /// all.
    pub(crate) dropped: u64,
    pub(crate) begins: Stamp,
}

/// The place of a worker: see [`WorkerRecord`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) worker: u32,
    pub(crate) number: u32,
    pub(crate) pid: Option<u32>,
}

/// The records of one onlooker.
pub(super) struct Recorder {
    pub(super) scope: Scope,
    pub(super) since: Stamp,
    /// How much a block may weigh, and all of them that lie here.
    block: usize,
    most: usize,
    /// Taken after a shelf's lock, or alone. Nothing is dropped under it.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Shared with who copies them, which takes long, and that not under the lock.
    blocks: VecDeque<Arc<Block>>,
    weight: usize,
    workers: VecDeque<WorkerRecord>,
    places: VecDeque<Place>,
    queued: Vec<Queued>,
    dropped: u64,
    /// When the last ended that was dropped.
    dropped_until: Option<Stamp>,
}

/// Records of one shard.
#[derive(Default)]
pub(super) struct Block {
    jobs: Vec<JobRecord>,
    weight: usize,
}

impl Recorder {
    /// `limit` is how many records without a text are kept at most, on so many shelves and here.
    pub(super) fn new(scope: Scope, limit: usize, shelves: usize) -> Self {
        let block = (limit / (2 * shelves)).clamp(1, LARGEST_BLOCK);
        let most = limit.saturating_sub(shelves * block).max(1);
        Self { scope, since: Stamp::now(), block, most, kept: Mutex::default() }
    }

    pub(super) fn is_full(&self, block: &Block) -> bool {
        block.weight >= self.block
    }

    /// Keeps a block from a shelf, whose lock is held: else whoever reads meanwhile finds it neither there nor here, and the next one
    /// overtakes it. Returns what there is no room for, to be dropped under no lock.
    #[must_use]
    pub(super) fn keep(&self, mut block: Block) -> Vec<Arc<Block>> {
        if block.jobs.len() < block.jobs.capacity() / 2 {
            block.jobs.shrink_to_fit();
        }
        let mut kept = self.lock();
        kept.weight += block.weight;
        if !block.jobs.is_empty() {
            kept.blocks.push_back(Arc::new(block));
        }
        let mut surplus = Vec::new();
        while kept.weight > self.most && kept.blocks.len() > 1 {
            let Some(oldest) = kept.blocks.pop_front() else { break };
            kept.weight -= oldest.weight;
            kept.dropped += oldest.jobs.len() as u64;
            kept.dropped_until = kept.dropped_until.max(oldest.jobs.iter().map(|job| job.ended).max());
            surplus.push(oldest);
        }
        surplus
    }

    pub(super) fn keep_change(&self, change: WorkerRecord) {
        let mut kept = self.lock();
        let oldest = if kept.workers.len() < MOST_CHANGES { None } else { kept.workers.pop_front() };
        kept.workers.push_back(change);
        // Its start may be dropped: what it has run is drawn at its place still, which its end says.
        if let Some(WorkerRecord { worker, number, pid, what: Change::Ended(_), .. }) = &oldest {
            if kept.places.len() >= MOST_PLACES {
                kept.places.pop_front();
            }
            kept.places.push_back(Place { worker: *worker, number: *number, pid: *pid });
        }
        drop(kept);
        drop(oldest);
    }

    pub(super) fn keep_queued(&self, queued: Queued) {
        let mut kept = self.lock();
        if kept.queued.len() >= MOST_DEPTHS {
            let mut nth = 0;
            kept.queued.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
        }
        kept.queued.push(queued);
    }

    /// From when on it has everything.
    pub(super) fn begins(&self) -> Stamp {
        self.lock().dropped_until.unwrap_or(self.since)
    }

    fn take(&self) -> Taken {
        let mut kept = self.lock();
        let (dropped, dropped_until) = (kept.dropped, kept.dropped_until);
        let Kept { blocks, workers, places, queued, .. } =
            std::mem::replace(&mut *kept, Kept { dropped, dropped_until, ..Kept::default() });
        drop(kept);
        let mut jobs = Vec::with_capacity(blocks.iter().map(|block| block.jobs.len()).sum());
        for block in blocks {
            match Arc::try_unwrap(block) {
                Ok(block) => jobs.extend(block.jobs),
                Err(block) => jobs.extend_from_slice(&block.jobs),
            }
        }
        let begins = dropped_until.unwrap_or(self.since);
        Taken { jobs, workers: workers.into(), places: places.into(), queued, dropped, begins }.in_order()
    }

    fn copy(&self) -> Taken {
        let kept = self.lock();
        let blocks: Vec<_> = kept.blocks.iter().cloned().collect();
        let (workers, queued) = (kept.workers.iter().cloned().collect(), kept.queued.clone());
        let places = kept.places.iter().copied().collect();
        let (dropped, begins) = (kept.dropped, kept.dropped_until.unwrap_or(self.since));
        drop(kept);
        let mut jobs = Vec::with_capacity(blocks.iter().map(|block| block.jobs.len()).sum());
        blocks.iter().for_each(|block| jobs.extend_from_slice(&block.jobs));
        Taken { jobs, workers, places, queued, dropped, begins }.in_order()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn in_order(mut self) -> Self {
        self.jobs.sort_by_key(|job| job.ended);
        self.workers.sort_by_key(|change| change.at);
        self.queued.sort_by_key(|queued| queued.at);
        self
    }
}

impl Block {
    pub(super) fn push(&mut self, job: JobRecord) {
        self.weight += job.weight();
        self.jobs.push(job);
    }
}

/// Whose recorders these are.
pub(crate) trait Recorded: Send + Sync {
    fn counters(&self) -> &Counters;
}

/// An onlooker's hold on its recorder. Dropped, it detaches.
pub(crate) struct Attached {
    pool: Weak<dyn Recorded>,
    /// What lies on the shelves of a pool that has gone is lost; so by default an onlooker keeps it.
    keeps: Option<Arc<dyn Recorded>>,
    recorder: Arc<Recorder>,
}

impl Attached {
    pub(super) fn new(pool: Arc<dyn Recorded>, recorder: Arc<Recorder>) -> Self {
        Self { pool: Arc::downgrade(&pool), keeps: Some(pool), recorder }
    }

    /// For who looks at pools as long as they are there.
    #[allow(dead_code, reason = "used by the feature `dashboard`")]
    pub(crate) fn without_keeping(mut self) -> Self {
        self.keeps = None;
        self
    }

    /// Since when it is attached.
    pub(crate) fn since(&self) -> Stamp {
        self.recorder.since
    }

    /// Takes what was recorded since it was attached, or last taken.
    pub(crate) fn take(&self) -> Taken {
        self.with_recorders(|recorders| recorders.clear_shelves(&self.recorder));
        self.recorder.take()
    }

    /// As [`take`](Self::take), but it stays there.
    pub(crate) fn copy(&self) -> Taken {
        self.with_recorders(|recorders| recorders.clear_shelves(&self.recorder));
        self.recorder.copy()
    }

    fn with_recorders(&self, f: impl FnOnce(&Recorders)) {
        if let Some(pool) = self.pool.upgrade() {
            f(pool.counters().recorders());
            // It may come to its end with this.
            drop_shielded(pool);
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.with_recorders(|recorders| recorders.detach(&self.recorder));
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("scope", &self.recorder.scope).finish_non_exhaustive()
    }
}
