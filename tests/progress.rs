//! How far a stream is: what it says of itself, and what a bar shows of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fmt::{self, Debug},
    future::{pending, ready},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream, stream::FusedStream};
use heavylift::{AsCompleted, Gather, ThreadPool, as_completed, gather, progress::bar};
use indicatif::{InMemoryTerm, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use tokio::sync::oneshot;

fn pool() -> ThreadPool {
    ThreadPool::builder().max_workers(2).build().unwrap()
}

/// A bar that draws into memory whatever it is told, in plain words.
fn drawn() -> (ProgressBar, InMemoryTerm) {
    let term = InMemoryTerm::new(4, 80);
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
    let style = ProgressStyle::with_template("{pos} of {len} {msg}").unwrap();
    let bar = ProgressBar::with_draw_target(None, target).with_style(style);
    (bar.with_finish(indicatif::ProgressFinish::AndLeave), term)
}

fn state(bar: &ProgressBar) -> (u64, Option<u64>, String) {
    (bar.position(), bar.length(), bar.message())
}

/// Reads a stream to its end, and checks what it says of itself at each point of its life. Returns how many items there were.
async fn check<S: FusedStream + Unpin>(
    mut stream: S,
    is_exact: bool,
    completed: impl Fn(&S) -> usize,
    total: impl Fn(&S) -> Option<usize>,
) -> usize {
    let mut said = Vec::new();
    loop {
        assert_eq!(completed(&stream), said.len());
        said.push((stream.size_hint(), total(&stream)));
        let Some(_item) = stream.next().await else { break };
    }
    assert!(stream.is_terminated());
    assert_eq!((stream.size_hint(), completed(&stream)), ((0, Some(0)), said.len() - 1));
    let items = said.len() - 1;
    for (at, ((least, most), total)) in said.into_iter().enumerate() {
        let left = items - at;
        assert!(
            least <= left && most.is_none_or(|most| left <= most),
            "{left} of {items}: {least}, {most:?}"
        );
        assert!(total.is_none_or(|total| total == items), "{total:?} of {items}");
        if is_exact {
            assert_eq!((least, most, total), (left, Some(left), Some(items)));
        }
    }
    items
}

#[tokio::test]
async fn a_map_knows_how_far_it_is_at_each_point() {
    let pool = pool();
    let fails = |n: u32| assert_ne!(n % 10, 3, "as it is wanted");
    for chunk in [1, 7, 1000] {
        let ordered = pool.map(fails, 0..100).chunk_size(chunk).in_flight(40);
        assert_eq!(check(ordered, true, |map| map.completed(), |map| map.total()).await, 100);
        let unordered = pool.map(fails, 0..100).chunk_size(chunk).unordered();
        assert_eq!(check(unordered, true, |map| map.completed(), |map| map.total()).await, 100);
    }
    let automatic = pool.map(|n: u32| n, 0..10_000).unordered();
    assert_eq!(check(automatic, true, |map| map.completed(), |map| map.total()).await, 10_000);
    let some = (0..100).filter(|n| n % 3 == 0);
    assert_eq!(check(pool.map(fails, some), false, |map| map.completed(), |map| map.total()).await, 34);
    let streamed = pool.map_stream(fails, stream::iter(0..50));
    assert_eq!(check(streamed, true, |map| map.completed(), |map| map.total()).await, 50);
    let fed = pool.map_stream(|n: Result<u32, _>| n.unwrap(), pool.map(|n: u32| n, 0..50)).unordered();
    assert_eq!(check(fed, true, |map| map.completed(), |map| map.total()).await, 50);
    let endless = pool.map(fails, 0..).size_hint();
    assert_eq!(endless, (usize::MAX, None));
}

#[tokio::test]
async fn a_map_that_becomes_unordered_on_its_way_still_knows() {
    let pool = pool();
    let mut map = pool.map(|n: u32| n, 0..100).chunk_size(10);
    for _ in 0..25 {
        map.next().await.unwrap().unwrap();
    }
    assert_eq!((map.completed(), map.total(), map.size_hint()), (25, Some(100), (75, Some(75))));
    let map = map.unordered();
    assert_eq!((map.completed(), map.total(), map.size_hint()), (25, Some(100), (75, Some(75))));
    assert_eq!(map.count().await, 75);
}

#[tokio::test]
async fn a_map_that_is_timed_out_promises_nothing_before() {
    let pool = pool();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let job = move |n: u32| {
        if n > 3 {
            _ = released.lock().unwrap().recv()
        }
    };
    let map = pool.map(job, 0..10).timeout(Duration::from_millis(20));
    assert_eq!((map.size_hint(), map.total()), ((0, Some(10)), Some(10)));
    let (bar, _) = drawn();
    let mut map = map.progress(bar.clone());
    let mut items = 0;
    while map.next().await.is_some() {
        items += 1;
    }
    drop(release);
    assert!(items <= 5, "{items}");
    assert_eq!((map.completed(), map.total(), map.size_hint()), (items, Some(items), (0, Some(0))));
    assert_eq!(state(&bar), (items as u64, Some(10), "1 failed".to_owned()));
    assert!(bar.is_finished());
}

#[tokio::test]
async fn gathers_and_as_completed_know_how_far_they_are_at_each_point() {
    let numbers = || (0..100).map(|n| async move { if n % 10 == 3 { Err(n) } else { Ok(n) } });
    let gathered = |gather: &Gather<_>| Some(gather.total());
    let yielded = |gather: &Gather<_>| gather.total() - gather.len();
    assert_eq!(check(gather(numbers()), true, yielded, gathered).await, 100);
    let total = |stream: &AsCompleted<_>| Some(stream.total());
    assert_eq!(check(as_completed(numbers()), true, |stream| stream.completed(), total).await, 100);
    let limited = as_completed(numbers()).timeout(Duration::from_secs(60));
    assert_eq!(check(limited, false, |stream| stream.completed(), |stream| Some(stream.total())).await, 100);
}

#[tokio::test]
async fn as_completed_counts_what_is_pushed_and_what_is_late() {
    let mut stream = as_completed([ready(0).left_future(), pending().right_future()]);
    assert_eq!(stream.next().await, Some((0, 0)));
    assert_eq!((stream.completed(), stream.total(), stream.size_hint()), (1, 2, (1, Some(1))));
    stream.push(ready(2).left_future());
    assert_eq!((stream.completed(), stream.total(), stream.size_hint()), (1, 3, (2, Some(2))));
    let mut stream = stream.timeout(Duration::from_millis(1));
    assert_eq!((stream.completed(), stream.total(), stream.size_hint()), (1, 3, (1, Some(2))));
    assert_eq!(stream.next().await, Some(Ok((2, 2))));
    assert!(stream.next().await.unwrap().is_err());
    assert_eq!((stream.completed(), stream.total(), stream.size_hint()), (2, 3, (0, Some(0))));
    stream.push(ready(2).left_future());
    assert_eq!((stream.completed(), stream.total(), stream.next().await), (2, 4, None));
}

#[tokio::test]
async fn a_map_moves_its_bar_and_yields_the_same() {
    let pool = pool();
    let job = |n: u32| 10 / n;
    let plain: Vec<_> = pool.map(job, 0..=1000).map(Result::ok).collect().await;
    for chunk in [1, 100] {
        let (bar, term) = drawn();
        let map = pool.map(job, 0..=1000).chunk_size(chunk).progress(bar.clone());
        assert_eq!(state(&bar), (0, Some(1001), String::new()));
        assert_eq!(map.map(Result::ok).collect::<Vec<_>>().await, plain);
        assert_eq!(state(&bar), (1001, Some(1001), "1 failed".to_owned()));
        assert!(bar.is_finished());
        assert_eq!(term.contents(), "1001 of 1001 1 failed");
        // Before as well as after the other setters.
        let (bar, _) = drawn();
        let map = pool.map(job, 0..=1000).progress(bar.clone()).unordered().chunk_size(chunk).in_flight(400);
        let mut items: Vec<_> = map.map(|(n, result)| (n, result.ok())).collect().await;
        items.sort_unstable();
        assert_eq!(items.into_iter().map(|item| item.1).collect::<Vec<_>>(), plain);
        assert_eq!(state(&bar), (1001, Some(1001), "1 failed".to_owned()));
    }
}

#[tokio::test]
async fn a_bar_learns_the_length_when_it_is_known() {
    let pool = pool();
    let (bar, _) = drawn();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut map = pool.map_stream(|n: u32| n, receiver).progress(bar.clone());
    assert_eq!((map.total(), bar.length()), (None, None));
    sender.unbounded_send(1).unwrap();
    map.next().await.unwrap().unwrap();
    assert!(map.next().now_or_never().is_none(), "there is nothing yet");
    assert_eq!(state(&bar), (1, None, String::new()));
    sender.unbounded_send(2).unwrap();
    drop(sender);
    assert_eq!(map.by_ref().count().await, 1);
    assert_eq!((state(&bar), map.total()), ((2, Some(2), String::new()), Some(2)));
    assert!(bar.is_finished());
}

#[tokio::test]
async fn whoever_waits_sees_all_that_has_come() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..200).map(|_| oneshot::channel::<()>()).unzip();
    let (bar, _) = drawn();
    let mut gathered = gather(receivers).progress(bar.clone()).into_future();
    let mut senders = senders.into_iter().rev();
    for n in 0..=199 {
        assert!((&mut gathered).now_or_never().is_none());
        // In the opposite order: none can be yielded before the last has come.
        assert_eq!(bar.position(), n);
        senders.next().unwrap().send(()).unwrap();
        // A turn of tokio's has a budget for so many.
        tokio::task::yield_now().await;
    }
    assert_eq!(gathered.await.unwrap().len(), 200);
    assert_eq!((bar.position(), bar.is_finished()), (200, true));
}

#[tokio::test]
async fn a_gather_moves_its_bar_in_each_way_to_consume_it() {
    let numbers = || (0..10u32).map(|n| async move { if n == 7 { Err(n) } else { Ok(n) } });
    let expected = || (10, Some(10), "1 failed".to_owned());

    let (bar, term) = drawn();
    assert_eq!(gather(numbers()).progress(bar.clone()).count().await, 10);
    assert_eq!((state(&bar), bar.is_finished()), (expected(), true));
    assert_eq!(term.contents(), "10 of 10 1 failed");

    let (bar, _) = drawn();
    assert_eq!(gather(numbers()).progress(bar.clone()).settled().await.len(), 10);
    assert_eq!((state(&bar), bar.is_finished()), (expected(), true));

    let (bar, term) = drawn();
    assert_eq!(gather(numbers()).progress(bar.clone()).await, Err(7));
    assert!(bar.is_finished() && bar.position() <= 10, "abandoned: {}", bar.position());
    assert!(term.contents().ends_with(" of 10 1 failed"), "{}", term.contents());

    let (bar, _) = drawn();
    let lengths = gather(["a", "bb", ""].map(|text| async { text.len() }));
    assert_eq!(lengths.progress_with(bar.clone(), |&length| length == 0).settled().await, [1, 2, 0]);
    assert_eq!(state(&bar), (3, Some(3), "1 failed".to_owned()));
}

#[tokio::test]
async fn what_misses_a_limit_counts_as_failed_and_the_bar_stays_where_it_is() {
    type Output = Result<u32, heavylift::TaskError>;
    let futures = || [ready(Output::Ok(1)).left_future(), pending().right_future(), pending().right_future()];
    let expected = || (1, Some(3), "2 failed".to_owned());

    let (bar, term) = drawn();
    let outputs = gather(futures()).timeout(Duration::from_millis(1)).progress(bar.clone()).settled().await;
    assert!(outputs[0].is_ok() && outputs[1].is_err());
    assert_eq!((state(&bar), bar.is_finished()), (expected(), true));
    assert_eq!(term.contents(), "1 of 3 2 failed");

    let (bar, _) = drawn();
    let stream = as_completed(futures()).progress(bar.clone()).timeout(Duration::from_millis(1));
    assert_eq!(stream.count().await, 2);
    assert_eq!((state(&bar), bar.is_finished()), (expected(), true));
}

#[tokio::test]
async fn a_push_makes_the_bar_longer_and_starts_it_again_after_the_end() {
    let (bar, _) = drawn();
    let mut stream = as_completed([ready(Ok::<_, ()>(0))]).progress(bar.clone());
    assert_eq!(stream.next().await, Some((0, Ok(0))));
    assert!(!bar.is_finished(), "more may be pushed");
    stream.push(ready(Err(())));
    assert_eq!(stream.by_ref().count().await, 1);
    assert_eq!((state(&bar), bar.is_finished()), ((2, Some(2), "1 failed".to_owned()), true));
    stream.extend([ready(Ok(0)), ready(Ok(0))]);
    assert_eq!(stream.next().await, Some((2, Ok(0))));
    assert!(!bar.is_finished());
    assert_eq!(stream.by_ref().count().await, 1);
    assert_eq!((state(&bar), bar.is_finished()), ((4, Some(4), "1 failed".to_owned()), true));
}

#[tokio::test]
async fn a_stream_that_is_dropped_early_abandons_its_bar() {
    let pool = pool();
    let (bar, term) = drawn();
    let mut map = pool.map(|n: u32| n, 0..100).progress(bar.clone());
    for _ in 0..10 {
        map.next().await.unwrap().unwrap();
    }
    assert!(!bar.is_finished());
    drop(map);
    assert!(bar.is_finished());
    assert_eq!(term.contents(), "10 of 100");
    // Never polled.
    let (bar, _) = drawn();
    drop(gather([pending::<Result<(), ()>>()]).progress(bar.clone()));
    assert_eq!((state(&bar), bar.is_finished()), ((0, Some(1), String::new()), true));
}

#[tokio::test]
async fn who_takes_as_many_as_there_are_finishes_the_bar() {
    let pool = pool();
    let (bar, term) = drawn();
    let bar = bar.with_finish(indicatif::ProgressFinish::WithMessage("all of them".into()));
    let some = (0..100).filter(|n| n % 2 == 0);
    assert_eq!(pool.map(|n: u32| n, some).progress(bar.clone()).take(50).count().await, 50);
    assert_eq!(term.contents(), "50 of 50 all of them");
}

#[tokio::test]
async fn a_bar_goes_on_from_where_it_was_and_keeps_its_message() {
    let pool = pool();
    let (bar, _) = drawn();
    bar.set_message("halves");
    bar.set_position(5);
    let mut map = pool.map(|n: u32| 10 / n, 0..4);
    map.next().await.unwrap().unwrap_err();
    let map = map.progress(bar.clone());
    assert_eq!(state(&bar), (6, Some(9), "halves".to_owned()));
    assert_eq!(map.count().await, 3);
    assert_eq!(state(&bar), (9, Some(9), "halves".to_owned()));
    let next = gather([async { Err::<(), _>(()) }]).progress(bar.clone());
    assert_eq!(next.settled().await.len(), 1);
    assert_eq!(state(&bar), (10, Some(10), "halves 1 failed".to_owned()));
}

#[tokio::test]
async fn a_future_that_panics_is_missing_and_the_bar_is_abandoned() {
    let (bar, term) = drawn();
    let futures =
        (0..3).map(|n| async move { if n == 1 { panic!("a future's own") } else { Ok::<_, ()>(n) } });
    let mut stream = as_completed(futures).progress(bar.clone());
    let (mut items, mut panics) = (0, 0);
    loop {
        match std::panic::AssertUnwindSafe(stream.next()).catch_unwind().await {
            Ok(Some(_)) => items += 1,
            Ok(None) => break,
            Err(_) => panics += 1,
        }
    }
    assert_eq!((items, panics), (2, 1));
    assert_eq!(term.contents(), "2 of 3");
}

/// A terminal that nobody can write to without a panic.
#[derive(Debug)]
struct Broken;

impl TermLike for Broken {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn write_line(&self, _: &str) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn write_str(&self, _: &str) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn clear_line(&self) -> io::Result<()> {
        panic!("a terminal's own")
    }

    fn flush(&self) -> io::Result<()> {
        panic!("a terminal's own")
    }
}

#[tokio::test]
async fn a_bar_that_panics_costs_nothing_but_itself() {
    let broken = || ProgressBar::with_draw_target(Some(7), ProgressDrawTarget::term_like(Box::new(Broken)));
    let results: Vec<_> =
        pool().map(|n: u32| n, 0..100).progress(broken()).map(Result::unwrap).collect().await;
    assert_eq!(results, (0..100).collect::<Vec<_>>());
    let numbers = (0..3).map(|n| async move { Ok::<_, ()>(n) });
    assert_eq!(gather(numbers.clone()).progress(broken()).await, Ok(vec![0, 1, 2]));
    assert_eq!(as_completed(numbers).progress(broken()).count().await, 3);
    // Also one whose judge does.
    let (bar, _) = drawn();
    let judged = gather([ready(1)]).progress_with(bar.clone(), |_| panic!("a judge's own"));
    assert_eq!((judged.settled().await, bar.position()), (vec![1], 1));
}

/// A bar that draws, and of which nobody keeps a handle, with code of the program's in its style.
fn styled(key: impl Fn(&ProgressState, &mut dyn fmt::Write) + Send + Sync + Clone + 'static) -> ProgressBar {
    let target = ProgressDrawTarget::term_like(Box::new(InMemoryTerm::new(4, 80)));
    let style = ProgressStyle::with_template("{own} {pos}").unwrap().with_key("own", key);
    ProgressBar::with_draw_target(Some(7), target).with_style(style)
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a style's own drop");
    }
}

#[tokio::test]
async fn a_bar_that_panics_when_it_is_drawn_and_again_when_it_is_dropped_costs_no_more() {
    let drawing = || styled(|_, _| panic!("a style's own"));
    assert_eq!(gather([ready(Ok::<_, ()>(1))]).progress(drawing()).await, Ok(vec![1]));
    assert_eq!(pool().map(|n: u32| n, 0..9).progress(drawing()).count().await, 9);
    drop(as_completed([pending::<Result<(), ()>>()]).progress(drawing()));
    // One that panics only when nothing is left of it.
    let bomb = Arc::new(Bomb);
    let dropping = styled(move |_, _| drop(bomb.clone()));
    assert_eq!(gather([ready(Ok::<_, ()>(1))]).progress(dropping).await, Ok(vec![1]));
}

#[test]
fn streams_with_a_bar_are_as_mobile_as_without() {
    fn is_mobile<T: Send + Unpin + Debug>(_: &T) {}
    fn is_fused<T: FusedStream>(_: &T) {}
    let hidden = ProgressBar::hidden;
    let map = pool().map(|n: u32| n, 0..3).progress(hidden());
    is_mobile(&map);
    is_fused(&map);
    let gathered = gather([ready(Ok::<_, ()>(3))]).progress(hidden());
    is_mobile(&gathered);
    is_fused(&gathered);
    is_mobile(&gathered.into_future());
    let stream = as_completed([ready(Ok::<_, ()>(3))]).progress(hidden());
    is_mobile(&stream);
    is_fused(&stream);
    is_mobile(&stream.timeout(Duration::from_secs(1)));
}

#[cfg(unix)]
#[test]
fn the_default_bar_is_silent_without_a_terminal() {
    use std::process::{Command, Stdio};

    const VARIABLE: &str = "HEAVYLIFT_TEST_SHOWS_A_BAR";
    if std::env::var_os(VARIABLE).is_some() {
        let squares = pool().map(|n: u64| n * n, 0..100).progress(bar());
        assert_eq!(futures::executor::block_on(squares.count()), 100);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_default_bar_is_silent_without_a_terminal", "--nocapture"])
        .env(VARIABLE, "");
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
