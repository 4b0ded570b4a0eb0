//! What a worker says, and what becomes of the tasks.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, DEEPEST, DYING, FIRST_LOOK, Keeper, SOON, life::fail};
use crate::{
    TaskError, WorkerExit,
    clock::Stamp,
    counted::Counted,
    error::Operand,
    prefetch::prefetch_whole,
    process::{
        message::{SIGNAL_LEN, Signal},
        parent::{
            link::{Flight, Link},
            seat::ProcessJob,
            worker::Worker,
            zygote::explain,
        },
        reply as wire,
        ring::{Copied, Place, Reply},
        sys::{Interest, Moment, join_freed, wait},
    },
    shared_memory::{MOST_IN_PAYLOAD, SharedBytes},
    task::together::{Together, wake_now},
    wire::{Arrived, Body},
};

/// How long who awaits a task waits for outcomes that come together with its own.
const PATIENCE: Duration = Duration::from_micros(50);
/// How large the buffer of a reply may be to be used again. There are as many as replies have been taken at once, so no more than 256.
const REUSED: usize = 512;
/// From how many values on it is worthwhile to have the heap put in order for them.
const MANY: usize = 8;

impl Keeper {
    /// Takes note of what the worker has sent over the socket.
    pub(super) fn hear(&mut self) {
        self.woken.heard = false;
        let mut buffer = [0; SIGNAL_LEN];
        // As many as a full ring can give cause for; a flood waits for the next turn.
        for _ in 0..4 * DEEPEST {
            if self.arrivals.is_full() {
                // The rest holds up the worker until its results have been taken.
                self.woken.heard = true;
                return;
            }
            match self.worker.socket.try_receive(&mut buffer) {
                Ok(None) => return,
                Ok(Some(received)) if received.len > 0 => {
                    self.heard += 1;
                    self.note(&buffer[..received.len], received.fds);
                }
                Ok(Some(_)) => return self.hang_up(),
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => self.note_loss(&buffer, &error),
                Err(_) => return self.convict("its message cannot be received"),
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

    fn note(&mut self, message: &[u8], mut fds: Vec<OwnedFd>) {
        let strange = Err("it sent what no worker sends");
        let noted = match (Signal::from_wire(message), fds.pop(), fds.is_empty()) {
            (Some(Signal::Doorbell), None, _) => Ok(()),
            (Some(Signal::Segment { id, len }), Some(fd), true) => {
                let fits = len <= self.largest_segment() && self.incoming.add(id, len, &fd).is_ok();
                if fits { Ok(()) } else { strange }
            }
            (Some(Signal::Forget { id }), None, _) => {
                self.incoming.forget(id);
                Ok(())
            }
            (Some(Signal::Shared { id }), Some(fd), true) => self.arrivals.add(id, fd),
            (Some(Signal::ForgetShared { id }), None, _) => {
                self.arrivals.forget(id);
                Ok(())
            }
            (Some(Signal::NotMapped { id }), None, _) => {
                self.worker.link().known.remove(id);
                Ok(())
            }
            _ => strange,
        };
        if let Err(what) = noted {
            self.convict(what);
        }
    }

    /// A message came whose descriptor could not: the program has no more to spare.
    fn note_loss(&mut self, message: &[u8], error: &io::Error) {
        let Some(Signal::Shared { id }) = Signal::from_wire(message) else {
            return self.convict("its message cannot be received: RLIMIT_NOFILE is reached");
        };
        if let Err(what) = self.arrivals.lose(id, explain(error)) {
            self.convict(what);
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

    /// Takes every reply there is, to be delivered later.
    ///
    /// # Errors
    ///
    /// What no worker of ours would have written, behind them.
    pub(super) fn take_replies(&mut self) -> Result<(), &'static str> {
        let mut link = self.worker.link();
        link.ring.reuse(&mut self.emptied);
        let violation = loop {
            match take_answer(&mut link) {
                Ok(Some(answer)) => self.answers.push_back(answer),
                Ok(None) => break Ok(()),
                Err(what) => break Err(what),
            }
        };
        if self.answers.is_empty() {
            return violation;
        }
        let now = Moment::now();
        for Answer { flight, reply } in &self.answers {
            link.note_answer(flight.took_ns(reply.begun_ns, reply.took_ns, now));
        }
        link.last_sign = now.at;
        drop(link);
        self.taken_at = now;
        self.silent_since = None;
        self.look = FIRST_LOOK;
        self.idle_since = now.at;
        self.mark_output(None);
        violation
    }

    /// Finishes the tasks of jobs that the worker has answered, oldest first. Who awaits them is woken when all are, or [`PATIENCE`]
    /// is over.
    pub(super) fn deliver_all(&mut self) {
        let _together = (self.answers.len() > 1).then(Together::begin);
        if self.answers.len() > MANY {
            // Values of their kind have been freed by whoever awaited them.
            join_freed();
        }
        let mut begun = Stamp::now();
        while let Some(answer) = self.answers.pop_front() {
            self.answers.get(SOON).into_iter().for_each(|soon| prefetch_whole(&*soon.flight.job));
            self.deliver(answer, self.taken_at);
            if begun.elapsed() > PATIENCE {
                wake_now();
                begun = Stamp::now();
            }
        }
    }

    /// Finishes the task of a job that the worker has answered.
    pub(super) fn deliver(&mut self, answer: Answer, now: Moment) {
        let Answer { flight, reply } = answer;
        let begun = flight.began_at(reply.begun_ns, now);
        let took = Duration::from_nanos(flight.took_ns(reply.begun_ns, reply.took_ns, now));
        let job = InHand(flight.job);
        let outcome = self.outcome(&job.0, reply, flight.call.argument.pieces());
        match outcome {
            Ok(outcome) => {
                // The place comes free before anybody can see the result and come back for it.
                if flight.call.may_wait() {
                    job.0.keep(flight.call);
                } else {
                    crate::panic::drop_shielded(flight.call);
                }
                match outcome {
                    Ok(mut arrived) => {
                        job.0.answered(begun, took, Ok(&mut arrived));
                        self.keep_buffer(arrived.body);
                    }
                    Err(error) => job.0.answered(begun, took, Err(error)),
                }
            }
            Err(what) => {
                wake_now();
                job.0.begun(begun);
                self.convict(what);
                self.await_exit(Duration::ZERO);
                if job.0.survives(self.worker.pid) {
                    return self.shared.put_back_calls(vec![(job.0.clone(), flight.call)]);
                }
                crate::panic::drop_shielded(flight.call);
                job.0.lose(self.worker.exit(Some(what)));
            }
        }
    }

    /// Keeps the buffer that a value has been read from, for another reply. To allocate and free one for each would not only take
    /// time: what the values allocate meanwhile would come to lie in the gaps.
    fn keep_buffer(&mut self, body: Body) {
        if let Body::Here(buffer) = body
            && (1..=REUSED).contains(&buffer.capacity())
        {
            self.emptied.push(buffer);
        }
    }

    /// What a reply says of its job, which was `given` that shared memory.
    ///
    /// # Errors
    ///
    /// What no worker of ours would have written.
    fn outcome(
        &mut self,
        job: &Counted<dyn ProcessJob>,
        reply: Reply,
        given: &[SharedBytes],
    ) -> Result<Result<Arrived, TaskError>, &'static str> {
        let body = self.body_of(reply.result)?;
        if reply.kind == wire::ARGUMENT {
            // It may have said before which shared memory it lacks: who tries again is to have it sent again.
            self.hear();
        }
        let limit = self.shared.config().max_payload;
        let body = match wire::Reply::from_wire(reply.kind, body, job.label(), limit) {
            Ok(body) => body,
            Err(failed) => return failed.map(Err),
        };
        let arrived = self.unpack(reply.kind, body, given)?;
        Ok(arrived.map_err(|why| TaskError::decode(job.label().clone(), Operand::Result, why)))
    }

    fn body_of(&mut self, place: Place<Copied>) -> Result<Body, &'static str> {
        let (id, len) = match place {
            Place::Inline(bytes) => return Ok(bytes.into()),
            Place::Segment { id, len } => (id, len),
        };
        // It may be a large one.
        wake_now();
        if !self.incoming.knows(id) {
            self.hear();
        }
        let release = Release { worker: self.worker.clone(), id };
        let payload = self.incoming.complete(id, len, release);
        Ok(Body::There(Box::new(payload.ok_or("it named shared memory that it had not sent")?)))
    }
}

/// Gives a worker its segment back when the result in it has been read.
struct Release {
    worker: Arc<Worker>,
    id: u32,
}

impl Drop for Release {
    fn drop(&mut self) {
        // A worker that cannot be told is dying.
        let _ = self.worker.socket.ring(&Signal::Release { id: self.id }.to_wire());
    }
}

/// A job that this thread answers for: should it unwind, by a bug of ours, the job is failed, not forgotten.
struct InHand(Counted<dyn ProcessJob>);

impl Drop for InHand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fail(&*self.0, "it panicked");
        }
    }
}

/// The most messages that a reply can give cause for: one that tells of a segment, one that forgets another, a doorbell, one that
/// asks for shared memory again, and for each piece of shared memory one that brings it and one that takes it back. All but the
/// doorbell come before the reply.
const MESSAGES_PER_REPLY: u64 = 4 + 2 * MOST_IN_PAYLOAD as u64;

/// Whether a worker has sent more messages than its replies can have given cause for.
///
/// To be asked when every reply has been taken that was published before the last message was heard.
pub(super) fn is_flood(heard: u64, answered: u64) -> bool {
    heard > answered.saturating_add(1).saturating_mul(MESSAGES_PER_REPLY)
}

/// Takes the oldest reply, with its flight.
fn take_answer(link: &mut Link) -> Result<Option<Answer>, &'static str> {
    if link.condemned.is_some_and(|condemned| condemned.position.is_none()) {
        // Convicted: what else it wrote is looked at when it is dead.
        return Ok(None);
    }
    let Some(reply) = link.ring.take_reply().map_err(|violation| violation.what())? else { return Ok(None) };
    let flight = link.remove(reply.position).ok_or("it answered a job that it was not sent")?;
    if link
        .condemned
        .is_some_and(|condemned| condemned.position == Some(reply.position) && condemned.kill_at.is_some())
    {
        link.condemned = None;
    }
    Ok(Some(Answer { flight, reply }))
}

/// Fails the job that a worker died under, and that is not run again.
pub(super) fn lose(flight: Flight, exit: WorkerExit) {
    let Flight { job, call, .. } = flight;
    crate::panic::drop_shielded(call);
    job.lose(exit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_messages_for_each_reply_and_the_next_are_no_flood() {
        const MOST: u64 = MESSAGES_PER_REPLY;
        let table = [((0, 0), false), ((MOST, 0), false), ((MOST + 1, 0), true), ((2 * MOST, 1), false)];
        for ((heard, answered), flood) in table {
            assert_eq!(is_flood(heard, answered), flood, "{heard} messages, {answered} replies");
        }
        assert!(!is_flood(u64::MAX, u64::MAX));
    }
}
