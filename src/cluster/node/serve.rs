//! [`Site`]: what lives on a node's thread; and that thread, from the connection to the report.
//!
//! 1. Whatever holds a delivery, or has asked for some, is [`Occupied`]; the node ends when nobody is, or when its time is over.
//! 2. A job is in `runs` from its delivery until its message is off the queue, so that its lease is renewed and copies are known.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::{
    super::{
        engine::{Calls, Engine, EngineError, GivenUp, Notes},
        error::{ClusterError, ClusterErrorKind},
        registry, thread,
    },
    Node, NodeReport, Stop,
    builder::Settings,
    calls,
    counts::Counts,
    janitor, pull,
    run::Run,
    slots::Slots,
};
use crate::{Executor, Shutdown};

/// How long the node may take to give back what is left, once it has to end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a request that has failed waits before it is tried again, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Everything that the parts of a node share. On its thread only.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) settings: Settings,
    pub(super) engine: Engine,
    /// For how long a job may go without progress.
    lease: watch::Sender<Duration>,
    pub(super) slots: Rc<Slots>,
    pub(super) counts: Arc<Counts>,
    pub(super) stop: Arc<watch::Sender<Stop>>,
    pub(super) runs: RefCell<HashMap<String, Rc<Run>>>,
    occupied: Cell<usize>,
    quiet: Notify,
    has_trouble: Cell<bool>,
}

/// What comes from the servers without being asked for.
struct Streams {
    cancels: Notes,
    given_up: GivenUp,
    calls: Vec<Calls>,
}

/// Starts a node's thread, and returns its handle once it serves.
pub(super) async fn start(settings: Settings) -> Result<Node, ClusterError> {
    let (tell_started, started) = oneshot::channel();
    let (tell_ended, ended) = watch::channel(None);
    let (stop, counts) = (Arc::new(watch::Sender::new(Stop::Serving)), Arc::new(Counts::default()));
    let node = Node { name: settings.name.clone(), counts: counts.clone(), stop: stop.clone(), ended };
    let other = |why: String| ClusterError::new(ClusterErrorKind::Other, why);
    thread::start("heavy-node", move || main(settings, stop, counts, tell_started, tell_ended))
        .map_err(|error| other(format!("the node's thread does not start: {error}")))?;
    started.await.map_err(|_| other("the node's thread has ended".to_owned()))??;
    Ok(node)
}

async fn main(
    settings: Settings,
    stop: Arc<watch::Sender<Stop>>,
    counts: Arc<Counts>,
    mut tell_started: oneshot::Sender<Result<(), ClusterError>>,
    tell_ended: watch::Sender<Option<NodeReport>>,
) {
    // Foreign code of types, which may take its time: before there is a connection to keep.
    registry::all().iter().for_each(|job| _ = job.fingerprint());
    let opened = tokio::select! {
        opened = open(settings, stop, counts) => opened,
        () = tell_started.closed() => return,
    };
    let (site, streams) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(tell_started.send(Err(error))),
    };
    let begun = Instant::now();
    if tell_started.send(Ok(())).is_ok() {
        let tasks = LocalSet::new();
        tasks.run_until(serve(site.clone(), streams)).await;
        // What is still there is stopped: its leases end, and it runs elsewhere.
    }
    if site.settings.owns_pool {
        site.settings.pool.shutdown(Shutdown::Kill).timeout(LAST_WORDS).await;
    }
    let _ = timeout(LAST_WORDS, site.engine.close()).await;
    let (name, metrics) = (site.settings.name.clone(), site.counts.metrics());
    tell_ended.send_replace(Some(NodeReport { name, served: begun.elapsed(), metrics }));
}

async fn open(
    settings: Settings,
    stop: Arc<watch::Sender<Stop>>,
    counts: Arc<Counts>,
) -> Result<(Rc<Site>, Streams), ClusterError> {
    let engine = Engine::connect(&settings.access, &settings.name).await?;
    let lease = engine.lease(&settings.queues).await?;
    let cancels = engine.cancels().await?;
    let given_up = engine.given_up().await?;
    let mut calls = Vec::new();
    for queue in &settings.queues {
        calls.push(engine.calls(queue).await?);
    }
    counts.slots.set(settings.slots);
    let site = Site {
        slots: Slots::new(settings.slots, settings.queues.len()),
        settings,
        engine,
        lease: watch::Sender::new(lease),
        counts,
        stop,
        runs: RefCell::default(),
        occupied: Cell::new(0),
        quiet: Notify::new(),
        has_trouble: Cell::new(false),
    };
    Ok((Rc::new(site), Streams { cancels, given_up, calls }))
}

/// Serves until the node has to end, and has.
async fn serve(site: Rc<Site>, streams: Streams) {
    spawn_local(pull::keep_asking(site.clone()));
    spawn_local(keep_leases(site.clone()));
    spawn_local(hear_cancels(site.clone(), streams.cancels));
    spawn_local(janitor::bury_given_up(site.clone(), streams.given_up));
    spawn_local(janitor::remove_orphans(site.clone()));
    for queue in streams.calls {
        spawn_local(calls::answer(site.clone(), queue));
    }
    site.reached(Stop::Draining).await;
    tokio::select! {
        () = site.is_quiet() => return,
        () = site.reached(Stop::GivingBack) => {}
        () = sleep(site.settings.drain_timeout) => {}
    }
    Stop::raise(&site.stop, Stop::GivingBack);
    let _ = timeout(LAST_WORDS, site.is_quiet()).await;
}

/// Renews the leases of everything that is here.
async fn keep_leases(site: Rc<Site>) {
    let mut lease = site.lease.subscribe();
    loop {
        let time = (*lease.borrow_and_update() / 3).max(Duration::from_millis(1));
        tokio::select! {
            () = sleep(time) => {}
            // It cannot be gone: the sender is the site's.
            _ = lease.changed() => {}
        }
        let runs: Vec<Rc<Run>> = site.runs.borrow().values().cloned().collect();
        join_all(runs.iter().map(|run| run.progress())).await;
    }
}

async fn hear_cancels(site: Rc<Site>, mut cancels: Notes) {
    while let Some(note) = cancels.recv().await {
        if let Some(run) = site.runs.borrow().get(&note.about) {
            run.cancel.notify_one();
        }
    }
}

impl Site {
    /// Takes note of a lease that may have changed: what runs is renewed at once then.
    pub(super) fn lease_is(&self, lease: Duration) {
        self.lease.send_if_modified(|now| std::mem::replace(now, lease) != lease);
    }

    /// Resolves once the node's end has come that far.
    pub(super) async fn reached(&self, stop: Stop) {
        // It cannot fail: the sender is ours.
        let _ = self.stop.subscribe().wait_for(|now| *now >= stop).await;
    }

    pub(super) fn is_ending(&self) -> bool {
        *self.stop.borrow() >= Stop::Draining
    }

    /// Keeps the node from ending until what is returned is dropped.
    pub(super) fn occupy(self: &Rc<Self>) -> Occupied {
        self.occupied.set(self.occupied.get() + 1);
        Occupied(self.clone())
    }

    /// Resolves when nobody is [`Occupied`]. For one who waits.
    async fn is_quiet(&self) {
        while self.occupied.get() > 0 {
            self.quiet.notified().await;
        }
    }

    /// Takes note of how many jobs there are.
    pub(super) fn count_running(&self) {
        self.counts.running.set(self.slots.running());
    }

    /// Takes note of how a request went.
    pub(super) fn note<T>(&self, outcome: &Result<T, EngineError>) {
        let why = outcome.as_ref().err().map(ToString::to_string);
        if self.has_trouble.replace(why.is_some()) || why.is_some() {
            self.counts.trouble(why);
        }
    }

    /// Waits after the failure of a request: until it is time to try again, or until it has connected again.
    pub(super) async fn pause(&self, time: Duration) {
        let mut connections = self.engine.connections();
        connections.mark_unchanged();
        tokio::select! {
            () = sleep(time) => {}
            _ = connections.changed() => {}
        }
    }

    /// Calls until it succeeds, fails for good, or it is too late.
    pub(super) async fn patiently<T, F>(
        &self,
        until: SystemTime,
        mut call: impl FnMut() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = call().await;
            self.note(&outcome);
            match outcome {
                Err(EngineError::Lost(_) | EngineError::Full(_)) if SystemTime::now() < until => {}
                outcome => return outcome,
            }
            self.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Somebody who has to come to an end before the node may.
#[derive(Debug)]
pub(super) struct Occupied(Rc<Site>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.occupied.set(self.0.occupied.get() - 1);
        self.0.quiet.notify_one();
    }
}
