//! Models of the state word of a task.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use self::core::{Core, Phase};
use crate::{check, check_with};

#[path = "../../src/task/core.rs"]
mod core;

/// Nobody finishes several tasks in a row here.
mod together {
    use std::task::Waker;

    use crate::panic::shield;

    pub(super) fn wake(waker: Waker) {
        shield(|| waker.wake());
    }
}

/// Counts how often something happens. No part of what is modelled, so its steps are none.
#[derive(Clone, Default)]
struct Count(std::sync::Arc<AtomicUsize>);

impl Count {
    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// A value whose drops are counted.
struct Token(u32, Count);

impl Drop for Token {
    fn drop(&mut self) {
        self.1.add();
    }
}

/// A task, and how often its job and its outcome were dropped.
struct Task {
    core: Arc<Core<Token, Token>>,
    job_drops: Count,
    outcome_drops: Count,
}

impl Task {
    fn new() -> Self {
        let (job_drops, outcome_drops) = (Count::default(), Count::default());
        Self { core: Arc::new(Core::new(Token(0, job_drops.clone()))), job_drops, outcome_drops }
    }

    /// Has another thread do something with the task.
    fn with<R: 'static>(&self, f: impl FnOnce(&Core<Token, Token>) -> R + 'static) -> thread::JoinHandle<R> {
        let core = self.core.clone();
        thread::spawn(move || f(&core))
    }

    fn outcome(&self, number: u32) -> Token {
        Token(number, self.outcome_drops.clone())
    }

    /// Drops the task, and checks that it has kept nothing.
    fn end(self, outcomes: usize) {
        drop(self.core);
        assert_eq!((self.job_drops.get(), self.outcome_drops.get()), (1, outcomes));
    }
}

/// A waker whose wake-up can be waited for.
struct Alarm {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Alarm {
    fn wake(self: std::sync::Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Alarm {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { rung: Mutex::new(false), changed: Condvar::new() })
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// Awaits the outcome.
fn block_on(core: &Core<Token, Token>) -> Token {
    let alarm = Alarm::new();
    let waker = Waker::from(alarm.clone());
    loop {
        match core.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => alarm.wait(),
        }
    }
}

fn ignore(_: &Token, _: Phase) {}

#[test]
fn a_queued_job_is_either_claimed_or_cancelled() {
    check(|| {
        let task = Task::new();
        let claimed = task.with(|core| core.claim().is_some());
        let cancelled = task.core.finish_queued(task.outcome(1), ignore).is_ok();
        assert_ne!(claimed.join().unwrap(), cancelled);
        assert_eq!(task.job_drops.get(), 1);
        task.end(1);
    });
}

#[test]
fn a_job_is_claimed_once() {
    check(|| {
        let task = Task::new();
        let claimed = task.with(|core| core.claim().is_some());
        assert_ne!(task.core.claim().is_some(), claimed.join().unwrap());
        task.end(0);
    });
}

#[test]
fn of_two_that_finish_a_task_one_gets_its_outcome_back() {
    check(|| {
        let task = Task::new();
        drop(task.core.claim());
        let counted = Count::default();
        let (other, count) = (task.outcome(2), counted.clone());
        let second = task.with(move |core| core.finish(other, |_, _| count.add()).is_ok());
        let first = task.core.finish(task.outcome(1), |_, _| counted.add()).is_ok();
        assert_ne!(first, second.join().unwrap());
        assert_eq!(task.core.take().map(|outcome| outcome.0), Some(if first { 1 } else { 2 }));
        assert_eq!(counted.get(), 1);
        task.end(2);
    });
}

#[test]
fn whoever_awaits_a_task_is_woken_by_its_end_and_sees_it_counted() {
    check(|| {
        let task = Task::new();
        drop(task.core.claim());
        let (outcome, counted) = (task.outcome(7), Count::default());
        let count = counted.clone();
        let worker = task.with(move |core| core.finish(outcome, |_, _| count.add()).is_ok());
        assert_eq!(block_on(&task.core).0, 7);
        assert_eq!(counted.get(), 1);
        assert!(worker.join().unwrap());
        task.end(1);
    });
}

/// A waker that counts its wake-ups and, by way of how often it is there, its drops.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls twice, with another waker each time or with the same one. Says whether the outcome came.
fn poll_twice(core: &Core<Token, Token>, bells: [&std::sync::Arc<Bell>; 2]) -> bool {
    bells.iter().any(|bell| core.poll(&mut Context::from_waker(&Waker::from((*bell).clone()))).is_ready())
}

#[test]
fn of_two_wakers_the_last_one_is_woken_and_none_is_lost() {
    for is_same in [false, true] {
        check(move || {
            let task = Task::new();
            drop(task.core.claim());
            let (first, second) = (std::sync::Arc::<Bell>::default(), std::sync::Arc::<Bell>::default());
            let second = if is_same { first.clone() } else { second };
            let outcome = task.outcome(7);
            let worker = task.with(move |core| core.finish(outcome, ignore).is_ok());
            let came = poll_twice(&task.core, [&first, &second]);
            assert!(worker.join().unwrap());
            assert!(came || second.0.load(SeqCst) == 1);
            assert!(came || task.core.take().is_some());
            task.end(1);
            let kept = std::sync::Arc::strong_count(&second);
            assert_eq!(kept, if is_same { 2 } else { 1 }, "a waker was leaked, or dropped twice");
        });
    }
}

#[test]
fn who_awaits_while_a_late_callback_runs_gets_the_outcome() {
    // Three threads: one preemption less than usual.
    check_with(1, || {
        let task = Task::new();
        drop(task.core.claim());
        let (first, second) = (std::sync::Arc::<Bell>::default(), std::sync::Arc::<Bell>::default());
        assert!(!poll_twice(&task.core, [&first, &first]));
        let outcome = task.outcome(7);
        let worker = task.with(move |core| core.finish(outcome, ignore).is_ok());
        let late = task.with(|core| core.on_done(Box::new(|_| ())));
        let came = poll_twice(&task.core, [&second, &second]);
        assert!(worker.join().unwrap());
        late.join().unwrap();
        assert!(came || second.0.load(SeqCst) > 0);
        assert!(came || task.core.take().is_some());
        task.end(1);
        assert_eq!([first, second].map(|bell| std::sync::Arc::strong_count(&bell)), [1, 1]);
    });
}

#[test]
fn a_callback_runs_once_and_before_the_wake_up() {
    check(|| {
        let task = Task::new();
        drop(task.core.claim());
        let outcome = task.outcome(7);
        let worker = task.with(move |core| core.finish(outcome, ignore).is_ok());
        let called = Count::default();
        let count = called.clone();
        task.core.on_done(Box::new(move |outcome| {
            assert_eq!(outcome.0, 7);
            count.add();
        }));
        assert_eq!(block_on(&task.core).0, 7);
        assert_eq!(called.get(), 1);
        assert!(worker.join().unwrap());
        task.end(1);
    });
}

#[test]
fn a_callback_that_comes_with_the_taking_runs_once_or_never() {
    check(|| {
        let task = Task::new();
        assert!(task.core.finish(task.outcome(7), ignore).is_ok());
        let called = Count::default();
        let count = called.clone();
        let register = task.with(move |core| core.on_done(Box::new(move |_| count.add())));
        assert_eq!(block_on(&task.core).0, 7);
        register.join().unwrap();
        assert!(called.get() <= 1);
        task.end(1);
    });
}

#[test]
fn two_late_callbacks_both_run() {
    check(|| {
        let task = Task::new();
        assert!(task.core.finish(task.outcome(7), ignore).is_ok());
        let called = Count::default();
        let (first, second) = (called.clone(), called.clone());
        let other = task.with(move |core| core.on_done(Box::new(move |_| first.add())));
        task.core.on_done(Box::new(move |_| second.add()));
        other.join().unwrap();
        assert_eq!(called.get(), 2);
        assert!(task.core.take().is_some());
        task.end(1);
    });
}

#[test]
fn a_detached_outcome_is_dropped_once() {
    check(|| {
        let task = Task::new();
        drop(task.core.claim());
        let outcome = task.outcome(7);
        let worker = task.with(move |core| core.finish(outcome, ignore).is_ok());
        task.core.detach();
        assert!(worker.join().unwrap());
        assert_eq!(task.outcome_drops.get(), 1);
        task.end(1);
    });
}

#[test]
fn a_callback_registered_before_a_detach_sees_the_outcome_that_is_dropped() {
    check(|| {
        let task = Task::new();
        drop(task.core.claim());
        let outcome = task.outcome(7);
        let worker = task.with(move |core| core.finish(outcome, ignore).is_ok());
        let called = Count::default();
        let count = called.clone();
        task.core.on_done(Box::new(move |_| count.add()));
        task.core.detach();
        assert!(worker.join().unwrap());
        assert_eq!((called.get(), task.outcome_drops.get()), (1, 1));
        task.end(1);
    });
}

#[test]
fn a_job_that_is_kept_is_dropped_once_and_with_the_task() {
    check(|| {
        let task = Task::new();
        let job = task.core.claim().unwrap();
        let outcome = task.outcome(1);
        let cancel = task.with(move |core| core.finish(outcome, ignore).is_ok());
        task.core.keep(job);
        assert!(cancel.join().unwrap(), "nobody else finishes it");
        assert_eq!(task.job_drops.get(), 0);
        task.end(1);
    });
}

#[test]
fn a_job_that_is_put_back_is_claimed_again_or_cancelled() {
    check(|| {
        let task = Task::new();
        let job = task.core.claim().unwrap();
        let outcome = task.outcome(1);
        let cancel = task.with(move |core| core.finish(outcome, ignore).is_ok());
        let back = task.core.put_back(job);
        let again = back.is_ok() && task.core.claim().is_some();
        drop(back);
        assert!(cancel.join().unwrap(), "nobody else finishes it");
        assert_eq!(task.job_drops.get(), 1, "claimed again: {again}");
        task.end(1);
    });
}
