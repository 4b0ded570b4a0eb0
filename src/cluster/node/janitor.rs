//! What no delivery takes care of any more: jobs that were delivered too often, and messages that a server has forgotten to remove.
//!
//! Every node does both. Each job that was given up is seen by one of them; that two remove the same message hurts nobody. A message that
//! its queue is past may be either: what has an outcome was acked, what has none was given up, and the note of that may be lost.

use std::{
    hash::{BuildHasher, RandomState},
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    super::{
        engine::{EngineError, GivenUp, Published},
        message::{Answer, Failure, Request},
    },
    answer::{bury, letter, reply},
    decide::{Past, given_up},
    run::last_answer,
    serve::Site,
};

/// How often orphans are looked for, about: so that nodes that start together do not look together.
const ROUND: Duration = Duration::from_secs(60);
/// How much sooner after a reconnection, and then later and later.
const SOON: u32 = 60;
/// How long one job may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers for jobs that the server delivers no more.
pub(super) async fn bury_given_up(site: Rc<Site>, mut jobs: GivenUp) {
    while let Some(job) = jobs.next().await {
        // If it fails it comes again, here or elsewhere.
        if bury_one(&site, job.sequence, Some(job.deliveries)).await.is_ok() {
            job.ack().await;
        }
    }
}

/// Removes a message that nobody delivers any more, and answers for it if nobody has.
async fn bury_one(site: &Site, sequence: u64, deliveries: Option<u64>) -> Result<(), EngineError> {
    let until = SystemTime::now() + PATIENCE;
    let Some(envelope) = site.patiently(until, || site.engine.job_at(sequence)).await? else { return Ok(()) };
    match Request::from_envelope(&envelope).or_else(|why| Request::remains(&envelope).ok_or(why)) {
        // It will be answered by its run.
        Ok(request) if site.runs.borrow().contains_key(&request.id) => return Ok(()),
        Ok(request) => {
            // What cannot be learnt is left alone: an outcome may be there.
            let last = last_answer(site, &request, until).await?;
            if let Some(past) = Past::of(last.as_ref()) {
                let failure = given_up(deliveries, last.as_ref().map(|(_, reply)| &reply.answer));
                bury(site, &request, &envelope, &failure, until).await;
                tell(site, &request, past, failure, until).await?;
            }
        }
        Err(why) => {
            let letter = letter(site, &envelope, &format!("not a job: {why}"));
            let message_id = format!("unreadable-{sequence}");
            let send = || site.engine.dead_letter("unknown", &message_id, letter.clone());
            site.patiently(until, send).await?;
        }
    }
    site.patiently(until, || site.engine.withdraw(sequence)).await.map(drop)
}

/// Tells the client, unless somebody else has said something meanwhile.
async fn tell(
    site: &Site,
    request: &Request,
    past: Past,
    failure: Failure,
    until: SystemTime,
) -> Result<(), EngineError> {
    let reply = reply(site, request, 0, Duration::ZERO, Answer::Failed(failure)).to_envelope();
    let message_id = format!("{}-result", request.message_id());
    let (client, id) = (&request.client, &request.id);
    let send = || site.engine.answer_after(past.seen, client, id, &message_id, reply.clone());
    match site.patiently(until, send).await? {
        Published::Stored | Published::Copy => Ok(()),
        Published::Overtaken => Err(EngineError::Failed("it was answered meanwhile".to_owned())),
    }
}

/// Removes messages that their queues are past and that are still there, and looks how long leases are, about once a minute, and more often after a reconnection.
pub(super) async fn remove_orphans(site: Rc<Site>) {
    let chance = RandomState::new().hash_one(&site.settings.name) % 1000;
    let round = ROUND.mul_f64(0.75 + chance as f64 / 2000.0);
    let mut wait = round;
    loop {
        let begun = Instant::now();
        site.pause(wait).await;
        // What was left behind comes to light when the queue is past it: soon after the server was back, but not at once.
        let has_reconnected = begun.elapsed() < wait;
        wait = if has_reconnected { round / SOON } else { (2 * wait).min(round) };
        if let Ok(lease) = site.engine.lease_now(&site.settings.queues).await {
            site.lease_is(lease);
        }
        let Ok(orphans) = site.engine.orphans(&site.settings.queues).await else { continue };
        for sequence in orphans {
            match bury_one(&site, sequence, None).await {
                // That is about this one: the next round looks again.
                Ok(()) | Err(EngineError::Failed(_)) => {}
                Err(_) => break,
            }
        }
    }
}
