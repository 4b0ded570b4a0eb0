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
