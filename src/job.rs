//! What a running job can ask about itself: [`current`]. Needs the feature `nats`.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

thread_local! {
    /// The job of the cluster that runs on this thread; the innermost one, where a waiting job runs another.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Which job this is. See [`current`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    id: Arc<str>,
    attempt: u32,
}

impl Current {
    /// What identifies the job among all jobs of the cluster: printable ASCII, without spaces. The same in every run of the job.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which run of the job this is: 1 unless a worker or a node has died under it, or was taken for dead.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// Gives the place of the job back to the outer one.
struct Leave(Option<Current>);

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Runs `f` as the job with that id.
pub(crate) fn enter<R>(id: String, attempt: u32, f: impl FnOnce() -> R) -> R {
    let _leave = Leave(CURRENT.replace(Some(Current { id: id.into(), attempt })));
    f()
}

/// Returns which job runs on this thread.
///
/// A cluster runs each job at least once: a job whose node dies, or is cut off from the servers, is run again elsewhere, perhaps while the first
/// run still goes on. A job with an effect that must not happen twice hands its [id](Current::id) to whoever carries the effect
/// out, who does nothing when it has seen that id: a *fencing key*, such as a column with a unique index, or the idempotency key of a payment.
///
/// Where no job of a cluster runs (on the other pools, and outside of a job) nothing runs twice by itself: there each call returns
/// a fresh id, which nothing else has, and attempt 1. So a function works on every pool, and one that is called twice has two ids. A
/// job asks once, and keeps what it was told.
///
/// It is about the calling thread: a job that starts threads, or splits its work by rayon, asks before, and takes the answer along.
///
/// # Examples
///
/// ```
/// use heavylift::job;
///
/// /// Takes the money at most once, however often the job runs.
/// fn charge(cents: u64) -> String {
///     let key = job::current().id().to_owned();
///     format!("charge {cents} with idempotency key {key}")
/// }
///
/// assert!(charge(5).starts_with("charge 5 with idempotency key "));
/// assert_ne!(charge(5), charge(5), "outside of a cluster these are two jobs");
/// ```
pub fn current() -> Current {
    CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| Current { id: fresh().into(), attempt: 1 })
}

/// An id that nothing else has: 128 bits of what only this call knows, with keys that are random.
fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The keys alone would not do: a process that is forked has those of its parent.
    // ORDERING: Relaxed. Only the numbers must differ.
    let call = (process::id(), SystemTime::now(), NEXT.fetch_add(1, Ordering::Relaxed));
    let hash = || RandomState::new().hash_one(call);
    format!("{:016x}{:016x}", hash(), hash())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panic::catch;

    #[test]
    fn a_job_knows_its_id_and_the_outer_one_comes_back() {
        enter("a-1".to_owned(), 2, || {
            assert_eq!((current().id(), current().attempt()), ("a-1", 2));
            enter("b-2".to_owned(), 1, || assert_eq!(current().id(), "b-2"));
            assert_eq!(current().id(), "a-1");
            let unwound = catch(|| enter("c-3".to_owned(), 1, || panic!("{}", current().id())));
            assert_eq!(unwound.unwrap_err().message, "c-3");
            assert_eq!((current().id(), current().attempt()), ("a-1", 2));
            std::thread::scope(|scope| scope.spawn(|| assert_ne!(current().id(), "a-1")).join().unwrap());
        });
        assert_ne!(current().id(), "a-1");
    }

    #[test]
    fn outside_of_a_cluster_every_call_is_a_job_of_its_own() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| current().id().to_owned()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
        assert_eq!(current().attempt(), 1);
    }
}
