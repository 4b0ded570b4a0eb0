//! Choice guidance: which executor suits a job, from measured figures.
//!
//! [`advise`] takes what is known about a job, a [`Profile`], and about the machine, a [`Machine`], and returns an [`Advice`]: executor,
//! workers, chunk size, predicted time, and why. Both can be measured or assumed. Who only wants the job to run where its kind belongs names
//! its [`Workload`] to [`run`].
//!
//! ```
//! use heavylift::{Machine, Profile, advise};
//!
//! fn words(text: String) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! let samples = (1..=8).map(|n| "to be or not to be ".repeat(n * 100));
//! let profile = Profile::measure(words, samples)?.calls(10_000);
//! println!("{}", advise(&profile, &Machine::typical()));
//! # Ok::<(), heavylift::guidance::MeasureError>(())
//! ```
//!
//! [`ThreadPool::advice`](crate::ThreadPool::advice) and [`ProcessPool::advice`](crate::ProcessPool::advice) tell from a pool's own metrics what
//! should be changed about it: see [`PoolAdvice`]. [`watch`] notices tasks that hold up a runtime.
//!
//! The module lies above the pools, and no pool knows it. Deciding (`advise`, `predict`) is pure; what measures is apart from it
//! (`measure`, `calibrate`).

mod advice;
mod advise;
mod calibrate;
mod choice;
mod elsewhere;
mod live;
mod machine;
mod measure;
mod needs;
mod others;
mod predict;
mod profile;
mod race;
mod rule;
mod samples;
mod trial;
mod watch;
mod workload;

pub use advice::{Advice, Confidence, RunnerUp};
pub use advise::advise;
pub use choice::Choice;
pub use live::{PoolAdvice, PoolEvidence, PoolFinding, PoolKind, PoolRule};
pub use machine::{HandOff, Machine};
pub use measure::MeasureError;
pub use needs::Needs;
// For the bench of the advice, which is disturbed by what disturbs a trial.
#[doc(hidden)]
pub use others::{DISTURBED, Others, is_disturbed, least_disturbed};
pub use predict::{Plan, predict};
pub use profile::Profile;
pub use rule::{Reason, Rule};
pub use trial::Tried;
pub use watch::{Activity, Hold, Scope, Verdict, Watch, WatchReport, watch};
pub use workload::{Workload, run};
