//! [`Sampler`]: the thread of a watch, which looks at the workers and acts on what [`judge`](super::judge) decides.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::RuntimeMetrics;

use super::{
    Activity, Hold, Scope, Verdict,
    heart::Heart,
    judge::{Driven, Ending, Facts, Signature},
    shared::Shared,
    thread::{Clock, Doing, Thread, Usage, doing},
};

/// By then the threads of a runtime have started.
const START_UP: Duration = Duration::from_secs(1);

pub(super) struct Sampler {
    metrics: RuntimeMetrics,
    heart: Arc<Heart>,
    shared: Arc<Shared>,
    driven: Driven,
    tracks: Vec<Track>,
    /// For how long the runtime has been watched.
    age: Duration,
    looked_at: Instant,
    /// The pause that was meant to be before this look.
    pause: Duration,
    /// For how long the heartbeat has waited while every worker was quiet.
    unanswered: Duration,
    /// How many tasks waited in the runtime's common queue when it was last looked at.
    waiting_tasks: usize,
}

/// The time between two looks.
#[derive(Clone, Copy)]
struct Elapsed {
    /// What counts as seen: not more than twice the pause that was meant.
    seen: Duration,
    passed: Duration,
}

/// What is known of one worker.
#[derive(Default)]
struct Track {
    seen: Option<Signature>,
    /// For how long it has been out of its parking place, and its signature has not changed.
    quiet: Duration,
    /// How much time has passed in that, with what the watch has slept through.
    passed: Duration,
    thread: Option<Arc<Thread>>,
    clock: Option<Clock>,
    /// What the thread had used when it was last looked at, and when the quiet began.
    usage: Option<Usage>,
    base: Option<Usage>,
    /// How much time has passed since the system last changed its figures of the thread.
    unchanged: Duration,
    hold: Option<Hold>,
}

impl Sampler {
    pub(super) fn new(
        metrics: RuntimeMetrics,
        heart: Arc<Heart>,
        shared: Arc<Shared>,
        driven: Driven,
    ) -> Self {
        let tracks = (0..metrics.num_workers()).map(|_| Track::default()).collect();
        Self {
            metrics,
            heart,
            shared,
            driven,
            tracks,
            age: Duration::ZERO,
            looked_at: Instant::now(),
            pause: Duration::ZERO,
            unanswered: Duration::ZERO,
            waiting_tasks: 0,
        }
    }

    /// Looks at the runtime until the watch is over.
    pub(super) fn run(mut self) {
        while !self.shared.wait(self.pause) {
            let limit = self.shared.limit();
            let now = Instant::now();
            let passed = now - self.looked_at;
            // What this thread has slept through, because it got no processor or the program was stopped, was not seen.
            let elapsed = Elapsed { seen: passed.min(self.pause * 2), passed };
            self.looked_at = now;
            self.age += elapsed.seen;
            self.look(elapsed, limit);
            let idle = self.tracks.iter().all(Track::is_parked);
            self.pause = if idle { limit / 2 } else { limit / 4 };
        }
    }

    fn look(&mut self, elapsed: Elapsed, limit: Duration) {
        let mut has_stranger_moved = false;
        for worker in 0..self.tracks.len() {
            let moved = self.look_at_worker(worker, elapsed, limit);
            has_stranger_moved |= moved && self.heart.thread_of(worker).is_none();
        }
        let is_standing = self.look_at_heart(elapsed);
        // Also for a stranger who has parked by now: tokio wakes who has parked last.
        if is_standing || has_stranger_moved {
            self.heart.beat();
        }
        if self.driven != Driven::InTurns && self.heart.has_answered() {
            (0..self.tracks.len()).for_each(|worker| self.judge(worker, limit));
        }
        self.shared.looked(self.tracks.iter().filter_map(|track| track.hold.clone()).collect());
    }

    /// Returns whether it has parked, woken or polled many tasks since the last look.
    fn look_at_worker(&mut self, worker: usize, elapsed: Elapsed, limit: Duration) -> bool {
        let seen = Signature {
            parks: self.metrics.worker_park_unpark_count(worker),
            busy: self.metrics.worker_total_busy_duration(worker),
        };
        let before = self.tracks[worker].seen.replace(seen);
        let moved = before != Some(seen);
        let has_begun = self.age >= START_UP || self.tracks[worker].has_begun();
        if moved {
            let counted = before.map_or(Duration::ZERO, |before| seen.busy.saturating_sub(before.busy));
            self.came_back(worker, counted, limit);
        } else if has_begun && !seen.is_parked() {
            self.tracks[worker].quiet += elapsed.seen;
            self.tracks[worker].passed += elapsed.passed;
        }
        if !seen.is_parked() {
            let thread = self.heart.thread_of(worker);
            self.tracks[worker]
                .look_at_thread(thread, moved, elapsed.passed, || self.heart.forget_thread_of(worker));
        }
        moved
    }

    /// Returns whether no worker has moved or is parked.
    fn look_at_heart(&mut self, elapsed: Elapsed) -> bool {
        let is_standing = self.tracks.iter().all(Track::is_quiet);
        let waiting_tasks = self.metrics.global_queue_depth();
        // A queue that gets shorter is being served, and the heartbeat's turn may not have come.
        let is_served = waiting_tasks < self.waiting_tasks;
        self.waiting_tasks = waiting_tasks;
        match is_standing && !is_served && self.heart.is_asked() {
            true => self.unanswered += elapsed.seen,
            false => self.unanswered = Duration::ZERO,
        }
        is_standing
    }

    fn judge(&mut self, worker: usize, limit: Duration) {
        let facts = Facts { unanswered: self.unanswered, ..self.tracks[worker].facts() };
        if facts.judge(limit).is_none() {
            return;
        }
        let Some(hold) = self.describe(worker, facts, limit) else { return };
        match &mut self.tracks[worker].hold {
            Some(known) if known.verdict == hold.verdict || known.verdict == Verdict::Blocked => {
                (known.held_for, known.scope, known.cpu) = (hold.held_for, hold.scope, facts.cpu);
            }
            known => {
                known.replace(hold.clone()).iter().for_each(|busy| self.shared.retract(busy));
                self.shared.began(&hold);
            }
        }
    }

    /// `None` if it is no hold, now that its thread has been looked at more closely.
    fn describe(&self, worker: usize, mut facts: Facts, limit: Duration) -> Option<Hold> {
        let thread = self.tracks[worker].thread.as_deref();
        let tid = thread.and_then(|thread| thread.tid);
        let mut waits_in = None;
        match tid.map(doing) {
            Some(Doing::Waiting(function)) => {
                waits_in = function.filter(|_| facts.activity() == Activity::Waiting)
            }
            Some(Doing::Running) => {
                facts.starved += self.tracks[worker].starving(self.pause);
                // It has just woken, or its figures are behind: what it has done is not known.
                facts.cpu = facts.cpu.filter(|_| facts.activity() != Activity::Waiting);
            }
            None => {}
        }
        let stops_all = self.tracks.len() == 1 || self.unanswered >= limit;
        Some(Hold {
            verdict: facts.judge(limit)?,
            activity: facts.activity(),
            scope: if stops_all { Scope::Runtime } else { Scope::Worker },
            held_for: facts.held(),
            limit,
            cpu: facts.cpu,
            worker,
            workers: self.tracks.len(),
            thread_name: thread.and_then(|thread| thread.name.clone()),
            tid,
            waits_in,
        })
    }

    /// The worker has moved, after which tokio has counted so much more as busy.
    fn came_back(&mut self, worker: usize, counted: Duration, limit: Duration) {
        let track = &mut self.tracks[worker];
        let facts = if track.quiet < limit { track.facts() } else { track.facts_now() };
        let hold = track.hold.take();
        self.tracks[worker].begin_anew();
        if facts.quiet < limit || !self.heart.has_answered() {
            return;
        }
        match (self.driven.ending(facts.quiet, counted), hold) {
            (Ending::NobodyDrove, hold) => {
                self.driven = Driven::InTurns;
                hold.iter().for_each(|hold| self.shared.retract(hold));
            }
            (Ending::Held, Some(hold)) => self.shared.ended(hold),
            (Ending::Held, None) if self.driven == Driven::InTurns => {
                let facts = Facts { unanswered: facts.quiet, ..facts };
                if let Some(hold) = self.describe(worker, facts, limit) {
                    self.shared.began(&hold);
                    self.shared.ended(hold);
                }
            }
            (Ending::Held, None) => {}
        }
    }
}

impl Track {
    fn is_parked(&self) -> bool {
        self.seen.is_some_and(Signature::is_parked)
    }

    /// Whether it has been seen to have begun: its thread may still have to start.
    fn has_begun(&self) -> bool {
        self.thread.is_some() || self.seen.is_some_and(|seen| seen != Signature::default())
    }

    fn is_quiet(&self) -> bool {
        !self.quiet.is_zero()
    }

    const fn begin_anew(&mut self) {
        (self.quiet, self.passed) = (Duration::ZERO, Duration::ZERO);
    }

    fn facts(&self) -> Facts {
        self.facts_with(self.usage)
    }

    /// As [`facts`](Self::facts), with what the thread has used up to now.
    fn facts_now(&self) -> Facts {
        self.facts_with(self.clock.as_ref().and_then(Clock::read))
    }

    fn facts_with(&self, usage: Option<Usage>) -> Facts {
        let since = |of: fn(&Usage) -> Duration| {
            let (now, then) = usage.as_ref().zip(self.base.as_ref())?;
            Some(of(now).saturating_sub(of(then)))
        };
        Facts {
            quiet: self.quiet,
            passed: self.passed,
            cpu: since(|usage| usage.cpu),
            starved: since(|usage| usage.starved).unwrap_or_default(),
            unanswered: Duration::ZERO,
        }
    }

    /// For how long the thread may have waited for a processor without the system having counted it, if it is ready to run: the system does
    /// so when it gets one, and the wait may have begun right after the look before the first that saw no change.
    fn starving(&self, pause: Duration) -> Duration {
        if self.unchanged.is_zero() { Duration::ZERO } else { self.unchanged + pause }
    }

    /// Reads the clock of the worker's thread; calls `forget` if it turns out to be its thread no more.
    fn look_at_thread(
        &mut self,
        thread: Option<Arc<Thread>>,
        moved: bool,
        passed: Duration,
        forget: impl Fn(),
    ) {
        if self.thread != thread {
            self.clock = thread.as_ref().and_then(|thread| Clock::of(thread.tid?));
            self.thread = thread;
            self.usage = self.clock.as_ref().and_then(Clock::read);
            self.base = self.usage;
            // What was before was another's, or nobody saw it.
            self.unchanged = Duration::ZERO;
            self.begin_anew();
            return;
        }
        let usage = self.clock.as_ref().and_then(Clock::read);
        let is_gone = self.clock.is_some() && usage.is_none();
        let has_not_run = usage.is_some() && usage == self.usage;
        if is_gone || moved && has_not_run {
            // The worker has moved and this thread has not run: `block_in_place` has passed the worker on to another one.
            forget();
            (self.thread, self.clock, self.usage, self.base) = (None, None, None, None);
            return;
        }
        self.unchanged = if has_not_run { self.unchanged + passed } else { Duration::ZERO };
        self.usage = usage;
        if moved {
            self.base = usage;
        }
    }
}
