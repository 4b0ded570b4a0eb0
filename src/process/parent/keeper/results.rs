//! What a worker says, and what becomes of the tasks.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use super::{Answer, DEEPEST, DYING, FIRST_LOOK, Keeper};
use crate::{
    TaskError, WorkerExit,
    process::{
        message::{SIGNAL_LEN, Signal},
        parent::link::{Flight, Link},
        reply,
        ring::{Place, Reply},
        sys::{Interest, monotonic_ns, wait},
    },
};

impl Keeper {
    /// Takes note of what the worker has sent over the socket.
    pub(super) fn hear(&mut self) {
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
    pub(super) fn hang_up(&mut self) {
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
    pub(super) fn convict(&self, note: &'static str) {
        let taken = self.worker.convict(&mut self.worker.link(), note);
        self.shared.put_back(taken);
    }

    /// Takes every reply there is. Says how many there were.
    pub(super) fn collect(&mut self) -> usize {
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
    pub(super) fn deliver(&mut self, answer: Answer, now: Instant) {
        let Answer { flight, reply } = answer;
        let begun = began_at(&flight, reply.begun_ns, now);
        self.silent_since = None;
        self.look = FIRST_LOOK;
        self.idle_since = now;
        flight.job.begun(begun);
        match self.open(&flight, reply) {
            Ok(outcome) => {
                let Flight { job, call, .. } = flight;
                // The place comes free before anybody can see the result and come back for it.
                crate::panic::drop_shielded(call);
                job.finish(outcome);
            }
            Err(what) => {
                self.convict(what);
                self.await_exit(Duration::ZERO);
                if flight.job.survives(self.worker.pid) {
                    return self.shared.put_back(vec![flight]);
                }
                lose(flight, self.worker.exit(Some(what)));
            }
        }
    }

    /// What a reply says, or what is wrong with it.
    fn open(&mut self, flight: &Flight, reply: Reply) -> Result<Result<Vec<u8>, TaskError>, &'static str> {
        let bytes = self.bytes_of(reply.result)?;
        let limit = self.shared.config().max_payload;
        match reply::Reply::from_wire(reply.kind, bytes, flight.job.label(), limit) {
            Ok(value) => Ok(Ok(value)),
            Err(Ok(error)) => Ok(Err(error)),
            Err(Err(what)) => Err(what),
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
pub(super) fn began_at(flight: &Flight, begun_ns: u64, now: Instant) -> Instant {
    let now_ns = monotonic_ns();
    let begun_ns = begun_ns.clamp(flight.sent_ns.min(now_ns), now_ns);
    now.checked_sub(Duration::from_nanos(now_ns - begun_ns)).unwrap_or(now)
}

/// Fails the job that a worker died under, and that is not run again.
pub(super) fn lose(flight: Flight, exit: WorkerExit) {
    let Flight { job, call, .. } = flight;
    crate::panic::drop_shielded(call);
    job.lose(exit);
}
