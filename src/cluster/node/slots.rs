//! [`Slots`]: how many jobs a node may have, how many run, and for how many it has asked.
//!
//! 1. `running + asked ≤ total`, over all queues, whatever happens: what is asked for is counted by an [`Asked`], a job by a [`Slot`], and
//!    one becomes the other. A call of the fast mode takes a slot past this, if fewer than `total` run.
//! 2. Whoever lets go of a slot, or of what was asked for, wakes who asks.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    rest::Rest,
    share::{Ask, Line, share},
};

/// The slots of a node. On its thread only.
#[derive(Debug)]
pub(super) struct Slots {
    total: usize,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    running: usize,
    lines: Vec<Line>,
    /// Until when a queue is not asked, if it is not.
    silent: Vec<Option<Instant>>,
    /// Whose turn it is when there are fewer slots than queues.
    turn: usize,
    rest: Rest,
    backlog: Backlog,
}

/// What has run and is not published.
#[derive(Debug, Clone, Copy, Default)]
struct Backlog {
    jobs: usize,
    bytes: u64,
}

impl Backlog {
    /// Whether it is too much for more to be asked for: the servers take answers more slowly than they give jobs.
    fn is_long(self, slots: usize) -> bool {
        self.jobs >= slots.saturating_mul(4).saturating_add(MOST_JOBS) || self.bytes >= MOST_BYTES
    }
}

/// How many answers may wait to be published, beside four for each slot, and how many bytes of results.
const MOST_JOBS: usize = 64;
const MOST_BYTES: u64 = 512 << 20;

impl Slots {
    pub(super) fn new(total: usize, queues: usize) -> Rc<Self> {
        let state = State {
            running: 0,
            lines: vec![Line::default(); queues],
            silent: vec![None; queues],
            turn: 0,
            rest: Rest::default(),
            backlog: Backlog::default(),
        };
        Rc::new(Self { total, state: RefCell::new(state), changed: Notify::new() })
    }

    pub(super) fn running(&self) -> usize {
        self.state.borrow().running
    }

    /// What is to be asked for now. It counts as asked for from here on.
    pub(super) fn asks(self: &Rc<Self>) -> Vec<(Ask, Asked)> {
        let asks = {
            let State { running, lines, silent, turn, rest, backlog } = &mut *self.state.borrow_mut();
            if rest.is_on(Instant::now()) || backlog.is_long(self.total) {
                return Vec::new();
            }
            let asked: usize = lines.iter().map(|line| line.asked).sum();
            let free = self.total.saturating_sub(*running + asked);
            // As if it had been asked for the one job that an empty queue is asked for.
            let as_asked = Line { asked: 1, hot: false };
            let pairs = lines.iter().zip(&*silent);
            let seen: Vec<Line> = pairs.map(|(line, silent)| silent.map_or(*line, |_| as_asked)).collect();
            let asks = share(free, &seen, turn);
            for ask in &asks {
                lines[ask.queue].asked += ask.most;
            }
            asks
        };
        let guarded = |ask: Ask| (ask, Asked { slots: self.clone(), queue: ask.queue, left: ask.most });
        asks.into_iter().map(guarded).collect()
    }

    /// Takes a slot that nobody's job is in, although it may have been asked for.
    pub(super) fn borrow(self: &Rc<Self>) -> Option<Slot> {
        let mut state = self.state.borrow_mut();
        if state.running >= self.total {
            return None;
        }
        state.running += 1;
        Some(Slot(self.clone()))
    }

    /// Has a queue left alone for so long, unless it is asked again before: see [`ask_again`](Self::ask_again).
    ///
    /// Who refuses jobs is quick: it would take them away from those that have them, again and again.
    pub(super) fn leave_alone(&self, queue: usize, time: Duration) {
        let silent = &mut self.state.borrow_mut().silent[queue];
        *silent = (*silent).max(Some(Instant::now() + time));
    }

    /// Ends the silence of a queue if that is over, or in any case if it has given a job that is run here.
    pub(super) fn ask_again(&self, queue: usize, is_run_here: bool) {
        let silent = &mut self.state.borrow_mut().silent[queue];
        if is_run_here || silent.is_some_and(|until| until <= Instant::now()) {
            *silent = None;
            self.changed.notify_one();
        }
    }

    /// A job has given back its slot and has so many bytes to publish; until what is returned is dropped.
    pub(super) fn unpublished(self: &Rc<Self>, bytes: u64) -> Unpublished {
        let backlog = &mut self.state.borrow_mut().backlog;
        backlog.jobs += 1;
        backlog.bytes += bytes;
        Unpublished { slots: self.clone(), bytes }
    }

    /// A job could not be run here, whichever it was: nothing is asked for until the time that is returned is over, if a rest begins.
    /// Whoever is told calls [`rest_is_over`](Self::rest_is_over) then.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.state.borrow_mut().rest.failed(Instant::now())
    }

    pub(super) fn rest_is_over(&self) {
        self.changed.notify_one();
    }

    /// A job was run here: whatever it was, there is no rest any more.
    pub(super) fn works(&self) {
        if self.state.borrow_mut().rest.worked() {
            self.changed.notify_one();
        }
    }

    /// Resolves when it may be that more is to be asked for. For one who waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A job's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Rc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.borrow_mut().running -= 1;
        self.0.changed.notify_one();
    }
}

/// An answer that is not published; one of those that are counted until it is dropped.
#[derive(Debug)]
pub(super) struct Unpublished {
    slots: Rc<Slots>,
    bytes: u64,
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        let backlog = &mut self.slots.state.borrow_mut().backlog;
        backlog.jobs -= 1;
        backlog.bytes -= self.bytes;
        self.slots.changed.notify_one();
    }
}

/// What was asked for of one queue and has not come.
#[derive(Debug)]
pub(super) struct Asked {
    slots: Rc<Slots>,
    queue: usize,
    left: usize,
}

impl Asked {
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// One has come: the queue has more, it seems.
    pub(super) fn arrived(&mut self) -> Slot {
        let mut state = self.slots.state.borrow_mut();
        self.left = self.left.saturating_sub(1);
        let line = &mut state.lines[self.queue];
        line.asked = line.asked.saturating_sub(1);
        line.hot = true;
        state.running += 1;
        self.slots.changed.notify_one();
        Slot(self.slots.clone())
    }

    /// The time is over, and not all has come: the queue is empty, it seems.
    pub(super) fn unfilled(&self) {
        self.slots.state.borrow_mut().lines[self.queue].hot = false;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.slots.state.borrow_mut().lines[self.queue].asked -= self.left;
        self.slots.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(slots: &Slots) -> usize {
        slots.state.borrow().lines.iter().map(|line| line.asked).sum()
    }

    #[test]
    fn what_runs_and_what_was_asked_for_are_never_more_than_there_are() {
        let slots = Slots::new(3, 1);
        let mut pulls = slots.asks();
        assert_eq!((pulls.len(), asked(&slots), slots.running()), (1, 3, 0));
        assert!(slots.asks().is_empty());

        let first = pulls[0].1.arrived();
        let second = pulls[0].1.arrived();
        assert_eq!((asked(&slots), slots.running()), (1, 2));
        assert!(slots.asks().is_empty());

        drop(first);
        let more = slots.asks();
        assert_eq!((more[0].0.most, asked(&slots), slots.running()), (1, 2, 1));
        drop((pulls, more, second));
        assert_eq!((asked(&slots), slots.running()), (0, 0));
    }

    #[test]
    fn a_queue_is_left_alone_until_its_time_is_over_or_it_has_a_job_for_here() {
        let slots = Slots::new(2, 2);
        let asked_of =
            |slots: &Rc<Slots>| -> Vec<usize> { slots.asks().iter().map(|(ask, _)| ask.queue).collect() };
        slots.leave_alone(0, Duration::from_secs(100));
        assert_eq!(asked_of(&slots), [1]);
        slots.ask_again(0, false);
        assert_eq!(asked_of(&slots), [1], "it is too early");
        slots.ask_again(0, true);
        assert_eq!(asked_of(&slots), [0, 1]);
        slots.leave_alone(0, Duration::ZERO);
        assert_eq!(asked_of(&slots), [1]);
        slots.ask_again(0, false);
        assert_eq!(asked_of(&slots), [0, 1]);
    }

    #[test]
    fn nothing_is_asked_for_while_too_much_waits_to_be_published() {
        let slots = Slots::new(2, 1);
        let mut waiting: Vec<Unpublished> = (0..72).map(|_| slots.unpublished(1)).collect();
        assert!(slots.asks().is_empty());
        waiting.pop();
        assert_eq!(slots.asks().len(), 1);
        waiting.clear();
        let large = slots.unpublished(MOST_BYTES);
        assert!(slots.asks().is_empty());
        drop(large);
        assert_eq!(slots.asks().len(), 1);
    }

    #[test]
    fn an_empty_queue_is_asked_by_one_pull_at_a_time() {
        let slots = Slots::new(2, 1);
        let mut pulls = slots.asks();
        let job = pulls[0].1.arrived();
        drop(job);
        let more = slots.asks();
        assert_eq!(more.len(), 1, "it has more, it seems");
        more[0].1.unfilled();
        drop(more);
        assert!(slots.asks().is_empty(), "the first pull is still there");
        drop(pulls);
        assert_eq!(slots.asks()[0].0.most, 2);
    }

    #[test]
    fn a_call_takes_a_slot_that_was_asked_for_but_none_that_runs() {
        let slots = Slots::new(1, 1);
        let pulls = slots.asks();
        let call = slots.borrow();
        assert!(call.is_some() && slots.borrow().is_none());
        drop(pulls);
        assert!(slots.asks().is_empty(), "nothing is free");
        drop(call);
        assert_eq!(slots.asks().len(), 1);
    }
}
