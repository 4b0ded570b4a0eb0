//! [`Keeper`]: the thread that serves one worker: sends it jobs, takes its results, watches its clocks and buries it.
//!
//! ```text
//! Starting ──ready──▶ Serving ──idle too long, old, pool closes──▶ Retiring ──exit──▶ (end)
//!     │                  │ exit, kill, violation
//!     └──exit, too slow──┴──▶ Dead: drained, its begun job failed, its other jobs put back ──▶ (end)
//! ```
//!
//! 1. Only the keeper sends to its worker, takes replies and reads its socket; others only take jobs back and signal.
//! 2. A worker is dead when its pidfd says so, and not before: the end of the socket is a hint.
//! 3. Every job that was sent is answered for by exactly one of: a reply taken, a take-back, the burial.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    link::{Condemned, Flight, Link},
    schedule::Start,
    seat::ProcessJob,
    shared::Shared,
    worker::Worker,
};
use crate::{
    TaskError, WorkerExit,
    process::{
        message::{SIGNAL_LEN, Signal},
        reply,
        ring::{Fate, INLINE, Place, Reply, SLOTS},
        segments::{Incoming, Outgoing},
        sys::{Interest, linger, monotonic_ns, private_memory_exceeds, wait},
    },
};

/// The most jobs that a worker may have been sent, the running one included.
const DEEPEST: usize = SLOTS;
/// How much work is sent ahead.
const AHEAD: Duration = Duration::from_micros(200);
/// The most segments in use at a time: beyond it, nothing is sent ahead.
const MOST_SEGMENTS: usize = 4;
/// How long a process may take to die once it has closed its socket: longer, and it did so alive.
const DYING: Duration = Duration::from_millis(200);
/// How long a worker that retires may take to exit.
const RETIRES_WITHIN: Duration = Duration::from_secs(1);
/// How long a killed process may take to die before it is written off: only the kernel can hold SIGKILL up.
const BEYOND_REACH: Duration = Duration::from_secs(5);
/// How soon a job must be claimed by a worker that has nothing else to do.
const CLAIM_WITHIN: Duration = Duration::from_millis(100);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The segments that arguments lie in, with the positions of their jobs. Free again once the position is no longer in
    /// flight: the worker copies an argument before it answers, and never looks at one that was taken back.
    lent: Vec<(u32, u64)>,
    /// Jobs sent so far.
    sent: u64,
    /// A running mean of how long a job takes, in nanoseconds.
    mean_ns: u64,
    /// When it last had a job.
    idle_since: Instant,
    /// Since when it has not shown that it lives, although it had a job to claim.
    silent_since: Option<Instant>,
    /// How long the next look for a claim waits.
    look: Duration,
    /// The parent's end of the connection has ended or broken.
    hung_up: bool,
    /// The jobs that this thread deals with at this moment: should it unwind, by a bug of ours, they are failed, not forgotten.
    in_hand: Vec<Arc<dyn ProcessJob>>,
    /// Whether replies have been coming in a row.
    is_busy: bool,
    /// What ended the last wait.
    woken: Woken,
    /// Whether it has put its worker on the list of idle ones.
    listed: bool,
    /// Whether the pool has been told how the start went.
    reported: bool,
    /// It holds more memory than it may.
    bloated: bool,
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
        Self {
            shared,
            worker,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            lent: Vec::new(),
            sent: 0,
            mean_ns: AHEAD.as_nanos() as u64,
            idle_since: Instant::now(),
            silent_since: None,
            look: FIRST_LOOK,
            hung_up: false,
            in_hand: Vec::new(),
            is_busy: false,
            woken: Woken { heard: true, dead: true },
            listed: false,
            reported: false,
            bloated: false,
        }
    }

    pub(super) fn run(mut self) {
        let served = crate::panic::catch(|| self.serve());
        if let Err(report) = served {
            self.fail_all(&report.summary());
        }
    }

    fn serve(&mut self) {
        if let Err(unready) = self.wait_until_ready() {
            return self.bury_unborn(unready);
        }
        self.worker.serves.store(true, Relaxed);
        self.report(Start::Succeeded);
        loop {
            if self.woken.heard {
                self.hear();
            }
            let mut answers = self.collect();
            if answers == 0 && self.is_busy && linger(|| !self.worker.link().ring.may_sleep()) {
                answers = self.collect();
            }
            let answered = answers > 0;
            // After a reply that came alone it sleeps at once, and lets whoever awaits it run on this very processor.
            self.is_busy = answers > 1 || (self.is_busy && answered);
            if (self.woken.dead && self.is_dead()) || self.is_beyond_reach() {
                return self.bury();
            }
            if answered {
                self.look_at_memory();
            }
            // While replies come in no clock can run out that a reply does not settle, or the next turn sees.
            if self.fill() || answered {
                continue;
            }
            self.look_at_clocks();
            match self.next() {
                Next::Wait(deadline) => self.wait(deadline),
                Next::Retire => return self.retire(),
            }
        }
    }
}

/// The first look for a claim; each further one waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Birth and death.
impl Keeper {
    fn wait_until_ready(&mut self) -> Result<(), Unready> {
        let limit = self.shared.config().start_timeout;
        let deadline = Instant::now() + limit;
        loop {
            // Before the wait: a pool that closed just before it had this worker has rung nobody.
            if self.shared.schedule().is_finishing() {
                return Err(Unready::NotNeeded);
            }
            let [heard, dead, _] = wait(
                [
                    Interest::Read(self.worker.socket.as_fd()),
                    Interest::Read(self.worker.pidfd.as_fd()),
                    Interest::Read(self.worker.bell.as_fd()),
                ],
                Some(deadline),
            );
            self.worker.bell.silence();
            if heard && let Some(outcome) = self.hear_first() {
                return outcome;
            }
            if dead {
                return Err(Unready::Failed("it died before it was ready".to_owned()));
            }
            if Instant::now() >= deadline {
                let reason = format!("it was not ready in time (start_timeout is {limit:?})");
                return Err(Unready::Failed(reason));
            }
        }
    }

    /// What the worker says of its start; `None` if that is nothing yet.
    fn hear_first(&mut self) -> Option<Result<(), Unready>> {
        let failed = |reason: &str| Some(Err(Unready::Failed(reason.to_owned())));
        let mut buffer = [0; SIGNAL_LEN];
        match self.worker.socket.try_receive(&mut buffer) {
            Ok(None) => None,
            Ok(Some(received)) if received.len > 0 => match Signal::from_wire(&buffer[..received.len]) {
                Some(Signal::Ready) => Some(Ok(())),
                Some(Signal::NotReady) => failed("its initializer failed"),
                _ => failed("it sent what no worker sends"),
            },
            // As in `hang_up`.
            Ok(Some(_)) | Err(_) => {
                let [dead] = wait([Interest::Read(self.worker.pidfd.as_fd())], Some(Instant::now() + DYING));
                failed(if dead {
                    "it died before it was ready"
                } else {
                    "its initializer closed the worker's own descriptors"
                })
            }
        }
    }

    /// Tells the pool how the start went, once.
    fn report(&mut self, start: Start) {
        if !std::mem::replace(&mut self.reported, true) {
            self.shared.started(start);
        }
    }

    /// A worker that never served: says why.
    fn bury_unborn(&mut self, unready: Unready) {
        self.shared.leaving(&self.worker);
        let Unready::Failed(reason) = unready else {
            self.await_exit(Duration::ZERO);
            self.report(Start::Unneeded);
            return self.shared.gone(&self.worker);
        };
        self.await_exit(Duration::from_millis(100));
        let exit = self.worker.exit(None);
        let tail = exit.stderr_tail().trim_end();
        let tail = if tail.is_empty() { String::new() } else { format!("; its standard error ends: {tail}") };
        self.report(Start::Failed(format!("a worker did not start: {reason}: {exit}{tail}")));
        self.shared.gone(&self.worker);
    }

    /// Waits for the exit, and kills the worker when it takes too long.
    fn await_exit(&self, patience: Duration) {
        let pidfd = || [Interest::Read(self.worker.pidfd.as_fd())];
        let [dead] = wait(pidfd(), Some(Instant::now() + patience));
        if !dead {
            self.worker.kill();
            wait(pidfd(), Some(Instant::now() + BEYOND_REACH));
        }
    }

    fn is_dead(&self) -> bool {
        let [dead] = wait([Interest::Read(self.worker.pidfd.as_fd())], Some(Instant::now()));
        dead
    }

    /// Whether SIGKILL was sent long ago and has not ended it (state D): then it is written off, dead or not.
    fn is_beyond_reach(&self) -> bool {
        let condemned = self.worker.link().condemned;
        condemned.is_some_and(|it| it.kill_at.is_none() && it.since.elapsed() >= BEYOND_REACH)
    }

    /// Settles a dead worker, steps 5 to 9.
    fn bury(&mut self) {
        self.hear();
        let mut link = self.worker.link();
        let condemned = link.condemned;
        let fates = link.ring.drain();
        let mut flights = std::mem::take(&mut link.flights);
        drop(link);
        self.shared.dying(&self.worker);
        let (mut returned, mut lost) = (Vec::new(), Vec::new());
        for (position, fate) in fates {
            let Some(index) = flights.iter().position(|flight| flight.position == position) else { continue };
            let flight = flights.remove(index).expect("the index was found just now");
            match fate {
                Fate::NotBegun => returned.push(flight),
                Fate::Begun { .. } => lost.push((flight, None)),
                Fate::Unknown(violation) => lost.push((flight, Some(violation.what()))),
                Fate::Finished(reply) => self.deliver(Answer { flight, reply }, Instant::now()),
            }
        }
        self.shared.put_back(returned);
        let out_of_reach = (!self.is_dead()).then_some("SIGKILL has not ended it");
        let note = condemned.and_then(|condemned| condemned.note);
        let note = note.or(lost.iter().find_map(|(_, note)| *note)).or(out_of_reach);
        let exit = self.worker.exit(note);
        self.count_death(condemned);
        for (flight, _) in lost {
            lose(flight, exit.clone());
        }
        self.shared.gone(&self.worker);
    }

    /// A worker that we killed for its job's caller did not die unasked.
    fn count_death(&self, condemned: Option<Condemned>) {
        if condemned.is_none_or(|condemned| condemned.position.is_none()) {
            self.shared.counters().worker_died();
        }
    }

    /// Lets an idle worker go.
    fn retire(&mut self) {
        self.worker.dismiss();
        self.await_exit(RETIRES_WITHIN);
        self.worker.stderr.finish();
        self.shared.gone(&self.worker);
    }

    /// Our own bug: nothing that this keeper was responsible for may be left waiting.
    fn fail_all(&mut self, why: &str) {
        self.worker.kill();
        let flights = std::mem::take(&mut self.worker.link().flights);
        let known = self.shared.schedule().workers.iter().any(|worker| Arc::ptr_eq(worker, &self.worker));
        let in_hand = std::mem::take(&mut self.in_hand);
        for job in flights.into_iter().map(|flight| flight.job).chain(in_hand) {
            job.finish(Err(TaskError::unavailable(
                job.label().clone(),
                format!("the keeper of its worker failed: {why}"),
            )));
        }
        if known {
            self.shared.leaving(&self.worker);
        }
        self.report(Start::Failed(why.to_owned()));
        self.shared.gone(&self.worker);
    }
}

/// Results.
impl Keeper {
    /// Takes note of what the worker has sent over the socket.
    fn hear(&mut self) {
        self.woken.heard = false;
        let mut buffer = [0; SIGNAL_LEN];
        // As many as a full ring can give cause for; a flood waits for the next turn.
        for _ in 0..4 * DEEPEST {
            match self.worker.socket.try_receive(&mut buffer) {
                Ok(None) => return,
                Ok(Some(received)) if received.len > 0 => self.note(&buffer[..received.len], &received.fds),
                Ok(Some(_)) | Err(_) => return self.hang_up(),
            }
        }
    }

    /// The socket has ended, which is only a hint: a process that dies closes it a moment before its pidfd reports the exit. One
    /// that lives on has lost its descriptors to a job.
    fn hang_up(&mut self) {
        if std::mem::replace(&mut self.hung_up, true) {
            return;
        }
        let [dead] = wait([Interest::Read(self.worker.pidfd.as_fd())], Some(Instant::now() + DYING));
        if !dead {
            self.convict("its job closed the worker's own descriptors");
        }
    }

    fn note(&mut self, message: &[u8], fds: &[OwnedFd]) {
        let understood = match (Signal::from_wire(message), fds) {
            (Some(Signal::Doorbell), []) => true,
            (Some(Signal::Segment { id, len }), [fd]) => {
                len <= self.largest_segment() && self.incoming.add(id, len, fd).is_ok()
            }
            (Some(Signal::Forget { id }), []) => {
                self.incoming.forget(id);
                true
            }
            _ => false,
        };
        if !understood {
            self.convict("it sent what no worker sends");
        }
    }

    fn largest_segment(&self) -> u64 {
        self.shared.config().max_payload.max(1 << 20).saturating_mul(2)
    }

    /// Kills the worker for what it did itself.
    fn convict(&self, note: &'static str) {
        let taken = self.worker.convict(&mut self.worker.link(), note);
        self.shared.put_back(taken);
    }

    /// Takes every reply there is. Says how many there were.
    fn collect(&mut self) -> usize {
        let mut count = 0;
        loop {
            let mut answers = Vec::new();
            let mut link = self.worker.link();
            let violation = loop {
                match take_answer(&mut link) {
                    Ok(Some(answer)) => answers.push(answer),
                    Ok(None) => break None,
                    Err(what) => break Some(what),
                }
            };
            drop(link);
            let last = answers.is_empty() || violation.is_some();
            count += answers.len();
            self.deliver_all(answers);
            if let Some(what) = violation {
                self.convict(what);
            }
            if last {
                return count;
            }
        }
    }

    /// Finishes the tasks of jobs that the worker has answered, oldest first.
    fn deliver_all(&mut self, answers: Vec<Answer>) {
        let (now, now_ns) = (Instant::now(), monotonic_ns());
        // A worker begins a job as soon as it has answered the one before.
        let ends: Vec<u64> = answers.iter().skip(1).map(|next| next.reply.begun_ns).chain([now_ns]).collect();
        self.in_hand.extend(answers.iter().map(|answer| answer.flight.job.clone()));
        for (answer, end_ns) in answers.into_iter().zip(ends) {
            let took = end_ns.min(now_ns).saturating_sub(answer.reply.begun_ns);
            self.mean_ns = (self.mean_ns.saturating_mul(7).saturating_add(took)) / 8;
            self.deliver(answer, now);
        }
        self.in_hand.clear();
    }

    /// Finishes the task of a job that the worker has answered.
    fn deliver(&mut self, answer: Answer, now: Instant) {
        let Answer { flight, reply } = answer;
        let begun = began_at(&flight, reply.begun_ns, now);
        self.silent_since = None;
        self.look = FIRST_LOOK;
        self.idle_since = now;
        flight.job.begun(begun);
        let Flight { job, call, .. } = flight;
        // The place comes free before anybody can see the result and come back for it.
        crate::panic::drop_shielded(call);
        match self.bytes_of(reply.result) {
            Ok(bytes) => self.finish(&job, reply.kind, bytes),
            Err(what) => {
                self.convict(what);
                self.await_exit(Duration::ZERO);
                job.finish(Err(TaskError::worker_died(job.label().clone(), self.worker.exit(Some(what)))));
            }
        }
    }

    fn finish(&self, job: &Arc<dyn ProcessJob>, kind: u8, bytes: Vec<u8>) {
        let limit = self.shared.config().max_payload;
        match reply::Reply::from_wire(kind, bytes, job.label(), limit) {
            Ok(value) => job.finish(Ok(value)),
            Err(Ok(error)) => job.finish(Err(error)),
            Err(Err(what)) => {
                self.convict(what);
                self.await_exit(Duration::ZERO);
                job.finish(Err(TaskError::worker_died(job.label().clone(), self.worker.exit(Some(what)))));
            }
        }
    }

    fn bytes_of(&mut self, place: Place<Vec<u8>>) -> Result<Vec<u8>, &'static str> {
        let (id, len) = match place {
            Place::Inline(bytes) => return Ok(bytes),
            Place::Segment { id, len } => (id, len),
        };
        if !self.incoming.knows(id) {
            self.hear();
        }
        let bytes = self.incoming.read(id, len).ok_or("it named shared memory that it had not sent")?;
        // A worker that cannot be told is dying.
        let _ = self.worker.socket.ring(&Signal::Release { id }.to_wire());
        Ok(bytes)
    }
}

/// Takes the oldest reply, with its flight.
fn take_answer(link: &mut Link) -> Result<Option<Answer>, &'static str> {
    if link.condemned.is_some_and(|condemned| condemned.position.is_none()) {
        // Convicted: what else it wrote is looked at when it is dead.
        return Ok(None);
    }
    let Some(reply) = link.ring.take_reply().map_err(|violation| violation.what())? else { return Ok(None) };
    let flight = link.remove(reply.position).ok_or("it answered a job that it was not sent")?;
    link.last_sign = Instant::now();
    if link
        .condemned
        .is_some_and(|condemned| condemned.position == Some(reply.position) && condemned.kill_at.is_some())
    {
        link.condemned = None;
    }
    Ok(Some(Answer { flight, reply }))
}

/// When a job began: the worker's word, if it can be true.
fn began_at(flight: &Flight, begun_ns: u64, now: Instant) -> Instant {
    let now_ns = monotonic_ns();
    let begun_ns = begun_ns.clamp(flight.sent_ns.min(now_ns), now_ns);
    now.checked_sub(Duration::from_nanos(now_ns - begun_ns)).unwrap_or(now)
}

/// Fails the job that a worker died under.
fn lose(flight: Flight, exit: WorkerExit) {
    let Flight { job, call, .. } = flight;
    crate::panic::drop_shielded(call);
    job.finish(Err(TaskError::worker_died(job.label().clone(), exit)));
}

/// Clocks.
impl Keeper {
    /// Acts on every clock that has run out.
    fn look_at_clocks(&mut self) {
        let now = Instant::now();
        self.worker.carry_out(&mut self.worker.link(), now);
        if let Some((job, deadline)) = self.running() {
            self.silent_since = None;
            if deadline.is_some_and(|deadline| now >= deadline) {
                job.run_expired();
            }
        } else {
            self.look_for_claim(now);
        }
    }

    /// The running job, and when its time is over. Takes note of its beginning.
    fn running(&mut self) -> Option<(Arc<dyn ProcessJob>, Option<Instant>)> {
        let link = self.worker.link();
        let (flight, begun_ns) = link.running()?;
        let begun = began_at(flight, begun_ns, Instant::now());
        let job = flight.job.clone();
        drop(link);
        job.begun(begun);
        let deadline = job.run_timeout().and_then(|limit| begun.checked_add(limit));
        Some((job, deadline))
    }

    /// A worker that has a job and runs none should claim it soon.
    fn look_for_claim(&mut self, now: Instant) {
        if self.silent_since.is_some() {
            self.look_for_sign();
        }
        let mut link = self.worker.link();
        let since = link.last_sign;
        let overdue = link.awaits_claim() && now.saturating_duration_since(since) >= CLAIM_WITHIN;
        let taken = if overdue { link.take_back_all() } else { Vec::new() };
        drop(link);
        if !taken.is_empty() {
            self.silent_since.get_or_insert(since);
            self.shared.put_back(taken);
        }
        let limit = self.shared.config().start_timeout;
        if self.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= limit) {
            self.convict("it did not take a job in time");
        }
    }

    /// Whether a silent worker has declared itself asleep since it was last rung: then it lives.
    fn look_for_sign(&mut self) {
        let link = self.worker.link();
        if link.flights.is_empty() && link.ring.should_ring_worker() {
            // Asking has cleared the flag, so it must be rung, or it would sleep through its next job.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
            self.silent_since = None;
        }
    }

    /// When to look again although nothing has been heard.
    fn next(&mut self) -> Next {
        let now = Instant::now();
        let link = self.worker.link();
        let (is_empty, condemned) = (link.flights.is_empty(), link.condemned);
        drop(link);
        if let Some(condemned) = condemned {
            return Next::Wait(Some(condemned.kill_at.unwrap_or(condemned.since + BEYOND_REACH)));
        }
        if self.hung_up {
            // It is dying, though not convicted.
            return Next::Wait(Some(now + DYING));
        }
        if self.silent_since.is_some() {
            return Next::Wait(Some(now + FIRST_LOOK * 10));
        }
        if let Some((_, deadline)) = self.running() {
            return Next::Wait(deadline);
        }
        if !is_empty {
            // About to be claimed: look soon, so that its clock runs, then less and less often.
            let at = now + self.look;
            self.look = (self.look * 2).min(CLAIM_WITHIN);
            return Next::Wait(Some(at));
        }
        self.next_when_idle(now)
    }

    fn next_when_idle(&mut self, now: Instant) -> Next {
        let config = self.shared.config();
        let spent = self.is_spent(now);
        let mut schedule = self.shared.schedule();
        if spent && schedule.closing.is_none() {
            let woken = schedule.leave_to_successor(&self.worker);
            drop(schedule);
            self.shared.counters().recycled();
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        let surplus = schedule.has_surplus();
        if !schedule.queue.is_empty() && !spent && !surplus {
            return Next::Wait(Some(now));
        }
        let idle_until = config.idle_timeout.filter(|_| schedule.workers.len() > config.min_workers);
        let idle_until = idle_until.and_then(|limit| self.idle_since.checked_add(limit));
        if spent || schedule.closing.is_some() || surplus || idle_until.is_some_and(|at| now >= at) {
            let woken = schedule.leave(&self.worker);
            drop(schedule);
            self.shared.wake(woken);
            self.shared.ring();
            return Next::Retire;
        }
        if !schedule.idle.iter().any(|other| Arc::ptr_eq(other, &self.worker)) {
            schedule.idle.push(self.worker.clone());
            self.listed = true;
        }
        Next::Wait([idle_until, self.old_at()].into_iter().flatten().min())
    }

    /// Whether the worker is to be replaced, and gets no more jobs.
    fn is_spent(&self, now: Instant) -> bool {
        let most = self.shared.config().max_tasks_per_worker;
        self.bloated
            || most.is_some_and(|most| self.sent >= most)
            || self.old_at().is_some_and(|at| now >= at)
    }

    fn old_at(&self) -> Option<Instant> {
        self.shared.config().max_age_per_worker.and_then(|limit| self.worker.born.checked_add(limit))
    }

    /// Looks whether the worker holds more memory than it may. One that just runs its next job is measured with it.
    fn look_at_memory(&mut self) {
        if let Some(limit) = self.shared.config().max_memory_per_worker {
            self.bloated |= private_memory_exceeds(self.worker.pid, limit);
        }
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let link = self.worker.link();
        link.ring.fall_asleep();
        let may_sleep = link.ring.may_sleep() || link.condemned.is_some();
        drop(link);
        if may_sleep {
            let socket =
                if self.hung_up { Interest::Nothing } else { Interest::Read(self.worker.socket.as_fd()) };
            let [rung, heard, dead] = wait(
                [Interest::Read(self.worker.bell.as_fd()), socket, Interest::Read(self.worker.pidfd.as_fd())],
                deadline,
            );
            if rung {
                self.worker.bell.silence();
            }
            self.woken = Woken { heard, dead };
        }
        self.worker.link().ring.wake_up();
        if std::mem::take(&mut self.listed) {
            self.shared.schedule().not_idle(&self.worker);
        }
    }
}

/// Jobs.
impl Keeper {
    /// Sends jobs as far as it makes sense. Says whether there was one.
    fn fill(&mut self) -> bool {
        let room = self.room();
        if room == 0 {
            return false;
        }
        let load = self.worker.link().flights.len();
        let (jobs, next) = self.shared.schedule().take(room, load);
        self.shared.wake(next);
        let mut sent = !jobs.is_empty();
        self.in_hand.extend(jobs.iter().cloned());
        for job in jobs {
            // Finished meanwhile: nothing is left of it but this.
            let Some(call) = job.claim() else { continue };
            self.send(job, call);
        }
        self.in_hand.clear();
        if !sent && self.worker.link().flights.is_empty() {
            sent = self.steal();
        }
        if sent {
            self.ring_worker();
            self.shared.cancel_if_closing(&self.worker);
            self.offer();
        }
        sent
    }

    /// Wakes an idle worker to steal what waits behind the running job. It may have looked before that was sent.
    fn offer(&self) {
        if self.worker.link().flights.len() > 1 {
            let idle = self.shared.schedule().idle.pop();
            self.shared.wake(idle);
        }
    }

    /// Frees the segments of jobs that are no longer in flight.
    fn free_segments(&mut self) {
        let link = self.worker.link();
        let gone = |position: u64| !link.flights.iter().any(|flight| flight.position == position);
        let (free, lent) = self.lent.iter().partition(|&&(_, position)| gone(position));
        drop(link);
        self.lent = lent;
        let free: Vec<(u32, u64)> = free;
        for (id, _) in free {
            self.outgoing.release(id, &self.worker.socket);
        }
    }

    /// How many more jobs the worker should have.
    fn room(&mut self) -> usize {
        if !self.lent.is_empty() {
            self.free_segments();
        }
        if self.silent_since.is_some() || self.hung_up || self.is_spent(Instant::now()) {
            return 0;
        }
        let link = self.worker.link();
        if link.condemned.is_some() || !link.ring.has_room() {
            return 0;
        }
        let left =
            self.shared.config().max_tasks_per_worker.map_or(u64::MAX, |most| most.saturating_sub(self.sent));
        let depth = if self.outgoing.in_use() >= MOST_SEGMENTS { 1 } else { depth(self.mean_ns) };
        depth.saturating_sub(link.flights.len()).min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Sends a claimed job, unless it must not begin any more.
    fn send(&mut self, job: Arc<dyn ProcessJob>, call: super::Call) {
        let bytes = call.argument.as_bytes();
        let segment = if bytes.len() <= INLINE {
            None
        } else {
            // Copied here, under no lock: it may be gigabytes.
            match self.outgoing.write(bytes, &self.worker.socket) {
                Ok(id) => Some(id),
                Err(error) if is_disconnect(&error) => {
                    // Nothing is wrong with the job.
                    self.shared.put_back_calls(vec![(job, call)]);
                    return self.hang_up();
                }
                Err(error) => {
                    let why =
                        format!("no shared memory for its argument: {}", super::zygote::explain(&error));
                    crate::panic::drop_shielded(call);
                    return job.finish(Err(TaskError::unavailable(job.label().clone(), why)));
                }
            }
        };
        let now = Instant::now();
        let mut link = self.worker.link();
        job.assign(&self.worker);
        // Only looked at under the lock: ending the task runs foreign code.
        let expired = job.is_queue_expired(now);
        let refused = job.is_stopped() || expired;
        if !refused && link.condemned.is_none() && link.ring.has_room() {
            let position = link.send(job, call, segment, monotonic_ns());
            self.lent.extend(segment.map(|id| (id, position)));
            self.sent += 1;
            return;
        }
        drop(link);
        if let Some(id) = segment {
            self.outgoing.release(id, &self.worker.socket);
        }
        if !refused {
            return self.shared.put_back_calls(vec![(job, call)]);
        }
        crate::panic::drop_shielded(call);
        if expired {
            job.queue_expired(now);
        }
    }

    /// Takes a job that waits behind another worker's.
    fn steal(&mut self) -> bool {
        let others = self.shared.schedule().workers.clone();
        for other in others {
            if Arc::ptr_eq(&other, &self.worker) {
                continue;
            }
            let stolen = other.link().steal();
            if let Some(Flight { job, call, .. }) = stolen {
                self.send(job, call);
                return true;
            }
        }
        false
    }

    fn ring_worker(&self) {
        if self.worker.link().ring.should_ring_worker() {
            // A worker that cannot be rung is dying: the pidfd will tell.
            let _ = self.worker.socket.ring(&Signal::Doorbell.to_wire());
        }
    }
}

/// Whether the other end is gone, or has not read its socket for so long that it is no worker any more.
fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | WouldBlock)
}

/// How many jobs a worker should have, so that about [`AHEAD`] of work waits behind the running one.
fn depth(mean_ns: u64) -> usize {
    let ahead = AHEAD.as_nanos() as u64 / mean_ns.max(1);
    usize::try_from(ahead).unwrap_or(DEEPEST).clamp(1, DEEPEST - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_jobs_are_sent_far_ahead_and_long_ones_hardly() {
        assert_eq!(depth(0), DEEPEST);
        assert_eq!(depth(1_000), DEEPEST);
        assert_eq!(depth(20_000), 11);
        assert_eq!(depth(1_000_000), 2);
        assert_eq!(depth(u64::MAX), 2);
    }
}
