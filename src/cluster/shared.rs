//! [`Shared`]: what the handles, the tasks and the client of one cluster pool have in common.

use std::{
    collections::BTreeMap,
    process,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

use super::{Delivery, client::Event, seat::ClusterJob};
use crate::{
    Closing, Metrics, Shutdown, ShutdownReport, TaskError,
    counted::Counted,
    metrics::{Counters, Outcomes},
    panic::{drop_shielded, shield},
    pool::{
        Admission, Closable, Latch,
        registry::{AnyPool, Kind},
    },
    record::{Lane, Recorded},
    task::{Left, Options},
};

/// Why no job can run on a pool that was inherited by `fork`.
pub(super) const INHERITED: &str = "this pool belongs to the process that this one was forked from, and so does its connection: connect a new one here";

/// What a pool was told when it was built.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) name: String,
    /// Whose results these are: unique among all pools of all programs.
    pub(super) client: String,
    pub(super) queue: String,
    pub(super) delivery: Delivery,
    pub(super) in_flight: usize,
    pub(super) queue_limit: Option<usize>,
    pub(super) retries: u32,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) run_timeout: Option<Duration>,
    /// As it was asked for: see [`deadline`](Self::deadline).
    pub(super) asked_deadline: Duration,
    /// For how long the servers keep a job, once that is known.
    pub(super) kept_for: OnceLock<Duration>,
    pub(super) refusal_timeout: Duration,
    pub(super) max_payload: u64,
}

impl Setup {
    /// For how long a job has time: for no longer than the servers keep it, as it would vanish without an answer.
    pub(super) fn deadline(&self) -> Duration {
        let kept = self.kept_for.get().copied().unwrap_or(Duration::MAX);
        self.asked_deadline.min(kept)
    }

    /// Adds the pool's limits to a job that has none of its own.
    pub(super) fn complete(&self, options: &mut Options) {
        options.queue_timeout = options.queue_timeout.or(self.queue_timeout);
        options.run_timeout = options.run_timeout.or(self.run_timeout);
    }

    /// The id of the job with this number.
    pub(super) fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.client)
    }

    /// The number of the job with this id, if it is one of this client.
    pub(super) fn number_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.client)?.strip_prefix('-')?.parse().ok()
    }
}

/// One pool, apart from its handles. Held by these, by its tasks and by its client.
pub(super) struct Shared {
    pub(super) setup: Setup,
    admission: Admission,
    pub(super) counters: Counters,
    next_number: AtomicU64,
    events: UnboundedSender<Event>,
    /// Taken alone; no foreign code runs under it.
    directory: Mutex<Directory>,
    /// The outcomes before the first shutdown.
    before_shutdown: OnceLock<Outcomes>,
    /// Opens when the client has come to its end.
    closed: Latch,
    /// Which process it belongs to.
    process: u32,
}

/// The tasks that have not finished, by their numbers.
#[derive(Default)]
struct Directory {
    jobs: BTreeMap<u64, Counted<dyn ClusterJob>>,
    /// A shutdown was asked for.
    is_closing: bool,
    /// Nobody has a handle any more.
    has_no_handle: bool,
    /// Why the client serves no more, once that is so.
    ended: Option<String>,
}

impl Directory {
    fn is_ending(&self) -> bool {
        self.is_closing || self.has_no_handle
    }
}

impl Shared {
    pub(super) fn new(setup: Setup, events: UnboundedSender<Event>) -> Arc<Self> {
        Arc::new(Self {
            admission: Admission::new(setup.queue_limit, setup.in_flight),
            counters: Counters::default(),
            next_number: AtomicU64::new(1),
            events,
            directory: Mutex::default(),
            before_shutdown: OnceLock::new(),
            closed: Latch::default(),
            process: process::id(),
            setup,
        })
    }

    /// Whether this is the copy of a pool, in a process that was forked from the pool's own. Its client does not exist there, and any of
    /// its locks may be taken for good.
    pub(super) fn is_inherited(&self) -> bool {
        self.process != process::id()
    }

    pub(super) fn admission(&self) -> &Admission {
        static OPEN: Admission = Admission::open();
        // Who is let in there is told by `enqueue`.
        if self.is_inherited() { &OPEN } else { &self.admission }
    }

    pub(super) fn next_number(&self) -> u64 {
        // ORDERING: Relaxed. Only the order of the numbers matters.
        self.next_number.fetch_add(1, Relaxed)
    }

    /// Tells the client something. If it has ended nobody has to know any more.
    pub(super) fn tell(&self, event: Event) {
        if !self.is_inherited() {
            let _ = self.events.send(event);
        }
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn metrics(&self) -> Metrics {
        if self.is_inherited() {
            return self.counters.snapshot();
        }
        let places = self.setup.in_flight;
        let workers = if self.directory().ended.is_some() { 0 } else { places };
        let metrics = self.counters.snapshot();
        let idle_workers = workers.saturating_sub(metrics.running);
        Metrics { workers, idle_workers, max_workers: places, ..metrics }
    }
}

/// Jobs come and go.
impl Shared {
    /// Hands a job to the client, or finishes its task if there is none any more.
    pub(super) fn enqueue(&self, job: Counted<dyn ClusterJob>) {
        if self.is_inherited() {
            job.end(&|label| TaskError::unavailable(label, INHERITED));
            return;
        }
        let mut directory = self.directory();
        let refusal = match (&directory.ended, directory.is_closing) {
            (_, true) => Some(None),
            (Some(why), _) => Some(Some(why.clone())),
            (None, false) => None,
        };
        if refusal.is_none() {
            directory.jobs.insert(job.number(), job.clone());
        }
        drop(directory);
        match refusal {
            None => self.tell(Event::Submit(job)),
            // Closed after the job had been let in.
            Some(None) => _ = job.end(&|label| TaskError::closed(label, &self.setup.name)),
            Some(Some(why)) => _ = job.end(&|label| TaskError::unavailable(label, why.as_str())),
        }
    }

    /// A task finishes.
    pub(super) fn gone(&self, number: u64, left: Left) {
        let mut directory = self.directory();
        let job = directory.jobs.remove(&number);
        let may_end = directory.is_ending() && directory.jobs.is_empty();
        drop(directory);
        drop(job);
        if left == Left::Queue {
            self.tell(Event::Gone(number));
        } else if may_end {
            self.tell(Event::Look);
        }
    }
}

/// The end.
impl Shared {
    /// Nobody has a handle any more. What there is is still run.
    pub(super) fn abandon(&self) {
        if !self.is_inherited() {
            self.directory().has_no_handle = true;
            self.tell(Event::Look);
        }
    }

    /// Whether there is nothing to be done any more, and nothing will come.
    pub(super) fn try_end(&self) -> bool {
        let mut directory = self.directory();
        let ends = directory.is_ending() && directory.jobs.is_empty();
        if ends {
            directory.ended.get_or_insert_with(|| "its pool has come to its end".to_owned());
        }
        ends
    }

    /// The client is no more: what is left will have no answer.
    pub(super) fn client_ended(&self, why: &str) {
        let mut directory = self.directory();
        let why = directory.ended.get_or_insert_with(|| why.to_owned()).clone();
        let jobs: Vec<_> = directory.jobs.values().cloned().collect();
        drop(directory);
        for job in jobs {
            job.end(&|label| TaskError::unavailable(label, why.as_str()));
            drop_shielded(job);
        }
        self.closed.open();
    }

    fn close(&self, mode: Shutdown) {
        self.before_shutdown.get_or_init(|| self.counters.outcomes());
        // It wakes whoever waits for room: foreign wakers.
        shield(|| self.admission.close());
        self.directory().is_closing = true;
        match mode {
            Shutdown::Drain => {}
            Shutdown::CancelQueued => _ = self.cancel(|job| !job.has_begun()),
            Shutdown::Kill => _ = self.cancel(|_| true),
        }
        self.tell(Event::Look);
    }

    /// Cancels these tasks. Returns how many of them this call ended.
    fn cancel(&self, which: impl Fn(&dyn ClusterJob) -> bool) -> u64 {
        let jobs: Vec<_> = self.directory().jobs.values().cloned().collect();
        let ended = jobs.iter().filter(|job| which(&***job)).map(|job| job.end(&TaskError::cancelled));
        let count = ended.map(u64::from).sum();
        jobs.into_iter().for_each(drop_shielded);
        count
    }
}

impl Recorded for Shared {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AnyPool for Shared {
    fn kind(&self) -> Kind {
        Kind::Cluster
    }

    fn name(&self) -> &str {
        &self.setup.name
    }

    fn metrics(&self) -> Metrics {
        Shared::metrics(self)
    }

    /// Nodes are not this program's, and it knows of none but by their answers.
    fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }

    fn shut_down(self: Arc<Self>, mode: Shutdown) -> Closing {
        if !self.is_inherited() {
            self.close(mode);
        }
        Closing::new(Arc::new(End(self)))
    }
}

/// The pool as its [`Closing`] sees it.
struct End(Arc<Shared>);

impl Closable for End {
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.is_inherited() { Poll::Ready(()) } else { self.0.closed.poll(cx) }
    }

    fn give_up(&self) -> u64 {
        self.0.cancel(|_| true)
    }

    fn report(&self) -> ShutdownReport {
        let before = self.0.before_shutdown.get().copied().unwrap_or_default();
        ShutdownReport::between(before, self.0.counters.outcomes())
    }
}
