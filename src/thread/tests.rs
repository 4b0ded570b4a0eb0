//! What only injected failures show.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::*;
use crate::{
    counted::{Counted, unsize},
    sync::{Sleeper, Slept},
    thread::{
        desk::Desk,
        dispatch::{Act, Dispatch, Member, Turn, Wish},
        inbox::{Inboxes, Mail, Then},
        queue::Queued,
        seat::ThreadJob,
    },
};

const LONG: Duration = Duration::from_secs(60);

/// Makes a pool to which the system gives so many threads, then refuses so many, then gives again. Returns how many were
/// asked for, too.
fn pool_with_refusals(workers: usize, given: usize, refused: usize) -> (ThreadPool, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let builder = ThreadPool::builder().max_workers(workers).spawn(Box::new(move |builder, life| {
        let nth = count.fetch_add(1, SeqCst);
        if (given..given + refused).contains(&nth) {
            return Err(io::Error::from_raw_os_error(11));
        }
        builder.spawn(life).map(drop)
    }));
    (builder.build().unwrap(), asked)
}

#[test]
fn a_refused_thread_is_asked_for_again_while_every_worker_is_stuck() {
    let (pool, asked) = pool_with_refusals(2, 1, 3);
    let (release, released) = mpsc::channel();
    let stuck = pool.run(move || released.recv_timeout(LONG));
    // Only a second worker can run this, and nothing else happens in the pool.
    let task = pool.run(move || release.send(()).is_ok());
    assert!(task.blocking_wait().unwrap());
    assert_eq!(stuck.blocking_wait().unwrap(), Ok(()));
    assert_eq!(asked.load(SeqCst), 5);
}

#[test]
fn a_refused_thread_is_not_asked_for_with_every_submission() {
    let (pool, asked) = pool_with_refusals(2, 1, usize::MAX / 2);
    let (release, released) = mpsc::channel::<()>();
    let stuck = pool.run(move || released.recv().is_err());
    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..10_000).map(|n| pool.run(move || n)).collect();
    drop(release);
    assert!(stuck.blocking_wait().unwrap());
    assert!(tasks.into_iter().enumerate().all(|(n, task)| task.blocking_wait().unwrap() == n));
    let pauses = start.elapsed().as_millis() / 10;
    assert!(asked.load(SeqCst) as u128 <= 3 + pauses, "{asked:?} in {pauses} pauses");
}

#[test]
fn without_any_worker_jobs_fail_and_later_ones_succeed() {
    let (pool, _) = pool_with_refusals(2, 0, 1);
    let error = pool.run(|| 1).blocking_wait().unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("Resource temporarily unavailable"), "{error}");
    assert_eq!(pool.run(|| 2).blocking_wait().unwrap(), 2);
}

/// A job that breaks the promise not to unwind.
struct Bug(mpsc::Sender<String>);

impl Queued for Bug {
    fn due(&self) -> Instant {
        Instant::now()
    }
}

impl ThreadJob for Bug {
    fn run(&self, _spot: &crate::record::Spot) {
        panic!("a bug of ours");
    }

    fn runtime(&self) -> Option<Handle> {
        None
    }

    fn runtime_id(&self) -> Option<tokio::runtime::Id> {
        None
    }

    fn label(&self) -> &crate::error::TaskLabel {
        unreachable!("nobody looks at it")
    }

    fn is_queued(&self) -> bool {
        true
    }

    fn cancel(&self) -> u64 {
        0
    }

    fn refuse(&self, _pool: &str) {}

    fn fail(&self, reason: &str) {
        self.0.send(reason.to_owned()).unwrap();
    }
}

#[test]
fn a_worker_that_breaks_down_fails_its_task_and_is_replaced() {
    let pool = ThreadPool::builder().max_workers(1).min_workers(1).name("frail").build().unwrap();
    let (sender, receiver) = mpsc::channel();
    pool.shared().enqueue(unsize!(Counted::new(Bug(sender)) => dyn ThreadJob));
    let reason = receiver.recv_timeout(LONG).unwrap();
    assert!(reason.contains("\"frail\"") && reason.contains("a bug in heavylift"), "{reason}");
    assert_eq!(pool.run(|| 3).blocking_wait().unwrap(), 3);
    assert!(pool.shutdown(Shutdown::Drain).blocking_wait().is_complete());
    assert_eq!(pool.metrics().workers, 0);
}

/// A worker on this thread, with an empty desk.
fn member(number: usize) -> Member<u32> {
    Member { number, sleeper: Sleeper::current(), desk: Arc::new(Desk::new()) }
}

#[test]
fn a_burst_wakes_one_sleeper_and_that_one_the_next() {
    let (dispatch, one) = (
        Dispatch::new(2, 2, Inboxes::new(0, 0)),
        Wish { now: Instant::now(), most: 1, all: 0, eager: false },
    );
    let workers = [dispatch.hire(), dispatch.hire()].map(member);
    for worker in &workers {
        assert!(matches!(dispatch.look(worker, Slept::Woken, one), Turn::Sleep(_)));
    }
    assert!(matches!(dispatch.submit(None, 1), Ok(Act::Wake(_))));
    assert!(matches!(dispatch.submit(None, 2), Ok(Act::Nothing)));
    // The one that fell asleep last is woken first.
    assert!(matches!(dispatch.look(&workers[0], Slept::Woken, one), Turn::Sleep(_)));
    assert!(matches!(dispatch.look(&workers[1], Slept::Woken, one), Turn::Run(1, Act::Wake(_))));
    assert!(matches!(dispatch.look(&workers[0], Slept::TooLong, one), Turn::Run(2, Act::Nothing)));
}

#[test]
fn a_batch_is_run_in_its_order() {
    let pool = ThreadPool::builder().max_workers(1).build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let cells: Vec<Counted<dyn ThreadJob>> = (0..3).map(|n| batch_job(&pool, n, &sender)).collect();
    let act = pool.shared().dispatch().submit_batch(cells).ok().unwrap();
    pool.shared().perform(act);
    assert_eq!(receiver.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
}

fn batch_job(pool: &ThreadPool, n: u32, sender: &mpsc::Sender<u32>) -> Counted<dyn ThreadJob> {
    let sender = sender.clone();
    let job = move || sender.send(n).unwrap();
    let label = crate::task::label("()", &mut Options::default(), Location::caller());
    let load = Load { job, place: crate::pool::Place::default() };
    let seat = ThreadSeat::new(Grip::new(pool.handles.roots.here(), None));
    pool.shared().counters.submitted();
    let cell = Cell::new(label, &Options::default(), seat, load, Default::default());
    unsize!(cell => dyn ThreadJob)
}

/// A job in a lane, with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    lane: usize,
    number: u32,
    start: Instant,
}

impl Queued for Numbered {
    fn lane(&self) -> usize {
        self.lane
    }

    fn due(&self) -> Instant {
        // The urgent lane comes first, and otherwise the order of the numbers counts.
        let seconds = if self.lane == 0 { 0 } else { 1 + self.number };
        self.start + Duration::from_secs(seconds.into())
    }
}

/// A dispatch with two workers, who take what they are given in the order of `begun`.
struct Two {
    dispatch: Dispatch<Numbered>,
    workers: [Member<Numbered>; 2],
    start: Instant,
    begun: Vec<u32>,
}

impl Two {
    /// With so many jobs in the queue, numbered from 1.
    fn with_jobs(jobs: u32) -> Self {
        let dispatch = Dispatch::new(2, 2, Inboxes::new(0, 0));
        let member = |number| Member { number, sleeper: Sleeper::current(), desk: Arc::new(Desk::new()) };
        let workers = [dispatch.hire(), dispatch.hire()].map(member);
        let two = Self { dispatch, workers, start: Instant::now(), begun: Vec::new() };
        (1..=jobs).for_each(|number| two.submit(1, number));
        two
    }

    fn submit(&self, lane: usize, number: u32) {
        let job = Numbered { lane, number, start: self.start };
        assert!(self.dispatch.submit(None, job).is_ok());
    }

    /// Has a worker that has nothing on its desk ask for jobs, so long after the start.
    fn ask(&mut self, worker: usize, after: Duration) {
        self.ask_for_all(worker, 0, after);
    }

    /// Has it ask for all jobs if they are no more than that.
    fn ask_for_all(&mut self, worker: usize, all: usize, after: Duration) {
        let wish = Wish { now: self.start + after, most: 8, all, eager: false };
        let turn = self.dispatch.look(&self.workers[worker], Slept::Woken, wish);
        let Turn::Run(job, _) = turn else { panic!("{turn:?}") };
        self.workers[worker].desk.begin(&job);
        self.begun.push(job.number);
    }

    /// Has a worker go on with what waits on its desk; says whether something did.
    fn go_on(&mut self, worker: usize) -> bool {
        let next = self.workers[worker].desk.turn_over().next;
        self.begun.extend(next.map(|job| job.number));
        next.is_some()
    }
}

#[test]
fn a_worker_takes_its_share_and_runs_it_in_order() {
    let mut two = Two::with_jobs(9);
    two.ask(0, Duration::ZERO);
    while two.go_on(0) {}
    assert_eq!(two.begun, [1, 2, 3, 4, 5]);
    two.ask(1, Duration::ZERO);
    assert_eq!(two.begun[5..], [6]);
}

#[test]
fn a_worker_whose_jobs_are_very_short_takes_all_and_the_other_half_of_that() {
    let mut two = Two::with_jobs(7);
    two.ask_for_all(0, 5, Duration::ZERO); // there are more: 2 to 4 wait on its desk
    while two.go_on(0) {}
    two.ask_for_all(0, 5, Duration::ZERO); // 6 and 7 wait on its desk
    two.ask(1, Duration::ZERO);
    assert!(two.go_on(0) && !two.go_on(0));
    assert_eq!(two.begun, [1, 2, 3, 4, 5, 6, 7]);
    two.submit(1, 8);
    two.ask(1, Duration::ZERO);
    assert_eq!(two.begun[7..], [8]);
}

#[test]
fn who_finds_the_queue_empty_takes_the_older_half_of_a_desk() {
    let mut two = Two::with_jobs(7);
    two.ask(0, Duration::ZERO); // 2 to 4 wait on its desk
    (0..3).for_each(|_| {
        two.ask(1, Duration::ZERO);
        while two.go_on(1) {}
    });
    assert_eq!(two.begun, [1, 5, 6, 7, 2, 3]);
    assert!(two.go_on(0) && !two.go_on(0));
    assert_eq!(two.begun[6..], [4]);
}

#[test]
fn what_waits_behind_a_long_job_is_begun_by_whoever_looks_next() {
    let mut two = Two::with_jobs(9);
    two.ask(0, Duration::ZERO); // 2 to 5 wait on its desk
    two.ask(1, Duration::from_millis(1));
    assert_eq!(two.begun, [1, 2]);
    assert!(!two.go_on(0));
}

#[test]
fn what_waits_on_several_desks_for_too_long_returns_in_its_order() {
    let mut two = Two::with_jobs(15);
    two.ask(0, Duration::ZERO); // 2 to 8 wait on its desk
    two.ask(1, Duration::ZERO); // 10 to 12 wait on its desk
    assert!(two.go_on(0));
    let (_, Act::Grow(number)) = two.dispatch.resize(3) else { panic!("a third worker is wanted") };
    let member = Member { number, sleeper: Sleeper::current(), desk: Arc::new(Desk::new()) };
    let wish = Wish { now: two.start + Duration::from_millis(1), most: 64, all: 64, eager: false };
    let turn = two.dispatch.look(&member, Slept::Woken, wish);
    let Turn::Run(job, _) = turn else { panic!("{turn:?}") };
    let mut begun = vec![job.number];
    begun.extend(member.desk.take_waiting().iter().map(|job| job.number));
    assert_eq!(begun, [3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn an_urgent_job_is_begun_before_what_waits_on_a_desk() {
    let mut two = Two::with_jobs(9);
    two.ask(0, Duration::ZERO); // 2 to 5 wait on its desk
    two.submit(0, 10);
    assert!(!two.go_on(0));
    two.ask(0, Duration::ZERO);
    while two.go_on(0) {}
    assert_eq!(two.begun[..6], [1, 10, 2, 3, 4, 5]);
}

/// Two inboxes that are open.
fn open_inboxes() -> (Inboxes<u32>, Mail<u32>) {
    let (inboxes, mut mail) = (Inboxes::new(2, 3), Mail::new());
    (0..2).for_each(|number| inboxes.open(number, &mut mail));
    (inboxes, mail)
}

fn emptied(inboxes: &Inboxes<u32>, mail: &mut Mail<u32>, then: Then) -> Vec<u32> {
    inboxes.empty(mail, then).collect()
}

#[test]
fn nothing_is_put_into_an_inbox_that_is_shut() {
    let (inboxes, mut mail) = (Inboxes::new(1, 3), Mail::new());
    assert_eq!(inboxes.put(0, 1), Err(1));
    assert!(!inboxes.are_worth_opening(2) && inboxes.are_worth_opening(3));
    inboxes.open(0, &mut mail);
    assert_eq!((inboxes.put(0, 1), mail.may_come()), (Ok(()), true));
    assert_eq!(emptied(&inboxes, &mut mail, Then::Shut), [1]);
    assert_eq!((inboxes.put(0, 2), mail.may_come()), (Err(2), false));
}

#[test]
fn what_lies_in_several_inboxes_leaves_in_the_order_of_submission() {
    let (inboxes, mut mail) = open_inboxes();
    for (number, job) in [(1, 1), (0, 2), (0, 3), (1, 4), (1, 5)] {
        assert_eq!(inboxes.put(number, job), Ok(()));
    }
    assert_eq!(emptied(&inboxes, &mut mail, Then::StayOpen), [1, 2, 3, 4, 5]);
    assert_eq!((inboxes.put(0, 6), inboxes.put(1, 7)), (Ok(()), Ok(())));
    assert_eq!(emptied(&inboxes, &mut mail, Then::Shut), [6, 7]);
    assert!(emptied(&inboxes, &mut mail, Then::Shut).is_empty());
}

#[test]
fn jobs_of_one_thread_leave_as_they_came_whatever_their_times() {
    let (inboxes, mut mail) = open_inboxes();
    for (number, job) in [(0, 5), (0, 4), (1, 5), (0, 6)] {
        assert_eq!(inboxes.put(number, job), Ok(()));
    }
    assert_eq!(emptied(&inboxes, &mut mail, Then::StayOpen), [5, 4, 5, 6]);
}
