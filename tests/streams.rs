//! `gather`, `as_completed` and `wait`: order, ends, drops, limits and cost.

use std::{
    cell::RefCell,
    fmt::Debug,
    future::{Ready, pending, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt,
    channel::oneshot,
    executor::block_on,
    future::{BoxFuture, FusedFuture},
    select,
    stream::FusedStream,
};
use heavylift::{
    AsCompleted, AsCompletedTimeout, Gather, Gathered, ReturnWhen, Settled, TaskError, Unfinished, Wait,
    Waited, as_completed, gather, wait,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

type Sender<T> = oneshot::Sender<T>;
type Receiver<T> = oneshot::Receiver<T>;

/// Channels whose ends are futures that the test finishes by hand.
fn channels<T>(n: usize) -> (Vec<Option<Sender<T>>>, Vec<Receiver<T>>) {
    (0..n).map(|_| oneshot::channel()).map(|(sender, receiver)| (Some(sender), receiver)).unzip()
}

/// Finishes one of them.
fn send<T: Debug>(senders: &mut [Option<Sender<T>>], position: usize, value: T) {
    let sender = senders[position].take().expect("each is finished once");
    sender.send(value).expect("its future is alive");
}

/// Polls until it only waits for others. `FuturesUnordered` wakes itself once after it has polled all children.
fn poll_idle<F: Future + Unpin>(spawned: &mut task::Spawn<F>) -> Poll<F::Output> {
    loop {
        let polled = spawned.poll();
        if polled.is_ready() || !spawned.is_woken() {
            return polled;
        }
    }
}

/// As [`poll_idle`], for streams.
fn next_idle<S: Stream + Unpin>(spawned: &mut task::Spawn<S>) -> Poll<Option<S::Item>> {
    loop {
        let polled = spawned.poll_next();
        if polled.is_ready() || !spawned.is_woken() {
            return polled;
        }
    }
}

/// Counts the polls of a future.
struct Counted<F>(F, Arc<AtomicUsize>);

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, SeqCst);
        self.0.poll_unpin(cx)
    }
}

/// Never finishes, and spends all of the budget whenever it is polled.
async fn greedy<T>() -> T {
    loop {
        tokio::task::consume_budget().await;
    }
}

/// Finishes at once, and spends four units of budget, so that with one unit per output each turn ends inside a future.
async fn spend_four() {
    for _ in 0..4 {
        tokio::task::consume_budget().await;
    }
}

/// 1001 futures, of which these are ready, and the others never.
fn pending_but(positions: &[usize]) -> Vec<BoxFuture<'static, Result<(), ()>>> {
    let future =
        |position| if positions.contains(&position) { ready(Ok(())).boxed() } else { pending().boxed() };
    (0..=1000).map(future).collect()
}

fn panics<R>(f: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

mod gather_collects {
    use super::*;

    #[test]
    fn values_come_in_input_order_whatever_the_order_of_completion() {
        let (mut senders, receivers) = channels(3);
        let mut gathered = task::spawn(gather(receivers).into_future());
        assert_pending!(poll_idle(&mut gathered));
        for position in [2, 0, 1] {
            assert!(!gathered.is_woken());
            send(&mut senders, position, position);
            assert!(gathered.is_woken());
            if position != 1 {
                assert_pending!(poll_idle(&mut gathered));
            }
        }
        assert_ready_eq!(gathered.poll(), Ok(vec![0, 1, 2]));
        assert!(gathered.is_terminated());
    }

    #[test]
    fn the_first_error_to_occur_wins_and_the_rest_is_dropped() {
        let (mut senders, receivers) = channels::<Result<(), &str>>(3);
        let futures = receivers.into_iter().map(|receiver| async { receiver.await.unwrap() }.boxed());
        let mut gathered = task::spawn(gather(futures).into_future());
        assert_pending!(poll_idle(&mut gathered));
        send(&mut senders, 2, Err("late in order, early in time"));
        send(&mut senders, 1, Err("second"));
        assert_ready_eq!(gathered.poll(), Err("late in order, early in time"));
        assert!(senders[0].as_ref().unwrap().is_canceled(), "dropped while the ready future is still held");
    }

    #[test]
    fn settled_takes_any_output_and_no_error_ends_it() {
        assert_eq!(block_on(gather([ready(1), ready(2)]).settled()), [1, 2]);
        let outputs = block_on(gather([ready(Err("no")), ready(Ok(2))]).settled());
        assert_eq!(outputs, [Err("no"), Ok(2)]);
    }

    #[test]
    fn no_futures_give_no_outputs() {
        let none = Vec::<Ready<Result<(), ()>>>::new;
        assert_eq!(block_on(gather(none()).into_future()), Ok(vec![]));
        assert_eq!(block_on(gather(none()).settled()), []);
        let mut stream = gather(none());
        assert!(stream.is_terminated());
        assert_eq!(block_on(stream.next()), None);
    }

    #[tokio::test]
    async fn gathers_nest() {
        let rows =
            (0..3).map(|row| gather((0..2).map(move |column| async move { Ok::<_, ()>((row, column)) })));
        let table = gather(rows).await.unwrap();
        assert_eq!(table, [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(2, 0), (2, 1)]]);
    }

    #[tokio::test]
    async fn join_handles_are_gathered_and_their_panics_are_errors() {
        let handles = (0..100).map(|n| tokio::spawn(async move { n }));
        assert_eq!(gather(handles).await.unwrap(), (0..100).collect::<Vec<_>>());
        let handles = [tokio::spawn(async { panic!("in a task") }), tokio::spawn(pending::<()>())];
        assert!(gather(handles).await.unwrap_err().is_panic());
    }

    #[test]
    fn what_the_stream_has_yielded_is_not_collected_again() {
        let mut stream = gather((0..4).map(|n| ready(Ok::<_, ()>(n))));
        assert_eq!(block_on(stream.next()), Some(Ok(0)));
        assert_eq!(block_on(stream.into_future()), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn an_error_that_was_received_but_not_yielded_counts() {
        let (mut senders, receivers) = channels::<()>(3);
        let mut stream = task::spawn(gather(receivers));
        assert_pending!(next_idle(&mut stream));
        senders[1] = None; // an error
        assert_pending!(next_idle(&mut stream));
        assert!(block_on(stream.into_inner().into_future()).is_err());
        assert!(senders[0].as_ref().unwrap().is_canceled());
    }
}

mod gather_as_a_stream {
    use super::*;

    #[test]
    fn each_output_is_yielded_as_soon_as_those_before_it_are() {
        let (mut senders, receivers) = channels(3);
        let mut stream = task::spawn(gather(receivers));
        assert_pending!(next_idle(&mut stream));
        send(&mut senders, 1, 'b');
        assert_pending!(next_idle(&mut stream));
        assert_eq!((stream.len(), stream.completed(), stream.total()), (3, 1, 3));
        send(&mut senders, 0, 'a');
        assert_ready_eq!(next_idle(&mut stream), Some(Ok('a')));
        assert_ready_eq!(next_idle(&mut stream), Some(Ok('b')));
        assert_eq!(stream.size_hint(), (1, Some(1)));
        assert_pending!(next_idle(&mut stream));
        send(&mut senders, 2, 'c');
        assert_ready_eq!(next_idle(&mut stream), Some(Ok('c')));
        assert!(stream.is_terminated() && stream.is_empty());
        assert_ready_eq!(next_idle(&mut stream), None);
        assert_eq!((stream.completed(), stream.total()), (3, 3));
    }

    #[test]
    fn an_error_is_an_item_and_the_stream_goes_on() {
        let stream = gather([ready(Ok(1)), ready(Err("no")), ready(Ok(3))]);
        assert_eq!(block_on(stream.collect::<Vec<_>>()), [Ok(1), Err("no"), Ok(3)]);
    }

    #[test]
    fn yielded_outputs_are_released() {
        let value = Arc::new(());
        let mut stream = gather((0..3).map(|_| ready(Arc::clone(&value))));
        drop(block_on(stream.next()));
        drop(block_on(stream.next()));
        assert_eq!(Arc::strong_count(&value), 2);
    }

    #[test]
    fn dropping_it_drops_the_futures() {
        let (senders, receivers) = channels::<()>(2);
        drop(gather(receivers));
        assert!(senders.iter().flatten().all(Sender::is_canceled));
    }
}

mod completion_order {
    use super::*;

    #[test]
    fn outputs_come_as_they_finish_with_their_positions() {
        let (mut senders, receivers) = channels(3);
        let mut stream = task::spawn(as_completed(receivers));
        assert_pending!(next_idle(&mut stream));
        send(&mut senders, 2, 'c');
        send(&mut senders, 0, 'a');
        assert_ready_eq!(next_idle(&mut stream), Some((2, Ok('c'))));
        assert_ready_eq!(next_idle(&mut stream), Some((0, Ok('a'))));
        assert_pending!(next_idle(&mut stream));
        assert_eq!((stream.len(), stream.size_hint()), (1, (1, Some(1))));
        send(&mut senders, 1, 'b');
        assert_ready_eq!(next_idle(&mut stream), Some((1, Ok('b'))));
        assert_ready_eq!(next_idle(&mut stream), None);
    }

    #[test]
    fn futures_are_pushed_while_iterating_and_after_the_end() {
        let mut stream = AsCompleted::new();
        assert!(stream.is_terminated() && stream.is_empty());
        assert_eq!(block_on(stream.next()), None);
        assert_eq!(stream.push(ready('a')), 0);
        assert!(!stream.is_terminated());
        stream.extend([ready('b'), ready('c')]);
        assert_eq!(stream.len(), 3);
        assert_eq!(block_on(stream.by_ref().collect::<Vec<_>>()), [(0, 'a'), (1, 'b'), (2, 'c')]);
        assert!(stream.is_terminated());
        assert_eq!(stream.push(ready('d')), 3);
        assert_eq!(block_on(stream.next()), Some((3, 'd')));
        assert_eq!(block_on(stream.next()), None);
    }

    #[test]
    fn it_is_collected_from_an_iterator() {
        let stream: AsCompleted<_> = (0..3).map(ready).collect();
        assert_eq!(block_on(stream.count()), 3);
    }

    #[test]
    fn a_pushed_future_is_polled_at_the_next_poll() {
        let (mut senders, receivers) = channels(2);
        let mut stream = task::spawn(AsCompleted::default());
        for receiver in receivers {
            stream.push(receiver);
            assert_pending!(next_idle(&mut stream));
        }
        send(&mut senders, 1, ());
        assert!(stream.is_woken());
        assert_ready_eq!(next_idle(&mut stream), Some((1, Ok(()))));
    }

    #[test]
    fn select_takes_part_until_both_streams_are_complete() {
        let mut ordered = gather((0..3).map(ready));
        let mut completed = as_completed((10..13).map(ready));
        let mut sum = 0;
        block_on(async {
            loop {
                select! {
                    n = ordered.select_next_some() => sum += n,
                    (position, n) = completed.select_next_some() => {
                        if position == 0 {
                            completed.push(ready(100));
                        }
                        sum += n;
                    }
                    complete => break,
                }
            }
        });
        assert_eq!(sum, 3 + 33 + 100);
    }

    #[test]
    fn futures_need_be_neither_send_nor_static() {
        let seen = RefCell::new(Vec::new());
        let shared = Rc::new(1);
        let futures = (0..3).map(|n| {
            let (seen, shared) = (&seen, Rc::clone(&shared));
            async move { seen.borrow_mut().push(n + *shared) }
        });
        block_on(gather(futures).settled());
        assert_eq!(*seen.borrow(), [1, 2, 3]);
    }
}

mod time_limits {
    use super::*;

    /// Finished and unfinished ones in turn.
    fn mixed(n: usize) -> Vec<BoxFuture<'static, Result<usize, TaskError>>> {
        (0..n).map(|n| if n % 2 == 0 { ready(Ok(n)).boxed() } else { pending().boxed() }).collect()
    }

    #[test]
    fn a_gather_ends_as_timed_out_without_any_runtime_and_drops_the_rest() {
        let (senders, receivers) = channels::<()>(2);
        let futures = receivers
            .into_iter()
            .map(|receiver| async { receiver.await.map_err(|_canceled| io::Error::other("sender lost")) });
        let start = Instant::now();
        let line = line!() + 1;
        let error = block_on(gather(futures).timeout(SHORT).into_future()).unwrap_err();
        assert!(start.elapsed() >= SHORT);
        assert!(senders.iter().flatten().all(Sender::is_canceled));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let task_error = error.into_inner().unwrap().downcast::<TaskError>().unwrap();
        assert!(task_error.is_timed_out());
        assert!(task_error.to_string().ends_with("(\"gather\") timed out: timeout is 20ms"), "{task_error}");
        assert_eq!((task_error.submitted_at().file(), task_error.submitted_at().line()), (file!(), line));
    }

    #[test]
    fn every_unfinished_position_is_timed_out_and_the_finished_keep_their_values() {
        let outputs = block_on(gather(mixed(4)).timeout(SHORT).settled());
        let shown: Vec<_> =
            outputs.into_iter().map(|output| output.map_err(|error| error.is_timed_out())).collect();
        assert_eq!(shown, [Ok(0), Err(true), Ok(2), Err(true)]);
    }

    #[test]
    fn the_stream_yields_the_timed_out_positions_in_their_places() {
        let mut stream = gather(mixed(4)).timeout(SHORT);
        let mut shown = Vec::new();
        while let Some(output) = block_on(stream.next()) {
            shown.push(output.is_ok());
        }
        assert_eq!(shown, [true, false, true, false]);
        assert_eq!((stream.completed(), stream.total(), stream.len()), (2, 4, 0));
    }

    #[test]
    fn what_has_finished_in_time_counts_even_if_nobody_looked_before_the_end() {
        let finished = (0..1000).map(|n| ready(Ok::<_, TaskError>(n)));
        let values = block_on(gather(finished).timeout(Duration::ZERO).into_future()).unwrap();
        assert_eq!(values.len(), 1000);
        let late = block_on(as_completed(mixed(100)).timeout(Duration::ZERO).collect::<Vec<_>>());
        assert_eq!(late.len(), 51);
        assert_eq!(late[50].as_ref().unwrap_err().unfinished(), 50);
    }

    #[tokio::test]
    async fn what_has_finished_beyond_one_turn_of_budget_is_not_timed_out() {
        let futures = (0..1000).map(|_| spend_four().map(Ok::<_, TaskError>));
        assert_eq!(gather(futures).timeout(Duration::ZERO).await.unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn what_has_finished_behind_more_than_a_turn_of_pending_ones_is_not_timed_out() {
        let mut stream = as_completed(pending_but(&[1000])).timeout(Duration::ZERO);
        assert_eq!(stream.next().await, Some(Ok((1000, Ok(())))));
        assert_eq!(stream.next().await.and_then(Result::err).map(|late| late.unfinished()), Some(1000));
    }

    #[tokio::test]
    async fn a_future_that_spends_every_budget_cannot_keep_the_limit_away() {
        let mut stream = as_completed([greedy::<()>(), greedy()]).timeout(SHORT);
        assert!(stream.next().await.unwrap().is_err());
        assert!(gather([greedy::<Result<(), TaskError>>()]).timeout(SHORT).await.unwrap_err().is_timed_out());
    }

    #[test]
    fn as_completed_yields_what_is_done_then_one_unfinished_then_none() {
        let (mut senders, receivers) = channels(3);
        send(&mut senders, 1, 'b');
        let mut stream = as_completed(receivers).timeout(SHORT);
        assert_eq!(block_on(stream.next()), Some(Ok((1, Ok('b')))));
        let late = block_on(stream.next()).unwrap().unwrap_err();
        assert_eq!(late.to_string(), "2 of 3 futures unfinished after 20ms");
        assert_eq!((late.unfinished(), late.total()), (2, 3));
        assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
        assert!(senders.iter().flatten().all(Sender::is_canceled));
        assert!(stream.is_terminated());
        assert_eq!(block_on(stream.next()), None);
        let (sender, receiver) = oneshot::channel();
        assert_eq!(stream.push(receiver), 3);
        assert!(sender.is_canceled(), "pushed after the end");
        assert_eq!(block_on(stream.next()), None);
    }

    #[test]
    fn a_limit_that_is_not_reached_changes_nothing() {
        for limit in [LONG, Duration::MAX] {
            let values = gather((0..3).map(|n| ready(Ok::<_, TaskError>(n)))).timeout(limit);
            assert_eq!(block_on(values.into_future()).unwrap(), [0, 1, 2]);
            let mut stream = as_completed([ready(1)]).timeout(limit);
            stream.push(ready(2));
            let items = block_on(stream.by_ref().try_collect::<Vec<_>>());
            assert_eq!(items, Ok(vec![(0, 1), (1, 2)]));
            assert_eq!(block_on(stream.next()), None);
        }
    }

    #[test]
    fn the_last_limit_given_holds() {
        let outputs = gather(mixed(2)).timeout(LONG).timeout(SHORT).settled();
        assert!(block_on(outputs)[1].is_err());
    }
}

mod waiting {
    use super::*;

    fn positions<F: Future>(waited: &Waited<F>) -> (Vec<usize>, Vec<usize>) {
        let done = waited.done.iter().map(|&(position, _)| position).collect();
        (done, waited.pending.iter().map(|&(position, _)| position).collect())
    }

    #[test]
    fn first_completed_returns_all_that_is_done_and_hands_the_rest_back() {
        let (mut senders, receivers) = channels(5);
        let mut waiting = task::spawn(wait(receivers, ReturnWhen::FirstCompleted));
        assert_pending!(poll_idle(&mut waiting));
        send(&mut senders, 3, 'd');
        send(&mut senders, 1, 'b');
        let Waited { done, pending } = assert_ready!(poll_idle(&mut waiting));
        assert_eq!(done, [(3, Ok('d')), (1, Ok('b'))]);
        assert_eq!(pending.iter().map(|&(position, _)| position).collect::<Vec<_>>(), [0, 2, 4]);
        assert!(waiting.is_terminated());
        drop(waiting);
        assert!(!senders[0].as_ref().unwrap().is_canceled());
    }

    #[test]
    fn first_completed_reaps_everything_that_is_done_in_one_poll() {
        let (mut senders, receivers) = channels(1000);
        (0..999).for_each(|position| send(&mut senders, position, ()));
        let mut waiting = task::spawn(wait(receivers, ReturnWhen::FirstCompleted));
        assert_eq!(assert_ready!(waiting.poll()).done.len(), 999);
    }

    #[tokio::test]
    async fn first_completed_reaps_what_is_done_behind_more_than_a_turn_of_pending_ones() {
        let waited = wait(pending_but(&[0, 1000]), ReturnWhen::FirstCompleted).await;
        assert_eq!(positions(&waited).0, [0, 1000]);
    }

    #[test]
    fn first_error_waits_past_values_and_all_completed_past_errors() {
        let run = |until| {
            let (mut senders, receivers) = channels(3);
            let mut waiting = task::spawn(wait(receivers, until));
            send(&mut senders, 0, ());
            assert_pending!(poll_idle(&mut waiting));
            senders[2] = None;
            (poll_idle(&mut waiting), waiting, senders)
        };
        let (waited, ..) = run(ReturnWhen::FirstError);
        assert_eq!(positions(&assert_ready!(waited)), (vec![0, 2], vec![1]));
        let (waited, mut waiting, mut senders) = run(ReturnWhen::AllCompleted);
        assert_pending!(waited);
        send(&mut senders, 1, ());
        assert_eq!(positions(&assert_ready!(waiting.poll())), (vec![0, 2, 1], vec![]));
    }

    #[test]
    fn first_error_is_over_when_all_have_succeeded() {
        let waited = block_on(wait([ready(Ok::<_, ()>(1))], ReturnWhen::FirstError));
        assert_eq!(positions(&waited), (vec![0], vec![]));
    }

    #[test]
    fn with_no_futures_it_is_ready_at_once() {
        for until in [ReturnWhen::FirstCompleted, ReturnWhen::FirstError, ReturnWhen::AllCompleted] {
            let none = Vec::<Receiver<()>>::new();
            let waited = assert_ready!(task::spawn(wait(none, until)).poll());
            assert_eq!(positions(&waited), (vec![], vec![]));
        }
    }

    #[test]
    fn with_borrowed_tasks_a_drop_loses_none() {
        let (mut senders, mut receivers) = channels(2);
        let mut waiting = task::spawn(wait(receivers.iter_mut(), ReturnWhen::FirstCompleted));
        assert_pending!(poll_idle(&mut waiting));
        drop(waiting);
        assert!(senders.iter().flatten().all(|sender| !sender.is_canceled()));
        send(&mut senders, 1, 'b');
        let waited = block_on(wait(receivers.iter_mut(), ReturnWhen::FirstCompleted));
        assert_eq!(waited.done, [(1, Ok('b'))]);
        send(&mut senders, 0, 'a');
        assert_eq!(block_on(&mut receivers[0]), Ok('a'));
    }

    #[test]
    fn dropping_it_drops_owned_futures() {
        let (senders, receivers) = channels::<()>(2);
        drop(wait(receivers, ReturnWhen::AllCompleted));
        assert!(senders.iter().flatten().all(Sender::is_canceled));
    }

    #[tokio::test]
    async fn a_future_that_spends_every_budget_holds_up_no_result() {
        let futures = [greedy().boxed(), ready(Ok::<_, ()>(1)).boxed(), pending().boxed()];
        let waited = wait(futures, ReturnWhen::FirstCompleted).await;
        assert_eq!(positions(&waited), (vec![1], vec![0, 2]));
    }
}

mod cost {
    use super::*;

    const MANY: usize = 100_000;

    /// Counted tokio oneshots, whose polls spend tokio's budget.
    type Counters = (
        Vec<tokio::sync::oneshot::Sender<usize>>,
        Vec<Counted<tokio::sync::oneshot::Receiver<usize>>>,
        Arc<AtomicUsize>,
    );

    fn counted(n: usize) -> Counters {
        let polls = Arc::new(AtomicUsize::new(0));
        let (senders, receivers) = (0..n)
            .map(|_| tokio::sync::oneshot::channel())
            .map(|(sender, receiver)| (sender, Counted(receiver, Arc::clone(&polls))))
            .unzip();
        (senders, receivers, polls)
    }

    /// Finishes all, the last first.
    fn finish(senders: Vec<tokio::sync::oneshot::Sender<usize>>) {
        senders.into_iter().enumerate().rev().for_each(|(n, sender)| sender.send(n).expect("alive"));
    }

    #[tokio::test]
    async fn gathering_100_000_futures_that_finish_in_reverse_polls_each_about_twice() {
        let (senders, receivers, polls) = counted(MANY);
        let mut gathered = gather(receivers).into_future();
        assert!((&mut gathered).now_or_never().is_none());
        finish(senders);
        let values = gathered.await.unwrap();
        assert!(values.iter().copied().eq(0..MANY));
        let polls = polls.load(SeqCst);
        assert!(polls <= 3 * MANY, "{polls} polls");
    }

    #[tokio::test]
    async fn so_do_the_streams_and_wait() {
        let (senders, receivers, polls) = counted(MANY);
        let mut stream = gather(receivers);
        assert!(stream.next().now_or_never().is_none());
        finish(senders);
        assert_eq!(stream.count().await, MANY);
        assert!(polls.load(SeqCst) <= 3 * MANY);

        let (senders, receivers, polls) = counted(MANY);
        let mut stream = as_completed(receivers).timeout(LONG);
        assert!(stream.next().now_or_never().is_none());
        finish(senders);
        assert_eq!(stream.count().await, MANY);
        assert!(polls.load(SeqCst) <= 3 * MANY);

        let (senders, receivers, polls) = counted(MANY);
        finish(senders);
        assert_eq!(wait(receivers, ReturnWhen::FirstCompleted).await.done.len(), MANY);
        assert!(polls.load(SeqCst) <= 3 * MANY);
    }

    #[tokio::test]
    async fn children_that_spend_several_units_each_are_not_visited_in_vain() {
        let polls = Arc::new(AtomicUsize::new(0));
        let futures = (0..MANY).map(|_| Counted(Box::pin(spend_four()), Arc::clone(&polls)));
        gather(futures).settled().await;
        let polls = polls.load(SeqCst);
        assert!(polls <= 3 * MANY, "{polls} polls");
    }

    /// How many turns another task on the same thread has while `work` runs.
    fn turns_of_others<T>(work: impl Future<Output = T>) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let turns = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&turns);
            let other = tokio::spawn(async move {
                loop {
                    counter.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            });
            work.await;
            other.abort();
            turns.load(SeqCst)
        })
    }

    #[test]
    fn finished_futures_leave_other_tasks_their_turn() {
        let many = || (0..10_000).map(|n| ready(Ok::<_, ()>(n)));
        let expected = 10_000 / 128;
        assert!(turns_of_others(gather(many()).into_future()) >= expected);
        assert!(turns_of_others(gather(many()).settled()) >= expected);
        assert!(turns_of_others(gather(many()).count()) >= expected);
        assert!(turns_of_others(as_completed(many()).count()) >= expected);
        assert!(turns_of_others(as_completed(many()).timeout(LONG).count()) >= expected);
        assert!(turns_of_others(wait(many(), ReturnWhen::FirstCompleted)) >= expected);
        assert!(turns_of_others(wait(many(), ReturnWhen::AllCompleted)) >= expected);
    }

    #[test]
    fn first_polls_leave_other_tasks_their_turn() {
        let later = async |n| {
            tokio::task::yield_now().await;
            Ok::<_, ()>(n)
        };
        let many = || (0..10_000).map(|n| Box::pin(later(n)));
        let expected = 2 * 10_000 / 128;
        assert!(turns_of_others(gather(many()).into_future()) >= expected);
        assert!(turns_of_others(as_completed(many()).count()) >= expected);
        assert!(turns_of_others(wait(many(), ReturnWhen::AllCompleted)) >= expected);
    }

    #[test]
    fn buffered_outputs_leave_other_tasks_their_turn() {
        let (mut senders, receivers) = channels(10_000);
        let mut stream = gather(receivers);
        (1..10_000).for_each(|position| send(&mut senders, position, ()));
        while stream.completed() < 9_999 {
            assert!(stream.next().now_or_never().is_none());
        }
        send(&mut senders, 0, ());
        assert!(turns_of_others(stream.count()) >= 10_000 / 128);
    }

    #[test]
    fn a_wake_of_one_polls_only_that_one() {
        let polls = Arc::new(AtomicUsize::new(0));
        let (mut senders, receivers) = channels(100);
        let futures = receivers.into_iter().map(|receiver| Counted(receiver, Arc::clone(&polls)));
        let mut stream = task::spawn(as_completed(futures));
        assert_pending!(next_idle(&mut stream));
        assert_eq!(polls.load(SeqCst), 100);
        send(&mut senders, 50, ());
        assert_ready!(next_idle(&mut stream));
        assert_eq!(polls.load(SeqCst), 101);
    }
}

mod a_panicking_future {
    use super::*;

    fn second_panics() -> [BoxFuture<'static, Result<u32, ()>>; 3] {
        [ready(Ok(0)).boxed(), async { panic!("second") }.boxed(), ready(Ok(2)).boxed()]
    }

    #[test]
    fn passes_through_a_stream_which_then_goes_on_without_it() {
        let mut stream = as_completed(second_panics());
        assert_eq!(block_on(stream.next()), Some((0, Ok(0))));
        assert!(panics(|| block_on(stream.next())));
        assert_eq!(stream.len(), 1);
        assert_eq!(block_on(stream.collect::<Vec<_>>()), [(2, Ok(2))]);

        let mut stream = gather(second_panics());
        assert_eq!(block_on(stream.next()), Some(Ok(0)));
        assert!(panics(|| block_on(stream.next())));
        assert_eq!(stream.len(), 1);
        assert_eq!(block_on(stream.by_ref().collect::<Vec<_>>()), [Ok(2)]);
        assert!(stream.is_terminated());
    }

    #[test]
    fn passes_through_a_collecting_future_which_panics_when_polled_again() {
        let mut gathered = gather(second_panics()).into_future();
        assert!(panics(|| block_on(&mut gathered)));
        assert!(panics(|| block_on(&mut gathered)));
        let mut settled = gather(second_panics()).settled();
        assert!(panics(|| block_on(&mut settled)));
        assert!(panics(|| block_on(&mut settled)));
    }

    #[test]
    fn passes_through_wait_which_then_goes_on_without_it() {
        let mut waiting = wait(second_panics(), ReturnWhen::AllCompleted);
        assert!(panics(|| block_on(&mut waiting)));
        assert_eq!(block_on(&mut waiting).done, [(0, Ok(0)), (2, Ok(2))]);
    }
}

mod types {
    use super::*;

    fn unpin<T: Unpin>() {}
    fn send<T: Send>() {}
    fn shows<T: Debug>(value: T) -> String {
        format!("{value:?}")
    }

    /// A future that is not `Unpin` and shows nothing, with an output of the same kind.
    type Pinned = PinnedFuture<NoDebug>;
    struct PinnedFuture<T>(std::marker::PhantomPinned, std::marker::PhantomData<T>);
    struct NoDebug(std::marker::PhantomPinned);

    impl<T> Future for PinnedFuture<T> {
        type Output = Result<T, T>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Pending
        }
    }

    fn pinned() -> [Pinned; 1] {
        [PinnedFuture(std::marker::PhantomPinned, std::marker::PhantomData)]
    }

    #[test]
    fn all_are_unpin_send_and_show_themselves_whatever_they_hold() {
        unpin::<(Gather<Pinned>, Gathered<Pinned>, Settled<Pinned>)>();
        unpin::<(AsCompleted<Pinned>, AsCompletedTimeout<Pinned>, Wait<Pinned>)>();
        send::<(Gather<Pinned>, Gathered<Pinned>, Settled<Pinned>)>();
        send::<(AsCompleted<Pinned>, AsCompletedTimeout<Pinned>, Wait<Pinned>)>();
        send::<(Waited<Pinned>, Unfinished, ReturnWhen)>();
        assert_eq!(shows(gather(pinned())), "Gather { len: 1, completed: 0, total: 1, .. }");
        assert!(shows(gather(pinned()).into_future()).starts_with("Gathered"));
        assert!(shows(gather(pinned()).settled()).starts_with("Settled"));
        assert_eq!(shows(as_completed(pinned())), "AsCompleted { len: 1, .. }");
        assert!(shows(as_completed(pinned()).timeout(LONG)).starts_with("AsCompletedTimeout { len: 1"));
        let waiting = wait([Box::pin(pending::<Result<(), ()>>())], ReturnWhen::FirstError);
        assert_eq!(shows(waiting), "Wait { until: FirstError, done: 0, pending: 1, .. }");
        assert_eq!(NoDebug(std::marker::PhantomPinned).0, std::marker::PhantomPinned);
    }

    #[test]
    fn a_future_that_is_not_unpin_stays_in_place() {
        let futures = (0..100_u64).map(|n| async move {
            let (value, yielded) = (n, &n);
            yielding::pending_once(yielded).await;
            Ok::<_, ()>(value + yielded)
        });
        let mut gather = Box::new(gather(futures));
        assert!(gather.next().now_or_never().is_none());
        let moved = *gather;
        assert_eq!(block_on(moved.into_future()).unwrap(), (0..200).step_by(2).collect::<Vec<u64>>());
    }

    mod yielding {
        use super::*;

        /// Is pending once, and wakes itself.
        pub(super) async fn pending_once(_held: &u64) {
            let mut is_second = false;
            std::future::poll_fn(|cx| {
                if std::mem::replace(&mut is_second, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}
