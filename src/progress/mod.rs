//! How far a `map`, a `gather` or an `as_completed` is, on a bar of indicatif: [`bar`]. Needs the feature `progress`.
//!
//! `.progress(bar)` is a method of [`Map`](crate::Map), [`Gather`](crate::Gather) (as a stream and awaited),
//! [`AsCompleted`](crate::AsCompleted) and [`AsCompletedTimeout`](crate::AsCompletedTimeout). What they yield, and when, stays as it is.
//!
//! * Length: how many there are in all, as soon as that is known. Until then the bar keeps the length that it has.
//! * Position: how many have come, from the position on that the bar had. It is told to the bar whenever there is
//!   nothing to yield at this moment, and else at most every 20 ms: a bar costs an item less than a nanosecond.
//! * Message: how many of them are failures, once there are some, behind the message that the bar had.
//! * End: when all have come the bar is finished as its own `with_finish` says. It is abandoned, and stays as it is, when the stream is
//!   dropped before, ends at a time limit, or loses items to a panic.
//!
//! The bar's code runs under no lock. If it panics, it is let go of, and the panic goes no further.
#![cfg_attr(
    feature = "progress",
    doc = "
# Examples

```
# #[tokio::main]
# async fn main() -> Result<(), heavylift::TaskError> {
use futures::TryStreamExt;
use heavylift::{ProcessPool, progress::bar};

let squares: Vec<u64> = ProcessPool::global().map(|n: u64| n * n, 0..1000).progress(bar()).try_collect().await?;
assert_eq!(squares[999], 998_001);
# Ok(())
# }
```

Several at a time, one below the other:

```
# #[tokio::main]
# async fn main() -> Result<(), heavylift::TaskError> {
use heavylift::{gather, progress::bar, run_in_thread_pool};
use indicatif::MultiProgress;

let bars = MultiProgress::new();
let few = gather((0..3).map(|n| run_in_thread_pool(move || n))).progress(bars.add(bar()));
let many = gather((0..300).map(|n| run_in_thread_pool(move || n))).progress(bars.add(bar()));
let (few, many) = tokio::try_join!(few.into_future(), many.into_future())?;
assert_eq!((few.len(), many.len()), (3, 300));
# Ok(())
# }
```"
)]

#[cfg(not(feature = "progress"))]
mod absent;
#[cfg(feature = "progress")]
mod default_bar;
#[cfg(feature = "progress")]
mod shown;

#[cfg(not(feature = "progress"))]
pub(crate) use absent::Shown;
#[cfg(feature = "progress")]
pub use default_bar::bar;
#[cfg(feature = "progress")]
pub(crate) use shown::{Judge, Shown};
