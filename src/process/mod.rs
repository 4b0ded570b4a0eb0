//! Jobs in a pool of managed child processes. README.md beside this file is the protocol.

mod builder;
mod call;
mod capabilities;
#[cfg(target_os = "linux")]
mod child;
mod config;
#[cfg(target_os = "linux")]
mod items;
pub(crate) mod map;
mod message;
#[cfg(target_os = "linux")]
mod names;
mod output;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod parent;
mod pool;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod progress;
mod reply;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(all(target_os = "linux", feature = "tracing"))]
mod said;
#[cfg(target_os = "linux")]
mod segments;
#[cfg(target_os = "linux")]
mod sys;

pub use builder::ProcessPoolBuilder;
#[cfg(feature = "nats")]
pub(crate) use call::conjure;
pub use capabilities::{Capabilities, Capability};
pub use output::Output;
pub use pool::{ProcessPool, run_in_process_pool};
#[cfg(target_os = "linux")]
pub(crate) use sys::watch_forks;

/// Whether this platform has process pools.
fn check_platform() -> Result<(), crate::BuildError> {
    #[cfg(target_os = "linux")]
    let missing = sys::missing_facility();
    #[cfg(not(target_os = "linux"))]
    let missing = Some("process pools need Linux 5.10 or newer".to_owned());
    missing.map_or(Ok(()), |missing| Err(crate::BuildError::new("platform", missing)))
}

/// What this platform offers to process pools.
fn capabilities() -> Capabilities {
    #[cfg(target_os = "linux")]
    let (kernel, found) = (sys::kernel_release(), sys::look_around());
    #[cfg(not(target_os = "linux"))]
    let (kernel, found) =
        (String::new(), [("linux", Err("process pools need Linux 5.10 or newer".to_owned()))]);
    let found = found.into_iter().map(|(name, outcome)| Capability::new(name, outcome));
    Capabilities::new(kernel, found.collect())
}

/// Checks what some options need of the machine. Returns the absolute path of the directory for cgroups.
#[cfg(target_os = "linux")]
fn check_machine(config: &config::Config) -> Result<Option<std::path::PathBuf>, crate::BuildError> {
    let limited = config.max_memory_per_worker.is_some();
    if limited {
        sys::has_private_memory().map_err(|why| crate::BuildError::new("max_memory_per_worker", why))?;
    }
    let checked = config.cgroup.as_deref().map(|directory| sys::check_cgroup(directory, limited));
    checked.transpose().map_err(|why| crate::BuildError::new("cgroup", why))
}

/// Nothing to check: there is no process pool at all.
#[cfg(not(target_os = "linux"))]
fn check_machine(config: &config::Config) -> Result<Option<std::path::PathBuf>, crate::BuildError> {
    Ok(config.cgroup.clone())
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

    /// Returns the trace context of the job that runs in this worker process, as the W3C's header `traceparent` has it: for whom the
    /// job calls over the network. Its parent is the [span of the job](crate::trace) in the program. Needs the feature `opentelemetry`.
    ///
    /// `None` where that span belongs to no trace, and outside a job of a process pool. Of items that travel together it is that of all
    /// of them. Can be asked on any thread.
    ///
    /// A worker that has a subscriber of its own, with a layer of tracing-opentelemetry, has a span below that one: pass on the context
    /// of [`Span::current`](tracing::Span::current), then.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), heavylift::TaskError> {
    /// fn fetch(url: String) -> Vec<(String, String)> {
    ///     let headers = heavylift::worker::traceparent().map(|context| ("traceparent".to_owned(), context));
    ///     // … get(url, headers)
    ///     headers.into_iter().collect()
    /// }
    ///
    /// let headers = heavylift::run_in_process_pool(fetch, "http://localhost".to_owned()).blocking_wait()?;
    /// assert!(headers.is_empty()); // nobody traces here
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "opentelemetry")]
    pub fn traceparent() -> Option<String> {
        crate::trace::traceparent()
    }

    /// Returns what belongs to [`traceparent`] and is particular to vendors, as the W3C's header `tracestate` has it; `None` if there is
    /// nothing. What is longer than 512 bytes does not cross. Needs the feature `opentelemetry`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::worker::{traceparent, tracestate};
    ///
    /// fn fetch(url: String) -> Vec<(String, String)> {
    ///     let headers = [("traceparent", traceparent()), ("tracestate", tracestate())];
    ///     // … get(url, headers)
    ///     headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    /// }
    ///
    /// let headers = heavylift::run_in_process_pool(fetch, "http://localhost".to_owned()).blocking_wait()?;
    /// assert!(headers.is_empty()); // nobody traces here
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "opentelemetry")]
    pub fn tracestate() -> Option<String> {
        crate::trace::tracestate()
    }
}
