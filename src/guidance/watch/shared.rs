//! [`Shared`]: what the handle of a watch and its thread have in common: the settings, the counts and the end.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Hold, Verdict, WatchReport};
use crate::{
    metrics::Histogram,
    panic::{drop_shielded, shield},
};

pub(super) type Callback = Arc<dyn Fn(&Hold) + Send + Sync>;

#[derive(Debug)]
pub(super) struct Shared {
    /// A leaf: nothing else is locked, and no foreign code is called or dropped, under it.
    state: Mutex<State>,
    /// Tells the thread that it is over.
    ended: Condvar,
}

struct State {
    limit: Duration,
    on_blocked: Option<Callback>,
    on_busy: Option<Callback>,
    is_over: bool,
    /// What is counted, except for `held`.
    report: WatchReport,
    held: Histogram,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("limit", &self.limit)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(limit: Duration) -> Self {
        let state = State {
            limit,
            on_blocked: None,
            on_busy: None,
            is_over: false,
            report: WatchReport::default(),
            held: Histogram::default(),
        };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self) -> Duration {
        self.lock().limit
    }

    pub(super) fn set_limit(&self, limit: Duration) {
        self.lock().limit = limit;
    }

    pub(super) fn set_callback(&self, verdict: Verdict, callback: Option<Callback>) {
        let mut state = self.lock();
        let old = std::mem::replace(state.callback(verdict), callback);
        drop(state);
        drop_shielded(old);
    }

    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.ended.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Waits for so long, or until it is over; returns whether it is.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.ended.wait_timeout_while(state, pause, |state| !state.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    pub(super) fn report(&self) -> WatchReport {
        let state = self.lock();
        let blocked_now = state.report.ongoing.iter().filter(|hold| hold.verdict == Verdict::Blocked);
        WatchReport {
            longest: blocked_now.map(|hold| hold.held_for).fold(state.report.longest, Duration::max),
            held: Histogram::summary(std::iter::once(&state.held)),
            ..state.report.clone()
        }
    }

    /// Counts a new hold, and tells whoever wants to know.
    pub(super) fn began(&self, hold: &Hold) {
        let mut state = self.lock();
        *state.report.count(hold.verdict) += 1;
        state.report.ongoing.push(hold.clone());
        state.report.last = Some(hold.clone());
        let callback = state.callback(hold.verdict).clone();
        let is_over = state.is_over;
        drop(state);
        if !is_over {
            tell(hold, callback);
        }
    }

    /// It was not what it was counted as.
    pub(super) fn retract(&self, hold: &Hold) {
        let mut state = self.lock();
        *state.report.count(hold.verdict) -= 1;
        state.report.ongoing.retain(|ongoing| ongoing.worker != hold.worker);
        state.report.last = state.report.last.take().filter(|last| last.worker != hold.worker);
    }

    /// The worker has come back.
    pub(super) fn ended(&self, hold: Hold) {
        let mut state = self.lock();
        if hold.verdict == Verdict::Blocked {
            state.held.record(hold.held_for);
            state.report.longest = state.report.longest.max(hold.held_for);
        }
        state.report.ongoing.retain(|ongoing| ongoing.worker != hold.worker);
        state.report.last = Some(hold);
    }

    /// One more look has been taken, and these are held now.
    pub(super) fn looked(&self, ongoing: Vec<Hold>) {
        let mut state = self.lock();
        state.report.samples += 1;
        state.report.ongoing = ongoing;
    }
}

impl State {
    const fn callback(&mut self, verdict: Verdict) -> &mut Option<Callback> {
        match verdict {
            Verdict::Blocked => &mut self.on_blocked,
            Verdict::Busy => &mut self.on_busy,
        }
    }
}

impl WatchReport {
    const fn count(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Blocked => &mut self.blocked,
            Verdict::Busy => &mut self.busy,
        }
    }
}

fn tell(hold: &Hold, callback: Option<Callback>) {
    #[cfg(feature = "tracing")]
    shield(|| event(hold));
    if let Some(callback) = callback {
        shield(|| callback(hold));
        drop_shielded(callback);
    }
}

#[cfg(feature = "tracing")]
fn event(hold: &Hold) {
    let Hold { worker, tid, activity, .. } = hold;
    let held_ms = u64::try_from(hold.held_for.as_millis()).unwrap_or(u64::MAX);
    match hold.verdict {
        Verdict::Blocked => {
            tracing::warn!(target: "heavylift::watch", worker, tid, held_ms, ?activity, "{hold}");
        }
        Verdict::Busy => {
            tracing::info!(target: "heavylift::watch", worker, tid, held_ms, ?activity, "{hold}")
        }
    }
}
