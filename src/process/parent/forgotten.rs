//! [`Forgotten`]: what a worker is to forget and could not be told yet.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::process::{message::Signal, sys::Socket};

/// Pieces of shared memory whose last handle has gone, on their way to one worker.
///
/// Whoever drops the last handle tries to tell the worker at once, on any thread and without waiting. If the worker has not read
/// its socket for so long that there is no room, the pieces stay here, and the worker's keeper tries again. They are at most
/// as many as the worker knows.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// Taken alone.
    waiting: Mutex<Vec<u64>>,
    /// Whether the worker should look at its socket soon, also if it is never without a job.
    ///
    /// ORDERING: Relaxed. The socket orders what it carries; a look that comes one job late costs nothing.
    unread: AtomicBool,
}

impl Forgotten {
    /// Has the worker forget a piece. Says whether it could be told.
    pub(super) fn add(&self, id: u64, socket: &Socket) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.pass_on(socket)
    }

    /// Tells the worker of what waits. Says whether nothing is left.
    pub(super) fn pass_on(&self, socket: &Socket) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&id) = waiting.last() {
            self.unread.store(true, Relaxed);
            match socket.try_send(&Signal::ForgetShared { id }.to_wire(), &[]) {
                Ok(()) => drop(waiting.pop()),
                // It is dead, or retires: what it had mapped goes with it.
                Err(error) if super::is_disconnect(&error) => waiting.clear(),
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether the next job should have the worker look at its socket.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Whether the worker has been sent something to forget since this was last asked.
    pub(super) fn take_unread(&self) -> bool {
        // The load keeps the line shared while there is nothing, as there mostly is.
        self.unread.load(Relaxed) && self.unread.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::message::SIGNAL_LEN;

    #[test]
    fn what_finds_no_room_is_told_once_there_is_some() {
        let (near, far) = Socket::pair().unwrap();
        let forgotten = Forgotten::default();
        let count = (0..).find(|&id| !forgotten.add(id, &near)).unwrap() + 1;
        assert!(forgotten.take_unread());
        let mut told = Vec::new();
        let mut buffer = [0; SIGNAL_LEN];
        while told.len() < count as usize {
            let Some(received) = far.try_receive(&mut buffer).unwrap() else {
                forgotten.pass_on(&near);
                continue;
            };
            match Signal::from_wire(&buffer[..received.len]) {
                Some(Signal::ForgetShared { id }) => told.push(id),
                other => panic!("unexpected {other:?}"),
            }
        }
        told.sort_unstable();
        assert!(told.into_iter().eq(0..count));
        assert!(forgotten.pass_on(&near) && far.try_receive(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn a_dead_worker_has_forgotten_everything() {
        let (near, far) = Socket::pair().unwrap();
        drop(far);
        assert!(Forgotten::default().add(1, &near));
    }
}
