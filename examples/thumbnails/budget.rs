//! [`Budget`]: how many bytes of requests and responses may be in memory at a time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is handed out in pieces of this many bytes.
const PIECE: usize = 1024;

/// An amount of memory that all requests share.
#[derive(Clone)]
pub(crate) struct Budget {
    pieces: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { pieces: Arc::new(Semaphore::new(bytes / PIECE)) }
    }

    /// Returns an empty buffer, which may grow as long as there is room.
    pub(crate) fn buffer(&self) -> Buffer {
        let nothing = self.pieces.clone().try_acquire_many_owned(0).expect("nothing is always there");
        Buffer { budget: self.clone(), bytes: Vec::new(), held: nothing }
    }
}

/// Bytes, and the part of the budget that they take, which is given back with them.
pub(crate) struct Buffer {
    budget: Budget,
    bytes: Vec<u8>,
    held: OwnedSemaphorePermit,
}

/// The budget is spent.
#[derive(Debug)]
pub(crate) struct Spent;

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes room for `len` bytes in all. Never waits: who waited for more while holding some would keep others from their end.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<(), Spent> {
        let missing = len.div_ceil(PIECE).saturating_sub(self.held.num_permits());
        let missing = u32::try_from(missing).map_err(|_| Spent)?;
        let more = self.budget.pieces.clone().try_acquire_many_owned(missing).map_err(|_| Spent)?;
        self.held.merge(more);
        Ok(())
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Spent> {
        self.reserve(self.bytes.len() + chunk.len())?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Returns the bytes. They stay in the budget until the last copy of this handle is dropped, whoever has it by then: a job
    /// in the queue, or a connection to somebody who reads slowly.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room_again() {
        let budget = Budget::new(4 * PIECE);
        let mut first = budget.buffer();
        first.push(&[1; 3 * PIECE]).unwrap();
        let mut second = budget.buffer();
        second.push(&[2; PIECE]).unwrap();
        assert!(second.push(&[2]).is_err());
        let bytes = first.freeze();
        let copy = bytes.clone();
        drop(bytes);
        assert!(second.push(&[2]).is_err());
        drop(copy);
        second.push(&[2; 3 * PIECE]).unwrap();
        assert!(second.push(&[2]).is_err());
        assert_eq!(second.len(), 4 * PIECE);
    }
}
