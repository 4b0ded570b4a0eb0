//! The pools of the program that live: for who ends them all, and for who looks at them all.
//!
//! They are held weakly: a pool that has come to its end is not kept, nor is one kept working.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Closing, Shutdown};
use crate::{
    Metrics,
    record::{Attached, Lane, Recorded, Recorders, Scope},
};

/// A pool of any kind, apart from its handles.
pub(crate) trait AnyPool: Recorded {
    fn kind(&self) -> Kind;

    /// As it was named by its builder; several may have one name.
    fn name(&self) -> &str;

    #[cfg_attr(
        not(any(feature = "metrics", feature = "dashboard")),
        allow(dead_code, reason = "for who looks at all pools")
    )]
    fn metrics(&self) -> Metrics;

    /// What each worker does at this moment, by their numbers.
    fn lanes(&self) -> Vec<Lane>;

    /// Closes it, as `shutdown` does.
    fn shut_down(self: Arc<Self>, mode: Shutdown) -> Closing;
}

impl dyn AnyPool {
    /// Records what the pool's workers do from now on, until what is returned is dropped. `limit` is how many records of jobs are kept,
    /// 64 bytes each; of workers and of the queue's length some thousands.
    pub(crate) fn record(self: &Arc<Self>, scope: Scope, limit: usize) -> Attached {
        Recorders::attach(self.clone(), scope, limit)
    }
}

/// What a pool runs its jobs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Threads,
    Processes,
    #[cfg(feature = "rayon")]
    Rayon,
    #[cfg(feature = "nats")]
    Cluster,
}

impl Kind {
    /// How it is told to who sees many pools: in labels of metrics, in pictures.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Threads => "thread",
            Self::Processes => "process",
            #[cfg(feature = "rayon")]
            Self::Rayon => "rayon",
            #[cfg(feature = "nats")]
            Self::Cluster => "cluster",
        }
    }
}

/// Taken alone. Foreign code, such as the drop of a pool, never runs under it.
static POOLS: Mutex<Vec<Weak<dyn AnyPool>>> = Mutex::new(Vec::new());

/// Enters a pool that was built just now.
pub(crate) fn enter<P: AnyPool + 'static>(pool: &Arc<P>) {
    let entry: Weak<P> = Arc::downgrade(pool);
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    // Programs have few pools at a time, so whoever enters one may as well look at all.
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(entry);
}

/// The pools that live now: those with a handle, and those whose last jobs still run.
pub(crate) fn all() -> Vec<Arc<dyn AnyPool>> {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    pools.iter().filter_map(Weak::upgrade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ThreadPool;

    #[test]
    fn a_pool_is_listed_while_it_lives_and_not_kept_by_that() {
        let count = || POOLS.lock().unwrap().len();
        let pool = ThreadPool::builder().name("listed").build().unwrap();
        let listed = all().len();
        assert!(listed >= 1);
        drop(pool);
        // Each one that enters takes the dead ones off the list; other tests have pools, too, but not hundreds at a time.
        for _ in 0..1000 {
            drop(ThreadPool::builder().build().unwrap());
        }
        assert!(count() < 500, "{}", count());
    }
}
