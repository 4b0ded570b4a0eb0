//! Models of a payload that is read while it is written.

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use self::protocol::Progress;
use crate::{
    check,
    sync::{AtomicU32, Ordering::Relaxed},
};

#[path = "../../src/process/progress.rs"]
mod protocol;

const PIECES: u32 = 2;

/// A segment, with the kernel's part of a futex.
struct Segment {
    progress: Progress,
    pieces: [AtomicU32; PIECES as usize],
    queue: Mutex<()>,
    woken: Condvar,
}

impl Segment {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            progress: Progress::new(),
            pieces: std::array::from_fn(|_| AtomicU32::new(0)),
            queue: Mutex::new(()),
            woken: Condvar::new(),
        })
    }

    fn write(&self, payload: u32) {
        for (number, piece) in (1..).zip(&self.pieces) {
            piece.store(payload + number, Relaxed);
            if self.progress.advance(number) {
                drop(self.queue.lock().unwrap());
                self.woken.notify_one();
            }
        }
    }

    fn read(&self, payload: u32) {
        for (number, piece) in (1..).zip(&self.pieces) {
            self.wait_for(number);
            assert_eq!(piece.load(Relaxed), payload + number, "a piece is there when it is said to be");
        }
    }

    fn wait_for(&self, wanted: u32) {
        loop {
            let there = self.progress.pieces();
            if there >= wanted {
                return;
            }
            let Some(word) = self.progress.fall_asleep(there) else { continue };
            let queue = self.queue.lock().unwrap();
            // The kernel looks and queues up in one step.
            if self.progress.word().load(Relaxed) == word {
                drop(self.woken.wait(queue).unwrap());
            }
        }
    }
}

#[test]
fn each_piece_is_read_when_it_is_there_and_no_wake_is_lost() {
    check(|| {
        let segment = Segment::new();
        segment.progress.begin();
        let reader = thread::spawn({
            let segment = Arc::clone(&segment);
            move || segment.read(10)
        });
        segment.write(10);
        reader.join().unwrap();
    });
}

#[test]
fn the_next_payload_does_not_begin_with_the_last_one() {
    check(|| {
        let segment = Segment::new();
        segment.write(10);
        segment.read(10);
        segment.progress.begin();
        let reader = thread::spawn({
            let segment = Arc::clone(&segment);
            move || segment.read(20)
        });
        segment.write(20);
        reader.join().unwrap();
    });
}
