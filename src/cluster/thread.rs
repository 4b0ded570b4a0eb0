//! A thread with a runtime of its own, for a connection and those who use it.

use std::{future::Future, io, thread::JoinHandle};

/// Starts a thread that runs `main` to its end on a current-thread runtime.
///
/// `main` is made there, so it need not be `Send`.
///
/// # Errors
///
/// The thread or the runtime does not start.
pub(super) fn start<F, Fut>(name: &str, main: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(main()))
}
