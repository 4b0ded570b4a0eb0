//! [`answer`]: the fast mode. Calls come without a queue and are answered at once, or not at all.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use tokio::task::spawn_local;

use super::{
    super::{
        engine::{Call, Calls, EngineError},
        message::{Answer, Failure, Reply, Request},
    },
    answer::{does_not_fit, fitting, reply},
    decide::{End, Verdict, judge},
    run::{Present, here, work},
    serve::{Occupied, Site},
    slots::Slot,
};

/// Answers the calls of a queue.
pub(super) async fn answer(site: Rc<Site>, mut calls: Calls) {
    while let Some(call) = calls.next().await {
        // A slot may have been asked for by now: then one job more runs, for as long as this one takes.
        let slot = if site.is_ending() { None } else { site.slots.borrow() };
        spawn_local(one(site.clone(), slot, call, site.occupy()));
    }
}

async fn one(site: Rc<Site>, slot: Option<Slot>, call: Call, _occupied: Occupied) {
    let request = match Request::from_envelope(&call.envelope) {
        Ok(request) => request,
        Err(why) => return unreadable(&site, &call, &why).await,
    };
    // Nothing runs twice: a second call of the same id finds the first.
    let Some(here) = Present::enter(&site, request, None) else { return };
    let busy = || Failure::Overloaded {
        queue: here.run.request.queue.clone(),
        why: format!("node {} has no free slot", site.settings.name),
    };
    let (answer, ran) = match slot {
        None => {
            site.counts.calls_refused.one_more();
            (Answer::Failed(busy()), Duration::ZERO)
        }
        Some(slot) => {
            site.counts.calls.one_more();
            site.count_running();
            let (end, ran) = attempt(&site, &here).await;
            drop(slot);
            (in_one(end, busy), ran)
        }
    };
    site.count_running();
    let reply = reply(&site, &here.run.request, 1, ran, answer);
    let reply = fitting(&site, &here.run, reply, site.engine.max_message() / 2).await;
    let outcome = match call.reply(reply.to_envelope()).await {
        Err(EngineError::TooLarge { size, limit }) => {
            let reply = Reply { answer: Answer::Failed(does_not_fit(size, limit)), ..reply };
            call.reply(reply.to_envelope()).await
        }
        outcome => outcome,
    };
    site.note(&outcome);
}

/// Answers a call of which it may not even be known whose it is: there is an address, and whoever waits there knows.
async fn unreadable(site: &Site, call: &Call, why: &str) {
    let name = &site.settings.name;
    let reply = Reply {
        id: call.envelope.header("Hl-Id").unwrap_or("unknown").to_owned(),
        node: name.clone(),
        attempt: 0,
        ran: Duration::ZERO,
        answer: Answer::Failed(Failure::Unavailable {
            why: format!("node {name} cannot read the call: {why}"),
        }),
    };
    let outcome = call.reply(reply.to_envelope()).await;
    site.note(&outcome);
}

async fn attempt(site: &Site, present: &Present<'_>) -> (End, Duration) {
    let request = &present.run.request;
    match judge(request, 1, 0, SystemTime::now(), here(request)) {
        Verdict::Run { attempt } => work(site, &present.run, attempt, 0).await,
        Verdict::End(end) => (end, Duration::ZERO),
    }
}

/// What a client is told that has no second try.
fn in_one(end: End, busy: impl FnOnce() -> Failure) -> Answer {
    match end {
        End::Answered(answer) => answer,
        End::Refused { has, .. } => Answer::Refused { count: 1, has },
        End::Dead(failure) => Answer::Failed(failure),
        End::Unable { why } => {
            Answer::Failed(Failure::Unavailable { why: format!("the node has refused it: {why}") })
        }
        End::Known | End::Again { .. } | End::Untouched { .. } | End::Unknown => Answer::Failed(busy()),
    }
}
