//! Shared memory on its way to the worker and back.

use std::{
    collections::HashSet,
    io,
    os::fd::AsFd,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::Keeper;
use crate::{
    TaskError,
    counted::Counted,
    process::{
        message::Signal,
        names::take_off,
        parent::{
            is_disconnect,
            seat::{Call, ProcessJob},
            worker::Worker,
            zygote::explain,
        },
        reply::VALUE_WITH_NAMES,
        sys::{Interest, wait},
    },
    shared_memory::{Reader, SharedBytes},
    wire::{Arrived, Body},
};

/// How long a worker without a job may take to read what it was sent.
const READS_WITHIN: Duration = Duration::from_millis(100);

impl Keeper {
    /// Tells the worker of the shared memory in an argument that it does not know yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room in its socket; what the system says when it is gone, or when something is lacking.
    pub(super) fn introduce(&mut self, argument: &[SharedBytes]) -> io::Result<()> {
        for piece in argument {
            let is_known = self.worker.link().known.is_used(piece.id());
            if !is_known {
                self.announce(piece)?;
                self.worker.link().known.add(piece);
            }
        }
        if !argument.is_empty() && self.worker.link().known.is_too_long() {
            self.have_some_forgotten(argument);
        }
        Ok(())
    }

    fn announce(&self, piece: &SharedBytes) -> io::Result<()> {
        let message = Signal::Shared { id: piece.id() }.to_wire();
        let fd = piece.descriptor().ok_or(io::ErrorKind::Unsupported)?;
        loop {
            match self.worker.socket.try_send(&message, &[fd]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.finds_room() => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let worker: Weak<Worker> = Arc::downgrade(&self.worker);
        piece.told(worker);
        Ok(())
    }

    /// Waits until a worker that has nothing to do has read its socket. A busy one is not waited for.
    fn finds_room(&self) -> bool {
        if !self.worker.link().flights.is_empty() {
            return false;
        }
        let room = [Interest::Write(self.worker.socket.as_fd()), Interest::Read(self.worker.pidfd.as_fd())];
        wait(room, Some(Instant::now() + READS_WITHIN))[0]
    }

    /// Has the worker forget pieces that it has not used for long.
    fn have_some_forgotten(&mut self, argument: &[SharedBytes]) {
        let link = self.worker.link();
        let sent = link.flights.iter().flat_map(|flight| flight.call.argument.pieces());
        let in_use: HashSet<u64> = sent.chain(argument).map(SharedBytes::id).collect();
        let surplus = link.known.surplus(|id| in_use.contains(&id));
        drop(link);
        for id in surplus {
            // What it could not be told it still knows.
            if self.worker.socket.try_send(&Signal::ForgetShared { id }.to_wire(), &[]).is_ok() {
                self.worker.link().known.remove(id);
            }
        }
    }

    /// A job could not be sent, for `error` came between.
    pub(super) fn not_sent(&mut self, job: Counted<dyn ProcessJob>, call: Call, error: &io::Error) {
        if is_disconnect(error) {
            // Nothing is wrong with the job.
            self.shared.put_back_calls(vec![(job, call)]);
            return self.hang_up();
        }
        if error.kind() == io::ErrorKind::WouldBlock {
            self.shared.put_back_calls(vec![(job, call)]);
            if self.worker.link().flights.is_empty() {
                // It has nothing to do, and does not read.
                self.silent_since.get_or_insert_with(Instant::now);
            } else {
                self.congested = true;
            }
            return;
        }
        let why = format!("no shared memory for its argument: {}", explain(error));
        crate::panic::drop_shielded(call);
        job.finish(Err(TaskError::unavailable(job.label().clone(), why)));
    }

    /// The value in a reply, with the shared memory that it names.
    ///
    /// # Errors
    ///
    /// What only a worker that is none of ours can have done. `Ok(Err(..))`: why a piece could not be taken in.
    pub(super) fn unpack(
        &mut self,
        kind: u8,
        body: Body,
        given: &[SharedBytes],
    ) -> Result<Result<Arrived, String>, &'static str> {
        if kind != VALUE_WITH_NAMES {
            return Ok(Ok(body.into()));
        }
        let mut bytes = body.into_vec();
        let names = take_off(&mut bytes).ok_or("an unreadable list of shared memory")?;
        if !self.arrivals.has_all(&names) {
            self.hear();
        }
        let pieces = self.arrivals.claim(&names, given)?;
        Ok(pieces.map(|pieces| Arrived { body: bytes.into(), pieces }))
    }
}

impl Reader for Worker {
    fn forget(&self, id: u64) {
        if !self.forgotten.add(id, &self.socket) {
            self.bell.ring();
        }
    }
}
