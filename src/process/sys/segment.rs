//! [`Segment`]: shared memory for one payload at a time, which is read while it is written; [`Incoming`]: a payload in one.
//!
//! ```text
//! │ room for a payload: a power of two │ Progress │
//! ```
//!
//! The writer is told nothing by the memory. Who reads what an untrusted process has written waits for nothing: there the payload
//! is complete before it is announced.
#![expect(
    unsafe_code,
    reason = "promises that a copy covers its target, and advises the kernel about memory"
)]

use std::{
    any::Any,
    ffi::c_void,
    io,
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    mm::{Advice, madvise},
    thread::futex,
};

use super::Memory;
use crate::{process::progress::Progress, wire::Source};

/// What is written at a time: small enough that it is still in the cache when the reader copies it.
const PIECE: usize = 128 * 1024;
/// How long a reader waits awake for the next piece.
const AWAKE: Duration = Duration::from_micros(50);
/// From which length on the kernel is asked for memory before it is written: an allocator has taken it afresh.
const LARGE: usize = 1 << 20;
/// How much it is asked for at a time, so that it is still in the cache when it is written.
const AT_ONCE: usize = 256 * 1024;

/// Shared memory for payloads, one at a time.
#[derive(Debug)]
pub(in crate::process) struct Segment {
    memory: Memory,
    room: usize,
}

impl Segment {
    /// Makes a segment for payloads of up to `room` bytes.
    ///
    /// # Errors
    ///
    /// What the system says when it lacks memory or a descriptor.
    pub(in crate::process) fn create(room: usize) -> io::Result<(Self, OwnedFd)> {
        let (memory, fd) = Memory::create(whole(room)?)?;
        Ok((Self { memory, room }, fd))
    }

    /// Maps a segment that the other side has made.
    ///
    /// # Errors
    ///
    /// Also when it is not sealed, or too short.
    pub(in crate::process) fn open(fd: BorrowedFd<'_>, room: usize) -> io::Result<Self> {
        Ok(Self { memory: Memory::open(fd, whole(room)?)?, room })
    }

    /// The length of the longest payload.
    pub(in crate::process) fn room(&self) -> usize {
        self.room
    }

    fn progress(&self) -> &Progress {
        self.memory.at(self.room)
    }

    /// Nothing is there of the payload that comes next, and may be announced now.
    pub(in crate::process) fn begin(&self) {
        self.progress().begin();
    }

    /// Writes a payload, piece by piece while it is `wanted`. Each is there for the reader at once.
    ///
    /// # Panics
    ///
    /// If it is longer than the segment.
    pub(in crate::process) fn write(&self, bytes: &[u8], wanted: impl Fn() -> bool) {
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            if number > 0 && !wanted() {
                return;
            }
            self.memory.write_at(number * PIECE, piece);
            if self.progress().advance(number as u32 + 1) {
                let _ = futex::wake(self.progress().word(), futex::Flags::empty(), 1);
            }
        }
    }

    /// Waits until more than `seen` bytes of a payload are there, and says how many.
    fn wait_for_more(&self, seen: usize) -> usize {
        let begun = Instant::now();
        loop {
            let pieces = self.progress().pieces();
            let there = (pieces as usize).saturating_mul(PIECE);
            if there > seen {
                return there;
            }
            if begun.elapsed() < AWAKE {
                thread::yield_now();
            } else if let Some(word) = self.progress().fall_asleep(pieces) {
                // A signal ends it, too. If the writer is gone for good this process is about to be killed.
                let _: Result<(), Errno> =
                    futex::wait(self.progress().word(), futex::Flags::empty(), word, None);
            }
        }
    }
}

/// The length of a segment with its progress.
fn whole(room: usize) -> io::Result<usize> {
    if !room.is_multiple_of(align_of::<Progress>()) {
        return Err(io::Error::other("a segment of a length that none has"));
    }
    room.checked_add(size_of::<Progress>()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// A payload in a segment that the other side has written, or is writing.
#[derive(Debug)]
pub(in crate::process) struct InSegment {
    segment: Arc<Segment>,
    len: usize,
    /// Whether it is complete. If not, its writer is trusted to complete it.
    complete: bool,
    /// Dropped when the payload has been read or will not be.
    _until_read: Option<Box<dyn Any + Send>>,
}

impl InSegment {
    /// The first `len` bytes of a segment, all of which are there; `None` if it is shorter. `until_read` is dropped when they
    /// have been read, or never will be.
    pub(in crate::process) fn complete(
        segment: &Arc<Segment>,
        len: usize,
        until_read: impl Send + 'static,
    ) -> Option<Self> {
        Self::new(segment, len, true, Some(Box::new(until_read)))
    }

    /// The same where they may be written only now. For those who trust their writer.
    pub(in crate::process) fn arriving(segment: &Arc<Segment>, len: usize) -> Option<Self> {
        Self::new(segment, len, false, None)
    }

    fn new(
        segment: &Arc<Segment>,
        len: usize,
        complete: bool,
        until_read: Option<Box<dyn Any + Send>>,
    ) -> Option<Self> {
        let segment = segment.clone();
        (len <= segment.room).then_some(Self { segment, len, complete, _until_read: until_read })
    }
}

// SAFETY: the pieces that `copy_to` copies follow one another from the first byte to the last.
unsafe impl Source for InSegment {
    fn len(&self) -> usize {
        self.len
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) {
        assert_eq!(target.len(), self.len, "a target is made to be as long as its source");
        let mut done = 0;
        while done < self.len {
            let there =
                if self.complete { done + AT_ONCE } else { self.segment.wait_for_more(done) }.min(self.len);
            let place = &mut target[done..there];
            if self.complete && self.len >= LARGE {
                provide_pages(place);
            }
            self.segment.memory.read_at(done, place);
            done = there;
        }
    }
}

/// Has the kernel provide the pages of `target` at once: one by one, as they are written, it takes longer. Not huge ones: they are
/// seldom among the pages that were used last, and on a virtual machine 64 MiB were seen to take 140 ms then.
fn provide_pages(target: &mut [MaybeUninit<u8>]) {
    let page = rustix::param::page_size();
    let (start, whole) = (target.as_ptr().align_offset(page), target.len());
    let len = whole.saturating_sub(start) / page * page;
    if len == 0 {
        return;
    }
    let inner = target[start..start + len].as_mut_ptr().cast::<c_void>();
    // SAFETY: the range lies in a live buffer, and what it holds stays. What the kernel cannot do it leaves.
    let _ = unsafe { madvise(inner, len, Advice::LinuxPopulateWrite) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::wire::Body;

    /// A segment as the writer and as the reader sees it.
    fn pair(room: usize) -> (Segment, Arc<Segment>) {
        let (ours, fd) = Segment::create(room).unwrap();
        let theirs = Segment::open(fd.as_fd(), room).unwrap();
        (ours, Arc::new(theirs))
    }

    fn read(segment: &Arc<Segment>, len: usize) -> Vec<u8> {
        Body::There(Box::new(InSegment::arriving(segment, len).unwrap())).into_vec()
    }

    #[test]
    fn a_payload_is_read_while_it_is_written_again_and_again() {
        let (ours, theirs) = pair(1 << 20);
        for round in 0..20 {
            let payload: Vec<u8> = (0..1_000_000 - round).map(|n| (n / 1000 + round) as u8).collect();
            ours.begin();
            let read = thread::scope(|scope| {
                let reader = scope.spawn(|| read(&theirs, payload.len()));
                // In some rounds slowly: each piece when the reader sleeps.
                ours.write(&payload, || round % 2 == 0 || falls_asleep(&theirs));
                reader.join().unwrap()
            });
            assert!(read == payload, "round {round}");
        }
    }

    fn falls_asleep(segment: &Segment) -> bool {
        while segment.progress().word().load(std::sync::atomic::Ordering::Relaxed) >> 31 == 0 {
            thread::yield_now();
        }
        true
    }

    #[test]
    fn only_a_reader_that_sleeps_is_woken_and_only_once() {
        let progress = Progress::new();
        progress.begin();
        assert!(!progress.advance(1));
        assert_eq!(progress.fall_asleep(0), None, "a piece has come meanwhile");
        let word = progress.fall_asleep(1);
        assert!(word.is_some());
        assert_eq!(progress.fall_asleep(1), word, "the wait has ended for no reason");
        assert_eq!(progress.pieces(), 1);
        assert!(progress.advance(2));
        assert!(!progress.advance(3));
    }

    #[test]
    fn what_is_no_longer_wanted_is_not_written() {
        let (ours, theirs) = pair(1 << 20);
        ours.begin();
        ours.write(&[1; 1 << 20], || false);
        assert_eq!(theirs.wait_for_more(0), PIECE);
    }

    #[test]
    fn a_payload_is_no_longer_than_its_segment_and_a_segment_not_longer_than_its_memory() {
        let (_, theirs) = pair(1 << 16);
        assert!(InSegment::complete(&theirs, (1 << 16) + 1, ()).is_none());
        let (_, fd) = Segment::create(1 << 16).unwrap();
        for room in [(1 << 16) + 64, (1 << 16) + 1, usize::MAX - 63] {
            assert!(Segment::open(fd.as_fd(), room).is_err(), "{room}");
        }
    }
}
