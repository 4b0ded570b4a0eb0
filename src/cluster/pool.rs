//! [`ClusterPool`]: runs functions on the nodes of a cluster.

use std::{any::type_name, fmt, panic::Location, sync::Arc, time::Instant};

use super::{
    ClusterPoolBuilder, content, registry,
    registry::Registered,
    seat::{Call, ClusterJob, ClusterSeat},
    shared::Shared,
};
use crate::{
    Closing, Job, Metrics, Payload, Recording, Refused, Shutdown, Submit, Task, TaskError,
    counted::unsize,
    error::{Operand, TaskLabel},
    metrics::Counters,
    no_capture::assert_no_capture,
    pool::{
        Admission, Start, Takes, Ticket, open_span,
        registry::{self as pools, AnyPool, Kind},
        sealed,
    },
    task::{Cell, Options},
};

/// What a pool is called unless it is told.
pub(super) const NAME: &str = "cluster";

/// Runs functions on other machines: on the nodes of a cluster, through NATS. Needs the feature `nats`.
///
/// Used as a [`ProcessPool`](crate::ProcessPool): a job is a plain function and its argument, both travel as bytes, and what comes back is a
/// [`Task`]. The function has a name, which [`#[heavylift::job]`](macro@crate::job) gives it, and the nodes are programs that have it under
/// the same name: most simply the same program, started as a [`Node`](crate::Node).
///
/// A handle: clones share one pool. It can be used from any runtime, from several at once, and from none: the connection has a thread of
/// its own.
///
/// # What is promised
///
/// **At least once**: a job that was taken is run, whatever node, server or connection is lost meanwhile, as long as its
/// [`deadline`](ClusterPoolBuilder::deadline) allows; and it may be run twice, when a node is lost or cut off while it has it. So let
/// jobs be idempotent, or let what they change check the [id of the job](crate::job::current). A task finishes once. See [`Delivery`](super::Delivery).
///
/// What a job does when it fails is as in a process pool: a panic, the death of a worker and a time limit are errors of its task.
///
/// # Cancelling
///
/// A task that is dropped or cancelled has its job taken out of the queue if it has not begun, and stopped where it runs: by killing the
/// worker, if the node runs it in a process. The task is finished at once; the servers are told right after.
///
/// # Which job begins when
///
/// Jobs wait in this program, by [`Priority`](crate::Priority), while [`in_flight`](ClusterPoolBuilder::in_flight) of them are under way;
/// in the queue of the servers they begin in the order in which they came, from whichever program. `affinity` and `kill_grace` have no
/// effect.
///
/// # The end of a pool
///
/// When the last handle is dropped, what is queued is still run, as far as a [`Task`] or [`detach`](Task::detach) wants it, and the
/// connection ends after that. A program that ends leaves its jobs where they are: the nodes run them, and nobody hears of the
/// results. Await [`shutdown`](Self::shutdown) first.
///
/// # Results that are large
///
/// A result is decoded on the pool's own thread, or on a helper thread if it is larger than 256 KiB, so that others do not wait for it.
///
/// # When not to use this
///
/// - Where one machine is enough: a [`ProcessPool`](crate::ProcessPool) hands over a job in a tenth of the time, needs no server, and keeps
///   what it has to itself.
/// - For jobs of less than some milliseconds: the way there and back takes about half a millisecond, and servers and nodes have to
///   work for it. Put many of them into one job.
/// - For payloads that take longer to travel than to work on: have the job read them where it runs.
///
/// # Examples
///
/// Needs a server (`nats-server -js`), its streams ([`ensure_topology`](super::ensure_topology), once) and a [`Node`](crate::Node).
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::ClusterPool;
///
/// #[heavylift::job]
/// fn count_words(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// let pool = ClusterPool::builder().servers(["nats://127.0.0.1:4222"]).connect().await?;
/// assert_eq!(pool.run(count_words, "to be or not to be".to_owned()).await?, 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClusterPool {
    shared: Arc<Shared>,
    /// All handles have it in common.
    #[expect(dead_code, reason = "its drop tells that the last handle is gone")]
    last: Arc<LastHandle>,
}

struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl ClusterPool {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        pools::enter(&shared);
        #[cfg(feature = "metrics")]
        crate::metrics::export::enter(&shared);
        Self { last: Arc::new(LastHandle(shared.clone())), shared }
    }

    /// Returns a builder, which connects.
    pub fn builder() -> ClusterPoolBuilder {
        ClusterPoolBuilder::new()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Jobs.
impl ClusterPool {
    /// Starts a job. It runs whether its task is awaited or not, and is cancelled when the task is dropped.
    ///
    /// `job` is the name of a function with [`#[heavylift::job]`](macro@crate::job) above it: of any other the task is
    /// [`Unavailable`](crate::TaskErrorKind::Unavailable), also of a closure.
    ///
    /// Never blocks and never fails: on a full or closed pool the task is finished from the start, as
    /// [`Overloaded`](crate::TaskErrorKind::Overloaded) or [`Closed`](crate::TaskErrorKind::Closed).
    #[track_caller]
    pub fn run<F, A, R>(&self, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a cluster");
        self.run_with((job, arg), Options::default(), Location::caller())
    }

    /// Starts a job unless the pool is full or closed; never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the function and the argument in it.
    #[track_caller]
    pub fn try_run<F, A, R>(&self, job: F, arg: A) -> Result<Task<R>, Refused<(F, A)>>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a cluster");
        self.try_run_with((job, arg), Options::default(), Location::caller())
    }

    /// Starts a job as soon as the pool has room: at once, if it has no `queue_limit`.
    #[track_caller]
    pub fn submit<F, A, R>(&self, job: F, arg: A) -> Submit<Self, (F, A)>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a cluster");
        Submit::new(self.clone(), (job, arg), Options::default(), Location::caller())
    }

    /// Returns a builder of one job, that gives it a name, time limits, a number of retries and a priority.
    ///
    /// # Examples
    ///
    /// Needs a server and a node: see [`ClusterPool`].
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ClusterPool;
    ///
    /// #[heavylift::job]
    /// fn count_words(text: String) -> usize {
    ///     text.split_whitespace().count()
    /// }
    ///
    /// let pool = ClusterPool::builder().servers(["nats://127.0.0.1:4222"]).connect().await?;
    /// let job = pool.job(count_words, "to be".to_owned()).name("hamlet").run_timeout(Duration::from_secs(5));
    /// assert_eq!(job.run().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job<F, A, R>(&self, job: F, arg: A) -> Job<Self, (F, A)>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a cluster");
        Job::new(self.clone(), (job, arg))
    }
}

/// The pool itself.
impl ClusterPool {
    /// Returns what the pool is doing and has done.
    ///
    /// `workers` are the jobs that may be under way, [`in_flight`](ClusterPoolBuilder::in_flight), and none once the pool has come to its
    /// end: it does not know the nodes. A job counts as running once a node has said that it has begun; how long it ran is
    /// what the node says.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// Records what becomes of jobs from now on, job by job: see [`Recording`], whose [`stop`](Recording::stop) returns the timeline.
    /// Which worker of which node ran a job is not in it.
    pub fn record(&self) -> Recording {
        Recording::start(self.shared.clone())
    }

    /// Closes the pool, at once and for all its handles: new jobs are refused, those it has are finished or cancelled. Nodes and
    /// other programs do not notice.
    ///
    /// - [`Drain`](Shutdown::Drain) waits for the results of all jobs.
    /// - [`CancelQueued`](Shutdown::CancelQueued) cancels what has not begun, as far as is known here, and takes it out of the queue.
    /// - [`Kill`](Shutdown::Kill) cancels everything, and has it stopped where it runs. It does not wait for that.
    ///
    /// The future resolves when all tasks have finished and the servers have been told; if they do not answer, 5 s after the last
    /// task. It can be called again: a stronger mode is added to what was asked before, a weaker one changes nothing.
    pub fn shutdown(&self, mode: Shutdown) -> Closing {
        AnyPool::shut_down(self.shared.clone(), mode)
    }
}

impl sealed::Pool for ClusterPool {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn admission(&self) -> &Admission {
        self.shared.admission()
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    fn name(&self) -> &str {
        &self.shared.setup.name
    }

    fn kind(&self) -> &'static str {
        Kind::Cluster.label()
    }
}

impl<F, A, R> Takes<(F, A)> for ClusterPool
where
    F: Fn(A) -> R + Copy + Send + 'static,
    A: Payload,
    R: Payload,
{
    type Output = R;

    fn start(&self, (_, argument): (F, A), ticket: Ticket) -> Task<R> {
        let Ticket { label, mut options, place } = ticket;
        let span = open_span(self, &label);
        let call = self.find::<F>(&label).and_then(|function| {
            let argument = self.pack(argument, &label)?;
            Ok(Call { function, argument, traceparent: span.traceparent(), place })
        });
        let call = match call {
            Ok(call) => call,
            Err(error) => {
                self.shared.counters.never_sent(&error);
                return Task::refused(error, label, span);
            }
        };
        self.shared.setup.complete(&mut options);
        self.shared.counters.submitted();
        let seat = ClusterSeat::<R>::new(self.shared.clone(), &options);
        let cell = Cell::new(label, &options, seat, call, span);
        let task = Task::new(cell.clone());
        self.shared.enqueue(unsize!(cell.clone() => dyn ClusterJob));
        cell.watch_queue();
        task
    }

    fn default_name() -> &'static str {
        type_name::<F>()
    }
}

/// What it takes to send a job.
impl ClusterPool {
    fn find<F: 'static>(&self, label: &TaskLabel) -> Result<&'static Registered, TaskError> {
        // The thread of the pool needs its fingerprint, which foreign code has a part in: it is known from here on.
        let found = registry::of::<F>().inspect(|function| _ = function.fingerprint());
        found.ok_or_else(|| {
            let function = type_name::<F>();
            let why = format!(
                "`{function}` has no name that nodes could know it by: write `#[heavylift::job]` above a plain function, without \
                 captures and type parameters; a closure cannot have one"
            );
            TaskError::unavailable(label.clone(), why)
        })
    }

    fn pack<A: Payload>(&self, argument: A, label: &TaskLabel) -> Result<bytes::Bytes, TaskError> {
        let counters = &self.shared.counters;
        let begun = counters.measures_payloads().then(Instant::now);
        let packed = content::pack(argument);
        let packed = packed.map_err(|why| TaskError::encode(label.clone(), Operand::Argument, why))?;
        counters.argument(packed.len(), begun.map(|begun| begun.elapsed()));
        let (size, limit) = (packed.len() as u64, self.shared.setup.max_payload);
        if size > limit {
            return Err(TaskError::too_large(label.clone(), Operand::Argument, size, limit));
        }
        Ok(packed)
    }
}

impl fmt::Debug for ClusterPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { queued, running, .. } = self.metrics();
        f.debug_struct("ClusterPool")
            .field("name", &self.shared.setup.name)
            .field("queue", &self.shared.setup.queue)
            .field("queued", &queued)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}
