//! [`Audience`]: the pages that are open, and the one thread that looks at the pools for all of them.
//!
//! ```text
//! join ──first──▶ thread ──twice a second──▶ Pools ──frame──▶ watch ──▶ every Viewer
//! drop ──last───▶ thread ends
//! ```
//!
//! 1. The thread is there while a viewer is, and only then.
//! 2. A viewer gets the latest frame, or none; frames are not kept for it.
//! 3. A viewer that has not taken a frame for [`PATIENCE`] of them has lost its place.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::sync::watch;

use super::pools::{Held, Pools};
use crate::panic;

/// How often the pools are looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// How often the workers are looked at for a frame.
const LOOKS: u32 = 10;
/// How many pages may be open at a time.
pub(super) const SEATS: usize = 64;
/// How many frames in a row a viewer may leave.
const PATIENCE: u64 = 20;

/// The open pages of one router.
pub(super) struct Audience {
    /// Taken alone.
    state: Mutex<State>,
    /// A viewer has left, or the thread has ended.
    changed: Condvar,
    /// The latest frame, while there is a thread.
    frames: watch::Sender<Option<Bytes>>,
    /// Taken before the locks of pools, for as long as it takes to look at all of them. No foreign code runs under it, and no pool is dropped.
    pools: Mutex<Pools>,
    /// What closes it, until that is awaited. Taken alone.
    end: Mutex<Option<End>>,
    period: Duration,
}

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, Default)]
struct State {
    viewers: Vec<Arc<Ticket>>,
    /// The thread is there.
    is_watched: bool,
    /// There will be no viewers any more.
    is_closed: bool,
}

/// A viewer's place.
#[derive(Debug, Default)]
struct Ticket {
    /// How many frames there have been since it took one.
    ///
    /// ORDERING: Relaxed. It stands for itself.
    missed: AtomicU64,
}

/// Why there is no place.
#[derive(Debug)]
pub(super) enum NoSeat {
    Full,
    Closed,
    NoThread(io::Error),
}

impl Audience {
    pub(super) fn new(pools: Pools) -> Self {
        Self::with_period(pools, PERIOD)
    }

    fn with_period(pools: Pools, period: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            frames: watch::Sender::new(None),
            pools: Mutex::new(pools),
            end: Mutex::default(),
            period,
        }
    }

    /// Has it closed when `end` is there, once there has been a viewer.
    pub(super) fn close_after(&self, end: impl Future<Output = ()> + Send + 'static) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(end));
    }

    /// Awaits what closes it, on a task of this runtime. The task does not keep it.
    pub(super) fn await_end(self: &Arc<Self>) {
        let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let audience = Arc::downgrade(self);
        tokio::spawn(async move {
            end.await;
            if let Some(audience) = audience.upgrade() {
                audience.close();
            }
        });
    }

    /// Takes a place for a page, and starts the thread if it is the first.
    pub(super) fn join(self: &Arc<Self>) -> Result<Viewer, NoSeat> {
        let ticket = Arc::new(Ticket::default());
        let mut state = self.state();
        if state.is_closed {
            return Err(NoSeat::Closed);
        }
        if state.viewers.len() >= SEATS {
            return Err(NoSeat::Full);
        }
        if !state.is_watched {
            let audience = self.clone();
            let builder = thread::Builder::new().name("hl-dashboard".to_owned());
            builder.spawn(move || audience.serve()).map_err(NoSeat::NoThread)?;
            state.is_watched = true;
        }
        state.viewers.push(ticket.clone());
        drop(state);
        let mut frames = self.frames.subscribe();
        frames.mark_changed();
        Ok(Viewer { audience: self.clone(), ticket, frames })
    }

    /// Ends all viewers, and lets nobody in any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.viewers.clear();
        drop(state);
        self.changed.notify_all();
        // Whoever waits for a frame looks whether it still has its place.
        self.frames.send_modify(|_| ());
    }

    /// What an open page was shown last, or else the pools at this moment, as JSON. Takes some microseconds per pool then.
    pub(super) fn look_once(&self) -> Bytes {
        let viewers = self.state().viewers.len();
        let latest = self.frames.borrow().clone().filter(|_| viewers > 0);
        latest.unwrap_or_else(|| self.look(Held::measured(), |pools, held| pools.look(held, viewers)))
    }

    /// Looks at pools, which are held until others may look, too: each may come to its end with that, and its drop is foreign code.
    fn look<R>(&self, held: Held, look: impl FnOnce(&mut Pools, &Held) -> R) -> R {
        let seen = look(&mut self.pools(), &held);
        drop(held);
        seen
    }

    /// The thread's whole life.
    fn serve(&self) {
        // After a fault of ours the next page is to have a thread again.
        if panic::catch(|| self.look_while_watched()).is_err() {
            self.state().is_watched = false;
            self.changed.notify_all();
        }
    }

    fn look_while_watched(&self) {
        let mut due = Instant::now();
        loop {
            let Some(viewers) = self.viewers_at_next_frame() else {
                // Before the end: a new thread may follow at once, whose frames are not to be taken back.
                self.frames.send_replace(None);
                let onlookers = self.pools().let_go();
                panic::drop_shielded(onlookers);
                if self.end_unless_watched() {
                    return;
                }
                continue;
            };
            // A fault of ours here must not leave the pages without the next frame, nor without an end.
            if let Ok(frame) =
                panic::catch(|| self.look(Held::measured(), |pools, held| pools.watch(held, viewers)))
            {
                self.frames.send_replace(Some(frame));
            }
            for _ in 1..LOOKS {
                due = self.wait(due);
                let _ = panic::catch(|| self.look(Held::all(), Pools::look_at_workers));
            }
            due = self.wait(due);
        }
    }

    /// How many viewers there are for one more frame, without those who have not taken the last ones; `None` if nobody is left.
    fn viewers_at_next_frame(&self) -> Option<usize> {
        let mut state = self.state();
        state.viewers.retain(|ticket| ticket.missed.fetch_add(1, Relaxed) < PATIENCE);
        Some(state.viewers.len()).filter(|&viewers| viewers > 0)
    }

    /// Whether nobody has come meanwhile, so that the thread has ended.
    fn end_unless_watched(&self) -> bool {
        let mut state = self.state();
        let is_over = state.viewers.is_empty();
        state.is_watched = !is_over;
        drop(state);
        if is_over {
            self.changed.notify_all();
        }
        is_over
    }

    /// Waits for a part of the period from `begun` on, or until nobody is there. Returns when the next part begins.
    fn wait(&self, begun: Instant) -> Instant {
        let due = (begun + self.period / LOOKS).max(Instant::now());
        let left = due.saturating_duration_since(Instant::now());
        let wait = self.changed.wait_timeout_while(self.state(), left, |state| !state.viewers.is_empty());
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A page's place. Dropped, it is free.
#[derive(Debug)]
pub(super) struct Viewer {
    audience: Arc<Audience>,
    ticket: Arc<Ticket>,
    frames: watch::Receiver<Option<Bytes>>,
}

impl Viewer {
    /// Waits for a frame that this viewer has not had; `None` when it has lost its place.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        while self.has_seat() && self.frames.changed().await.is_ok() {
            let frame = self.frames.borrow_and_update().clone();
            if let Some(frame) = frame.filter(|_| self.has_seat()) {
                self.ticket.missed.store(0, Relaxed);
                return Some(frame);
            }
        }
        None
    }

    fn has_seat(&self) -> bool {
        self.audience.state().viewers.iter().any(|ticket| Arc::ptr_eq(ticket, &self.ticket))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.audience.state().viewers.retain(|ticket| !Arc::ptr_eq(ticket, &self.ticket));
        self.audience.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio_test::{assert_pending, assert_ready, block_on, task};

    use super::*;
    use crate::{
        Metrics, ThreadPool,
        metrics::Counters,
        pool::{
            Closing, Shutdown,
            registry::{self, AnyPool, Kind},
        },
        record::{Lane, Recorded, Scope},
    };

    /// An audience looks at all pools of the program, so these tests take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn turn() -> MutexGuard<'static, ()> {
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pool of which only the dashboard holds something once its thread looks at the workers between two frames. Says at its end
    /// whether others may look at pools then, and panics.
    struct Doomed {
        counters: Counters,
        keeps: Mutex<Option<Arc<Self>>>,
        looks: AtomicU64,
        audience: Arc<Audience>,
        ended: mpsc::Sender<bool>,
    }

    impl Recorded for Doomed {
        fn counters(&self) -> &Counters {
            &self.counters
        }
    }

    impl AnyPool for Doomed {
        fn kind(&self) -> Kind {
            Kind::Threads
        }

        fn name(&self) -> &str {
            "doomed"
        }

        fn metrics(&self) -> Metrics {
            self.counters.snapshot()
        }

        fn lanes(&self) -> Vec<Lane> {
            if is_here() && self.looks.fetch_add(1, Relaxed) == 1 {
                drop(self.keeps.lock().unwrap().take());
            }
            Vec::new()
        }

        fn shut_down(self: Arc<Self>, _: Shutdown) -> Closing {
            unreachable!("nobody shuts down all pools here")
        }
    }

    impl Drop for Doomed {
        fn drop(&mut self) {
            // Other tests look at all pools, too, and may be later than the thread.
            if is_here() {
                self.ended.send(self.audience.pools.try_lock().is_ok()).unwrap();
                panic!("the drop of a pool");
            }
            self.ended.send(true).unwrap();
        }
    }

    fn is_here() -> bool {
        thread::current().name() == Some("hl-dashboard")
    }

    #[test]
    fn a_pool_that_ends_while_it_is_looked_at_is_dropped_under_no_lock() {
        let _turn = turn();
        let (told, ended_so) = mpsc::channel();
        let audience = audience(Duration::from_millis(1));
        let pool = Arc::new(Doomed {
            counters: Counters::default(),
            keeps: Mutex::default(),
            looks: AtomicU64::new(0),
            audience: audience.clone(),
            ended: told,
        });
        registry::enter(&pool);
        *pool.keeps.lock().unwrap() = Some(pool.clone());
        drop(pool);
        let mut viewer = audience.join().unwrap();
        assert_eq!(ended_so.recv_timeout(Duration::from_secs(30)), Ok(true));
        assert!(block_on(viewer.next()).is_some(), "and goes on being looked at");
        drop(viewer);
        ended(&audience);
    }

    fn audience(period: Duration) -> Arc<Audience> {
        Arc::new(Audience::with_period(Pools::new(), period))
    }

    fn is_watched(audience: &Audience) -> bool {
        audience.state().is_watched
    }

    /// Waits until the thread has ended.
    fn ended(audience: &Audience) {
        let (state, timeout) = audience
            .changed
            .wait_timeout_while(audience.state(), Duration::from_secs(30), |state| state.is_watched)
            .unwrap();
        drop(state);
        assert!(!timeout.timed_out(), "the thread goes on with nobody there");
    }

    #[test]
    fn the_thread_is_there_while_somebody_looks_and_only_then() {
        let _turn = turn();
        let audience = audience(Duration::from_secs(3600));
        assert!(!is_watched(&audience));
        let (mut first, second) = (audience.join().unwrap(), audience.join().unwrap());
        assert!(block_on(first.next()).is_some() && is_watched(&audience));
        drop(first);
        assert!(is_watched(&audience));
        drop(second);
        ended(&audience);
        assert!(block_on(audience.join().unwrap().next()).is_some(), "and it comes again");
        ended(&audience);
    }

    #[test]
    fn pools_are_recorded_while_somebody_looks_and_only_then() {
        let _turn = turn();
        let pool = ThreadPool::builder().name("recorded?").build().unwrap();
        let is_recorded = || {
            let all = registry::all();
            let pool = all.iter().find(|pool| pool.name() == "recorded?").unwrap();
            pool.counters().recorders().looks_for(Scope::Failures)
        };
        let audience = audience(Duration::from_secs(3600));
        audience.look_once();
        assert!(!is_recorded(), "a single look leaves nothing behind");
        let mut viewer = audience.join().unwrap();
        assert!(block_on(viewer.next()).is_some() && is_recorded());
        drop(viewer);
        ended(&audience);
        assert!(!is_recorded());
        drop(pool);
    }

    #[test]
    fn who_asks_once_is_told_what_a_page_was_shown_while_one_is_open() {
        let _turn = turn();
        let audience = audience(Duration::from_secs(3600));
        let mut viewer = audience.join().unwrap();
        let frame = block_on(viewer.next()).unwrap();
        assert_eq!(audience.look_once().as_ptr(), frame.as_ptr());
        drop(viewer);
        assert_ne!(audience.look_once().as_ptr(), frame.as_ptr(), "with nobody there it is of the past");
        ended(&audience);
    }

    #[test]
    fn all_viewers_get_the_same_frame_and_each_only_once() {
        let _turn = turn();
        let audience = audience(Duration::from_secs(3600));
        let (mut first, mut second) = (audience.join().unwrap(), audience.join().unwrap());
        let frames = [block_on(first.next()).unwrap(), block_on(second.next()).unwrap()];
        assert!(std::ptr::eq(frames[0].as_ptr(), frames[1].as_ptr()));
        assert_pending!(task::spawn(first.next()).poll());
        let mut late = audience.join().unwrap();
        assert!(assert_ready!(task::spawn(late.next()).poll()).is_some(), "who comes late waits for nothing");
        drop((first, second, late));
        ended(&audience);
    }

    #[test]
    fn there_are_so_many_places_and_one_that_is_left_is_free() {
        let _turn = turn();
        let audience = audience(Duration::from_secs(3600));
        let mut viewers: Vec<Viewer> = (0..SEATS).map(|_| audience.join().unwrap()).collect();
        assert!(matches!(audience.join(), Err(NoSeat::Full)));
        viewers.pop();
        viewers.push(audience.join().unwrap());
        assert!(matches!(audience.join(), Err(NoSeat::Full)));
        drop(viewers);
        ended(&audience);
    }

    #[test]
    fn who_does_not_read_loses_its_place() {
        let _turn = turn();
        let audience = audience(Duration::from_millis(1));
        let mut viewer = audience.join().unwrap();
        ended(&audience);
        assert!(block_on(viewer.next()).is_none());
    }

    #[test]
    fn a_closed_audience_ends_its_viewers_and_lets_nobody_in() {
        let _turn = turn();
        let audience = audience(Duration::from_secs(3600));
        let mut viewer = audience.join().unwrap();
        assert!(block_on(viewer.next()).is_some());
        let mut next = task::spawn(viewer.next());
        assert_pending!(next.poll());
        audience.close();
        assert!(next.is_woken() && assert_ready!(next.poll()).is_none());
        assert!(matches!(audience.join(), Err(NoSeat::Closed)));
        ended(&audience);
    }
}
