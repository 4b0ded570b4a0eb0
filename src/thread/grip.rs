//! [`Grip`]: how a job holds its pool, and the runtime that it was submitted from.
//!
//! Each job has to hold both: the pool, so that what is queued still runs when the last handle is gone, and the runtime, for
//! `Handle::current()` in the job. A count of owners that several threads change in turn, as that of a runtime is, costs more than the
//! rest of a hand-over; so jobs that a thread submits one after the other share a [`Lease`], whose own count no other thread submits by.
//!
//! 1. A lease lives as long as one of its jobs does, no longer: the thread remembers it weakly. So it keeps neither a pool nor a runtime
//!    alive that the job which holds it would not have kept alive by itself.
//! 2. The jobs of a lease are of one pool and of one runtime.
//! 3. While a lease lives its thread makes no other: jobs of other pools or runtimes hold what they need by themselves. So does
//!    a job now and then that comes alone, for which a lease would be made in vain.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Weak},
};

use tokio::runtime::{Handle, Id};

use super::shared::Shared;

/// Of so many jobs that come alone one has a lease made, which costs an allocation.
const ALONE: u32 = 16;

/// A job's hold on its pool and its runtime.
pub(super) enum Grip {
    Own(Arc<Root>, Option<Handle>),
    Leased(Arc<Lease>),
}

/// A hold on a pool. Aligned, so that the count of its owners has cache lines of its own.
#[repr(align(128))]
pub(super) struct Root(pub(super) Arc<Shared>);

/// What jobs of one thread hold together. Aligned as [`Root`] is.
#[repr(align(128))]
pub(super) struct Lease {
    shared: Arc<Shared>,
    runtime: Option<Handle>,
    id: Option<Id>,
}

thread_local! {
    /// The lease that this thread has made last.
    static LAST: RefCell<Weak<Lease>> = const { RefCell::new(Weak::new()) };
    /// How many jobs are to come alone until one is made.
    static UNTIL: Cell<u32> = const { Cell::new(ALONE) };
}

impl Grip {
    /// A hold for a job that this thread submits.
    #[inline]
    pub(super) fn new(root: &Arc<Root>, runtime: Option<Handle>) -> Self {
        let id = runtime.as_ref().map(Handle::id);
        // Absent while the thread's own values are being dropped.
        match LAST.try_with(|last| last.borrow().upgrade()).ok().flatten() {
            Some(lease) if Arc::ptr_eq(&lease.shared, &root.0) && lease.id == id => Self::Leased(lease),
            Some(_) => Self::Own(root.clone(), runtime),
            None => Self::of_one_alone(root, runtime, id),
        }
    }

    fn of_one_alone(root: &Arc<Root>, runtime: Option<Handle>, id: Option<Id>) -> Self {
        let until = UNTIL.get().wrapping_sub(1);
        if until > 0 {
            UNTIL.set(until);
            return Self::Own(root.clone(), runtime);
        }
        UNTIL.set(ALONE);
        let lease = Arc::new(Lease { shared: root.0.clone(), runtime, id });
        // What is replaced is dead: nothing foreign is dropped.
        let _ = LAST.try_with(|last| last.replace(Arc::downgrade(&lease)));
        Self::Leased(lease)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::Own(root, _) => &root.0,
            Self::Leased(lease) => &lease.shared,
        }
    }

    pub(super) fn runtime(&self) -> Option<Handle> {
        match self {
            Self::Own(_, runtime) => runtime.clone(),
            Self::Leased(lease) => lease.runtime.clone(),
        }
    }

    /// Which runtime that is.
    pub(super) fn runtime_id(&self) -> Option<Id> {
        match self {
            Self::Own(_, runtime) => runtime.as_ref().map(Handle::id),
            Self::Leased(lease) => lease.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_with;

    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::ThreadPool;

    /// A runtime, and what is dropped with the last of its handles.
    fn runtime() -> (Runtime, Weak<()>) {
        let kept = Arc::new(());
        let gone = Arc::downgrade(&kept);
        let runtime = Builder::new_current_thread().on_thread_park(move || _ = &kept).build().unwrap();
        (runtime, gone)
    }

    fn pool() -> ThreadPool {
        ThreadPool::builder().max_workers(1).build().unwrap()
    }

    fn grip(pool: &ThreadPool, runtime: &Runtime) -> Grip {
        Grip::new(pool.handles.roots.here(), Some(runtime.handle().clone()))
    }

    fn leased(pool: &ThreadPool, runtime: &Runtime) -> Grip {
        repeat_with(|| grip(pool, runtime)).find(|grip| matches!(grip, Grip::Leased(_))).unwrap()
    }

    #[test]
    fn jobs_in_a_row_share_a_lease_that_ends_with_the_last_of_them() {
        let (pool, (runtime, kept)) = (pool(), runtime());
        let first = leased(&pool, &runtime);
        let others: Vec<_> = repeat_with(|| grip(&pool, &runtime)).take(100).collect();
        assert!(others.iter().all(|other| matches!(other, Grip::Leased(_))));
        assert!(others.iter().all(|other| other.runtime_id() == Some(runtime.handle().id())));
        drop((runtime, first));
        assert!(kept.upgrade().is_some());
        // Wherever the last one is dropped.
        std::thread::spawn(|| drop(others)).join().unwrap();
        assert!(kept.upgrade().is_none(), "nothing keeps the runtime when its jobs are gone");
    }

    #[test]
    fn jobs_of_another_pool_or_runtime_have_no_part_in_a_lease() {
        let (one, other) = (pool(), pool());
        let ((here, _), (there, kept)) = (runtime(), runtime());
        let lease = leased(&one, &here);
        for (pool, runtime) in [(&one, &there), (&other, &here), (&other, &there)] {
            for _ in 0..2 * ALONE {
                let grip = grip(pool, runtime);
                assert!(matches!(grip, Grip::Own(..)));
                assert!(Arc::ptr_eq(grip.shared(), pool.shared()));
                assert_eq!(grip.runtime().map(|handle| handle.id()), Some(runtime.handle().id()));
            }
        }
        let none = Grip::new(one.handles.roots.here(), None);
        assert!(none.runtime().is_none() && none.runtime_id().is_none());
        drop(there);
        assert!(kept.upgrade().is_none());
        drop(lease);
        leased(&other, &here);
    }

    #[test]
    fn few_of_the_jobs_that_come_alone_have_a_lease_made() {
        let (pool, (runtime, _)) = (pool(), runtime());
        let made = repeat_with(|| grip(&pool, &runtime)).take(100 * ALONE as usize);
        assert_eq!(made.filter(|grip| matches!(grip, Grip::Leased(_))).count(), 100);
    }
}
