//! [`report_every`]: a thread that reports for exporters that push.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use super::report;

/// Calls [`report`] each `interval`, on a thread of its own, until the [`Reporter`] is dropped. Needs the feature `metrics`.
///
/// For exporters that push: to a gateway, to StatsD, to OpenTelemetry. Where the figures are rendered for who asks, call
/// [`report`] there instead: then they are those of that moment. The first report comes at once. An interval of less than a
/// millisecond is taken for one.
///
/// # Errors
///
/// The thread could not be started.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::time::Duration;
///
/// let _reporter = heavylift::metrics::report_every(Duration::from_secs(10))?;
/// // … the program
/// # Ok(())
/// # }
/// ```
pub fn report_every(interval: Duration) -> io::Result<Reporter> {
    let (stop, stopped) = mpsc::channel();
    let interval = interval.max(Duration::from_millis(1));
    thread::Builder::new().name("heavylift-report".to_owned()).spawn(move || {
        report();
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            report();
        }
        report();
    })?;
    Ok(Reporter { _stop: stop })
}

/// Keeps a thread reporting. Made by [`report_every`]. Needs the feature `metrics`.
///
/// Dropping it ends the thread, after one last report, and does not wait for that: who needs the last figures calls [`report`] itself.
#[derive(Debug)]
#[must_use = "dropping it ends the reports; keep it as long as they are to go on"]
pub struct Reporter {
    /// Dropped to end the thread.
    _stop: Sender<()>,
}
