//! Jobs in a pool of managed child processes. README.md beside this file is the protocol.

mod builder;
mod call;
#[cfg(target_os = "linux")]
mod child;
mod config;
mod map;
mod message;
#[cfg(target_os = "linux")]
mod names;
mod output;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod parent;
mod pool;
#[cfg(target_os = "linux")]
mod program;
mod reply;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod segments;
#[cfg(target_os = "linux")]
mod sys;

pub use builder::ProcessPoolBuilder;
pub use output::Output;
pub use pool::{ProcessPool, run_in_process_pool};

/// Whether this platform has process pools.
fn check_platform() -> Result<(), crate::BuildError> {
    #[cfg(target_os = "linux")]
    let missing = sys::missing_facility();
    #[cfg(not(target_os = "linux"))]
    let missing = Some("process pools need Linux 5.10 or newer".to_owned());
    missing.map_or(Ok(()), |missing| Err(crate::BuildError::new("platform", missing)))
}

/// The worker side, for programs without the feature `auto-start`.
pub mod worker {
    /// Lets this process be a worker if it was started as one; then it does not return.
    ///
    /// Needed as the first line of `main`, before any runtime, only without the default feature `auto-start`; with it, this does
    /// nothing. A process pool that is used where neither is in place finishes its tasks as unavailable, and says so.
    ///
    /// # Examples
    ///
    /// ```
    /// fn main() -> Result<(), heavylift::TaskError> {
    ///     heavylift::worker::init();
    ///     let sum = heavylift::run_in_process_pool(|(a, b): (i32, i32)| a + b, (1, 2)).blocking_wait()?;
    ///     assert_eq!(sum, 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn init() {
        #[cfg(target_os = "linux")]
        super::child::entry::check_in();
    }
}
