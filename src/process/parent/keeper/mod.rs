//! [`Keeper`]: the thread that serves one worker: sends it jobs, takes its results, watches its clocks and buries it.
//!
//! ```text
//! Starting ──ready──▶ Serving ──idle too long, term over, pool closes──▶ Retiring ──exit──▶ (end)
//!     │  └─────ready──▶ Standing by ──place──▶ Serving
//!     │                  │ exit, kill, violation
//!     └──exit, too slow──┴──▶ Dead: drained, its begun job failed, its other jobs put back ──▶ (end)
//! ```
//!
//! 1. Only the keeper sends to its worker, takes replies and reads its socket; others only take jobs back and signal. While the keeper
//!    waits and has nothing to do, others may send a job and take its reply (`direct.rs`).
//! 2. A worker is dead when its pidfd says so, and not before: the end of the socket is a hint.
//! 3. Every job that was sent is answered for by exactly one of: a reply taken, a take-back, the burial.

mod clocks;
mod jobs;
mod life;
mod memory;
mod pieces;
mod results;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use self::{memory::Memory, results::is_flood};
use super::{
    arrivals::Arrivals,
    link::Flight,
    manager::jitter,
    schedule::Start,
    seat::ProcessJob,
    shared::Shared,
    term::{own_age, own_tasks},
    worker::Worker,
};
use crate::{
    counted::Counted,
    pause::Pause,
    process::{
        ring::{Reply, SLOTS},
        segments::{Incoming, Outgoing},
        sys::Moment,
    },
};

/// The most jobs that a worker may have been sent, the running one included.
const DEEPEST: usize = SLOTS;
/// How long a process may take to die once it has closed its socket: longer, and it did so alive.
const DYING: Duration = Duration::from_millis(200);
/// How long a killed process may take to die before it is written off: only the kernel can hold SIGKILL up.
const BEYOND_REACH: Duration = Duration::from_secs(5);
/// How many jobs ahead a task is prefetched: it lies in the cache of whoever has submitted it, and is to go back there.
const SOON: usize = 8;
/// The first look for a claim; each further one waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(1);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The segments that arguments lie in, with the positions of their jobs. Free again once the position is no longer in
    /// flight: the worker copies an argument before it answers, and never looks at one that was taken back.
    lent: Vec<(u32, u64)>,
    /// The shared memory that the worker has sent for results to come.
    arrivals: Arrivals,
    /// There was no room in the worker's socket: nothing more is sent ahead before it has read it, at the latest when it has
    /// nothing to do.
    congested: bool,
    /// How many overtakings there had been before it took the jobs that it has in hand.
    overtakings: u64,
    /// When it last had a job.
    idle_since: Instant,
    /// Since when it has not shown that it lives, although it had a job to claim.
    silent_since: Option<Instant>,
    /// How long the next look for a claim waits.
    look: Duration,
    /// The parent's end of the connection has ended or broken.
    hung_up: bool,
    /// The jobs that this thread deals with at this moment: should it unwind, by a bug of ours, they are failed, not forgotten.
    in_hand: VecDeque<Counted<dyn ProcessJob>>,
    /// Replies that have been taken and not delivered, oldest first; and when.
    answers: VecDeque<Answer>,
    taken_at: Moment,
    /// The buffers of replies that have been delivered.
    emptied: Vec<Vec<u8>>,
    /// Messages heard over the socket so far.
    heard: u64,
    /// How many jobs had been sent directly when it last went to sleep.
    sent_directly: u64,
    /// How long it has had nothing to do.
    pause: Pause,
    /// What ended the last wait.
    woken: Woken,
    /// Whether it has put its worker on the list of idle ones.
    listed: bool,
    /// Whether the pool has been told how the start went.
    reported: bool,
    /// Whether it still waits for the place of a worker that it is to replace.
    stands_by: bool,
    /// Its own limits of jobs and of age.
    most_tasks: Option<u64>,
    oldest: Option<Duration>,
    /// Whether its successor has been ordered.
    is_due: bool,
    memory: Memory,
}

/// What a wait was ended by, besides the bell and the clock.
struct Woken {
    /// The socket has something to read.
    heard: bool,
    /// The pidfd reports the exit.
    dead: bool,
}

/// A reply that was taken from the ring, with the job it answers.
struct Answer {
    flight: Flight,
    reply: Reply,
}

/// Why a worker that was forked does not come to serve.
enum Unready {
    Failed(String),
    /// The pool has come to its end meanwhile.
    NotNeeded,
}

/// What the keeper does after it found nothing to do.
enum Next {
    Wait(Option<Instant>),
    Retire,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, worker: Arc<Worker>) -> Self {
        let config = shared.config();
        let most_tasks = config.max_tasks_per_worker.map(|limit| own_tasks(limit, jitter()));
        let oldest = config.max_age_per_worker.map(|limit| own_age(limit, jitter()));
        let stands_by = shared.schedule().stands_by(&worker);
        Self {
            stands_by,
            most_tasks,
            oldest,
            is_due: false,
            memory: Memory::new(),
            shared,
            worker,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            lent: Vec::new(),
            arrivals: Arrivals::default(),
            congested: false,
            overtakings: 0,
            idle_since: Instant::now(),
            silent_since: None,
            look: FIRST_LOOK,
            hung_up: false,
            in_hand: VecDeque::new(),
            answers: VecDeque::new(),
            taken_at: Moment::now(),
            emptied: Vec::new(),
            heard: 0,
            sent_directly: 0,
            pause: Pause::default(),
            woken: Woken { heard: true, dead: true },
            listed: false,
            reported: false,
        }
    }

    pub(super) fn run(mut self) {
        let served = crate::panic::catch(|| self.serve());
        if let Err(report) = served {
            self.fail_all(&report.into_summary());
        }
    }

    fn serve(&mut self) {
        if let Err(unready) = self.wait_until_ready() {
            return self.bury_unborn(unready);
        }
        self.worker.serves.store(true, Relaxed);
        // Before the pool is told: or it would start another worker for the job that this one is about to take.
        self.fill();
        self.report(Start::Succeeded);
        loop {
            if self.woken.heard {
                self.hear();
            }
            let replies = self.take_replies();
            if is_flood(self.heard, self.worker.link().answered) {
                self.convict("it sent messages that nothing called for");
            }
            let answered = !self.answers.is_empty();
            if let Err(what) = replies {
                self.deliver_all();
                self.convict(what);
            }
            if !answered && self.arrivals.is_full() {
                self.convict("it sent shared memory that it does not name");
                self.arrivals.clear();
            }
            if (self.woken.dead && self.is_dead()) || self.is_beyond_reach() {
                self.deliver_all();
                return self.bury();
            }
            if answered {
                self.look_at_memory_left();
            }
            self.deliver_all();
            let is_idle = answered && self.has_nothing_to_do();
            // While replies come in no clock can run out that a reply does not settle, or the next turn sees.
            if !is_idle && (self.fill() || answered) {
                self.pause.end();
                self.let_jobs_gather();
                continue;
            }
            if answered {
                self.pause.end();
            } else {
                self.look_at_clocks();
            }
            match self.next() {
                Next::Wait(deadline) => self.wait(deadline),
                Next::Retire => return self.retire(),
            }
        }
    }

    /// Whether the worker has no job, and none waits: then whoever got the last result may be back with another in no time, and is
    /// to find the worker on the list of idle ones.
    fn has_nothing_to_do(&self) -> bool {
        self.worker.link().flights.is_empty()
            && self.shared.ahead().is_none()
            && self.shared.schedule().queue.is_empty()
    }
}
