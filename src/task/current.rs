//! What a running job can ask about itself: [`is_cancelled`] and [`checkpoint`].
#![expect(unsafe_code, reason = "a job's signal is lent to its thread, by a pointer, while the job runs")]

use std::{cell::Cell, ptr::NonNull};

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

/// Whether the job that runs on this thread was asked to stop: its task was dropped or cancelled, its `run_timeout` is
/// over, or its pool is being shut down.
///
/// `false` outside a job, and on threads that a job starts itself. Cheap enough for an inner loop: one thread-local
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
