//! [`Known`]: the pieces of shared memory that a worker has been told of, as its keeper remembers them.

use std::collections::HashMap;

use crate::shared_memory::{SharedBytes, Watch};

/// How many pieces a worker keeps mapped that no job of its uses.
const KEPT: usize = 64;

/// What a worker knows: sent to it, and neither forgotten nor to be forgotten.
#[derive(Default)]
pub(super) struct Known {
    pieces: HashMap<u64, Piece>,
    /// Counts uses.
    clock: u64,
}

struct Piece {
    watch: Watch,
    /// When a job last used it.
    used: u64,
}

impl Known {
    /// Notes that a job uses a piece. Says whether the worker knows it.
    pub(super) fn is_used(&mut self, id: u64) -> bool {
        self.clock += 1;
        let piece = self.pieces.get_mut(&id);
        piece.map(|piece| piece.used = self.clock).is_some()
    }

    /// The worker has been told of a piece, for a job that uses it.
    pub(super) fn add(&mut self, piece: &SharedBytes) {
        self.clock += 1;
        self.pieces.insert(piece.id(), Piece { watch: piece.watch(), used: self.clock });
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.pieces.remove(&id);
    }

    /// Whether there are more than are kept. Whoever drops the last handle of a piece has it forgotten: those do not count.
    pub(super) fn is_too_long(&mut self) -> bool {
        if self.pieces.len() > KEPT {
            self.pieces.retain(|_, piece| !piece.watch.is_gone());
        }
        self.pieces.len() > KEPT
    }

    /// The pieces to be forgotten, those first that have not been used for longest, and none that is in use.
    pub(super) fn surplus(&self, is_in_use: impl Fn(u64) -> bool) -> Vec<u64> {
        let idle = self.pieces.iter().filter(|(id, _)| !is_in_use(**id));
        let mut idle: Vec<(u64, u64)> = idle.map(|(&id, piece)| (piece.used, id)).collect();
        idle.sort_unstable();
        let excess = self.pieces.len().saturating_sub(KEPT);
        idle.into_iter().take(excess).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: usize) -> Vec<SharedBytes> {
        (0..count).map(|_| SharedBytes::copy_from_slice(b"x").unwrap()).collect()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays() {
        let pieces = pieces(KEPT + 2);
        let mut known = Known::default();
        pieces.iter().for_each(|piece| known.add(piece));
        assert!(known.is_too_long());
        assert!(known.is_used(pieces[0].id()));
        let busy = pieces[2].id();
        assert_eq!(known.surplus(|id| id == busy), [pieces[1].id(), pieces[3].id()]);
        assert!(known.surplus(|_| true).is_empty());
    }

    #[test]
    fn what_nobody_holds_any_more_does_not_count() {
        let mut pieces = pieces(KEPT + 1);
        let mut known = Known::default();
        pieces.iter().for_each(|piece| known.add(piece));
        let gone = pieces.pop().unwrap().id();
        assert!(!known.is_too_long());
        assert!(!known.is_used(gone));
    }
}
