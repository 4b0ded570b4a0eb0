//! [`watch`]: notices when tasks hold a worker of a tokio runtime for longer than a limit.
//!
//! # Who looks
//!
//! A thread of the watch's own, as a runtime that is blocked polls nobody. It looks at what tokio tells without being asked to do
//! anything (stable [`RuntimeMetrics`](tokio::runtime::RuntimeMetrics)): each worker writes down its number of parks and its busy time when it parks, when it
//! wakes, and after every 61 rounds of polls, of up to 4 each. So a worker that is not parked and whose figures stand still is inside at
//! most 244 polls: *quiet*. That alone is not proof that one of them is long, and more is not to be had: tokio's unstable metrics
//! are written at the same moments.
//!
//! # What proves a block
//!
//! 1. The worker has been quiet for the limit, not counting the time in which its thread was ready to run and others had the processor
//!    (Linux: the thread's `schedstat`; what it has waited up to now is added by the system only when it gets one, so a thread that is
//!    ready and whose figures stand still counts as waiting for one). Without that nothing is reported.
//! 2. *Its thread waits*, for half of that time and more. A worker that has work does not sleep; if it
//!    does, a task makes it.
//! 3. Or *nobody answers*: every worker was quiet throughout, and for the limit none has polled the heartbeat, a task of the watch's that
//!    is woken only when all are quiet, and when a worker whose thread is unknown has moved ([`Heart`]). Only the time in which the common queue did not get shorter counts, so that a
//!    queue that is long and served does not look like one that is not.
//! 4. Or it was quiet for 244 limits.
//! 5. A worker that is quiet for twice the limit without any of these is *busy*, which is reported apart: it computes while
//!    others answer. One poll of 200 ms and sixty of 3 ms look the same from outside.
//!
//! # What must not be an alarm
//!
//! 6. A worker whose thread has yet to start: it counts once it has parked, polled the heartbeat, or been there for a second.
//! 7. `block_in_place`: the worker goes on on another thread, and its figures with it. The old thread, which sleeps, is not held
//!    against the worker: a thread that has not run although its worker has moved is forgotten, until the worker is seen to
//!    poll the heartbeat on another one ([`Track`](sampler)).
//! 8. A watch that is itself held up (no processor, SIGSTOP, a debugger): what it has slept through counts for nothing.
//! 9. A runtime of one thread that nobody drives: between two calls of `block_on` it looks held. Nothing is reported before it has polled
//!    for the first time. The first such pause cannot be told from a block, and may be reported; when it is over, tokio has not counted it as
//!    busy, the count is taken back, and from then on only what tokio has counted is reported, once it is over ([`Driven`]).
//! 10. Virtual time (`tokio::time::pause`): neither the thread nor the heartbeat uses tokio's clock.
//!
//! # Its end
//!
//! The watch holds a `Handle`, which keeps no runtime from shutting down. The heartbeat is dropped with the runtime, and ends the
//! thread. Dropping the watch ends both.
//!
//! Rejected: a heartbeat in regular intervals, which wakes an idle runtime and never tells which worker is held; one heartbeat per worker,
//! as no task can be sent to a worker; the hooks around polls, which are unstable and belong to whoever builds the runtime; a signal that
//! has a thread print its stack.

mod heart;
mod hold;
mod judge;
mod report;
mod sampler;
mod shared;
mod thread;

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::{Handle, RuntimeFlavor, worker_index};

use self::{
    heart::{Beating, Heart, RollCall},
    judge::Driven,
    sampler::Sampler,
    shared::Shared,
};
pub use self::{
    hold::{Activity, Hold, Scope, Verdict},
    report::WatchReport,
};

/// What a person notices, what Python's asyncio calls a slow callback, and a thousand times what tokio advises.
const DEFAULT_LIMIT: Duration = Duration::from_millis(100);

/// A lower limit would have the watch look all the time.
const LOWEST_LIMIT: Duration = Duration::from_millis(1);

/// Notices when tasks hold a worker of this runtime for longer than a limit, until the [`Watch`] is dropped.
///
/// A task that computes or waits between two `.await`s keeps the worker that polls it from everything else: other tasks, timers, sockets.
/// tokio cannot take it away. Such a task belongs on a pool: what waits with [`run_in_thread_pool`](crate::run_in_thread_pool), what
/// computes on [`ThreadPool::cpu`](crate::ThreadPool::cpu). The watch says that there is one, on which thread, for how long, and which
/// of the two it does; with the feature `tracing` also as an event (target `heavylift::watch`; `WARN` if blocked, `INFO` if busy).
///
/// # What it can tell
///
/// [`Verdict::Blocked`] is reported only where it is certain: the worker's thread waits instead of polling (Linux), or no worker of the
/// runtime has polled a task for the limit, which is any block on a `current_thread` runtime. A worker that computes
/// while others answer may as well poll many tasks of some milliseconds each; it is reported as [`Verdict::Busy`] after twice the
/// limit, to another callback and another count.
///
/// A block is noticed for certain if it lasts for twice the limit, and may be if it lasts for the limit. Those that begin before the
/// watch has seen the runtime poll anything are not noticed. Several that follow each other without the worker having anything else to do
/// between them count as one.
///
/// [`block_in_place`](https://docs.rs/tokio/1/tokio/task/fn.block_in_place.html) and `spawn_blocking` hold no worker, and are not reported. Nor is what
/// a `multi_thread` runtime's `block_on` itself polls: that runs on the caller's thread, which is no worker.
///
/// A `current_thread` runtime should be driven as long as it is watched: a pause between two calls of its `block_on` looks like a block. The
/// watch reports the first pause at most, takes it back from the counts when it is over, and reports later blocks only once they are over.
///
/// On systems other than Linux nothing is known of threads but their names: a block is seen if it takes all workers, and a machine that
/// gives the whole runtime no processor for the limit looks like one.
///
/// # What it costs
///
/// A thread, which wakes twice per limit while the runtime is idle and four times otherwise: 20 and 40 times per second by
/// default, of some 40 µs each with the waking, where it was measured (2 workers, a virtual machine): 0.1 % of a processor.
/// One task on the runtime (in tokio's `num_alive_tasks`), which is woken only
/// when all workers look held, and when a worker is at work whose thread is not yet known. Once, at the beginning, a task for each worker, for
/// up to 2 ms. An idle runtime stays idle.
///
/// # Errors
///
/// None are returned. Where the thread cannot be created, and where the runtime is shut down already, [`Watch::is_over`] is true
/// from the beginning.
///
/// # Examples
///
/// ```
/// use std::{sync::mpsc, time::Duration};
///
/// use heavylift::guidance::{self, Verdict};
/// use tokio::runtime::Handle;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() {
///     let (sender, receiver) = mpsc::channel();
///     let watch = guidance::watch(&Handle::current())
///         .limit(Duration::from_millis(20))
///         .on_blocked(move |hold| sender.send(hold.to_string()).unwrap());
///
///     // A blunder: this blocks the thread instead of awaiting, until the watch has noticed.
///     let message = receiver.recv().unwrap();
///     assert!(message.starts_with("worker 0 of 1"), "{message}");
///
///     let report = watch.report();
///     assert_eq!(report.blocked, 1);
///     assert_eq!(report.last.unwrap().verdict, Verdict::Blocked);
///     println!("{message}");
/// }
/// ```
pub fn watch(runtime: &Handle) -> Watch {
    let metrics = runtime.metrics();
    let workers = metrics.num_workers();
    let heart = Arc::new(Heart::new(workers));
    let shared = Arc::new(Shared::new(DEFAULT_LIMIT));
    if is_driven_by_this_thread(runtime) {
        heart.sign_in();
    }
    let gone = {
        let shared = Arc::clone(&shared);
        move || shared.end()
    };
    runtime.spawn(Beating { heart: Arc::clone(&heart), gone });
    let driven = match runtime.runtime_flavor() {
        RuntimeFlavor::CurrentThread => Driven::Assumed,
        _ => Driven::Always,
    };
    if driven == Driven::Always {
        (0..workers).for_each(|_| drop(runtime.spawn(RollCall::new(Arc::clone(&heart)))));
    }
    let sampler = Sampler::new(metrics, Arc::clone(&heart), Arc::clone(&shared), driven);
    let started = std::thread::Builder::new().name("heavylift-watch".into()).spawn(|| sampler.run());
    if started.is_err() {
        shared.end();
    }
    Watch { shared, heart }
}

fn is_driven_by_this_thread(runtime: &Handle) -> bool {
    worker_index().is_some() && Handle::try_current().is_ok_and(|current| current.id() == runtime.id())
}

/// A runtime is being watched: returned by [`watch`], and ends when it is dropped.
///
/// Setters apply from the call on. Dropping it waits for nothing: a callback that has been begun by then runs to its end.
#[must_use = "dropping a watch ends it; keep it for as long as the runtime is to be watched"]
pub struct Watch {
    shared: Arc<Shared>,
    heart: Arc<Heart>,
}

impl Watch {
    /// For how long tasks may hold a worker before it is reported. Default: 100 ms.
    ///
    /// tokio [advises](https://ryhl.io/blog/async-what-is-blocking/) 10 to 100 µs between two `.await`s. The default is a thousand times
    /// that, what Python's `asyncio` calls a [slow callback](https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.slow_callback_duration), and
    /// what people notice: who is told of it has something to mend, on a busy machine, too. Services with latencies to keep set it lower. Less than a
    /// millisecond counts as one. The watch looks four times per limit.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn limit(self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "the limit of a watch must not be zero");
        self.shared.set_limit(limit.max(LOWEST_LIMIT));
        self
    }

    /// Has `f` called for each [blocked](Verdict::Blocked) worker, once, while it is still blocked; in place of what was set before.
    ///
    /// Except on a `current_thread` runtime that has been seen not to be driven: there it is called when the block is over.
    ///
    /// It is called on the watch's thread, which looks at nothing meanwhile. It may block, and wait for the runtime's tasks. A
    /// panic in it is reported by the panic hook and hurts nobody.
    pub fn on_blocked(self, f: impl Fn(&Hold) + Send + Sync + 'static) -> Self {
        self.shared.set_callback(Verdict::Blocked, Some(Arc::new(f)));
        self
    }

    /// Has `f` called for each [busy](Verdict::Busy) worker, as [`on_blocked`](Self::on_blocked) does for blocked ones.
    ///
    /// If it later turns out to be blocked, `on_blocked` is called as well, and the report counts it there.
    pub fn on_busy(self, f: impl Fn(&Hold) + Send + Sync + 'static) -> Self {
        self.shared.set_callback(Verdict::Busy, Some(Arc::new(f)));
        self
    }

    /// What has been noticed so far.
    pub fn report(&self) -> WatchReport {
        self.shared.report()
    }

    /// Whether nothing more will be noticed: the runtime has been shut down, or the watch could not be started.
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("report", &self.report()).field("is_over", &self.is_over()).finish()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.end();
        self.heart.stop();
        self.shared.set_callback(Verdict::Blocked, None);
        self.shared.set_callback(Verdict::Busy, None);
    }
}
