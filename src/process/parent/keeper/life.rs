//! A worker's birth and death.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use super::{Answer, BEYOND_REACH, DYING, Keeper, Unready, results::lose};
use crate::{
    TaskError,
    clock::Stamp,
    process::{
        message::{SIGNAL_LEN, Signal},
        parent::{link::Condemned, schedule::Start, seat::ProcessJob},
        ring::Fate,
        sys::{Interest, Moment, wait},
    },
    record::{Change, Ending},
};

/// How long a worker that retires may take to exit.
const RETIRES_WITHIN: Duration = Duration::from_secs(1);

impl Keeper {
    pub(super) fn wait_until_ready(&mut self) -> Result<(), Unready> {
        self.wait_for_first()?;
        self.look_at_first_memory().map_err(Unready::Failed)
    }

    /// Waits for the worker's word that it is ready.
    fn wait_for_first(&mut self) -> Result<(), Unready> {
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
    pub(super) fn report(&mut self, start: Start) {
        if !std::mem::replace(&mut self.reported, true) {
            self.shared.started(&self.worker, start);
        }
    }

    /// A worker that never served: says why.
    pub(super) fn bury_unborn(&mut self, unready: Unready) {
        let Unready::Failed(reason) = unready else {
            self.shared.leaving(&self.worker);
            self.record_end(Ending::Retired);
            self.await_exit(Duration::ZERO);
            self.report(Start::Unneeded);
            return self.shared.gone(&self.worker);
        };
        self.await_exit(Duration::from_millis(100));
        let exit = self.worker.exit(None);
        let tail = exit.stderr_tail().trim_end();
        let tail = if tail.is_empty() { String::new() } else { format!("; its standard error ends: {tail}") };
        // Before it leaves: a worker that was started in its place now would not have waited for the pause.
        let reason = format!("a worker did not start: {reason}: {exit}{tail}");
        self.record_end(Ending::Died(reason.as_str().into()));
        self.report(Start::Failed(reason));
        self.shared.leaving(&self.worker);
        self.shared.gone(&self.worker);
    }

    /// Waits for the exit, and kills the worker when it takes too long.
    pub(super) fn await_exit(&self, patience: Duration) {
        let pidfd = || [Interest::Read(self.worker.pidfd.as_fd())];
        let [dead] = wait(pidfd(), Some(Instant::now() + patience));
        if !dead {
            self.worker.kill();
            wait(pidfd(), Some(Instant::now() + BEYOND_REACH));
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        let [dead] = wait([Interest::Read(self.worker.pidfd.as_fd())], Some(Instant::now()));
        dead
    }

    /// Whether SIGKILL was sent long ago and has not ended it (state D): then it is written off, dead or not.
    pub(super) fn is_beyond_reach(&self) -> bool {
        let condemned = self.worker.link().condemned;
        condemned.is_some_and(|it| it.kill_at.is_none() && it.since.elapsed() >= BEYOND_REACH)
    }

    /// Settles a dead worker, steps 5 to 9.
    pub(super) fn bury(&mut self) {
        self.hear();
        let mut link = self.worker.link();
        let condemned = link.condemned;
        let fates = link.ring.drain();
        let mut flights = std::mem::take(&mut link.flights);
        drop(link);
        let is_asked = self.count_death(condemned);
        // To learn how takes a while, and its successor does not wait for that.
        let died_at = Stamp::now();
        if is_asked {
            // Before its successor begins anything.
            let killed = condemned.and_then(|condemned| condemned.position);
            let job = flights.iter().find(|flight| Some(flight.position) == killed);
            let job = job.map_or_else(String::new, |flight| flight.job.label().to_string());
            self.record_end(Ending::Killed(job.into()));
        }
        let (mut returned, mut finished, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (position, fate) in fates {
            let Some(index) = flights.iter().position(|flight| flight.position == position) else { continue };
            let flight = flights.remove(index).expect("the index was found just now");
            match fate {
                Fate::NotBegun => returned.push(flight),
                Fate::Begun { begun_ns } => {
                    let now = Moment::now();
                    flight.job.begun(flight.began_at(begun_ns, now));
                    flight.job.ran_until(now.at);
                    lost.push((flight, None));
                }
                Fate::Unknown(violation) => lost.push((flight, Some(violation.what()))),
                Fate::Finished(reply) => finished.push(Answer { flight, reply }),
            }
        }
        let (again, lost): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|(flight, _)| flight.job.survives(self.worker.pid));
        returned.extend(again.into_iter().map(|(flight, _)| flight));
        // All have their old places again before a successor looks for jobs.
        self.shared.put_back(returned);
        self.shared.dying(&self.worker);
        finished.into_iter().for_each(|answer| self.deliver(answer, Moment::now()));
        let out_of_reach = (!self.is_dead()).then(|| {
            // Once more: whoever condemned it may have been held up before the signal.
            self.worker.kill();
            "SIGKILL has not ended it"
        });
        let note = condemned.and_then(|condemned| condemned.note);
        let note = note.or(lost.iter().find_map(|(_, note)| *note)).or(out_of_reach);
        let exit = self.worker.exit(note).with_note(self.memory.overuse.clone());
        if !is_asked {
            self.record_end_at(died_at, Ending::Died(exit.to_string().into()));
        }
        for (flight, _) in lost {
            let items = self.worker.link().ring.items(flight.position);
            lose(flight, exit.clone().with_items(items.ok().map(|(_, bytes)| bytes)));
        }
        self.shared.gone(&self.worker);
    }

    /// A worker that we killed for its job's caller did not die unasked. Says whether it is one.
    fn count_death(&self, condemned: Option<Condemned>) -> bool {
        let is_asked = condemned.is_some_and(|it| it.position.is_some()) && self.memory.overuse.is_none();
        if !is_asked {
            self.shared.counters().worker_died();
        }
        is_asked
    }

    /// Tells who looks that the worker has ended.
    pub(super) fn record_end(&self, ending: Ending) {
        self.record_end_at(Stamp::now(), ending);
    }

    fn record_end_at(&self, at: Stamp, ending: Ending) {
        self.shared.record_change(&self.worker, at, Change::Ended(ending));
    }

    /// Lets an idle worker go.
    pub(super) fn retire(&mut self) {
        self.worker.dismiss();
        self.await_exit(RETIRES_WITHIN);
        self.worker.finish_output();
        self.shared.gone(&self.worker);
    }

    /// Our own bug: nothing that this keeper was responsible for may be left waiting.
    pub(super) fn fail_all(&mut self, why: &str) {
        self.worker.kill();
        self.record_end(Ending::Died(why.into()));
        let mut link = self.worker.link();
        link.direct.close();
        let flights = std::mem::take(&mut link.flights);
        drop(link);
        let known = self.shared.schedule().employs(&self.worker);
        let in_hand = std::mem::take(&mut self.in_hand);
        let answers = std::mem::take(&mut self.answers);
        let jobs = answers.into_iter().map(|answer| answer.flight.job).chain(in_hand);
        for job in flights.into_iter().map(|flight| flight.job).chain(jobs) {
            fail(&*job, why);
        }
        if known {
            self.shared.leaving(&self.worker);
        }
        self.report(Start::Failed(why.to_owned()));
        self.shared.gone(&self.worker);
    }
}

/// Our own bug has cost a job its keeper.
pub(super) fn fail(job: &dyn ProcessJob, why: &str) {
    let why = format!("the keeper of its worker failed: {why}");
    job.finish(Err(TaskError::unavailable(job.label().clone(), why)));
}
