//! [`TaskError`]: why a task has no value.

use std::{
    any::Any,
    error::Error,
    fmt, io,
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{TaskErrorKind, TaskId, WorkerExit};

/// Why a task ended without a value.
///
/// Opaque and one word large. [`kind`](Self::kind) and the `is_*` methods say what happened, [`Display`](fmt::Display)
/// names the task, the operand and the limit, and [`id`](Self::id), [`name`](Self::name) and
/// [`submitted_at`](Self::submitted_at) find the place it came from. Each task has an error object of its own.
///
/// Converts into [`std::io::Error`] and [`JobError`](crate::JobError).
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::run_in_thread_pool;
///
/// let error = run_in_thread_pool(|| -> u32 { panic!("no luck") }).await.unwrap_err();
/// assert!(error.is_panicked());
/// assert_eq!(error.panic_message(), Some("no luck"));
/// # }
/// ```
pub struct TaskError(Box<Repr>);

struct Repr {
    label: TaskLabel,
    detail: Detail,
}

/// Which task an error speaks of.
#[derive(Debug, Clone)]
pub(crate) struct TaskLabel {
    pub(crate) id: TaskId,
    pub(crate) name: TaskName,
    pub(crate) submitted_at: &'static Location<'static>,
}

/// What a task is called. Two words: every task has one.
#[derive(Clone)]
pub(crate) enum TaskName {
    /// The type name of its function.
    OfFunction(&'static str),
    /// As the caller said. Twice in an `Arc`, for one word that says where it is leaves room for the other to say that it is this one.
    Given(Arc<Arc<str>>),
}

impl TaskName {
    pub(crate) fn given(name: Arc<str>) -> Self {
        Self::Given(Arc::new(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::OfFunction(name) => name,
            Self::Given(name) => name,
        }
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Which of a job's two payloads an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Argument,
    Result,
}

/// A panic as it was caught.
#[derive(Default)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
    /// What was thrown; absent once it has crossed from another process.
    pub(crate) payload: Option<Box<dyn Any + Send>>,
}

impl PanicReport {
    /// The panic in one line, where it is the reason for something else. The payload, whose `Drop` may panic, ends here.
    pub(crate) fn into_summary(self) -> String {
        let Self { message, location, backtrace: _, payload } = self;
        payload.into_iter().for_each(crate::panic::drop_shielded);
        match location {
            Some(at) => format!("panicked at {at}: {message}"),
            None => format!("panicked: {message}"),
        }
    }
}

enum Detail {
    Cancelled,
    TimedOut {
        limit: &'static str,
        after: Duration,
        /// What may be why.
        note: Option<String>,
    },
    // The mutex makes the payload `Sync`; it is only ever opened by value.
    Panicked(PanicText, Mutex<Option<Box<dyn Any + Send>>>),
    WorkerDied {
        exit: WorkerExit,
        /// The workers that died under the job, oldest first; the last is that of `exit`.
        pids: Vec<u32>,
    },
    Overloaded {
        pool: String,
        limit: usize,
    },
    #[cfg(feature = "nats")]
    OverloadedThere {
        queue: String,
        why: String,
    },
    Closed {
        pool: String,
    },
    Encode(Operand, Box<dyn Error + Send + Sync>),
    Decode(Operand, Box<dyn Error + Send + Sync>),
    TooLarge {
        operand: Operand,
        size: u64,
        limit: u64,
    },
    Unavailable(String),
}

struct PanicText {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

/// One constructor per way to end.
impl TaskError {
    fn new(label: TaskLabel, detail: Detail) -> Self {
        Self(Box::new(Repr { label, detail }))
    }

    pub(crate) fn cancelled(label: TaskLabel) -> Self {
        Self::new(label, Detail::Cancelled)
    }

    /// `limit` is the setting that was reached, by its name in the builder.
    pub(crate) fn timed_out(label: TaskLabel, limit: &'static str, after: Duration) -> Self {
        Self::new(label, Detail::TimedOut { limit, after, note: None })
    }

    /// The same, with what may be why.
    #[cfg(feature = "nats")]
    pub(crate) fn timed_out_after(
        label: TaskLabel,
        limit: &'static str,
        after: Duration,
        note: Option<String>,
    ) -> Self {
        Self::new(label, Detail::TimedOut { limit, after, note })
    }

    pub(crate) fn panicked(label: TaskLabel, report: PanicReport) -> Self {
        let PanicReport { message, location, backtrace, payload } = report;
        let text = PanicText { message, location, backtrace };
        Self::new(label, Detail::Panicked(text, Mutex::new(payload)))
    }

    pub(crate) fn worker_died(label: TaskLabel, exit: WorkerExit) -> Self {
        Self::workers_died(label, exit, &[])
    }

    /// The last worker ended with `exit`; those with the pids `before` had died under earlier runs of the same job.
    pub(crate) fn workers_died(label: TaskLabel, exit: WorkerExit, before: &[u32]) -> Self {
        let pids = before.iter().copied().chain([exit.pid()]).collect();
        Self::new(label, Detail::WorkerDied { exit, pids })
    }

    pub(crate) fn overloaded(label: TaskLabel, pool: &str, limit: usize) -> Self {
        Self::new(label, Detail::Overloaded { pool: pool.to_owned(), limit })
    }

    /// It is not the pool's queue that is full, but that of the servers.
    #[cfg(feature = "nats")]
    pub(crate) fn overloaded_there(label: TaskLabel, queue: &str, why: &str) -> Self {
        Self::new(label, Detail::OverloadedThere { queue: queue.to_owned(), why: why.to_owned() })
    }

    pub(crate) fn closed(label: TaskLabel, pool: &str) -> Self {
        Self::new(label, Detail::Closed { pool: pool.to_owned() })
    }

    pub(crate) fn encode(
        label: TaskLabel,
        operand: Operand,
        why: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(label, Detail::Encode(operand, why.into()))
    }

    pub(crate) fn decode(
        label: TaskLabel,
        operand: Operand,
        why: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(label, Detail::Decode(operand, why.into()))
    }

    pub(crate) fn too_large(label: TaskLabel, operand: Operand, size: u64, limit: u64) -> Self {
        Self::new(label, Detail::TooLarge { operand, size, limit })
    }

    pub(crate) fn unavailable(label: TaskLabel, reason: impl Into<String>) -> Self {
        Self::new(label, Detail::Unavailable(reason.into()))
    }
}

impl TaskError {
    /// The same error of another task, which was a part of the same job.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for process pools"))]
    pub(crate) fn for_task(&self, label: TaskLabel) -> Self {
        match &self.0.detail {
            Detail::Cancelled => Self::cancelled(label),
            Detail::TimedOut { limit, after, .. } => Self::timed_out(label, limit, *after),
            Detail::WorkerDied { exit, .. } => Self::worker_died(label, exit.clone().with_items(None)),
            Detail::Overloaded { pool, limit } => Self::overloaded(label, pool, *limit),
            #[cfg(feature = "nats")]
            Detail::OverloadedThere { queue, why } => Self::overloaded_there(label, queue, why),
            Detail::Closed { pool } => Self::closed(label, pool),
            Detail::Encode(operand, why) => Self::encode(label, *operand, why.to_string()),
            Detail::Decode(operand, why) => Self::decode(label, *operand, why.to_string()),
            Detail::TooLarge { operand, size, limit } => Self::too_large(label, *operand, *size, *limit),
            Detail::Unavailable(reason) => Self::unavailable(label, reason.as_str()),
            Detail::Panicked(PanicText { message, location, backtrace }, _) => {
                let (message, location) = (message.clone(), location.clone());
                Self::panicked(
                    label,
                    PanicReport { message, location, backtrace: backtrace.clone(), payload: None },
                )
            }
        }
    }
}

/// What happened.
impl TaskError {
    /// Returns how the task ended.
    pub fn kind(&self) -> TaskErrorKind {
        match self.0.detail {
            Detail::Cancelled => TaskErrorKind::Cancelled,
            Detail::TimedOut { .. } => TaskErrorKind::TimedOut,
            Detail::Panicked(..) => TaskErrorKind::Panicked,
            Detail::WorkerDied { .. } => TaskErrorKind::WorkerDied,
            Detail::Overloaded { .. } => TaskErrorKind::Overloaded,
            #[cfg(feature = "nats")]
            Detail::OverloadedThere { .. } => TaskErrorKind::Overloaded,
            Detail::Closed { .. } => TaskErrorKind::Closed,
            Detail::Encode(..) => TaskErrorKind::Encode,
            Detail::Decode(..) => TaskErrorKind::Decode,
            Detail::TooLarge { .. } => TaskErrorKind::TooLarge,
            Detail::Unavailable(_) => TaskErrorKind::Unavailable,
        }
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == TaskErrorKind::Cancelled
    }

    /// Whether a time limit was reached.
    pub fn is_timed_out(&self) -> bool {
        self.kind() == TaskErrorKind::TimedOut
    }

    /// Whether the job panicked.
    pub fn is_panicked(&self) -> bool {
        self.kind() == TaskErrorKind::Panicked
    }

    /// Whether the worker process died under the job.
    pub fn is_worker_died(&self) -> bool {
        self.kind() == TaskErrorKind::WorkerDied
    }

    /// Whether the pool's bounded queue was full.
    pub fn is_overloaded(&self) -> bool {
        self.kind() == TaskErrorKind::Overloaded
    }

    /// Whether the pool had been shut down.
    pub fn is_closed(&self) -> bool {
        self.kind() == TaskErrorKind::Closed
    }

    /// Whether the argument or the result could not be encoded.
    pub fn is_encode(&self) -> bool {
        self.kind() == TaskErrorKind::Encode
    }

    /// Whether the argument or the result could not be decoded.
    pub fn is_decode(&self) -> bool {
        self.kind() == TaskErrorKind::Decode
    }

    /// Whether the argument or the result was larger than `max_payload`.
    pub fn is_too_large(&self) -> bool {
        self.kind() == TaskErrorKind::TooLarge
    }

    /// Whether the pool could not run the job at all.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == TaskErrorKind::Unavailable
    }
}

/// Which task, and the details.
impl TaskError {
    pub(crate) fn label(&self) -> &TaskLabel {
        &self.0.label
    }

    /// The id of the task.
    pub fn id(&self) -> TaskId {
        self.0.label.id
    }

    /// The name of the task: as given, otherwise the type name of its function.
    pub fn name(&self) -> &str {
        self.0.label.name.as_str()
    }

    /// The line that started the job.
    pub fn submitted_at(&self) -> &'static Location<'static> {
        self.0.label.submitted_at
    }

    /// The message of the panic, where the job panicked. A payload that is not a string has no text of its own and is
    /// shown as `Box<dyn Any>`.
    pub fn panic_message(&self) -> Option<&str> {
        self.panic_text().map(|text| text.message.as_str())
    }

    /// Where the job panicked, as `file:line:column`. `None` also when the program has replaced the panic hook.
    pub fn panic_location(&self) -> Option<&str> {
        self.panic_text()?.location.as_deref()
    }

    /// The backtrace of the panic, where `RUST_BACKTRACE` asks for one.
    pub fn backtrace(&self) -> Option<&str> {
        self.panic_text()?.backtrace.as_deref()
    }

    fn panic_text(&self) -> Option<&PanicText> {
        match &self.0.detail {
            Detail::Panicked(text, _) => Some(text),
            _ => None,
        }
    }

    /// Returns what the job panicked with, to be passed to [`std::panic::resume_unwind`].
    ///
    /// # Errors
    ///
    /// The error itself, when the job did not panic, or panicked in another process, where the payload stays.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        let Detail::Panicked(_, payload) = &self.0.detail else { return Err(self) };
        let payload = payload.lock().unwrap_or_else(PoisonError::into_inner).take();
        payload.ok_or(self)
    }

    /// Which time limit was reached, by the name of its setting, and how long it is.
    #[cfg(feature = "nats")]
    pub(crate) fn time_limit(&self) -> Option<(&'static str, Duration)> {
        match self.0.detail {
            Detail::TimedOut { limit, after, .. } => Some((limit, after)),
            _ => None,
        }
    }

    /// What was too large, its size, and the limit.
    #[cfg(feature = "nats")]
    pub(crate) fn size_limit(&self) -> Option<(Operand, u64, u64)> {
        match self.0.detail {
            Detail::TooLarge { operand, size, limit } => Some((operand, size, limit)),
            _ => None,
        }
    }

    /// How the worker process ended, where it died under the job: the last one, if the job was
    /// [run again](crate::Job::retry).
    pub fn worker(&self) -> Option<&WorkerExit> {
        match &self.0.detail {
            Detail::WorkerDied { exit, .. } => Some(exit),
            _ => None,
        }
    }

    /// The process ids of the workers that died under the job, oldest first: more than one where
    /// [`Job::retry`](crate::Job::retry) had it run again; none where the task ended in another way.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use heavylift::ProcessPool;
    ///
    /// fn crash(_: ()) {
    ///     std::process::exit(3);
    /// }
    ///
    /// let error = ProcessPool::global().job(crash, ()).name("import").retry(1).run().await.unwrap_err();
    /// let [first, second] = error.dead_workers() else { panic!("{error}") };
    /// let message = format!("killed 2 workers: pids {first}, {second}; the last exited with code 3");
    /// assert!(error.to_string().ends_with(&message), "{error}");
    /// # }
    /// ```
    pub fn dead_workers(&self) -> &[u32] {
        match &self.0.detail {
            Detail::WorkerDied { pids, .. } => pids,
            _ => &[],
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operand::Argument => "argument",
            Operand::Result => "result",
        })
    }
}

impl fmt::Display for TaskLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} ({:?})", self.id, self.name)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { label, detail } = &*self.0;
        match detail {
            Detail::Cancelled => write!(f, "{label} was cancelled"),
            Detail::TimedOut { limit, after, note: None } => {
                write!(f, "{label} timed out: {limit} is {after:?}")
            }
            Detail::TimedOut { limit, after, note: Some(note) } => {
                write!(f, "{label} timed out: {limit} is {after:?} ({note})")
            }
            Detail::Panicked(PanicText { message, location: Some(at), .. }, _) => {
                write!(f, "{label} panicked at {at}: {message}")
            }
            Detail::Panicked(PanicText { message, .. }, _) => write!(f, "{label} panicked: {message}"),
            Detail::WorkerDied { exit, pids } if pids.len() > 1 => {
                let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "{label} killed {} workers: pids {list}; the last {}", pids.len(), exit.end())
            }
            Detail::WorkerDied { exit, .. } => write!(f, "{label} lost its worker: {exit}"),
            Detail::Overloaded { pool, limit } => {
                write!(f, "{label} was refused: the queue of pool {pool:?} is full (queue_limit is {limit})")
            }
            #[cfg(feature = "nats")]
            Detail::OverloadedThere { queue, why } => {
                write!(f, "{label} was refused: queue {queue:?} of the cluster is full ({why})")
            }
            Detail::Closed { pool } => write!(f, "{label} was refused: pool {pool:?} is shut down"),
            Detail::Encode(operand, why) => write!(f, "the {operand} of {label} cannot be encoded: {why}"),
            Detail::Decode(operand, why) => write!(f, "the {operand} of {label} cannot be decoded: {why}"),
            Detail::TooLarge { operand, size, limit } => {
                write!(f, "the {operand} of {label} takes {size} bytes (max_payload is {limit})")
            }
            Detail::Unavailable(reason) => write!(f, "{label} cannot run: {reason}"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError")
            .field("kind", &self.kind())
            .field("message", &format_args!("{self}"))
            .field("submitted_at", &format_args!("{}", self.submitted_at()))
            .finish_non_exhaustive()
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.detail {
            Detail::Encode(_, why) | Detail::Decode(_, why) => Some(&**why),
            _ => None,
        }
    }
}

impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        let kind = match error.kind() {
            TaskErrorKind::TimedOut => io::ErrorKind::TimedOut,
            TaskErrorKind::Encode | TaskErrorKind::Decode => io::ErrorKind::InvalidData,
            TaskErrorKind::TooLarge => io::ErrorKind::InvalidInput,
            TaskErrorKind::Overloaded => io::ErrorKind::ResourceBusy,
            // `Interrupted` would make std's loops try again for ever, so a cancelled task is `Other`, too.
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCause;

    fn label() -> TaskLabel {
        TaskLabel {
            id: TaskId::from_raw(17),
            name: TaskName::given("thumbnail".into()),
            submitted_at: Location::caller(),
        }
    }

    #[test]
    fn messages_name_the_task_the_operand_and_the_limit() {
        let second = Duration::from_secs(1);
        let exit = WorkerExit::new(4242, ExitCause::Signal(11), String::new());
        let report = PanicReport {
            message: "no luck".into(),
            location: Some("src/a.rs:1:2".into()),
            ..Default::default()
        };
        let table = [
            (TaskError::cancelled(label()), "task 17 (\"thumbnail\") was cancelled"),
            (
                TaskError::timed_out(label(), "run_timeout", second),
                "task 17 (\"thumbnail\") timed out: run_timeout is 1s",
            ),
            (
                TaskError::panicked(label(), report),
                "task 17 (\"thumbnail\") panicked at src/a.rs:1:2: no luck",
            ),
            (
                TaskError::worker_died(label(), exit),
                "task 17 (\"thumbnail\") lost its worker: pid 4242 died of SIGSEGV",
            ),
            (
                TaskError::workers_died(
                    label(),
                    WorkerExit::new(3, ExitCause::Signal(11), String::new()),
                    &[1, 2],
                ),
                "task 17 (\"thumbnail\") killed 3 workers: pids 1, 2, 3; the last died of SIGSEGV",
            ),
            (
                TaskError::overloaded(label(), "images", 8),
                "task 17 (\"thumbnail\") was refused: the queue of pool \"images\" is full (queue_limit is 8)",
            ),
            (
                TaskError::closed(label(), "images"),
                "task 17 (\"thumbnail\") was refused: pool \"images\" is shut down",
            ),
            (
                TaskError::encode(label(), Operand::Argument, "no"),
                "the argument of task 17 (\"thumbnail\") cannot be encoded: no",
            ),
            (
                TaskError::decode(label(), Operand::Result, "no"),
                "the result of task 17 (\"thumbnail\") cannot be decoded: no",
            ),
            (
                TaskError::too_large(label(), Operand::Argument, 20, 10),
                "the argument of task 17 (\"thumbnail\") takes 20 bytes (max_payload is 10)",
            ),
            (TaskError::unavailable(label(), "no workers"), "task 17 (\"thumbnail\") cannot run: no workers"),
        ];
        for (error, message) in table {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_name_is_two_words() {
        assert_eq!(size_of::<TaskName>(), 2 * size_of::<usize>());
    }

    #[test]
    fn it_is_one_word_and_crosses_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<TaskError>();
        assert_eq!(size_of::<TaskError>(), size_of::<usize>());
    }

    #[test]
    fn the_panic_payload_is_handed_out_by_value() {
        let report = PanicReport { payload: Some(Box::new(5u8)), ..Default::default() };
        let payload = TaskError::panicked(label(), report).into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<u8>(), Some(&5));
        assert!(TaskError::cancelled(label()).into_panic().is_err());
    }
}
