//! The client of a pool: publishes its jobs and receives their results, on a thread of its own.
//!
//! ```text
//!  handles, tasks ──Event──▶ ┌ serve ──────────────────┐ ──spawn──▶ publish, withdraw, discard, fetch (background)
//!  results ────────────────▶ │ Queue, Table            │ ◀──Done──┘
//!  begun ──────────────────▶ │                         │
//!  the next deadline ──────▶ └─────────────────────────┘
//! ```
//!
//! [`serve`](Client::serve) is the one loop. It waits for whatever comes next and for nothing else: what the servers take their time for is done
//! beside it. [`table`] decides, this module does, [`outgoing`] is what it does beside.

mod outgoing;
mod retry;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use self::{
    outgoing::{argument_of, call, discard, publish, receive, withdraw},
    table::{Overdue, Stop, Table},
};
use super::{
    ClusterError, Delivery,
    access::Access,
    engine::{Engine, EngineError, Note, Results},
    message::{Answer, Content, Envelope, Failure, Reply, Request},
    registry::{self, Registered},
    seat::ClusterJob,
    shared::Shared,
};
use crate::{
    TaskError,
    counted::Counted,
    error::{Operand, TaskLabel},
    panic::drop_shielded,
    pool::{Place, queue::Queue},
};

/// How many events are taken at a time.
const BATCH: usize = 256;
/// An argument that is larger than this, or than half of a message, is stored apart.
const MOST_INLINE: u64 = 512 << 10;
/// How long it may take to tidy up when all tasks have finished.
const LINGER: Duration = Duration::from_secs(5);
/// How long it may take to send what is buffered.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the client is told.
pub(super) enum Event {
    Submit(Counted<dyn ClusterJob>),
    /// A task has finished while its job was under way.
    Stop(u64),
    /// A task has finished while its job waited.
    Gone(u64),
    /// Look whether the end has come.
    Look,
}

/// What has been done in the background.
enum Done {
    Nothing,
    /// Under which sequence.
    Published(u64, Result<u64, EngineError>),
    /// Its value, and its task has been told.
    Received(u64),
    /// With this reply.
    Called(u64, Result<Envelope, EngineError>),
}

/// A job, with what is given back or removed when it is gone.
struct Held {
    job: Counted<dyn ClusterJob>,
    place: Option<Place>,
    has_object: bool,
    /// Its name on the nodes, once it was published.
    function: Option<&'static str>,
    /// The object that its value is fetched from.
    receives: Option<String>,
    /// Ends the call, in the mode without a queue.
    call: Option<AbortHandle>,
}

impl Held {
    /// Gives the job's place back: before anybody can see that its task has finished, so that who sees that finds room.
    ///
    /// It wakes whoever waits for room: foreign wakers, which are shielded there.
    fn leave(&mut self) {
        self.place = None;
    }
}

/// Connects, tells `ready` how that went, and serves the pool until its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    access: Access,
    events: UnboundedReceiver<Event>,
    ready: oneshot::Sender<Result<(), ClusterError>>,
) {
    // Whatever ends this ends what is left of the pool.
    let _guard = Guard(shared.clone());
    let connected = match connect(&shared, &access).await {
        Ok(connected) => connected,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(())).is_err() {
        // Nobody has waited for it.
        return;
    }
    let Connected { engine, results, begun } = connected;
    Client::new(shared, engine.clone()).serve(Incoming { events, results, begun }).await;
    let _ = timeout(FAREWELL, engine.close()).await;
}

struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.client_ended("the client of its pool has ended: connect anew");
    }
}

struct Connected {
    engine: Engine,
    results: Option<Results>,
    begun: UnboundedReceiver<Note>,
}

async fn connect(shared: &Shared, access: &Access) -> Result<Connected, ClusterError> {
    let engine = Engine::connect(access, &shared.setup.name).await?;
    let results = match shared.setup.delivery {
        Delivery::AtLeastOnce => {
            let results = engine.results(&shared.setup.client).await?;
            engine.find_queue(&shared.setup.queue).await?;
            if let Some(age) = engine.max_age().await {
                let _ = shared.setup.kept_for.set(age);
            }
            Some(results)
        }
        Delivery::AtMostOnce => None,
    };
    let begun = engine.begun(&shared.setup.client).await?;
    Ok(Connected { engine, results, begun })
}

/// All that the loop waits for, apart from what it has begun itself.
struct Incoming {
    events: UnboundedReceiver<Event>,
    /// None in the mode without a queue, where a call has its own answer.
    results: Option<Results>,
    begun: UnboundedReceiver<Note>,
}

impl Incoming {
    async fn next_results(results: &mut Option<Results>, taken: &mut Vec<Envelope>) -> usize {
        match results {
            Some(results) => results.next_many(taken, BATCH).await,
            None => future::pending().await,
        }
    }
}

struct Client {
    shared: Arc<Shared>,
    engine: Engine,
    /// Larger arguments are stored.
    most_inline: usize,
    /// Jobs that wait to be published, in their order.
    queue: Queue<Counted<dyn ClusterJob>>,
    table: Table<Held>,
    background: JoinSet<Done>,
    /// When a node has last run a function to its end.
    served: HashMap<&'static str, Instant>,
    /// When to look for what is overdue; or nothing is there to become so.
    wakes_at: Option<Instant>,
    /// By when it ends, once all tasks have.
    ends_by: Option<Instant>,
}

impl Client {
    fn new(shared: Arc<Shared>, engine: Engine) -> Self {
        let most_inline = (engine.max_message() / 2).min(MOST_INLINE) as usize;
        Self {
            shared,
            engine,
            most_inline,
            queue: Queue::new(),
            table: Table::new(),
            background: JoinSet::new(),
            served: HashMap::new(),
            wakes_at: None,
            ends_by: None,
        }
    }

    /// Serves the pool until nothing is left to do, or the connection is closed for good.
    async fn serve(mut self, mut incoming: Incoming) {
        let (mut events, mut notes) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut results = Vec::with_capacity(BATCH);
        let wake = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(wake);
        while !self.has_ended(&incoming.events) {
            if let Some(at) = self.new_wake() {
                wake.as_mut().reset(at.into());
            }
            tokio::select! {
                _ = incoming.events.recv_many(&mut events, BATCH) => {
                    events.drain(..).for_each(|event| self.event(event));
                }
                count = Incoming::next_results(&mut incoming.results, &mut results) => {
                    if count == 0 {
                        break;
                    }
                    results.drain(..).for_each(|result| self.result(&result));
                }
                count = incoming.begun.recv_many(&mut notes, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    notes.drain(..).for_each(|note| self.note(&note));
                }
                Some(done) = self.background.join_next() => {
                    // An error is a call that was ended.
                    done.into_iter().for_each(|done| self.done(done));
                }
                () = &mut wake, if self.wakes_at.is_some() => self.look_at_clock(),
            }
            self.fill();
        }
        drop_shielded(self.queue.take_all());
    }

    /// Whether all is done, or there is no more time for it.
    ///
    /// What has been told and not been heard is to be done, too: jobs to be stopped, mostly.
    fn has_ended(&mut self, events: &UnboundedReceiver<Event>) -> bool {
        if !self.shared.try_end() || !events.is_empty() {
            return false;
        }
        let ends_by = *self.ends_by.get_or_insert_with(|| Instant::now() + LINGER);
        self.background.is_empty() || ends_by <= Instant::now()
    }

    /// When to wake, if that has changed to an earlier time.
    fn new_wake(&mut self) -> Option<Instant> {
        if self.wakes_at.is_some() && self.ends_by.is_none() {
            return None;
        }
        let next = [self.table.next_due(), self.ends_by].into_iter().flatten().min()?;
        if self.wakes_at.is_some_and(|at| at <= next) {
            return None;
        }
        self.wakes_at = Some(next);
        self.wakes_at
    }

    fn look_at_clock(&mut self) {
        self.wakes_at = None;
        let (setup, engine, now) = (&self.shared.setup, &self.engine, Instant::now());
        if self.table.has_refusals() {
            let running = self.table.running().filter_map(|held| held.function);
            self.served.extend(running.map(|function| (function, now)));
        }
        // Nodes are there that have it: they are busy.
        let is_served = |held: &Held| {
            let last = held.function.and_then(|function| self.served.get(function));
            last.is_some_and(|last| now.duration_since(*last) < setup.refusal_timeout)
        };
        let wait = |held: &Held| is_served(held).then(|| now + setup.refusal_timeout);
        self.table.overdue(now, wait, |overdue| match overdue {
            Overdue::Deadline(held) => {
                let trouble = || engine.trouble();
                held.job
                    .end(&|label| TaskError::timed_out_after(label, "deadline", setup.deadline(), trouble()));
            }
            Overdue::Refused(held, words) => {
                held.job.end(&|label| TaskError::unavailable(label, words.as_str()));
            }
        });
    }
}

/// What comes from handles and tasks.
impl Client {
    fn event(&mut self, event: Event) {
        match event {
            Event::Submit(job) => {
                let held = Held {
                    job: job.clone(),
                    place: None,
                    has_object: false,
                    function: None,
                    receives: None,
                    call: None,
                };
                self.table.wait(job.number(), held, job.deadline());
                self.queue.push(job);
            }
            Event::Gone(number) => {
                self.table.stop(number);
                drop_shielded(self.queue.cancelled(|job| job.is_queued()));
            }
            Event::Stop(number) => {
                if let Stop::Now(held, sequence) = self.table.stop(number) {
                    self.take_back(number, held, sequence);
                }
            }
            Event::Look => {}
        }
    }

    /// Publishes what waits, as long as there is room.
    fn fill(&mut self) {
        while self.table.in_flight() < self.shared.setup.in_flight {
            let Some(job) = self.queue.pop() else { return };
            match job.claim() {
                Some((request, place)) => self.publish(job, request, place),
                // Finished meanwhile.
                None => _ = self.table.stop(job.number()),
            }
        }
    }

    fn publish(&mut self, job: Counted<dyn ClusterJob>, request: Request, place: Place) {
        let number = job.number();
        let Some(held) = self.table.publish(number) else { return };
        held.place = Some(place);
        held.function = registry::named(&request.job).map(Registered::name);
        held.has_object = matches!(&request.argument, Content::Here(bytes) if bytes.len() > self.most_inline);
        let engine = self.engine.clone();
        if self.shared.setup.delivery == Delivery::AtMostOnce {
            held.call = Some(self.background.spawn(call(engine, request, self.most_inline, job)));
            // It is under way as soon as it is asked for, and can be cancelled.
            self.table.sent(number, None);
        } else {
            let subject = engine.names().task(&request.queue, &request.job);
            self.background.spawn(publish(engine, subject, request, self.most_inline, job));
        }
    }

    /// Has a job that was sent withdrawn and stopped.
    fn take_back(&mut self, number: u64, held: Held, sequence: Option<u64>) {
        let id = self.shared.setup.id_of(number);
        self.background.spawn(withdraw(self.engine.clone(), id, sequence));
        self.let_go(number, held);
    }

    /// Has a job stopped that may have arrived, though nobody knows where.
    fn stop_anywhere(&mut self, number: u64) {
        let id = self.shared.setup.id_of(number);
        self.background.spawn(withdraw(self.engine.clone(), id, None));
    }

    /// Lets go of a job that is over.
    fn let_go(&mut self, number: u64, held: Held) {
        let Held { job, place, has_object, call, .. } = held;
        drop_shielded(job);
        if let Some(call) = call {
            call.abort();
        }
        if has_object {
            let object = argument_of(&self.shared.setup.id_of(number));
            self.background.spawn(discard(self.engine.clone(), object));
        }
        drop(place);
    }
}

/// What comes from the servers.
impl Client {
    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Received(number) => self.received(number),
            Done::Published(number, Ok(sequence)) => {
                if let Some(held) = self.table.sent(number, Some(sequence)) {
                    self.take_back(number, held, Some(sequence));
                }
            }
            Done::Published(number, Err(error)) => self.not_published(number, error),
            Done::Called(number, Err(EngineError::Lost(why))) => {
                self.stop_anywhere(number);
                self.not_published(number, EngineError::Failed(format!("it was lost on the way: {why}")));
            }
            Done::Called(number, Err(error)) => self.not_published(number, error),
            Done::Called(number, Ok(envelope)) => match Reply::from_envelope(&envelope) {
                // Nobody else is asked.
                Ok(Reply { answer: Answer::Refused { has, .. }, .. }) => {
                    let why = format!("a node of queue {:?} refused it: {has}", self.shared.setup.queue);
                    self.not_published(number, EngineError::Failed(why));
                }
                Ok(reply) => self.reply(number, reply),
                Err(why) => self.not_published(number, EngineError::Failed(unreadable(&why))),
            },
        }
    }

    fn not_published(&mut self, number: u64, error: EngineError) {
        if self.table.receiving(number).is_some() {
            // It was, and nobody has told.
            return;
        }
        let Some(mut held) = self.table.take(number) else { return };
        held.leave();
        let is_unwanted = !held.job.end(&|label| refusal(error.clone(), &self.shared.setup.queue, label));
        if is_unwanted || matches!(error, EngineError::Lost(_)) {
            self.stop_anywhere(number);
        }
        self.let_go(number, held);
    }

    fn note(&mut self, note: &Note) {
        let id = std::str::from_utf8(&note.body).ok().and_then(|text| text.split(' ').next());
        let number = id.and_then(|id| self.shared.setup.number_of(id));
        if let Some(held) = number.and_then(|number| self.table.begun(number)) {
            held.job.begun(Instant::now());
        }
    }

    fn result(&mut self, envelope: &Envelope) {
        // What cannot be read is nobody's: its job has a deadline.
        if let Ok(reply) = Reply::from_envelope(envelope)
            && let Some(number) = self.shared.setup.number_of(&reply.id)
        {
            self.reply(number, reply);
        }
    }

    fn reply(&mut self, number: u64, reply: Reply) {
        let Reply { ran, answer, .. } = reply;
        match answer {
            // It goes back untouched, from a node that would have run it.
            Answer::Refused { has, .. } if has.is_empty() => {}
            Answer::Refused { count, has } => self.refused(number, count, &has),
            Answer::Failed(failure) => {
                let Some(mut held) = self.table.take(number) else { return };
                if failure.is_of_a_run() {
                    self.has_run(held.function);
                }
                held.leave();
                // A dead letter names the object, which goes by its age then.
                held.has_object &= !failure.may_be_a_dead_letter();
                held.job.failed(ran, failure);
                self.let_go(number, held);
            }
            Answer::Value(value) => self.value(number, ran, value),
        }
    }

    fn refused(&mut self, number: u64, count: u32, has: &str) {
        let setup = &self.shared.setup;
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let words = format!(
            "nodes of queue {:?} refused it {times}, and none took it within {:?} (refusal_timeout): {has}",
            setup.queue, setup.refusal_timeout
        );
        let limit = Instant::now() + setup.refusal_timeout;
        self.table.refused(number, words, limit);
        if self.wakes_at.is_none_or(|at| limit < at) {
            self.wakes_at = None;
        }
    }

    fn value(&mut self, number: u64, ran: Duration, value: Content) {
        if let Some(held) = self.table.receiving(number) {
            // A copy: who receives the object removes it, too.
            let is_other = held.receives.as_deref() != object_of(&value);
            return if is_other {
                self.discard_value(value)
            };
        }
        let (size, limit) = (len_of(&value), self.shared.setup.max_payload);
        let is_small = matches!(&value, Content::Here(bytes) if bytes.len() <= outgoing::LARGE);
        if !is_small
            && size <= limit
            && let Some(held) = self.table.receive(number)
        {
            held.receives = object_of(&value).map(str::to_owned);
            let (job, place, function) = (held.job.clone(), held.place.take(), held.function);
            self.background.spawn(receive(self.engine.clone(), value, ran, job, place));
            return self.has_run(function);
        }
        // Without one it is a copy, or of a task that is over.
        if let Some(mut held) = self.table.take(number) {
            self.has_run(held.function);
            held.leave();
            match &value {
                Content::Here(bytes) if is_small => held.job.answered(ran, bytes.clone()),
                _ if size > limit => held.job.failed(ran, Failure::ResultTooLarge { size, limit }),
                _ => {}
            }
            self.let_go(number, held);
        }
        self.discard_value(value);
    }

    fn discard_value(&mut self, value: Content) {
        if let Content::Stored { object, .. } = value {
            self.background.spawn(discard(self.engine.clone(), object));
        }
    }

    /// A value has been received, and its task told.
    fn received(&mut self, number: u64) {
        let Some(mut held) = self.table.take(number) else { return };
        if let Some(object) = held.receives.take() {
            self.background.spawn(discard(self.engine.clone(), object));
        }
        self.let_go(number, held);
    }

    /// A node that has the function has run it.
    fn has_run(&mut self, function: Option<&'static str>) {
        if let Some(function) = function {
            self.served.insert(function, Instant::now());
        }
    }
}

/// The object that a value is in, if it is.
fn object_of(value: &Content) -> Option<&str> {
    match value {
        Content::Here(_) => None,
        Content::Stored { object, .. } => Some(object),
    }
}

fn len_of(value: &Content) -> u64 {
    match value {
        Content::Here(bytes) => bytes.len() as u64,
        Content::Stored { len, .. } => *len,
    }
}

/// Why a job was not published, as its task's error.
fn refusal(error: EngineError, queue: &str, label: TaskLabel) -> TaskError {
    match error {
        EngineError::Full(why) => TaskError::overloaded_there(label, queue, &why),
        EngineError::TooLarge { size, limit } => TaskError::too_large(label, Operand::Argument, size, limit),
        EngineError::Denied(why) => {
            TaskError::unavailable(label, format!("the server does not permit it: {why}"))
        }
        EngineError::Lost(why) => TaskError::unavailable(label, format!("the servers do not answer: {why}")),
        EngineError::Failed(why) => TaskError::unavailable(label, why),
    }
}

fn unreadable(why: &str) -> String {
    format!("a node has answered what cannot be read: {why}")
}
