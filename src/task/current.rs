//! What a running job can ask about itself: [`is_cancelled`] and [`checkpoint`].

use std::{cell::RefCell, sync::Arc};

use crate::Cancelled;

/// Where a job learns that it should stop.
pub(crate) trait StopSignal: Send + Sync {
    fn is_stopped(&self) -> bool;
}

thread_local! {
    /// The job that runs on this thread; the innermost one, where a waiting job runs another.
    static CURRENT: RefCell<Option<Arc<dyn StopSignal>>> = const { RefCell::new(None) };
}

/// Runs `f` as the job that `signal` belongs to.
///
/// `f` must not unwind: jobs are run behind `catch_unwind`.
pub(crate) fn enter<R>(signal: Arc<dyn StopSignal>, f: impl FnOnce() -> R) -> R {
    let outer = CURRENT.replace(Some(signal));
    let result = f();
    CURRENT.replace(outer);
    result
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
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|signal| signal.is_stopped()))
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
