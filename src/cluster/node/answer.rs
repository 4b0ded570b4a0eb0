//! [`settle`]: publishes what became of a delivery, and takes it off the queue or gives it back.

use std::{
    borrow::Cow,
    rc::Rc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    super::{
        engine::{Delivery, EngineError, Published},
        message::{Answer, Content, Envelope, Failure, Reply, Request},
    },
    decide::{Clash, End, Past, clash, refusal_delay},
    run::{Ended, Run, last_answer},
    serve::Site,
};

/// How often a message is taken off the queue, if the server does not answer. It has been answered: should it come again, it is not run.
const TRIES: usize = 4;
/// How long a job stays away whose outcome cannot be published from here.
const UNPUBLISHED: Duration = Duration::from_secs(2);

/// For how long a dead letter is tried to be kept, and an object that nobody wants to be removed.
const BURIAL: Duration = Duration::from_secs(10);
/// What a node has instead that would have run the job: it is no refusal to a client, but counts as no run either.
const UNTOUCHED: &str = "";

/// Brings a delivery to its end.
pub(super) async fn settle(site: &Site, run: &Run, ended: Ended) {
    let Ended { end, attempt, past, ran } = ended;
    let reply = |answer| reply(site, &run.request, attempt, ran, answer);
    match end {
        End::Known => take_off(site, run, Off::Done).await,
        End::Answered(answer) => {
            if publish(site, run, reply(answer)).await {
                take_off(site, run, Off::Done).await;
            } else {
                give_back(site, run, UNPUBLISHED).await;
            }
        }
        End::Refused { has, delay } => {
            site.counts.refused.one_more();
            not_run(site, run, past, &has, delay).await;
        }
        End::Again { delay } => {
            site.counts.given_back.one_more();
            give_back(site, run, delay).await;
        }
        End::Untouched { delay } => {
            site.counts.given_back.one_more();
            not_run(site, run, past, UNTOUCHED, delay).await;
        }
        End::Unable { why } => {
            site.counts.given_back.one_more();
            not_run(site, run, past, &why, refusal_delay(past.refusals)).await;
        }
        End::Unknown => {
            site.counts.given_back.one_more();
            // By now it has no slot: there is time to learn it.
            match last_answer(site, &run.request, run.until()).await {
                Ok(last) => match Past::of(last.as_ref()) {
                    Some(past) => not_run(site, run, past, UNTOUCHED, Duration::ZERO).await,
                    None => take_off(site, run, Off::Done).await,
                },
                Err(_) => give_back(site, run, UNPUBLISHED).await,
            }
        }
        End::Dead(failure) => {
            if let Some(delivery) = run.delivery() {
                bury(site, &run.request, &delivery.envelope, &failure, run.until()).await;
            }
            if publish(site, run, reply(Answer::Failed(failure))).await {
                take_off(site, run, Off::Dead).await;
            } else {
                give_back(site, run, UNPUBLISHED).await;
            }
        }
    }
}

pub(super) fn reply(site: &Site, request: &Request, attempt: u32, ran: Duration, answer: Answer) -> Reply {
    Reply { id: request.id.clone(), node: site.settings.name.clone(), attempt, ran, answer }
}

/// Gives a job back that has not run, and notes that, so that this delivery counts as none. An outcome that another node has published
/// meanwhile stays.
async fn not_run(site: &Site, run: &Run, mut past: Past, has: &str, delay: Duration) {
    for _ in 0..TRIES {
        let answer = Answer::Refused { count: past.refusals.saturating_add(1), has: has.to_owned() };
        let mine = reply(site, &run.request, 0, Duration::ZERO, answer);
        match refuse(site, run, &mine, past).await {
            Ok(Published::Copy | Published::Overtaken) => {}
            Ok(Published::Stored) | Err(_) => break,
        }
        let Ok(last) = last_answer(site, &run.request, run.until()).await else { break };
        match clash(last.as_ref(), &mine) {
            Clash::Outcome => return take_off(site, run, Off::Done).await,
            Clash::Mine => break,
            Clash::Again(now) => past = now,
        }
    }
    give_back(site, run, delay).await;
}

async fn refuse(site: &Site, run: &Run, reply: &Reply, past: Past) -> Result<Published, EngineError> {
    let request = &run.request;
    // Each counts, so each must pass.
    let message_id = format!("{}-refused-{}", request.message_id(), past.refusals.saturating_add(1));
    let reply = reply.to_envelope();
    let send =
        || site.engine.answer_after(past.seen, &request.client, &request.id, &message_id, reply.clone());
    site.patiently(run.until(), send).await
}

/// Publishes an outcome, until nobody wants it any more. Says whether that was done.
async fn publish(site: &Site, run: &Run, reply: Reply) -> bool {
    let reply = fitting(site, run, reply, site.engine.max_message() / 2).await;
    let outcome = match send(site, run, &reply).await {
        Err(EngineError::TooLarge { size, limit }) => {
            let reply = match fitting(site, run, reply, 0).await {
                small @ Reply { answer: Answer::Value(Content::Stored { .. }), .. } => small,
                reply => Reply { answer: Answer::Failed(does_not_fit(size, limit)), ..reply },
            };
            send(site, run, &reply).await
        }
        outcome => outcome,
    };
    if outcome.is_ok() {
        site.counts.answered.one_more();
    }
    outcome.is_ok()
}

async fn send(site: &Site, run: &Run, reply: &Reply) -> Result<Published, EngineError> {
    let request = &run.request;
    let message_id = format!("{}-result", request.message_id());
    let envelope = reply.to_envelope();
    let send = || site.engine.answer(&request.client, &request.id, &message_id, envelope.clone());
    let outcome = site.patiently(run.until(), send).await;
    if outcome == Ok(Published::Copy)
        && let Answer::Value(Content::Stored { object, .. }) = &reply.answer
    {
        discard_unless_named(site, run, object).await;
    }
    outcome
}

/// Removes an object that no answer names: that of another run was there first. It is named if that answer is this one, sent before.
async fn discard_unless_named(site: &Site, run: &Run, object: &str) {
    let until = SystemTime::now() + BURIAL;
    let names_it = |reply: &Reply| matches!(&reply.answer, Answer::Value(Content::Stored { object: named, .. }) if named == object);
    match last_answer(site, &run.request, until).await {
        Ok(Some((_, last))) if !names_it(&last) => {
            // If it fails the bucket forgets it in its time.
            let _ = site.engine.discard(object).await;
        }
        _ => {}
    }
}

/// The words of a failure take more than a message may.
pub(super) fn does_not_fit(size: u64, limit: u64) -> Failure {
    Failure::Unavailable { why: format!("the answer takes {size} bytes, and the server takes {limit}") }
}

/// Puts a value of more than `most` bytes into the object store; refuses one that is larger than this node may send.
pub(super) async fn fitting(site: &Site, run: &Run, reply: Reply, most: u64) -> Reply {
    let Answer::Value(Content::Here(bytes)) = &reply.answer else { return reply };
    let (len, limit) = (bytes.len() as u64, site.settings.max_payload);
    let answer = if len > limit {
        Answer::Failed(Failure::ResultTooLarge { size: len, limit })
    } else if len > most {
        store(site, run, bytes, reply.attempt).await
    } else {
        return reply;
    };
    Reply { answer, ..reply }
}

async fn store(site: &Site, run: &Run, bytes: &Bytes, attempt: u32) -> Answer {
    let object = format!("{}-result-{attempt}", run.request.message_id());
    let len = bytes.len() as u64;
    match site.patiently(run.until(), || site.engine.store(&object, bytes.clone())).await {
        Ok(()) => Answer::Value(Content::Stored { object, len }),
        Err(error) => {
            let why = format!("the result of {len} bytes cannot be put into the object store: {error}");
            Answer::Failed(Failure::Unavailable { why })
        }
    }
}

/// How a message leaves the queue.
#[derive(Debug, Clone, Copy)]
enum Off {
    Done,
    /// Nobody can do it.
    Dead,
}

async fn take_off(site: &Site, run: &Run, off: Off) {
    for _ in 0..TRIES {
        let Some(delivery) = run.delivery() else { return };
        let outcome = match off {
            Off::Done => delivery.ack().await,
            Off::Dead => delivery.terminate().await,
        };
        site.note(&outcome);
        match outcome {
            Err(EngineError::Lost(_)) => site.pause(Duration::from_millis(250)).await,
            _ => return,
        }
    }
}

async fn give_back(site: &Site, run: &Run, delay: Duration) {
    let Some(delivery) = run.delivery() else { return };
    // If it fails the lease ends by itself.
    let outcome = delivery.give_back(delay).await;
    site.note(&outcome);
}

/// Puts a job among the dead letters, if that can be done soon: its client waits for the answer, which comes after that.
pub(super) async fn bury(
    site: &Site,
    request: &Request,
    envelope: &Envelope,
    failure: &Failure,
    until: SystemTime,
) {
    let message_id = format!("{}-dead", request.message_id());
    let letter = letter(site, envelope, &words(failure));
    let send = || site.engine.dead_letter(&request.queue, &message_id, letter.clone());
    let until = until.min(SystemTime::now() + BURIAL);
    if site.patiently(until, send).await.is_ok() {
        site.counts.dead_letters.one_more();
    }
}

/// A message with what it died of.
pub(super) fn letter(site: &Site, envelope: &Envelope, why: &str) -> Envelope {
    let mut letter = envelope.clone();
    // What the server makes of its own headers is about another message.
    letter.headers.retain(|(name, _)| !name.starts_with("Nats-"));
    // A header is one line.
    let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    letter.headers.push((Cow::Borrowed("Hl-Dead-Reason"), why));
    letter.headers.push((Cow::Borrowed("Hl-Dead-Node"), site.settings.name.clone()));
    letter
}

/// A failure in a line.
fn words(failure: &Failure) -> String {
    match failure {
        Failure::WorkerDied { pid, signal: Some(signal), .. } => {
            format!("worker {pid} died of signal {signal}")
        }
        Failure::WorkerDied { pid, code: Some(code), .. } => format!("worker {pid} exited with code {code}"),
        Failure::WorkerDied { pid, .. } => format!("worker {pid} died"),
        Failure::Unavailable { why } => why.clone(),
        other => format!("{other:?}"),
    }
}

/// A message that is no job: nobody can be told.
pub(super) async fn unreadable(site: &Rc<Site>, queue: usize, delivery: &Delivery, why: &str) {
    let queue = &site.settings.queues[queue];
    let letter = letter(site, &delivery.envelope, &format!("not a job: {why}"));
    let message_id = format!("{}-unreadable-{}", queue, delivery.sequence);
    let outcome = site.engine.dead_letter(queue, &message_id, letter).await;
    site.note(&outcome);
    if outcome.is_ok() {
        site.counts.dead_letters.one_more();
        let outcome = delivery.terminate().await;
        site.note(&outcome);
    }
}
