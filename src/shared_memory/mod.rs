//! Shared memory: written once, then read by any number of processes without a copy.
//!
//! [`SharedBytes`] is a buffer, [`Shared`] a slice of plain old data over one. Both are handles of one *piece* of memory
//! ([`block`]). Below everything that sends payloads: [`passing`] is how a payload names the pieces in it, and how they get
//! to the other process is the process pool's (`process/README.md`, "Shared memory").
//!
//! 1. A piece is a memfd with the seals SHRINK, GROW, WRITE and SEAL and every page allocated, whoever made it: checked before
//!    it is mapped. So no access to a mapping faults, and no byte of it ever changes: plain references into it are sound.
//! 2. It has no name in any file system. The kernel frees it when the last descriptor, mapping and message that holds it is
//!    gone, however the processes ended.
//! 3. It is mapped PROT_READ and private: since nothing can write to it there is nothing to be private of, and before Linux 6.7 a
//!    shared mapping of memory sealed against writing is refused even for reading.
//! 4. The process that makes a piece, and the program that receives one, keep a descriptor for as long as a handle lives: to send
//!    it on. A worker that receives one keeps the mapping alone, so that pieces take none of its descriptors, and none is
//!    left to be closed, or taken for another, by a job. The price: it cannot pass the piece on to a pool of its own.
//! 5. A descriptor belongs to the process that opened it. In a forked copy of that process its number may mean anything, so
//!    it is neither sent nor closed there.
//! 6. When the last handle goes, every process that was told of the piece is told to forget it ([`Reader`]); that never waits.

mod bytes;
mod passing;
mod slice;

#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod block;
#[cfg(target_os = "linux")]
mod sealed;

#[cfg(target_os = "linux")]
pub(crate) use block::Reader;
pub use bytes::SharedBytes;
#[cfg(target_os = "linux")]
pub(crate) use bytes::Watch;
#[cfg(feature = "nats")]
pub(crate) use passing::take_read_piece;
pub(crate) use passing::{collecting, resolving};
pub use slice::Shared;

/// The most pieces that one payload may name: the receiver of a result holds as many descriptors.
pub(crate) const MOST_IN_PAYLOAD: usize = 256;
