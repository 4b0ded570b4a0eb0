//! [`shutdown_on_ctrl_c`]: the program's pools come to an end when the terminal or a supervisor asks for it.
//!
//! ```text
//! watching ──first signal──▶ draining ──second──▶ killing ──third──▶ (the program ends, by the signal)
//! ```
//!
//! A thread of its own waits for the signals and acts, so that it makes no difference whether the future is polled, or whether
//! there is a runtime, or one that is blocked. The handlers themselves are `signal-hook`'s: they stand beside those of tokio and
//! of others, and everybody hears the signal.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag::register_conditional_default,
    iterator::Signals,
};

use crate::{
    Closing, Shutdown, ShutdownReport,
    panic::shield,
    pool::{
        Latch,
        registry::{self, AnyPool},
    },
};

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Shuts all pools of the program down when it is asked to end: the first SIGINT (Ctrl-C) or SIGTERM drains them, the second
/// kills what is left.
///
/// From this call on these signals no longer end the program at once, and the third one does so again. Draining and killing
/// are those of [`Shutdown`], for every pool that lives when the signal comes: [global](crate::ThreadPool::global) ones that
/// have started, built ones, and those without a handle whose last jobs still run. New jobs are refused from then on. A pool
/// that is built after the first signal is closed by the second one only.
///
/// The future resolves once all pools that lived at the first signal have come to their end: every task finished, no worker
/// left. What it resolves to counts the outcomes over all of them, from the first signal on.
///
/// The terminal sends Ctrl-C to the program alone: worker processes are in a process group of their own, and go on until they are
/// told otherwise.
///
/// # What it does when
///
/// - **Never polled**: the same. A thread waits for the signals and shuts down; only who wants to know when that has ended needs
///   the future. `main` must return by itself, as nothing else ends the program before the third signal.
/// - **Dropped**: the same. Nothing is taken back.
/// - **Called twice**, from anywhere: nothing more is installed; each future resolves.
/// - **Without a runtime**: the same. The future can be polled by any executor; it needs none of tokio's drivers.
/// - **Beside other listeners**, such as `tokio::signal::ctrl_c`: each hears the signal. Handlers that were installed by other
///   means than the crate `signal-hook-registry` are called as well, if they were there first.
///
/// # Errors
///
/// When the handlers or the thread cannot be installed. The future then resolves at once, and a later call tries again.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future takes nothing back, and another call returns one that resolves at the same time.
///
/// # Examples
///
/// ```
/// # fn serve() -> impl Future<Output = std::io::Result<()>> {
/// #     rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
/// #     std::future::pending()
/// # }
/// #[tokio::main]
/// async fn main() -> std::io::Result<()> {
///     let interrupted = heavylift::shutdown_on_ctrl_c();
///     let task = heavylift::run_in_thread_pool(|| 6 * 7);
///     tokio::select! {
///         result = serve() => result?,
///         report = interrupted => println!("interrupted: {}", report?),
///     }
///     assert_eq!(task.await?, 42); // what was there has been finished
///     assert!(heavylift::run_in_thread_pool(|| 1).await.is_err());
///     Ok(())
/// }
/// ```
pub fn shutdown_on_ctrl_c() -> ShutdownOnCtrlC {
    ShutdownOnCtrlC { state: State::new(watch()) }
}

/// Future returned by [`shutdown_on_ctrl_c`].
#[must_use = "signals are heard anyway; await this to wait for the end of the pools' work"]
pub struct ShutdownOnCtrlC {
    state: State,
}

enum State {
    /// The handlers could not be installed.
    Failed(Option<io::Error>),
    /// No signal has come.
    Waiting(&'static Watch),
    /// The first one has.
    Closing {
        open: Vec<Closing>,
        total: ShutdownReport,
    },
    Over(ShutdownReport),
}

impl State {
    fn new(watch: io::Result<&'static Watch>) -> Self {
        watch.map_or_else(|error| Self::Failed(Some(error)), Self::Waiting)
    }
}

impl Future for ShutdownOnCtrlC {
    type Output = io::Result<ShutdownReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.state {
                State::Failed(error) => {
                    let polled_again = || io::Error::other("the signal handlers could not be installed");
                    return Poll::Ready(Err(error.take().unwrap_or_else(polled_again)));
                }
                State::Waiting(watch) => {
                    if watch.signalled.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    State::Closing { open: watch.closings(), total: ShutdownReport::default() }
                }
                State::Closing { open, total } => {
                    open.retain_mut(|closing| match Pin::new(closing).poll(cx) {
                        Poll::Ready(report) => {
                            total.add(report);
                            false
                        }
                        Poll::Pending => true,
                    });
                    if !open.is_empty() {
                        return Poll::Pending;
                    }
                    State::Over(*total)
                }
                State::Over(total) => return Poll::Ready(Ok(*total)),
            };
            self.state = next;
        }
    }
}

impl fmt::Debug for ShutdownOnCtrlC {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShutdownOnCtrlC")
    }
}

/// What the thread and the futures have in common.
#[derive(Default)]
struct Watch {
    /// Opens with the first signal, when all pools have been closed.
    signalled: Latch,
    /// The pools that lived then. Taken alone; nothing foreign runs under it.
    pools: Mutex<Vec<Arc<dyn AnyPool>>>,
}

impl Watch {
    fn closings(&self) -> Vec<Closing> {
        let pools = self.lock().clone();
        pools.into_iter().map(|pool| pool.shut_down(Shutdown::Drain)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<dyn AnyPool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Installs handlers and thread, unless they are there.
fn watch() -> io::Result<&'static Watch> {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    /// Whether they are installed. Held while they are being installed, so that it happens once.
    static INSTALLED: Mutex<bool> = Mutex::new(false);

    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let watch = WATCH.get_or_init(Watch::default);
    if !*installed {
        install(watch)?;
        *installed = true;
    }
    Ok(watch)
}

fn install(watch: &'static Watch) -> io::Result<()> {
    let ends_program = Arc::new(AtomicBool::new(false));
    // Before the thread's own: the second signal must have passed here when the thread, which it wakes, changes the answer.
    for signal in SIGNALS {
        register_conditional_default(signal, ends_program.clone())?;
    }
    let mut signals = Signals::new(SIGNALS)?;
    let run = move || {
        for (count, _) in signals.forever().enumerate() {
            match count {
                0 => drain(watch),
                _ => {
                    // ORDERING: Relaxed. The handler need not see anything else.
                    ends_program.store(true, Relaxed);
                    kill();
                }
            }
        }
    };
    thread::Builder::new().name("heavy-signals".to_owned()).spawn(run).map(drop)
}

fn drain(watch: &Watch) {
    let pools = registry::all();
    close(&pools, Shutdown::Drain);
    *watch.lock() = pools;
    watch.signalled.open();
}

fn kill() {
    close(&registry::all(), Shutdown::Kill);
}

fn close(pools: &[Arc<dyn AnyPool>], mode: Shutdown) {
    for pool in pools {
        // It wakes whoever waits, and calls what is to be called: foreign code.
        shield(|| drop(pool.clone().shut_down(mode)));
    }
}
