//! What a worker publishes of a job of several items.

use super::super::{progress::Progress, size::INLINE};

#[test]
fn what_was_added_is_read_for_its_own_job_alone() {
    let progress = Progress::new();
    assert_eq!(progress.read(0).unwrap(), (0, vec![]));
    progress.begin(7);
    assert_eq!(progress.read(7).unwrap(), (0, vec![]));
    assert!(progress.add(1, b"first", 0) && progress.add(2, b"firstsecond", 5));
    assert_eq!(progress.read(7).unwrap(), (2, b"firstsecond".to_vec()));
    assert_eq!(progress.read(6).unwrap(), (0, vec![]));
    assert!(!progress.add(3, &[0; INLINE + 1], 11), "no room");
    assert_eq!(progress.read(7).unwrap().0, 2);
    progress.begin(8);
    assert_eq!(progress.read(8).unwrap(), (0, vec![]));
}

#[test]
fn short_results_lie_beside_each_other_wherever_they_begin() {
    for before in 0..17 {
        for len in 1..=8 {
            let progress = Progress::new();
            progress.begin(7);
            let mut all = vec![0xaa; before];
            assert!(progress.add(1, &all, 0));
            for items in 2..20 {
                let (from, byte) = (all.len(), items as u8);
                all.extend(std::iter::repeat_n(byte, len));
                let word = u64::from_le_bytes([byte; 8]) & (u64::MAX >> (64 - 8 * len));
                assert!(progress.add_short(items, word, from..all.len()));
                assert_eq!(progress.read(7).unwrap(), (items, all.clone()));
            }
            assert!(!progress.add_short(20, 1, INLINE..INLINE + 1), "no room");
        }
    }
}
