//! Segments: shared memory for payloads that do not fit into a slot of the ring.
//!
//! Each side of a worker's link makes the segments that it writes ([`Outgoing`]) and maps those that it reads
//! ([`Incoming`]). A segment is a memfd whose size is a power of two, sealed before it is sent; its descriptor crosses once,
//! and both sides keep the mapping, so that its pages stay warm from payload to payload.
//!
//! 1. A segment is reserved and written only while it is free: never sent, or given back by the reader.
//! 2. At most [`KEPT`] segments stay while they are free; the smallest go first, and the reader is told.

use std::{collections::HashMap, io, os::fd::AsFd, sync::Arc};

use super::{
    message::Signal,
    sys::{InSegment, Segment, Socket},
};

/// The smallest segment, in bytes.
const SMALLEST: usize = 64 * 1024;
/// How many segments stay mapped while nobody uses them.
const KEPT: usize = 4;

/// The segments that one side writes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    next_id: u32,
    segments: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    segment: Arc<Segment>,
    free: bool,
}

/// A segment in which a payload is to be written.
#[derive(Debug, Clone)]
pub(super) struct Reserved {
    pub(super) id: u32,
    pub(super) segment: Arc<Segment>,
}

impl Outgoing {
    /// Returns a segment for a payload of `len` bytes, which the other side has been told of before, or is told of now. It is in use
    /// until it is [released](Self::release).
    ///
    /// # Errors
    ///
    /// What the system says when there is no more memory or no descriptor, or when the other side is gone.
    pub(super) fn reserve(&mut self, len: usize, socket: &Socket) -> io::Result<Reserved> {
        let index = match self.best_free(len) {
            Some(index) => index,
            None => self.make(len, socket)?,
        };
        let entry = &mut self.segments[index];
        entry.free = false;
        entry.segment.begin();
        Ok(Reserved { id: entry.id, segment: entry.segment.clone() })
    }

    /// The smallest free segment that is long enough.
    fn best_free(&self, len: usize) -> Option<usize> {
        let fitting = self.segments.iter().enumerate().filter(|(_, s)| s.free && s.segment.room() >= len);
        fitting.min_by_key(|(_, s)| s.segment.room()).map(|(index, _)| index)
    }

    fn make(&mut self, len: usize, socket: &Socket) -> io::Result<usize> {
        let len = len.max(SMALLEST).checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let (segment, fd) = Segment::create(len)?;
        self.next_id += 1;
        let id = self.next_id;
        socket.try_send(&Signal::Segment { id, len: len as u64 }.to_wire(), &[fd.as_fd()])?;
        self.segments.push(Entry { id, segment: Arc::new(segment), free: false });
        Ok(self.segments.len() - 1)
    }

    /// The reader is done with a segment. What is too many is given up.
    pub(super) fn release(&mut self, id: u32, socket: &Socket) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.free = true;
        }
        while self.segments.iter().filter(|segment| segment.free).count() > KEPT {
            let free = self.segments.iter().enumerate().filter(|(_, segment)| segment.free);
            let Some((smallest, _)) = free.min_by_key(|(_, entry)| entry.segment.room()) else { return };
            let gone = self.segments.swap_remove(smallest);
            // If it cannot be told, the other side keeps a mapping that nobody will name again.
            let _ = socket.try_send(&Signal::Forget { id: gone.id }.to_wire(), &[]);
        }
    }

    /// How many segments are in use.
    pub(super) fn in_use(&self) -> usize {
        self.segments.iter().filter(|segment| !segment.free).count()
    }
}

/// The segments that one side reads.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    segments: HashMap<u32, Arc<Segment>>,
}

/// The most segments that the other side may have us map: more than a full ring of payloads needs.
const MOST_INCOMING: usize = super::ring::SLOTS + 2 * KEPT;

impl Incoming {
    /// Maps a segment that the other side has made.
    ///
    /// # Errors
    ///
    /// When it is not as it should be, or when there are too many.
    pub(super) fn add(&mut self, id: u32, len: u64, fd: &impl AsFd) -> io::Result<()> {
        if self.segments.len() >= MOST_INCOMING {
            return Err(io::Error::other("too many segments"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.segments.insert(id, Arc::new(Segment::open(fd.as_fd(), len)?));
        Ok(())
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.segments.remove(&id);
    }

    pub(super) fn knows(&self, id: u32) -> bool {
        self.segments.contains_key(&id)
    }

    /// A payload in a segment, from a writer that is not trusted: all of it is there. `None` if there is no such segment, or if it is
    /// shorter. `until_read` is dropped when the payload has been read, or never will be.
    pub(super) fn complete(&self, id: u32, len: u64, until_read: impl Send + 'static) -> Option<InSegment> {
        InSegment::complete(self.segments.get(&id)?, usize::try_from(len).ok()?, until_read)
    }

    /// A payload in a segment, from a writer that is trusted to go on writing it; `None` as above.
    pub(super) fn arriving(&self, id: u32, len: u64) -> Option<InSegment> {
        InSegment::arriving(self.segments.get(&id)?, usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{process::message::SIGNAL_LEN, wire::Body};

    /// Passes on what the writer sent.
    fn deliver(socket: &Socket, incoming: &mut Incoming) {
        let mut buffer = [0; SIGNAL_LEN];
        while let Some(received) = socket.try_receive(&mut buffer).unwrap() {
            match Signal::from_wire(&buffer[..received.len]).unwrap() {
                Signal::Segment { id, len } => incoming.add(id, len, &received.fds[0]).unwrap(),
                Signal::Forget { id } => incoming.forget(id),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn write(out: &mut Outgoing, bytes: &[u8], socket: &Socket) -> u32 {
        let Reserved { id, segment } = out.reserve(bytes.len(), socket).unwrap();
        segment.write(bytes, || true);
        id
    }

    fn read(incoming: &Incoming, id: u32, len: u64) -> Option<Vec<u8>> {
        incoming.complete(id, len, ()).map(|payload| Body::There(Box::new(payload)).into_vec())
    }

    #[test]
    fn a_payload_crosses_and_its_segment_is_used_again() {
        let (near, far) = Socket::pair().unwrap();
        let (mut out, mut incoming) = (Outgoing::default(), Incoming::default());
        let payload = vec![7; 100_000];
        let first = write(&mut out, &payload, &near);
        let second = write(&mut out, b"other", &near);
        assert_ne!(first, second);
        deliver(&far, &mut incoming);
        assert_eq!(read(&incoming, first, 100_000).unwrap(), payload);
        assert_eq!(read(&incoming, second, 5).unwrap(), b"other");
        assert_eq!(read(&incoming, first, 1 << 40), None);
        assert_eq!(read(&incoming, 99, 1), None);
        out.release(first, &near);
        assert_eq!(write(&mut out, &payload, &near), first);
        assert_eq!(out.in_use(), 2);
    }

    #[test]
    fn idle_segments_are_given_up_beyond_a_few() {
        let (near, far) = Socket::pair().unwrap();
        let (mut out, mut incoming) = (Outgoing::default(), Incoming::default());
        let ids: Vec<u32> = (0..10).map(|_| write(&mut out, b"x", &near)).collect();
        ids.iter().for_each(|&id| out.release(id, &near));
        deliver(&far, &mut incoming);
        assert_eq!(ids.iter().filter(|&&id| incoming.knows(id)).count(), KEPT);
    }
}
