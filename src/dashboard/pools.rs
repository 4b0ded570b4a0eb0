//! [`Pools`]: looks at all pools of the program, and remembers what it takes to tell what they did lately.

use std::{
    collections::VecDeque,
    env,
    hash::{BuildHasher, RandomState},
    process,
    sync::{Arc, Weak},
    thread,
    time::Instant,
};

use axum::body::Bytes;

use super::{
    onlooker::{Onlooker, Seeing},
    snapshot::{Advice, Counts, NAME, Pool, Snapshot, Times, VERSION, cut, millis},
};
use crate::{
    Distribution, Metrics,
    clock::Stamp,
    guidance::{PoolAdvice, PoolKind},
    metrics::Tallies,
    panic::drop_shielded,
    pool::registry::{self, AnyPool, Kind},
};

/// How many pools are told of.
const POOLS: usize = 100;
/// A tally is taken with each fourth frame, and five of them are kept: what is recent is 8 to 10 s long.
const FRAMES_PER_TALLY: u64 = 4;
const TALLIES: usize = 5;

/// The pools that have been seen. While nobody looks it holds their ids and nothing else.
#[derive(Debug)]
pub(super) struct Pools {
    since: Instant,
    instance: String,
    program: String,
    known: Vec<Known>,
    next_id: u64,
    frames: u64,
}

/// The pools of the program while somebody looks at them.
///
/// Each may come to its end when this is dropped, and its drop is foreign code. So that is done under no lock.
pub(super) struct Held {
    pools: Vec<Arc<dyn AnyPool>>,
    /// Of the first of them. Jobs are held for a moment to count them, and the drop of a job is foreign code, too.
    metrics: Vec<Metrics>,
}

impl Held {
    pub(super) fn all() -> Self {
        Self { pools: registry::all(), metrics: Vec::new() }
    }

    pub(super) fn measured() -> Self {
        let mut held = Self::all();
        held.metrics = held.told().iter().map(|pool| pool.metrics()).collect();
        held
    }

    /// Those that are told of.
    fn told(&self) -> &[Arc<dyn AnyPool>] {
        &self.pools[..self.pools.len().min(POOLS)]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pools.drain(..).for_each(drop_shielded);
    }
}

struct Known {
    id: u64,
    pool: Weak<dyn AnyPool>,
    /// Oldest first; none while nobody looks.
    tallies: VecDeque<Tallies>,
    /// Likewise.
    onlooker: Option<Onlooker>,
}

/// Whether this look is one of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Once,
    Again,
}

impl Pools {
    pub(super) fn new() -> Self {
        let program = env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
        // A hasher of the standard library has keys that are random in each process, and differ within one.
        let instance = format!("{:016x}", RandomState::new().hash_one(process::id()));
        Self {
            since: Instant::now(),
            instance,
            program: cut(&program.to_string_lossy(), NAME),
            known: Vec::new(),
            next_id: 1,
            frames: 0,
        }
    }

    /// All pools, which are [measured](Held::measured), without what only a row of looks can tell. Nothing is recorded for it.
    pub(super) fn look(&mut self, pools: &Held, viewers: usize) -> Bytes {
        self.tell(pools, viewers, Look::Once)
    }

    /// Likewise; to be called twice a second until [`let_go`](Self::let_go).
    pub(super) fn watch(&mut self, pools: &Held, viewers: usize) -> Bytes {
        let frame = self.tell(pools, viewers, Look::Again);
        self.frames += 1;
        frame
    }

    /// Looks at the workers between two frames.
    pub(super) fn look_at_workers(&mut self, pools: &Held) {
        for pool in pools.told() {
            if let Some(onlooker) = &mut self.known(pool).onlooker {
                onlooker.look(&**pool);
            }
        }
    }

    /// Forgets what was only for those who looked. Returns what is to be dropped under no lock: an onlooker leaves its pool, which may
    /// end with that.
    pub(super) fn let_go(&mut self) -> Vec<Onlooker> {
        self.frames = 0;
        self.known.iter_mut().for_each(|known| known.tallies = VecDeque::new());
        self.known.iter_mut().filter_map(|known| known.onlooker.take()).collect()
    }

    fn tell(&mut self, held: &Held, viewers: usize, look: Look) -> Bytes {
        let pools = held.told();
        let more_pools = held.pools.len() - pools.len();
        self.known.retain(|known| known.pool.strong_count() > 0);
        let is_turn = look == Look::Again && self.frames.is_multiple_of(FRAMES_PER_TALLY);
        let since = Stamp::of(self.since);
        let pools = pools.iter().zip(&held.metrics);
        let pools =
            pools.map(|(pool, metrics)| self.known(pool).tell(pool, metrics, look, is_turn, since)).collect();
        let snapshot = Snapshot {
            version: VERSION,
            instance: &self.instance,
            at_ms: millis(self.since.elapsed()),
            program: &self.program,
            pid: process::id(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            viewers,
            pools,
            more_pools,
        };
        serde_json::to_vec(&snapshot).map(Bytes::from).unwrap_or_default()
    }

    fn known(&mut self, pool: &Arc<dyn AnyPool>) -> &mut Known {
        // While there is a `Weak` of a pool, no other has its address.
        let is_it = |known: &Known| std::ptr::addr_eq(known.pool.as_ptr(), Arc::as_ptr(pool));
        let at = self.known.iter().position(is_it).unwrap_or_else(|| {
            let (id, pool) = (self.next_id, Arc::downgrade(pool));
            self.next_id += 1;
            self.known.push(Known { id, pool, tallies: VecDeque::new(), onlooker: None });
            self.known.len() - 1
        });
        &mut self.known[at]
    }
}

impl Known {
    fn tell(
        &mut self,
        pool: &Arc<dyn AnyPool>,
        metrics: &Metrics,
        look: Look,
        is_turn: bool,
        since: Stamp,
    ) -> Pool {
        let [waited, ran] = match look {
            Look::Once => [None; 2],
            Look::Again => self.recent(pool.counters().tallies(), is_turn).map(Some),
        };
        let seeing = match look {
            Look::Once => Seeing::once(&**pool),
            Look::Again => {
                let onlooker = self.onlooker.get_or_insert_with(|| Onlooker::new(pool));
                onlooker.tell(&**pool, |at| millis(at.since(since)))
            }
        };
        Pool {
            id: self.id,
            name: cut(pool.name(), NAME),
            kind: pool.kind().label(),
            age_ms: millis(metrics.age),
            workers: metrics.workers,
            idle_workers: metrics.idle_workers,
            max_workers: metrics.max_workers,
            queued: metrics.queued,
            running: metrics.running,
            counts: Counts::from(metrics),
            queue_wait: Times::new(&metrics.queue_wait, waited),
            run_time: Times::new(&metrics.run_time, ran),
            lanes: seeing.lanes,
            more_lanes: seeing.more_lanes,
            failures: seeing.failures,
            events: seeing.events,
            advice: advice(&**pool, metrics),
        }
    }

    /// How long jobs waited and ran lately, up to `now`, which is kept if it is its turn.
    fn recent(&mut self, now: Tallies, is_turn: bool) -> [Distribution; 2] {
        let oldest = self.tallies.front().unwrap_or(&now);
        let recent = [now.queue_wait.since(&oldest.queue_wait), now.run_time.since(&oldest.run_time)];
        if is_turn || self.tallies.is_empty() {
            self.tallies.push_back(now);
            let surplus = self.tallies.len().saturating_sub(TALLIES);
            self.tallies.drain(..surplus);
        }
        recent
    }
}

fn advice(pool: &dyn AnyPool, metrics: &Metrics) -> Option<Advice> {
    let kind = match pool.kind() {
        Kind::Threads => PoolKind::Threads,
        Kind::Processes => PoolKind::Processes,
        #[cfg(feature = "rayon")]
        Kind::Rayon => return None,
        #[cfg(feature = "nats")]
        Kind::Cluster => return None,
    };
    Some(PoolAdvice::of(pool.name(), metrics, kind).into())
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("id", &self.id).finish_non_exhaustive()
    }
}
