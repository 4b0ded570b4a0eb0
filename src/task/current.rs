//! What a running job can ask about itself: [`is_cancelled`], [`checkpoint`] and, for its helpers, [`with_cancel_flag`].
#![expect(unsafe_code, reason = "a job's signal is lent to its thread, by a pointer, while the job runs")]

use std::{cell::Cell, fmt, ptr::NonNull};

use crate::Cancelled;

/// Where a job learns that it should stop.
pub(crate) trait StopSignal: Send + Sync {
    fn is_stopped(&self) -> bool;
}

thread_local! {
    /// The job that runs on this thread; the innermost one, where a waiting job runs another.
    ///
    /// Points to what [`enter`] has borrowed, and is taken away before that ends. Not an `Arc`: its count would be changed twice
    /// for each job, which most never ask.
    static CURRENT: Cell<Option<NonNull<dyn StopSignal>>> = const { Cell::new(None) };
}

/// Gives the place of the job back to the outer one.
struct Leave(Option<NonNull<dyn StopSignal>>);

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Runs `f` as the job that `signal` belongs to.
pub(crate) fn enter<R>(signal: &(dyn StopSignal + 'static), f: impl FnOnce() -> R) -> R {
    let _leave = Leave(CURRENT.replace(Some(NonNull::from(signal))));
    f()
}

/// Runs `f` as if no job ran on this thread.
#[cfg(feature = "rayon")]
pub(crate) fn outside<R>(f: impl FnOnce() -> R) -> R {
    let _leave = Leave(CURRENT.replace(None));
    f()
}

/// Whether the job that runs on this thread was asked to stop: its task was dropped or cancelled, its `run_timeout` is
/// over, or its pool is being shut down.
///
/// `false` outside a job, and on threads that a job starts itself; those ask the job's [flag](with_cancel_flag). Cheap enough for an inner loop: one thread-local
/// access and one atomic load.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::{is_cancelled, run_in_thread_pool};
///
/// let (done, stopped) = std::sync::mpsc::channel();
/// let task = run_in_thread_pool(move || {
///     while !is_cancelled() {
///         std::thread::yield_now();
///     }
///     done.send("stopped").ok();
/// });
/// while task.status() == heavylift::TaskStatus::Queued {
///     tokio::task::yield_now().await;
/// }
/// drop(task); // asks the job to stop
/// assert_eq!(stopped.recv(), Ok("stopped"));
/// # }
/// ```
pub fn is_cancelled() -> bool {
    // SAFETY: a pointer in `CURRENT` was made from the reference that an `enter` on this very thread has borrowed. That call
    // has not ended: it takes the pointer away before it does, also when it unwinds.
    CURRENT.get().is_some_and(|signal| unsafe { signal.as_ref() }.is_stopped())
}

/// Returns [`Cancelled`] if the job that runs on this thread was asked to stop, so that `checkpoint()?` ends it.
///
/// # Errors
///
/// [`Cancelled`], when [`is_cancelled`] is true.
///
/// # Examples
///
/// ```
/// use std::io::{self, Read};
///
/// /// Adds up the bytes, and gives up soon when nobody waits for the sum any more.
/// fn checksum(mut input: impl Read) -> io::Result<u64> {
///     let mut block = [0; 4096];
///     let mut sum = 0;
///     loop {
///         heavylift::checkpoint()?;
///         match input.read(&mut block)? {
///             0 => return Ok(sum),
///             n => sum += block[..n].iter().map(|&b| u64::from(b)).sum::<u64>(),
///         }
///     }
/// }
/// assert_eq!(checksum(&[1u8, 2, 3][..]).unwrap(), 6);
/// ```
pub fn checkpoint() -> Result<(), Cancelled> {
    if is_cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// The flag by which a running job learns that it should stop, for the threads that help it. See [`with_cancel_flag`].
#[derive(Clone, Copy)]
pub struct CancelFlag<'job>(Option<&'job dyn StopSignal>);

impl CancelFlag<'_> {
    /// Whether the job was asked to stop, as [`is_cancelled`] says on the job's own thread.
    pub fn is_cancelled(self) -> bool {
        self.0.is_some_and(StopSignal::is_stopped)
    }

    /// Returns [`Cancelled`] if the job was asked to stop.
    ///
    /// # Errors
    ///
    /// [`Cancelled`], when [`is_cancelled`](Self::is_cancelled) is true.
    pub fn checkpoint(self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

impl fmt::Debug for CancelFlag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelFlag").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// Calls `f` with the flag of the job that runs on this thread, to be taken along to other threads: those of
/// [`std::thread::scope`], and those that run the parallel parts of a job by rayon.
///
/// [`is_cancelled`] asks about the job that the calling thread runs. On a thread that helps this job it would answer for none, or for
/// another job. Outside a job the flag is never set.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{run_in_thread_pool, with_cancel_flag};
/// use std::thread;
///
/// let task = run_in_thread_pool(|| {
///     with_cancel_flag(|flag| {
///         thread::scope(|scope| {
///             let helper = scope.spawn(move || (0..1_000).take_while(|_| !flag.is_cancelled()).count());
///             helper.join().unwrap_or(0)
///         })
///     })
/// });
/// assert_eq!(task.await?, 1_000);
/// # Ok(())
/// # }
/// ```
pub fn with_cancel_flag<R>(f: impl FnOnce(CancelFlag<'_>) -> R) -> R {
    // SAFETY: as in `is_cancelled`. The `enter` whose borrow this is ends after this call, which `f`'s flag cannot outlive; and what is
    // borrowed is `Sync`, so that other threads may use it meanwhile.
    f(CancelFlag(CURRENT.get().map(|signal| unsafe { &*signal.as_ptr() })))
}
