//! A bounded queue: who is refused, who waits, and that nobody waits for ever.

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream::BoxStream};
use heavylift::{Shutdown, TaskError, TaskErrorKind, gather};
use tokio_test::{assert_pending, assert_ready, task::spawn};

use crate::{
    drive::{drive, poll_once, until},
    jobs::{double, log, occupy, successor},
    subject::{Limits, Subject},
    yard::Yard,
};

pub(crate) fn a_full_pool_refuses_run_as_overloaded<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let limits = Limits { name: Some("third"), ..Limits::default() };
        let task = pool.run_within(limits, double, 2);
        assert!(task.is_finished(), "from the start");
        let error = task.await.unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::Overloaded);
        let why = format!("was refused: the queue of pool {:?} is full (queue_limit is 1)", S::NAME);
        assert_eq!(error.to_string(), format!("task {} (\"third\") {why}", error.id()));
        hold.open.mark();
        running.await.unwrap();
        assert_eq!(queued.await.unwrap(), 2);
        assert_eq!((pool.metrics().refused, pool.metrics().submitted), (1, 2));
    });
}

pub(crate) fn a_full_pool_hands_the_job_of_try_run_back<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.try_run(double, 1).unwrap();
        let refused = pool.try_run(double, 21).unwrap_err();
        assert!(refused.is_full && !refused.is_closed);
        assert!(refused.message.contains("is full (queue_limit is 1)"), "{refused:?}");
        assert_eq!((refused.job)(), 42, "nothing is lost");
        hold.open.mark();
        running.await.unwrap();
        queued.await.unwrap();
    });
}

pub(crate) fn submit_waits_for_room<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        assert_eq!(pool.submit(double, 1).await.unwrap().await.unwrap(), 2);
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let mut submit = spawn(pool.submit(double, 3));
        assert_pending!(submit.poll());
        assert_eq!(pool.metrics().refused, 0);
        hold.open.mark();
        until("a wake-up", || submit.is_woken()).await;
        let task = assert_ready!(submit.poll()).unwrap();
        assert_eq!(task.await.unwrap(), 6);
        running.await.unwrap();
        queued.await.unwrap();
    });
}

pub(crate) fn submits_enter_first_come_first_served<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let order = yard.spot("order");
        let mut submits: Vec<_> = (0..5).map(|n| spawn(pool.submit(log, (order.clone(), n)))).collect();
        for submit in &mut submits {
            assert_pending!(submit.poll());
        }
        hold.open.mark();
        let mut tasks = Vec::new();
        for (n, submit) in submits.iter_mut().enumerate() {
            until("a wake-up", || submit.is_woken()).await;
            assert!(pool.metrics().submitted as usize >= 2 + n);
            tasks.push(assert_ready!(submit.poll()).unwrap());
        }
        assert_eq!(gather(tasks).await.unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(order.lines(), [0, 1, 2, 3, 4]);
        running.await.unwrap();
        queued.await.unwrap();
    });
}

pub(crate) fn a_dropped_submit_gives_up_its_place_in_the_line<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let mut submits: Vec<_> = (0..3).map(|n| spawn(pool.submit(double, n))).collect();
        for submit in &mut submits {
            assert_pending!(submit.poll());
        }
        drop(submits.remove(0));
        hold.open.mark();
        running.await.unwrap();
        queued.await.unwrap();
        // Dropped before it has been polled again: what it was given goes to the next.
        until("a wake-up", || submits[0].is_woken()).await;
        drop(submits.remove(0));
        until("a wake-up", || submits[0].is_woken()).await;
        assert_eq!(assert_ready!(submits[0].poll()).unwrap().await.unwrap(), 4);
    });
}

pub(crate) fn a_submit_that_waits_is_refused_when_the_pool_closes<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let mut submit = spawn(pool.submit(double, 3));
        assert_pending!(submit.poll());
        let mut map = pool.map(double, [1]);
        assert!(poll_once(&mut map.next()).is_pending());
        let closing = pool.shutdown(Shutdown::Drain);
        assert!(submit.is_woken());
        let refused = assert_ready!(submit.poll()).unwrap_err();
        assert!(refused.is_closed);
        assert_eq!((refused.job)(), 6);
        assert!(map.next().await.unwrap().unwrap_err().is_closed());
        hold.open.mark();
        assert_eq!(closing.await.succeeded, 2);
        running.await.unwrap();
        queued.await.unwrap();
    });
}

pub(crate) fn room_is_back_when_the_task_has_finished<S: Subject>() {
    let pool = S::tiny();
    drive(async {
        for n in 0..50 {
            let (one, two) = (pool.try_run(double, n).unwrap(), pool.try_run(double, n + 1).unwrap());
            assert_eq!((one.await.unwrap(), two.await.unwrap()), (2 * n, 2 * n + 2));
        }
    });
}

pub(crate) fn room_is_back_when_a_queued_task_was_cancelled<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        for n in 0..10 {
            let queued = pool.try_run(double, n).unwrap();
            assert!(pool.try_run(double, n).is_err());
            drop(queued);
        }
        let last = pool.try_run(double, 1).unwrap();
        hold.open.mark();
        running.await.unwrap();
        assert_eq!(last.await.unwrap(), 2);
    });
}

pub(crate) fn map_waits_for_room<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let mut map = pool.map(double, 0..20);
        assert!(poll_once(&mut map.next()).is_pending());
        assert_eq!(pool.metrics().submitted, 2);
        assert!(pool.run(double, 1).await.unwrap_err().is_overloaded());
        hold.open.mark();
        let values: Vec<u32> = map.try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter((0..20).map(|n| 2 * n)));
        running.await.unwrap();
        assert_eq!(pool.metrics().refused, 1, "the map was never refused");
    });
}

/// Feeds the results of a map into the next one on the same pool.
fn next_stage<S: Subject>(
    pool: &S,
    inputs: impl Stream<Item = Result<u32, TaskError>> + Send + 'static,
) -> BoxStream<'static, Result<u32, TaskError>> {
    pool.map_stream(successor, inputs.map(Result::unwrap))
}

pub(crate) fn a_chain_of_maps_on_one_bounded_pool_does_not_deadlock<S: Subject>() {
    for stages in [1, 2, 5] {
        let pool = S::tiny();
        drive(async {
            let mut chain = pool.map(double, 0..100).boxed();
            for _ in 0..stages {
                chain = next_stage(&pool, chain);
            }
            let values: Vec<u32> = chain.try_collect().await.unwrap();
            assert_eq!(values, Vec::from_iter((0..100).map(|n| 2 * n + stages)));
        });
    }
}

pub(crate) fn a_chain_of_unordered_maps_on_one_bounded_pool_does_not_deadlock<S: Subject>() {
    let pool = S::tiny();
    drive(async {
        let mut chain = pool.map(double, 0..100).unordered().map(|(_, n)| n).boxed();
        for _ in 0..5 {
            chain = next_stage(&pool, chain);
        }
        let mut values: Vec<u32> = chain.try_collect().await.unwrap();
        values.sort_unstable();
        assert_eq!(values, Vec::from_iter((0..100).map(|n| 2 * n + 5)));
    });
}

pub(crate) fn maps_that_nobody_polls_hold_up_nobody<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        // More maps than there are places stand in the line, and are not polled any more.
        let mut maps: Vec<_> = (0..5).map(|_| pool.map(double, 0..3)).collect();
        for map in &mut maps {
            assert!(poll_once(&mut map.next()).is_pending());
        }
        hold.open.mark();
        running.await.unwrap();
        queued.await.unwrap();
        assert_eq!(pool.submit(double, 4).await.unwrap().await.unwrap(), 8);
        let values: Vec<u32> = pool.map(double, 0..20).try_collect().await.unwrap();
        assert_eq!(values.len(), 20);
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        for map in maps {
            assert_eq!(map.try_collect::<Vec<u32>>().await.unwrap(), [0, 2, 4]);
        }
    });
}

pub(crate) fn gather_over_run_on_a_full_pool_fails_fast<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let tasks = (0..100).map(|n| pool.run(log, (order.clone(), n)));
        let error = gather(tasks).await.unwrap_err();
        assert!(error.is_overloaded());
        assert_eq!(pool.metrics().cancelled, 1, "the one that was taken is dropped");
        hold.open.mark();
        running.await.unwrap();
        pool.run(double, 1).await.unwrap();
        assert!(order.lines().is_empty());
    });
}

pub(crate) fn map_stream_over_a_pending_input_starts_what_is_there<S: Subject>() {
    let pool = S::tiny();
    drive(async {
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let mut map = pool.map_stream(double, receiver);
        assert!(map.next().now_or_never().is_none());
        sender.unbounded_send(4).unwrap();
        assert_eq!(map.next().await.unwrap().unwrap(), 8, "it does not wait for more");
        sender.unbounded_send(5).unwrap();
        drop(sender);
        assert_eq!(map.next().await.unwrap().unwrap(), 10);
        assert!(map.next().await.is_none());
    });
}
