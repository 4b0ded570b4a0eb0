//! [`Place`]: where the bytes of an argument or a result lie.

/// Where the bytes lie: in the slot, or in a segment outside the ring.
///
/// `B` is `&[u8]` for who writes and [`Copied`](super::copied::Copied) for who has read. The ring does not know
/// segments: whoever reads a `Segment` checks both numbers against the segments that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<B> {
    /// In the slot: at most [`INLINE`](super::size::INLINE) bytes.
    Inline(B),
    /// The first `len` bytes of segment `id`.
    Segment { id: u32, len: u64 },
}
