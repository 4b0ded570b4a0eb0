//! [`keep_asking`]: asks for as many jobs as there are free slots, and passes on what comes.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::spawn_local;

use super::{
    super::engine::EngineError,
    Stop, run,
    serve::{Occupied, Site},
    share::Ask,
    slots::Asked,
};

/// How long slots stay unasked after a request that was cut short, and after one that has failed for good.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
const LOST_PAUSE: Duration = Duration::from_millis(250);
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// Asks until the node has to end.
///
/// A request is never taken back: jobs may be on their way. It ends by itself, soon.
pub(super) async fn keep_asking(site: Rc<Site>) {
    while !site.is_ending() {
        for (ask, asked) in site.slots.asks() {
            spawn_local(pull(site.clone(), ask, asked, site.occupy()));
        }
        tokio::select! {
            () = site.slots.changed() => {}
            () = site.reached(Stop::Draining) => {}
        }
    }
}

async fn pull(site: Rc<Site>, ask: Ask, mut asked: Asked, occupied: Occupied) {
    let begun = Instant::now();
    let outcome = take(&site, ask, &mut asked).await;
    site.note(&outcome);
    if asked.left() == 0 {
        return;
    }
    asked.unfilled();
    let pause = match outcome {
        Ok(()) if begun.elapsed() * 2 >= ask.expires => return,
        // Interrupted.
        Ok(()) => SHORT_PAUSE,
        Err(EngineError::Lost(_)) => LOST_PAUSE,
        Err(_) => LONG_PAUSE,
    };
    // Nothing can come any more: this does not keep the node.
    drop(occupied);
    site.pause(pause).await;
}

/// Takes what comes.
async fn take(site: &Rc<Site>, ask: Ask, asked: &mut Asked) -> Result<(), EngineError> {
    let mut pull = site.engine.pull(&site.settings.queues[ask.queue], ask.most, ask.expires).await?;
    while asked.left() > 0 {
        let Some(delivery) = pull.next().await else { return Ok(()) };
        let delivery = delivery?;
        let slot = asked.arrived();
        spawn_local(run::attend(site.clone(), slot, ask.queue, delivery, site.occupy()));
    }
    Ok(())
}
