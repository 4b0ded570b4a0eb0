//! [`attend`]: a delivery, from its arrival to its end.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::pending,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio::{sync::Notify, task::spawn_local, time::sleep};

use super::{
    super::{
        engine::{Delivery, EngineError},
        message::{Answer, Content, Envelope, Failure, Reply, Request},
        perform::{Perform, Performed, perform},
        registry,
    },
    Stop, answer,
    decide::{CLOCKS, End, Here, Past, Verdict, after, judge},
    serve::{Occupied, Site},
    slots::Slot,
};
use crate::{Executor, Task, TaskError, panic::drop_shielded, trace};

/// What no deadline is: longer no stream keeps a job.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after a refused job has come again its queue is asked anew.
const AFTER_REFUSAL: Duration = Duration::from_millis(250);
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// For how long it is asked what a job that comes again has come to, while it has a slot.
const LOOK: Duration = Duration::from_secs(3);

/// A job that is here.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) request: Request,
    /// The last one, should it have been delivered again. None if it is a call of the fast mode.
    delivery: RefCell<Option<Rc<Delivery>>>,
    /// Nobody wants it any more.
    pub(super) cancel: Notify,
    arrived: SystemTime,
}

/// How a run ended, with what its reply needs.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) attempt: u32,
    pub(super) past: Past,
    pub(super) ran: Duration,
}

impl Ended {
    fn without_run(end: End, past: Past) -> Self {
        Self { end, attempt: 0, past, ran: Duration::ZERO }
    }
}

/// Takes care of a delivery.
pub(super) async fn attend(
    site: Rc<Site>,
    slot: Slot,
    queue: usize,
    delivery: Delivery,
    _occupied: Occupied,
) {
    site.counts.taken.one_more();
    if delivery.delivered > 1 {
        site.counts.redelivered.one_more();
    }
    site.count_running();
    let (request, here) = match read(&delivery.envelope) {
        Ok(read) => read,
        Err(why) => {
            drop(slot);
            return answer::unreadable(&site, queue, &delivery, &why).await;
        }
    };
    let delivery = Rc::new(delivery);
    let Some(present) = Present::enter(&site, request, Some(delivery.clone())) else {
        drop(slot);
        return copy(&site, delivery).await;
    };
    let ended = attempt(&site, &present.run, &delivery, queue, here).await;
    if let End::Refused { delay, .. } = ended.end {
        spawn_local(others_first(site.clone(), queue, delay));
    }
    if matches!(ended.end, End::Unable { .. })
        && let Some(time) = site.slots.rest()
    {
        spawn_local(rest(site.clone(), time));
    }
    // Before the answer: what the servers do slowly holds up no slot, until it is too much.
    drop(slot);
    site.count_running();
    let _unpublished = site.slots.unpublished(ended.end.bytes());
    answer::settle(&site, &present.run, ended).await;
}

/// A request and what is here under its name. One that cannot be read, but tells whose it is, is refused: others may be able to.
fn read(envelope: &Envelope) -> Result<(Request, Here), String> {
    match Request::from_envelope(envelope) {
        Ok(request) => {
            let here = here(&request);
            Ok((request, here))
        }
        Err(why) => match Request::remains(envelope) {
            Some(remains) => Ok((remains, Here::Unreadable(why))),
            None => Err(why),
        },
    }
}

/// Has nothing asked for until the pool may be able to run jobs again.
async fn rest(site: Rc<Site>, time: Duration) {
    sleep(time).await;
    site.slots.rest_is_over();
}

/// Leaves a queue alone until the job that was refused has come again, to others.
async fn others_first(site: Rc<Site>, queue: usize, delay: Duration) {
    let time = (delay + AFTER_REFUSAL).min(LONGEST_SILENCE);
    site.slots.leave_alone(queue, time);
    sleep(time).await;
    site.slots.ask_again(queue, false);
}

/// A job that runs here has come again, for its heartbeats were late: it goes on, with the new lease.
async fn copy(site: &Site, delivery: Rc<Delivery>) {
    site.counts.duplicates.one_more();
    site.count_running();
    let _ = delivery.progress().await;
}

/// Looks whether it is to be run, and runs it.
async fn attempt(site: &Site, run: &Run, delivery: &Delivery, queue: usize, here: Here) -> Ended {
    let past = match look(site, run, delivery.delivered).await {
        Ok(past) => past,
        Err(end) => return Ended::without_run(end, Past::default()),
    };
    let attempt = match judge(&run.request, delivery.delivered, past.refusals, SystemTime::now(), here) {
        Verdict::Run { attempt } => attempt,
        Verdict::End(end) => return Ended::without_run(end, past),
    };
    site.slots.ask_again(queue, true);
    if site.is_ending() {
        return Ended::without_run(End::Untouched { delay: Duration::ZERO }, past);
    }
    let (end, ran) = work(site, run, attempt, run.request.retries).await;
    Ended { end, attempt, past, ran }
}

/// What was published of a job that comes again, or how that ends here. Bounded: it holds a slot.
async fn look(site: &Site, run: &Run, delivered: u64) -> Result<Past, End> {
    if delivered == 1 {
        return Ok(Past::default());
    }
    let until = run.until().min(SystemTime::now() + LOOK);
    tokio::select! {
        biased;
        last = last_answer(site, &run.request, until) => match last {
            Ok(last) => Past::of(last.as_ref()).ok_or(End::Known),
            Err(_) => Err(End::Unknown),
        },
        () = run.cancel.notified() => Err(End::Answered(Answer::Failed(Failure::Cancelled))),
        () = site.reached(Stop::GivingBack) => Err(End::Unknown),
    }
}

/// What was last published of a job, with its number.
///
/// # Errors
///
/// It cannot be learnt, or cannot be read: which does not say that nothing was.
pub(super) async fn last_answer(
    site: &Site,
    request: &Request,
    until: SystemTime,
) -> Result<Option<(u64, Reply)>, EngineError> {
    let ask = || site.engine.last_answer(&request.client, &request.id);
    let Some((seen, envelope)) = site.patiently(until, ask).await? else { return Ok(None) };
    match Reply::from_envelope(&envelope) {
        Ok(reply) => Ok(Some((seen, reply))),
        Err(why) => Err(EngineError::Failed(format!("the last answer cannot be read: {why}"))),
    }
}

/// What this program has under the job's name.
pub(super) fn here(request: &Request) -> Here {
    match registry::named(&request.job).map(registry::Registered::fingerprint) {
        None => Here::Nothing,
        Some(fingerprint) if fingerprint == request.fingerprint => Here::Same,
        Some(fingerprint) => Here::Other(fingerprint),
    }
}

/// Runs a job unless something ends it: it is not wanted any more, its deadline is reached, the node ends.
pub(super) async fn work(site: &Site, run: &Run, attempt: u32, retries: u32) -> (End, Duration) {
    let begun = Instant::now();
    let failed = |failure| End::Answered(Answer::Failed(failure));
    let left = run.until().duration_since(SystemTime::now()).unwrap_or_default();
    // Whatever loses is dropped: with the local task the job is stopped.
    let (end, ran) = tokio::select! {
        biased;
        ended = run_here(site, run, attempt, retries) => ended,
        () = run.cancel.notified() => (failed(Failure::Cancelled), None),
        () = site.reached(Stop::GivingBack) => (End::Untouched { delay: Duration::ZERO }, None),
        () = sleep(left) => (failed(Failure::TimedOut { limit: "deadline".to_owned(), after_ms: 0 }), None),
    };
    (end, ran.unwrap_or_else(|| begun.elapsed()))
}

async fn run_here(site: &Site, run: &Run, attempt: u32, retries: u32) -> (End, Option<Duration>) {
    let argument = match load(site, run).await {
        Ok(argument) => argument,
        Err(failure) => return (End::Answered(Answer::Failed(failure)), None),
    };
    let mut task = start(site, &run.request, attempt, argument);
    let outcome = tokio::select! {
        biased;
        never = tell_begun(site, &run.request) => match never {},
        outcome = &mut task => outcome,
    };
    match outcome {
        Ok(performed) => {
            site.slots.works();
            after(Ok(performed), attempt, retries)
        }
        Err(error) => {
            // The pool was shut down: this node can run nothing more.
            if error.is_closed() || error.is_cancelled() {
                Stop::raise(&site.stop, Stop::Draining);
            }
            let (end, ran) = after(Err(&error), attempt, retries);
            drop_shielded::<TaskError>(error);
            (in_terms_of_node(site, end), ran)
        }
    }
}

/// The limit of a pool that was made for this node is that of the node, and a little more.
fn in_terms_of_node(site: &Site, end: End) -> End {
    match end {
        End::Answered(Answer::Failed(Failure::ResultTooLarge { size, .. })) if site.settings.owns_pool => {
            let limit = site.settings.max_payload;
            End::Answered(Answer::Failed(Failure::ResultTooLarge { size, limit }))
        }
        end => end,
    }
}

async fn load(site: &Site, run: &Run) -> Result<Bytes, Failure> {
    match &run.request.argument {
        Content::Here(bytes) => Ok(bytes.clone()),
        Content::Stored { object, len } => {
            let loaded = site.patiently(run.until(), || site.engine.load(object, *len)).await;
            let failed = |error: EngineError| {
                format!("the argument of {len} bytes cannot be read from the object store: {error}")
            };
            loaded.map_err(|error| Failure::Unavailable { why: failed(error) })
        }
    }
}

fn start(site: &Site, request: &Request, attempt: u32, argument: Bytes) -> Task<Performed> {
    let call = Perform { job: request.job.clone(), id: request.id.clone(), attempt, argument };
    let job = site.settings.pool.job(perform, call).name(request.job.as_str());
    let job = match request.run_timeout {
        Some(limit) => job.run_timeout(limit),
        None => job,
    };
    trace::below(request.traceparent.as_deref(), || job.run())
}

/// Tells the client once, whether it hears it or not.
async fn tell_begun(site: &Site, request: &Request) -> Infallible {
    let _ = site.engine.tell_begun(&request.client, &request.id, &site.settings.name).await;
    pending().await
}

impl Run {
    /// When nobody wants its result any more, by whichever clock.
    pub(super) fn until(&self) -> SystemTime {
        self.request.deadline.unwrap_or(self.arrived + A_DAY) + CLOCKS
    }

    pub(super) fn delivery(&self) -> Option<Rc<Delivery>> {
        self.delivery.borrow().clone()
    }

    /// Renews its lease.
    pub(super) async fn progress(&self) {
        if let Some(delivery) = self.delivery() {
            // The next one comes soon.
            let _ = delivery.progress().await;
        }
    }
}

/// A job's presence in `runs`, as long as this is there.
#[derive(Debug)]
pub(super) struct Present<'a> {
    site: &'a Site,
    pub(super) run: Rc<Run>,
}

impl<'a> Present<'a> {
    /// Enters it; `None` if it is there already, which then has the new delivery.
    pub(super) fn enter(site: &'a Site, request: Request, delivery: Option<Rc<Delivery>>) -> Option<Self> {
        let mut runs = site.runs.borrow_mut();
        if let Some(run) = runs.get(&request.id) {
            if delivery.is_some() {
                *run.delivery.borrow_mut() = delivery;
            }
            return None;
        }
        let id = request.id.clone();
        let (delivery, cancel) = (RefCell::new(delivery), Notify::new());
        let run = Rc::new(Run { request, delivery, cancel, arrived: SystemTime::now() });
        runs.insert(id, run.clone());
        Some(Self { site, run })
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.site.runs.borrow_mut().remove(&self.run.request.id);
    }
}
