//! What the client does with the servers beside its loop: to publish, withdraw, fetch and discard. Each ends by itself, in bounded time.

use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use super::{
    super::{
        engine::{Engine, EngineError},
        message::{Content, Request},
        seat::ClusterJob,
    },
    Done,
    retry::Retry,
};
use crate::{TaskError, counted::Counted};

/// For how long it is tried to take back what nobody wants.
const TIDYING: Duration = Duration::from_secs(10);
/// After how long without an answer it is asked whether there is anybody to give one.
const DOUBT: Duration = Duration::from_secs(30);
/// A value of more than this is decoded on another thread, so that the others' need not wait for it.
pub(super) const LARGE: usize = 256 << 10;

/// Has the argument of a job stored, if it does not fit into a message.
///
/// # Errors
///
/// As the engine, once it is tried no more.
async fn store(
    engine: &Engine,
    request: &mut Request,
    most: usize,
    job: &dyn ClusterJob,
) -> Result<(), EngineError> {
    let Content::Here(bytes) = &request.argument else { return Ok(()) };
    if bytes.len() <= most {
        return Ok(());
    }
    let (bytes, object) = (bytes.clone(), argument_of(&request.id));
    patiently(job, || engine.store(&object, bytes.clone())).await?;
    request.argument = Content::Stored { object, len: bytes.len() as u64 };
    Ok(())
}

/// The object that a job's argument is, if it is one.
pub(super) fn argument_of(id: &str) -> String {
    format!("{id}.argument")
}

/// Puts a job into its queue, where `subject` is, whatever happens to the connection meanwhile: copies are dropped by their id.
pub(super) async fn publish(
    engine: Engine,
    subject: String,
    mut request: Request,
    most: usize,
    job: Counted<dyn ClusterJob>,
) -> Done {
    let number = job.number();
    if let Err(error) = store(&engine, &mut request, most, &*job).await {
        return Done::Published(number, Err(error));
    }
    let message_id = request.message_id();
    let mut retry = Retry::until(job.deadline());
    let mut doubts_at = Instant::now() + DOUBT;
    loop {
        match engine.submit(&subject, &message_id, request.to_envelope()).await {
            Err(EngineError::Lost(_)) if retry.goes_on(Instant::now(), Some(&*job)) => {
                if doubts_at <= Instant::now() {
                    doubts_at += DOUBT;
                    if let Some(why) = engine.lacks_queues().await {
                        return Done::Published(number, Err(why));
                    }
                }
                retry.pause().await;
            }
            other => return Done::Published(number, other),
        }
    }
}

/// Asks a node directly, once.
pub(super) async fn call(
    engine: Engine,
    mut request: Request,
    most: usize,
    job: Counted<dyn ClusterJob>,
) -> Done {
    let number = job.number();
    if let Err(error) = store(&engine, &mut request, most, &*job).await {
        return Done::Called(number, Err(error));
    }
    let limit = job.deadline().saturating_duration_since(Instant::now());
    Done::Called(number, engine.call(&request.queue, request.to_envelope(), limit).await)
}

/// Takes a job out of its queue, if it is there under this sequence, and has it stopped where it runs.
///
/// In this order: a job that a node takes in between has not missed that.
pub(super) async fn withdraw(engine: Engine, id: String, sequence: Option<u64>) -> Done {
    let mut retry = Retry::within(TIDYING);
    let mut queued = sequence;
    loop {
        if let Some(sequence) = queued
            && may_rest(engine.withdraw(sequence).await)
        {
            queued = None;
        }
        // Also while it is not known to be out of the queue: it may be running.
        let is_told = may_rest(engine.cancel(&id).await);
        if is_told && queued.is_none() || !retry.goes_on(Instant::now(), None) {
            return Done::Nothing;
        }
        retry.pause().await;
    }
}

/// Removes an object. What cannot be removed is by the servers, after a while.
pub(super) async fn discard(engine: Engine, object: String) -> Done {
    let mut retry = Retry::within(TIDYING);
    while !may_rest(engine.discard(&object).await) && retry.goes_on(Instant::now(), None) {
        retry.pause().await;
    }
    Done::Nothing
}

/// Whether it is of no use to try again.
fn may_rest<T>(outcome: Result<T, EngineError>) -> bool {
    !matches!(outcome, Err(EngineError::Lost(_)))
}

/// Finishes a task with a value that is not small, or not here yet; `held` is what is given back right before. What it was fetched from is
/// left.
pub(super) async fn receive(
    engine: Engine,
    value: Content,
    ran: Duration,
    job: Counted<dyn ClusterJob>,
    held: impl Send + 'static,
) -> Done {
    let number = job.number();
    let bytes = match value {
        Content::Here(bytes) => Ok(bytes),
        Content::Stored { object, len } => patiently(&*job, || engine.load(&object, len)).await,
    };
    match bytes {
        Ok(bytes) => {
            // Its panics are shielded; an error means that the runtime ends, and the job is ended by who ends that.
            let _ = spawn_blocking(move || {
                drop(held);
                job.answered(ran, bytes);
            })
            .await;
        }
        Err(error) => {
            let why = format!("its result cannot be fetched: {error}");
            job.end(&|label| TaskError::unavailable(label, why.as_str()));
        }
    }
    Done::Received(number)
}

/// Calls until it succeeds, fails for good, or the job's time is over.
async fn patiently<T, F>(job: &dyn ClusterJob, mut call: impl FnMut() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let mut retry = Retry::until(job.deadline());
    loop {
        match call().await {
            Err(EngineError::Lost(_)) if retry.goes_on(Instant::now(), Some(job)) => retry.pause().await,
            other => return other,
        }
    }
}
