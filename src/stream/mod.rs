//! Combinators over many futures: [`gather`], [`as_completed`] and [`wait`].
//!
//! They take anything that is `IntoFuture`, tasks and others, and know nothing of pools.
//!
//! 1. Futures run when they are polled, inside the combinator's own poll; only those that were woken are polled again.
//! 2. A combinator owns its futures: dropping it drops them.
//! 3. A loop over futures takes part in tokio's cooperative budget, and never hides from a child that the
//!    budget is spent ([`budget`]). Outside a runtime there is no budget.

mod as_completed;
mod as_completed_timeout;
mod budget;
mod children;
mod fallible;
mod gather;
mod gathered;
mod limit;
mod racing;
mod ready;
mod return_when;
mod settled;
mod unfinished;
mod wait;
mod waited;

pub use as_completed::{AsCompleted, as_completed};
pub use as_completed_timeout::AsCompletedTimeout;
pub use fallible::Fallible;
pub use gather::{Gather, gather};
pub use gathered::Gathered;
pub use return_when::ReturnWhen;
pub use settled::Settled;
pub use unfinished::Unfinished;
pub use wait::{Wait, wait};
pub use waited::Waited;
