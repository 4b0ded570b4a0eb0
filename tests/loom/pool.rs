//! Models of who sleeps, who is woken and who is added in a thread pool.
//!
//! Every model but those of the end waits for its jobs before it closes the pool: closing wakes everybody, and would hide
//! a wake-up that was lost. Loom reports a thread that sleeps for ever as a deadlock.

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use loom::{
    sync::{Condvar, Mutex},
    thread::{self, JoinHandle},
};

use self::protocol::{
    desk::{Desk, Turnover},
    dispatch::{Act, Dispatch, Member, Nap, Refusal, Turn, Wish},
    inbox::Inboxes,
};
use crate::{
    check, check_with,
    sync::{Sleeper, Slept, now},
};

#[path = "../../src/thread"]
mod protocol {
    pub(crate) mod desk;
    pub(crate) mod dispatch;
    pub(crate) mod inbox;
    #[path = "../pool/queue.rs"]
    pub(crate) mod queue;
}

/// A pool whose jobs are numbers.
struct Pool {
    dispatch: Dispatch<u32>,
    /// `None`: workers that are idle stay.
    keep_alive: Option<Duration>,
    /// The jobs that have begun.
    begun: Mutex<Vec<u32>>,
    changed: Condvar,
    /// How many jobs must have begun before a job ends.
    together: fn(u32) -> usize,
    /// How many more threads are refused.
    refusals: StdMutex<usize>,
    stranded: StdMutex<Vec<u32>>,
    threads: StdMutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    fn new(min: usize, max: usize, keep_alive: Option<Duration>, together: fn(u32) -> usize) -> Arc<Self> {
        let pool = Arc::new(Self {
            // An inbox is opened by the first job that its thread submits.
            dispatch: Dispatch::new(min, max, Inboxes::new(2, 1)),
            keep_alive,
            begun: Mutex::new(Vec::new()),
            changed: Condvar::new(),
            together,
            refusals: StdMutex::new(0),
            stranded: StdMutex::new(Vec::new()),
            threads: StdMutex::new(Vec::new()),
        });
        (0..min).for_each(|_| pool.perform(Act::Grow(pool.dispatch.hire())));
        pool
    }

    fn submit(self: &Arc<Self>, job: u32) {
        self.submit_by(job as usize % 2, job);
    }

    /// Submits a job as the thread that has this inbox.
    fn submit_by(self: &Arc<Self>, inbox: usize, job: u32) {
        let act = self.dispatch.submit(Some(inbox), job).expect("the pool is open");
        self.perform(act);
    }

    /// Does something on a thread of its own.
    fn beside<R: 'static>(self: &Arc<Self>, body: impl FnOnce(&Arc<Self>) -> R + 'static) -> JoinHandle<R> {
        let pool = self.clone();
        thread::spawn(move || body(&pool))
    }

    fn perform(self: &Arc<Self>, act: Act) {
        match act {
            Act::Nothing => {}
            Act::Wake(sleeper) => sleeper.wake(),
            Act::WakeAll(sleepers) => sleepers.iter().for_each(Sleeper::wake),
            Act::Grow(number) => self.grow(number),
        }
    }

    fn grow(self: &Arc<Self>, number: usize) {
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            drop(refusals);
            let Refusal { stranded, act, .. } = self.dispatch.refused(number);
            self.stranded.lock().unwrap().extend(stranded);
            return self.perform(act);
        }
        drop(refusals);
        let pool = self.clone();
        let thread = thread::spawn(move || pool.work(number));
        self.threads.lock().unwrap().push(thread);
        self.perform(self.dispatch.grown());
    }

    fn work(self: &Arc<Self>, number: usize) {
        let member = member(number);
        let mut slept = Slept::Woken;
        loop {
            match self.dispatch.look(&member, slept, many()) {
                Turn::Run(job, act) => {
                    self.perform(act);
                    self.run_all(&member.desk, job);
                }
                Turn::Linger => thread::yield_now(),
                Turn::Sleep(Nap::KeepAlive) => slept = member.sleeper.sleep(self.keep_alive),
                Turn::Sleep(Nap::Unlimited) => slept = member.sleeper.sleep(None),
                Turn::Leave(act) => return self.perform(act),
            }
        }
    }

    fn run_all(&self, desk: &Desk<u32>, mut job: u32) {
        desk.begin(&job);
        loop {
            self.run(job);
            let Turnover { ended, next } = desk.turn_over();
            assert_eq!(ended, Some(job));
            let Some(next) = next else { return };
            job = next;
        }
    }

    fn run(&self, job: u32) {
        self.begun.lock().unwrap().push(job);
        self.changed.notify_all();
        self.wait_for((self.together)(job));
    }

    /// Waits until so many jobs have begun.
    fn wait_for(&self, jobs: usize) {
        let mut begun = self.begun.lock().unwrap();
        while begun.len() < jobs {
            begun = self.changed.wait(begun).unwrap();
        }
    }

    /// Closes the pool, waits for its threads, and returns the jobs that were run.
    fn end(self: &Arc<Self>) -> Vec<u32> {
        self.perform(self.dispatch.close());
        self.join();
        let mut jobs = std::mem::take(&mut *self.begun.lock().unwrap());
        jobs.sort_unstable();
        jobs
    }

    fn join(&self) {
        loop {
            let Some(thread) = self.threads.lock().unwrap().pop() else { return };
            thread.join().unwrap();
        }
    }
}

/// A worker on this thread, with an empty desk.
fn member(number: usize) -> Member<u32> {
    Member { number, sleeper: Sleeper::current(), desk: Arc::new(Desk::new()) }
}

/// What every worker asks for: it takes several jobs if there are, and lingers.
fn many() -> Wish {
    Wish { now: now(), most: 8, all: 0, eager: true }
}

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

#[test]
fn a_job_reaches_a_worker_that_is_falling_asleep() {
    check(|| {
        let pool = Pool::new(0, 1, None, |_| 0);
        for job in 1..=3 {
            pool.submit(job);
            pool.wait_for(job as usize);
        }
        assert_eq!(pool.end(), [1, 2, 3]);
    });
}

#[test]
fn a_job_reaches_a_worker_that_is_leaving_because_it_was_idle_too_long() {
    check(|| {
        let pool = Pool::new(0, 1, AT_ONCE, |_| 0);
        for job in 1..=2 {
            pool.submit(job);
            pool.wait_for(job as usize);
        }
        assert_eq!(pool.end(), [1, 2]);
    });
}

#[test]
fn two_submitters_and_a_worker_that_comes_and_goes_lose_no_job() {
    check(|| {
        let pool = Pool::new(0, 1, AT_ONCE, |_| 0);
        let other = pool.beside(|pool| pool.submit(1));
        pool.submit(2);
        pool.wait_for(2);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2]);
    });
}

#[test]
fn jobs_that_wait_for_each_other_all_get_a_worker() {
    check(|| {
        let pool = Pool::new(0, 2, None, |_| 2);
        pool.submit(1);
        pool.submit(2);
        pool.wait_for(2);
        assert_eq!(pool.end(), [1, 2]);
    });
}

#[test]
fn a_batch_of_jobs_that_wait_for_each_other_wakes_one_worker_after_the_other() {
    check(|| {
        let pool = Pool::new(2, 2, None, |_| 2);
        let act = pool.dispatch.submit_batch(vec![1, 2]).unwrap();
        pool.perform(act);
        pool.wait_for(2);
        assert_eq!(pool.end(), [1, 2]);
    });
}

/// The first worker takes two jobs, and the one on its desk is what the first of them waits for.
#[test]
fn a_job_that_waits_on_a_desk_is_run_by_another_worker() {
    check(|| {
        let pool = Pool::new(1, 2, None, |job| if job == 1 { 3 } else { 0 });
        let act = pool.dispatch.submit_batch(vec![1, 2, 3]).unwrap();
        pool.perform(act);
        pool.wait_for(3);
        assert_eq!(pool.end(), [1, 2, 3]);
    });
}

#[test]
fn what_waits_on_desks_is_run_once_while_workers_come_and_go() {
    check(|| {
        let pool = Pool::new(0, 2, AT_ONCE, |_| 0);
        let act = pool.dispatch.submit_batch(vec![1, 2, 3]).unwrap();
        let other = pool.beside(|pool| pool.submit(4));
        pool.perform(act);
        pool.wait_for(4);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2, 3, 4]);
    });
}

#[test]
fn what_waits_on_the_desk_of_a_worker_that_breaks_down_is_run_by_the_next() {
    check(|| {
        let pool = Pool::new(0, 2, None, |_| 0);
        let act = pool.dispatch.submit_batch(vec![1, 2, 3]).unwrap();
        let Act::Grow(number) = act else { panic!("there is no worker yet") };
        let broken = pool.beside(move |pool| {
            let Turn::Run(1, act) = pool.dispatch.look(&member(number), Slept::Woken, many()) else {
                panic!("there is a job")
            };
            pool.perform(act);
            pool.perform(pool.dispatch.lost(number));
        });
        pool.wait_for(2);
        broken.join().unwrap();
        assert_eq!(pool.end(), [2, 3]);
    });
}

#[test]
fn what_is_cancelled_on_a_desk_is_handed_back_or_run() {
    check(|| {
        let pool = Pool::new(1, 1, None, |_| 0);
        let act = pool.dispatch.submit_batch(vec![1, 2, 3]).unwrap();
        pool.perform(act);
        let taken = pool.dispatch.take_all();
        let mut all = pool.end();
        all.extend(taken);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}

#[test]
fn a_smaller_pool_loses_no_job_and_no_worker_too_many() {
    check(|| {
        let pool = Pool::new(0, 2, None, |_| 0);
        pool.submit(1);
        let other = pool.beside(|pool| pool.perform(pool.dispatch.resize(1).1));
        pool.submit(2);
        pool.wait_for(2);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2]);
        assert_eq!(pool.dispatch.live(), 0);
    });
}

/// Jobs that are submitted by the threads with these inboxes.
fn a_larger_pool_takes_up(inboxes: [usize; 2]) {
    check(move || {
        let pool = Pool::new(0, 1, None, |_| 2);
        pool.submit_by(inboxes[0], 1);
        pool.submit_by(inboxes[1], 2);
        let other = pool.beside(|pool| pool.perform(pool.dispatch.resize(2).1));
        pool.wait_for(2);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2]);
    });
}

#[test]
fn a_larger_pool_takes_up_what_waits() {
    a_larger_pool_takes_up([1, 0]);
}

#[test]
fn a_refused_thread_leaves_its_job_to_the_workers_there_are() {
    // It takes three to have job 3 come between.
    check_with(3, || {
        let pool = Pool::new(0, 2, None, |_| 0);
        pool.submit(1);
        *pool.refusals.lock().unwrap() = 1;
        // While the thread that job 2 asks for is being refused, the worker may fall asleep, and job 3 come.
        let other = pool.beside(|pool| pool.submit(2));
        pool.submit(3);
        pool.wait_for(3);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2, 3]);
    });
}

#[test]
fn a_refused_thread_without_which_there_is_none_gives_the_jobs_back() {
    check(|| {
        let pool = Pool::new(0, 1, AT_ONCE, |_| 0);
        *pool.refusals.lock().unwrap() = 1;
        let other = pool.beside(|pool| pool.submit(1));
        pool.submit(2);
        other.join().unwrap();
        // One of them has met the refusal; the other was stranded with it, or has found a thread.
        let stranded = pool.stranded.lock().unwrap().len();
        pool.wait_for(2 - stranded);
        let mut all = pool.end();
        all.append(&mut pool.stranded.lock().unwrap());
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

#[test]
fn a_worker_that_breaks_down_leaves_nothing_behind() {
    check(|| {
        let pool = Pool::new(0, 1, None, |_| 0);
        // A worker that takes the first job and is never seen again.
        let Ok(Act::Grow(number)) = pool.dispatch.submit(Some(0), 1) else {
            panic!("there is no worker yet")
        };
        let broken = pool.beside(move |pool| {
            let Turn::Run(_, act) = pool.dispatch.look(&member(number), Slept::Woken, many()) else {
                panic!("there is a job")
            };
            pool.perform(act);
            pool.perform(pool.dispatch.lost(number));
        });
        pool.submit(2);
        pool.wait_for(1);
        broken.join().unwrap();
        assert_eq!(pool.end().len(), 1);
    });
}

#[test]
fn closing_ends_every_worker_and_every_job_is_run_or_handed_back() {
    check(|| {
        let pool = Pool::new(0, 2, None, |_| 0);
        pool.submit(1);
        let other = pool.beside(|pool| match pool.dispatch.submit(Some(0), 2) {
            Ok(act) => {
                pool.perform(act);
                1
            }
            Err(2) => 0,
            Err(job) => panic!("job {job} came back"),
        });
        pool.perform(pool.dispatch.close());
        let taken = other.join().unwrap();
        pool.join();
        assert_eq!(pool.begun.lock().unwrap().len(), 1 + taken);
        assert_eq!(pool.dispatch.live(), 0);
    });
}

#[test]
fn closing_wakes_whoever_sleeps() {
    check(|| {
        let pool = Pool::new(2, 2, None, |_| 0);
        pool.perform(pool.dispatch.close());
        pool.join();
        assert_eq!(pool.dispatch.live(), 0);
    });
}

#[test]
fn what_lies_in_inboxes_is_begun_in_the_order_of_submission() {
    check(|| {
        let pool = Pool::new(0, 1, None, |_| 0);
        pool.submit_by(0, 1);
        pool.submit_by(0, 2);
        let other = pool.beside(|pool| {
            pool.submit_by(1, 3);
            pool.submit_by(1, 4);
        });
        pool.submit_by(0, 5);
        pool.wait_for(5);
        other.join().unwrap();
        let begun = pool.begun.lock().unwrap().clone();
        for order in [[1, 2, 3, 4].as_slice(), &[1, 2, 5]] {
            assert!(begun.iter().filter(|job| order.contains(job)).eq(order), "{begun:?}");
        }
        assert_eq!(pool.end(), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn jobs_that_wait_for_what_lies_in_an_inbox_get_it_run() {
    for min in [0, 2] {
        check(move || {
            let pool = Pool::new(min, 2, None, |_| 2);
            pool.submit_by(0, 1);
            pool.submit_by(0, 2);
            pool.wait_for(2);
            assert_eq!(pool.end(), [1, 2]);
        });
    }
}

#[test]
fn what_lies_in_inboxes_is_run_by_workers_that_come_and_go() {
    check(|| {
        let pool = Pool::new(0, 1, AT_ONCE, |_| 0);
        let other = pool.beside(|pool| (1..=2).for_each(|job| pool.submit_by(1, job)));
        (3..=4).for_each(|job| pool.submit_by(0, job));
        pool.wait_for(4);
        other.join().unwrap();
        assert_eq!(pool.end(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_larger_pool_takes_up_what_lies_in_an_inbox() {
    a_larger_pool_takes_up([0, 0]);
}

#[test]
fn what_lies_in_an_inbox_when_the_pool_is_closed_is_run_or_refused() {
    check(|| {
        let pool = Pool::new(0, 1, None, |_| 0);
        let other = pool.beside(|pool| pool.perform(pool.dispatch.close()));
        let mut taken = 0;
        for job in 1..=3 {
            if let Ok(act) = pool.dispatch.submit(Some(0), job) {
                taken += 1;
                pool.perform(act);
            }
        }
        other.join().unwrap();
        pool.join();
        assert_eq!(pool.begun.lock().unwrap().len(), taken);
        assert_eq!(pool.dispatch.live(), 0);
    });
}

#[test]
fn what_is_cancelled_in_an_inbox_is_handed_back_or_run() {
    check(|| {
        let pool = Pool::new(0, 1, None, |_| 0);
        (1..=3).for_each(|job| pool.submit_by(0, job));
        let taken = pool.dispatch.take_all();
        let mut all = pool.end();
        all.extend(taken);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}
