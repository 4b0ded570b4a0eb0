//! Models of the list of woken children under `gather`, `as_completed` and `wait`.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Wake, Waker},
};

use loom::{sync::Arc, thread};

use self::ready::{Links, Ready};
use crate::{check, sync::AtomicU32, sync::Ordering::Relaxed};

#[path = "../../src/stream/ready.rs"]
mod ready;

/// How often the owner was woken.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Two children, and what each of them has to say, written before its wake.
struct Family {
    ready: Ready,
    links: Links,
    news: [AtomicU32; 2],
}

impl Family {
    fn new() -> Arc<Self> {
        let news = [AtomicU32::new(0), AtomicU32::new(0)];
        Arc::new(Self { ready: Ready::new(), links: Links::new(), news })
    }

    /// Has something to say, and wakes.
    fn wake(&self, child: usize, news: u32) {
        self.news[child].store(news, Relaxed);
        self.ready.push(child as u32, self.links.link(child));
    }

    /// Polls all that were woken. Returns them, from the first to be woken on.
    fn poll_woken(&self, seen: &mut [u32; 2]) -> Vec<u32> {
        let mut taken = Vec::new();
        self.ready.take_all(&mut taken, |number| self.links.link(number as usize));
        taken.reverse();
        for &child in &taken {
            self.links.link(child as usize).unmark();
            let news = self.news[child as usize].load(Relaxed);
            assert!(news >= seen[child as usize]);
            seen[child as usize] = news;
        }
        taken
    }
}

/// Polls like an owner until it has seen `wanted`. Returns how often it had to be woken.
fn await_news(family: &Family, wanted: [u32; 2]) {
    let woken = std::sync::Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let (mut seen, mut sleeps) = ([0; 2], 0);
    while seen != wanted {
        if !family.poll_woken(&mut seen).is_empty() {
            continue;
        }
        if family.ready.sleep(&waker) {
            sleeps += 1;
            // Once it has said so, nothing but a wake lets it look again.
            while woken.0.load(SeqCst) < sleeps {
                thread::yield_now();
            }
        }
    }
    assert!(woken.0.load(SeqCst) <= sleeps, "one wake for each sleep");
}

#[test]
fn who_waits_sees_the_news_of_two_that_wake_at_once() {
    check(|| {
        let family = Family::new();
        let others: Vec<_> = [0, 1]
            .map(|child| {
                let family = family.clone();
                thread::spawn(move || family.wake(child, 1))
            })
            .into();
        await_news(&family, [1, 1]);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(family.poll_woken(&mut [1, 1]).is_empty(), "each was queued once");
    });
}

#[test]
fn a_child_that_wakes_twice_is_seen_with_its_last_news() {
    check(|| {
        let family = Family::new();
        let other = {
            let family = family.clone();
            thread::spawn(move || {
                family.wake(0, 1);
                family.wake(0, 2);
            })
        };
        await_news(&family, [2, 0]);
        other.join().unwrap();
    });
}

#[test]
fn the_news_of_two_wakers_of_one_child_are_not_lost() {
    check(|| {
        let family = Family::new();
        let other = {
            let family = family.clone();
            thread::spawn(move || family.wake(0, 1))
        };
        // Another waker of the same child, with nothing new.
        family.ready.push(0, family.links.link(0));
        await_news(&family, [1, 0]);
        other.join().unwrap();
    });
}

#[test]
fn those_that_wake_one_after_the_other_are_taken_in_that_order() {
    check(|| {
        let family = Family::new();
        let other = {
            let family = family.clone();
            thread::spawn(move || {
                family.wake(1, 1);
                family.wake(0, 1);
            })
        };
        let mut order = family.poll_woken(&mut [0, 0]);
        other.join().unwrap();
        order.extend(family.poll_woken(&mut [0, 0]));
        assert_eq!(order, [1, 0]);
    });
}
