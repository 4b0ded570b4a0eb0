//! `map`: lazy, bounded, in order, and none of its items costs another anything.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, TryStreamExt, stream::FusedStream};

use crate::{
    drive::{drive, until},
    jobs::{Hold, double, maybe_held, maybe_stubborn, no_threes, stubborn},
    subject::{Place, Subject},
    yard::Yard,
};

/// The numbers from 0 on, and how many of them have been pulled.
fn counted() -> (impl Iterator<Item = u32> + Send, Arc<AtomicU32>) {
    let pulled = Arc::new(AtomicU32::new(0));
    let counter = pulled.clone();
    ((0..).inspect(move |_| _ = counter.fetch_add(1, SeqCst)), pulled)
}

pub(crate) fn map_yields_in_the_order_of_its_inputs<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let values: Vec<u32> = pool.map(double, 0..300).try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter((0..300).map(|n| 2 * n)));
    });
}

pub(crate) fn map_pulls_nothing_before_its_first_poll<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let (inputs, pulled) = counted();
        let mut map = pool.map(double, inputs).in_flight(3);
        assert_eq!((pulled.load(SeqCst), pool.metrics().submitted), (0, 0));
        assert_eq!(map.next().await.unwrap().unwrap(), 0);
        assert!(pulled.load(SeqCst) > 0);
    });
}

pub(crate) fn map_pulls_no_more_than_in_flight_ahead_of_a_slow_consumer<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let (inputs, pulled) = counted();
        let mut map = pool.map(double, inputs).in_flight(3);
        for yielded in 0..20 {
            assert_eq!(map.next().await.unwrap().unwrap(), 2 * yielded);
            assert!(pulled.load(SeqCst) <= yielded + 3, "{} pulled", pulled.load(SeqCst));
            // However long the consumer takes, nothing is pulled behind its back.
            let before = pulled.load(SeqCst);
            until("the pool to rest", || pool.metrics().running + pool.metrics().queued == 0).await;
            assert_eq!(pulled.load(SeqCst), before);
        }
    });
}

pub(crate) fn an_endless_input_is_fine<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let values: Vec<u32> = pool.map(double, 0..).take(100).try_collect().await.unwrap();
        assert_eq!(values.len(), 100);
        let later: Vec<_> = pool.map(double, 0..).unordered().take(100).collect().await;
        assert!(later.iter().all(|(index, value)| *value.as_ref().unwrap() as usize == 2 * index));
    });
}

pub(crate) fn an_item_that_fails_does_not_end_the_map<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let items: Vec<_> = pool.map(no_threes, 0..10).collect().await;
        for (n, item) in (0..).zip(&items) {
            assert_eq!(item.is_err(), n % 3 == 0, "{item:?}");
        }
        assert_eq!(items.len(), 10);
    });
}

pub(crate) fn unordered_yields_each_index_once<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let items: Vec<_> = pool.map(no_threes, 0..100).unordered().in_flight(7).collect().await;
        let mut seen: Vec<usize> = items.iter().map(|(index, _)| *index).collect();
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(0..100));
        assert!(items.iter().all(|(index, item)| item.is_err() == (index % 3 == 0)));
    });
}

pub(crate) fn unordered_yields_what_is_finished_first<S: Subject>() {
    let (pool, yard) = (S::with_workers(2), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "slow");
        let inputs = [Some(hold.clone()), None, None];
        let mut map = pool.map(maybe_held, inputs).unordered();
        let first = [map.next().await.unwrap().0, map.next().await.unwrap().0];
        assert!(first == [1, 2] || first == [2, 1], "{first:?}");
        hold.open.mark();
        assert_eq!(map.next().await.unwrap().0, 0);
        assert!(map.next().await.is_none());
    });
}

pub(crate) fn one_map_feeds_the_next<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let doubled = pool.map(double, 0..200).map(Result::unwrap);
        let again = pool.map_stream(double, doubled).map(Result::unwrap);
        let values: Vec<u32> = pool.map_stream(double, again).try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter((0..200).map(|n| 8 * n)));
    });
}

pub(crate) fn an_empty_map_is_at_its_end<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let mut map = pool.map(double, []);
        assert!(map.next().await.is_none());
        assert!(map.is_terminated() && map.next().await.is_none());
        assert_eq!(pool.metrics().submitted, 0);
    });
}

pub(crate) fn a_timeout_ends_a_map_that_is_never_out_of_results<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let map = pool.map(double, 0..).name("endless").timeout(Duration::from_millis(20));
        let items: Vec<_> = map.collect().await;
        let (last, others) = items.split_last().unwrap();
        assert!(others.iter().all(Result::is_ok));
        let error = last.as_ref().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("task {} (\"endless\") timed out: timeout is 20ms", error.id())
        );

        let items: Vec<_> =
            pool.map(double, 0..).unordered().timeout(Duration::from_millis(20)).collect().await;
        let (last, others) = items.split_last().unwrap();
        assert!(others.iter().all(|(_, item)| item.is_ok()) && last.1.as_ref().unwrap_err().is_timed_out());
        assert!(others.iter().all(|(index, _)| *index != last.0), "an input that has not been yielded");
    });
}

pub(crate) fn map_timeout_cancels_what_runs<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "slow");
        let inputs = [None, Some(hold.clone()), None, None];
        let mut map = pool.map(maybe_stubborn, inputs).timeout(Duration::from_millis(500));
        assert!(map.next().await.unwrap().is_ok());
        assert!(map.next().await.unwrap().unwrap_err().is_timed_out());
        assert!(map.next().await.is_none() && map.is_terminated());
        until("an idle pool", || pool.metrics().running + pool.metrics().queued == 0).await;
        if S::PLACE == Place::Threads {
            hold.ended.marked().await;
        }
        assert_eq!(pool.metrics().succeeded, 1);
    });
}

pub(crate) fn a_chunked_map_yields_the_same<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        for chunk in [1, 2, 7, 1000] {
            let items: Vec<_> = pool.map(no_threes, 0..50).chunk_size(chunk).collect().await;
            assert_eq!(items.len(), 50);
            assert!(items.iter().enumerate().all(|(n, item)| item.is_err() == (n % 3 == 0)));
        }
    });
}

pub(crate) fn an_error_of_a_map_names_its_line_and_its_name<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let line = line!() + 1;
        let mut map = pool.map(no_threes, [3]).name("threes");
        let error = map.next().await.unwrap().unwrap_err();
        assert_eq!(error.name(), "threes");
        assert_eq!((error.submitted_at().file(), error.submitted_at().line()), (file!(), line));
    });
}

pub(crate) fn a_dropped_map_cancels_what_it_started<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "slow");
        let mut map = pool.map(stubborn, [hold.clone(), hold.clone(), hold.clone()]);
        assert!(
            tokio_test::task::spawn(&mut map)
                .enter(|cx, map| Pin::new(map.get_mut()).poll_next(cx))
                .is_pending()
        );
        hold.begun.marked().await;
        drop(map);
        assert_eq!(pool.metrics().cancelled, 3);
        until("an idle pool", || pool.metrics().running + pool.metrics().queued == 0).await;
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
    });
}
