//! [`Homes`]: which worker ran the last job with a key.

use std::collections::HashMap;

/// Half of the keys that are remembered.
const GENERATION: usize = 1024;

/// Worker by key: the hash of a key, the ticket of a worker that may be gone.
///
/// Two generations bound it: a key that is used is in the young one; when that is full it becomes the old one, and what was old
/// is forgotten. So the last `GENERATION` keys are known, and at most twice as many.
#[derive(Debug, Default)]
pub(super) struct Homes {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Homes {
    pub(super) fn of(&self, key: u64) -> Option<u64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    /// A job with this key goes to this worker.
    pub(super) fn note(&mut self, key: u64, worker: u64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_worker_of_a_key_is_known() {
        let mut homes = Homes::default();
        assert_eq!(homes.of(1), None);
        homes.note(1, 7);
        homes.note(2, 8);
        homes.note(1, 9);
        assert_eq!((homes.of(1), homes.of(2)), (Some(9), Some(8)));
    }

    #[test]
    fn a_million_keys_take_little_room_and_those_in_use_stay() {
        let mut homes = Homes::default();
        for key in 1..1_000_000 {
            homes.note(key, key + 1);
            homes.note(0, key);
            assert_eq!(homes.of(0), Some(key));
            assert_eq!(homes.of(key.saturating_sub(500).max(1)), Some(key.saturating_sub(500).max(1) + 1));
        }
        assert!(homes.young.len() + homes.old.len() <= 2 * GENERATION);
    }
}
