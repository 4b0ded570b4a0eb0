//! Collecting 100 000 results that come later, from another thread, in no order: `gather` and `as_completed` beside
//! `JoinSet`, `FuturesUnordered`, futures-buffered and `join_all`, each over the same futures.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Instant,
};

use futures::{
    StreamExt,
    future::join_all,
    stream::{FuturesOrdered, FuturesUnordered},
};
use heavylift::{Task, TaskError, ThreadPool, as_completed, gather};
use support::{Flavour, Goal, Program, Race, Unit};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinSet};

const JOIN_SET: &str = "tokio JoinSet";
const UNORDERED: &str = "FuturesUnordered";
const ORDERED: &str = "FuturesOrdered";
const JOIN_ALL: &str = "join_all";
const BUFFERED: &str = "futures-buffered FuturesUnordered";
const BUFFERED_ALL: &str = "futures-buffered join_all";
const PEERS: &[&str] = &[JOIN_SET, UNORDERED, ORDERED, JOIN_ALL, BUFFERED, BUFFERED_ALL];

fn main() {
    let mut program = Program::new("gather");
    let jobs = program.size(100_000, 10_000);
    let runtime = Flavour::Current.runtime();
    channels(&mut program, &runtime, jobs);
    tasks(&mut program, &runtime, jobs);
    program.finish();
}

/// Futures whose values another thread sends.
fn channels(program: &mut Program, runtime: &Runtime, jobs: u64) {
    let race = race(runtime, jobs, move || {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..jobs).map(|_| oneshot::channel::<u64>()).unzip();
        let (go, begun) = mpsc::channel::<()>();
        thread::spawn(move || {
            begun.recv().unwrap();
            let mut senders: Vec<_> = senders.into_iter().map(Some).collect();
            // A step that shares no factor with the number of jobs visits all of them.
            for n in 0..jobs {
                let at = (n * 61_441 % jobs) as usize;
                senders[at].take().unwrap().send(at as u64).unwrap();
            }
        });
        (receivers, Box::new(move || go.send(()).unwrap()))
    });
    report(program, race, "receivers", "oneshot receivers that another thread serves");
}

/// Tasks of a pool, whose only worker is held until they are waited for.
fn tasks(program: &mut Program, runtime: &Runtime, jobs: u64) {
    let pool = ThreadPool::builder().max_workers(1).build().unwrap();
    let race = race::<Task<u64>, TaskError>(runtime, jobs, move || {
        let (go, begun) = mpsc::channel::<()>();
        pool.run(move || begun.recv().unwrap()).detach();
        let tasks = (0..jobs).map(|n| pool.run(move || n)).collect();
        (tasks, Box::new(move || go.send(()).unwrap()))
    });
    report(program, race, "tasks", "heavylift tasks that one worker finishes");
}

fn report(program: &mut Program, race: Race<'_, 1>, id: &str, of: &str) {
    let finish = race.run(program.effort());
    let gather = finish.row(0, &format!("gather.{id}"), &format!("100 k results: {of}"), Unit::JobsPerSecond);
    let goal = Goal::AtLeast(2.0);
    let row = gather.goal_of("gather", goal, PEERS).goal_of("as_completed", goal, PEERS);
    program.add_with_note(
        row,
        "From the making of the collection to its last result, the finishing of the futures included.",
    );
}

type Sum = Pin<Box<dyn Future<Output = u64>>>;
type Later<F> = (Vec<F>, Box<dyn FnOnce()>);

/// All collections over futures that `make` makes, with what lets them finish.
fn race<'a, F, E>(runtime: &'a Runtime, jobs: u64, make: impl Fn() -> Later<F> + Clone + 'a) -> Race<'a, 1>
where
    F: Future<Output = Result<u64, E>> + Unpin + Send + 'static,
    E: Debug + Send + 'static,
{
    let mut race = Race::new();
    let mut enter = |name: &str, collect: fn(Vec<F>) -> Sum| {
        let make = make.clone();
        race.enter(name, move || {
            let (futures, go) = make();
            let begun = Instant::now();
            let sum = runtime.block_on(FinishedLater { collecting: collect(futures), go: Some(go) });
            let seconds = begun.elapsed().as_secs_f64();
            assert_eq!(sum, jobs * (jobs - 1) / 2);
            [jobs as f64 / seconds]
        });
    };
    enter("gather", |futures| Box::pin(async { gather(futures).await.unwrap().into_iter().sum() }));
    enter("as_completed", |futures| Box::pin(sum(as_completed(futures).map(|(_, result)| result))));
    enter(JOIN_SET, |futures| Box::pin(join_set(futures)));
    enter(UNORDERED, |futures| Box::pin(sum(futures.into_iter().collect::<FuturesUnordered<_>>())));
    enter(ORDERED, |futures| Box::pin(sum(futures.into_iter().collect::<FuturesOrdered<_>>())));
    enter(JOIN_ALL, |futures| {
        Box::pin(async { join_all(futures).await.into_iter().map(Result::unwrap).sum() })
    });
    enter(BUFFERED, |futures| {
        Box::pin(sum(futures.into_iter().collect::<futures_buffered::FuturesUnordered<_>>()))
    });
    enter(BUFFERED_ALL, |futures| {
        Box::pin(async { futures_buffered::join_all(futures).await.into_iter().map(Result::unwrap).sum() })
    });
    race
}

async fn sum<E: Debug>(mut results: impl futures::Stream<Item = Result<u64, E>> + Unpin) -> u64 {
    let mut sum = 0;
    while let Some(result) = results.next().await {
        sum += result.unwrap();
    }
    sum
}

async fn join_set<F, E>(futures: Vec<F>) -> u64
where
    F: Future<Output = Result<u64, E>> + Send + 'static,
    E: Debug + Send + 'static,
{
    let mut set: JoinSet<_> = futures.into_iter().collect();
    let mut sum = 0;
    while let Some(result) = set.join_next().await {
        sum += result.unwrap().unwrap();
    }
    sum
}

/// Lets the futures finish once the collection sleeps: by then it has polled them all, in as many turns as it likes. The tasks of a
/// `JoinSet` are polled by the runtime, which need not have come to them by then.
struct FinishedLater {
    collecting: Sum,
    go: Option<Box<dyn FnOnce()>>,
}

impl Future for FinishedLater {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if self.go.is_none() {
            return self.collecting.as_mut().poll(context);
        }
        let turn = Arc::new(Turn { is_wanted: AtomicBool::new(false), waker: context.waker().clone() });
        let polled = self.collecting.as_mut().poll(&mut Context::from_waker(&turn.clone().into()));
        if !turn.is_wanted.load(Relaxed) {
            self.go.take().into_iter().for_each(|go| go());
        }
        polled
    }
}

/// Takes note of a collection that asks for another turn.
struct Turn {
    is_wanted: AtomicBool,
    waker: Waker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.is_wanted.store(true, Relaxed);
        self.waker.wake_by_ref();
    }
}
