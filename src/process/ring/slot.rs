//! [`Slot`]: the place in shared memory of one job and then of its result.

use super::{
    copied::{Copied, FEW, Words},
    job::JobHeader,
    place::Place,
    size::INLINE,
    violation::Violation,
    word::{State, Word},
};
use crate::prefetch::prefetch;
use crate::sync::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// One slot: a cache line of head, then the inline bytes.
///
/// A job may come with a note, which lies behind its argument at the end of `inline`.
///
/// `segment`, `len` and `inline` belong to the argument until the claim, and to the result after it; so does `flags`, which is then how
/// long the job took.
///
/// ORDERING: all fields but `word` are loaded and stored Relaxed. What makes them visible is the word: stored
/// with Release after them, loaded with Acquire before them.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) word: AtomicU64,
    /// When the worker began, or tried to begin; written by the worker alone.
    pub(super) begun: AtomicU64,
    pub(super) trampoline: AtomicU64,
    pub(super) type_hash: AtomicU64,
    pub(super) task: AtomicU64,
    pub(super) flags: AtomicU32,
    /// Kind of the result: a `u8`.
    pub(super) kind: AtomicU32,
    /// 0 if the bytes are inline, else one more than the segment's id.
    pub(super) segment: AtomicU64,
    /// Bytes of the argument or the result, wherever they lie.
    pub(super) len: AtomicU64,
    pub(super) inline: [AtomicU64; INLINE / 8],
}

impl Slot {
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            trampoline: AtomicU64::new(0),
            type_hash: AtomicU64::new(0),
            task: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            segment: AtomicU64::new(0),
            len: AtomicU64::new(0),
            inline: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Has the head and what is nearest to it fetched from the cache of the other side.
    pub(super) fn prefetch(&self) {
        prefetch(&self.word);
        prefetch(&self.inline[0]);
    }

    /// Loads the word. What was stored before it is visible afterwards.
    pub(super) fn word(&self) -> Word {
        // ORDERING: Acquire pairs with the Release in `claim` and `publish`.
        Word::from_bits(self.word.load(Acquire))
    }

    /// Loads the word alone: nothing else in the slot may be read by what it says.
    pub(super) fn peek(&self) -> Word {
        // ORDERING: Relaxed. `claim` is what makes the job's fields visible, and before a wait the fence in
        // `Asleep::set` orders the load.
        Word::from_bits(self.word.load(Relaxed))
    }

    /// Hands the written job over: FREE or an older position → SENT.
    pub(super) fn send(&self, position: u64) {
        // ORDERING: Release pairs with the Acquire in `claim`: whoever claims the job sees its fields.
        self.word.store(Word::new(position, State::Sent).bits(), Release);
    }

    /// Begins the job: SENT → CLAIMED. Returns whether that succeeded; if not, it was taken back.
    pub(super) fn claim(&self, position: u64, now_ns: u64) -> bool {
        self.begun.store(now_ns, Relaxed);
        // ORDERING: Acquire pairs with the Release in `send`, for the job's fields. Release pairs with the
        // Acquire in `word`: whoever sees CLAIMED sees the time above. On failure nothing is read.
        self.swap_sent(position, State::Claimed, AcqRel)
    }

    /// Takes the job back: SENT → TAKEN. Returns whether that succeeded; if not, it was begun.
    pub(super) fn take_back(&self, position: u64) -> bool {
        // ORDERING: Relaxed. Only one of two swaps from SENT can succeed, and that is all that is asked: the
        // worker has written nothing before that the parent wants, and reads nothing of a slot whose claim
        // failed.
        self.swap_sent(position, State::Taken, Relaxed)
    }

    /// Hands the written result over: CLAIMED → DONE.
    pub(super) fn publish(&self, position: u64) {
        // ORDERING: Release pairs with the Acquire in `word`: whoever sees DONE sees the result.
        self.word.store(Word::new(position, State::Done).bits(), Release);
    }

    fn swap_sent(&self, position: u64, to: State, success: crate::sync::Ordering) -> bool {
        let (from, to) = (Word::new(position, State::Sent).bits(), Word::new(position, to).bits());
        self.word.compare_exchange(from, to, success, Relaxed).is_ok()
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    pub(super) fn write_job(&self, header: &JobHeader, argument: Place<&[u8]>) {
        self.trampoline.store(header.trampoline.cast_unsigned(), Relaxed);
        self.type_hash.store(header.type_hash, Relaxed);
        self.task.store(header.task, Relaxed);
        self.flags.store(header.flags, Relaxed);
        self.write_place(argument);
    }

    /// Writes a few bytes to the end of the inline ones, of which the argument must leave as many words.
    pub(super) fn write_note(&self, note: &[u8]) {
        let words = note.chunks(8).zip(&self.inline[note_start(note.len())..]);
        for (part, cell) in words {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            cell.store(u64::from_ne_bytes(word), Relaxed);
        }
    }

    #[cfg_attr(not(feature = "opentelemetry"), allow(dead_code, reason = "nobody else reads one"))]
    pub(super) fn read_note(&self, len: usize) -> Vec<u8> {
        let cells = &self.inline[note_start(len)..];
        let mut bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    pub(super) fn read_job(&self) -> JobHeader {
        JobHeader {
            trampoline: self.trampoline.load(Relaxed).cast_signed(),
            type_hash: self.type_hash.load(Relaxed),
            task: self.task.load(Relaxed),
            flags: self.flags.load(Relaxed),
        }
    }

    /// Says how long the job took, in nanoseconds; `u32::MAX` is as long or longer.
    pub(super) fn write_took(&self, took_ns: u32) {
        self.flags.store(took_ns, Relaxed);
    }

    pub(super) fn read_took(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    pub(super) fn write_result(&self, kind: u8, result: Place<&[u8]>) {
        self.kind.store(kind.into(), Relaxed);
        self.write_place(result);
    }

    pub(super) fn read_kind(&self) -> Result<u8, Violation> {
        u8::try_from(self.kind.load(Relaxed))
            .map_err(|_| Violation::new("the kind of a result is out of range"))
    }

    fn write_place(&self, place: Place<&[u8]>) {
        let (segment, len) = match place {
            Place::Inline(bytes) => (0, bytes.len() as u64),
            Place::Segment { id, len } => (u64::from(id) + 1, len),
        };
        self.segment.store(segment, Relaxed);
        self.len.store(len, Relaxed);
        if let Place::Inline(bytes) = place {
            self.write_inline(bytes);
        }
    }

    /// Loads where the bytes lie and copies those that lie inline, into one of the spare buffers if there is one.
    pub(super) fn read_place(&self, spare: &mut Vec<Vec<u8>>) -> Result<Place<Copied>, Violation> {
        let (segment, len) = (self.segment.load(Relaxed), self.len.load(Relaxed));
        let Some(id) = segment.checked_sub(1) else {
            return self.read_inline(len, spare).map(Place::Inline);
        };
        let id = u32::try_from(id).map_err(|_| Violation::new("the id of a segment is out of range"))?;
        Ok(Place::Segment { id, len })
    }

    fn write_inline(&self, bytes: &[u8]) {
        assert!(bytes.len() <= INLINE, "what is longer than INLINE goes into a segment");
        let (words, rest) = bytes.as_chunks::<8>();
        for (cell, word) in self.inline.iter().zip(words) {
            cell.store(u64::from_ne_bytes(*word), Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.inline[words.len()].store(u64::from_ne_bytes(last), Relaxed);
        }
    }

    fn read_inline(&self, len: u64, spare: &mut Vec<Vec<u8>>) -> Result<Copied, Violation> {
        if len > INLINE as u64 {
            return Err(Violation::new("inline bytes are longer than the slot"));
        }
        let len = len as usize;
        let cells = &self.inline[..len.div_ceil(8)];
        if len <= FEW {
            let mut bytes = [0; FEW];
            load(cells, bytes.as_chunks_mut().0);
            return Ok(Copied::Few { len: len as u8, bytes: Words(bytes) });
        }
        // Not into zeroed memory, which glibc is slow to give.
        let mut bytes = spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.reserve_exact(len);
        for cells in cells.chunks(8) {
            let mut part = [[0; 8]; 8];
            load(cells, &mut part);
            bytes.extend_from_slice(&part.as_flattened()[..(len - bytes.len()).min(64)]);
        }
        Ok(Copied::Many(bytes))
    }
}

fn load(cells: &[AtomicU64], words: &mut [[u8; 8]]) {
    for (word, cell) in words.iter_mut().zip(cells) {
        *word = cell.load(Relaxed).to_ne_bytes();
    }
}

/// The first of the words that a note takes.
fn note_start(len: usize) -> usize {
    (INLINE / 8).checked_sub(len.div_ceil(8)).expect("a note is shorter than a slot")
}
