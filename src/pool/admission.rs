//! [`Admission`]: lets a job into a pool while there is room.
//!
//! A pool with `queue_limit` has room for `max_workers + queue_limit` jobs: as many as run, and as many as may wait. A job
//! keeps its [`Place`] from its admission until a worker is done with it, so the answer does not depend on how quickly
//! workers pick jobs up.
//!
//! Who waits stands in a line, and keeps a turn or yields it ([`Turn`]):
//!
//! 1. A waiter may enter when there are more free places than kept turns before its own. Yielded turns do not count, so a
//!    waiter that is not polled any more, which a map may well be while its consumer waits for something else, holds up
//!    nobody. (With tokio's semaphore, whose turns are all kept, a chain of maps on one pool came to a stop.)
//! 2. Whoever may enter has been woken since it was last polled.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::panic::shield;

/// The door of one pool.
#[derive(Debug)]
pub(crate) struct Admission {
    closed: AtomicBool,
    bound: Option<Arc<Bound>>,
}

#[derive(Debug)]
pub(crate) struct Bound {
    queue_limit: usize,
    /// Taken alone, and never while a waker is cloned, woken or dropped.
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    closed: bool,
    /// Places that nobody has. Negative where the pool has become smaller: so many are withdrawn as they come back.
    free: isize,
    next_ticket: u64,
    /// Who waits, in the order of arrival.
    line: BTreeMap<u64, Waiter>,
    /// How many in the line keep their turn.
    kept: usize,
}

#[derive(Debug)]
struct Waiter {
    turn: Turn,
    /// Absent once woken, until the next poll.
    waker: Option<Waker>,
}

/// What becomes of a waiter's turn if it does not come when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its place is kept for it, in strict order.
    Kept,
    /// Whoever waits behind it may go first.
    Yielded,
}

/// The right of one job to be in the pool; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<Arc<Bound>>);

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        if let Some(bound) = self.0.take() {
            bound.change(|room| room.free = room.free.saturating_add(1));
        }
    }
}

/// Why a job is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full { limit: usize },
    Closed,
}

/// The places of several jobs of one pool. As an iterator it gives them away one by one.
#[derive(Debug, Default)]
pub(crate) struct Places {
    bound: Option<Arc<Bound>>,
    count: usize,
}

impl Places {
    /// Adds places of the same pool.
    pub(crate) fn append(&mut self, mut more: Places) {
        self.count += std::mem::take(&mut more.count);
        self.bound = self.bound.take().or(more.bound.take());
    }

    /// Takes some of them out: as many as there are, if that is less than `count`.
    pub(crate) fn split_off(&mut self, count: usize) -> Places {
        let count = count.min(self.count);
        self.count -= count;
        Places { bound: self.bound.clone(), count }
    }

    /// Gives back all but `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        drop(self.split_off(self.count.saturating_sub(count)));
    }
}

impl From<Place> for Places {
    fn from(mut place: Place) -> Self {
        Self { bound: place.0.take(), count: 1 }
    }
}

impl Iterator for Places {
    type Item = Place;

    #[inline]
    fn next(&mut self) -> Option<Place> {
        self.count = self.count.checked_sub(1)?;
        Some(Place(self.bound.clone()))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Places {}

impl Drop for Places {
    fn drop(&mut self) {
        let count = isize::try_from(self.count).unwrap_or(isize::MAX);
        if let Some(bound) = self.bound.take().filter(|_| count > 0) {
            bound.change(|room| room.free = room.free.saturating_add(count));
        }
    }
}

impl Admission {
    pub(crate) fn new(queue_limit: Option<usize>, workers: usize) -> Self {
        let bound = queue_limit.map(|queue_limit| {
            let free = queue_limit.saturating_add(workers).min(isize::MAX as usize) as isize;
            let room = Room { closed: false, free, next_ticket: 0, line: BTreeMap::new(), kept: 0 };
            Arc::new(Bound { queue_limit, room: Mutex::new(room) })
        });
        Self { closed: AtomicBool::new(false), bound }
    }

    /// Lets everybody in.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "for copies of a program with process pools")
    )]
    pub(crate) const fn open() -> Self {
        Self { closed: AtomicBool::new(false), bound: None }
    }

    #[inline]
    pub(crate) fn try_enter(&self) -> Result<Place, NoRoom> {
        if self.is_closed() {
            return Err(NoRoom::Closed);
        }
        match &self.bound {
            None => Ok(Place::default()),
            Some(bound) => bound.try_enter(),
        }
    }

    /// Places for up to `most` jobs, at least one: as many where there is no bound, and else one, so that nobody keeps places from others
    /// that it does not need yet.
    pub(crate) fn try_enter_together(&self, most: usize) -> Result<Places, NoRoom> {
        let place = self.try_enter()?;
        Ok(match &self.bound {
            None => Places { bound: None, count: most.max(1) },
            Some(_) => place.into(),
        })
    }

    /// Returns a future that waits for room. Its place in the line is that of its first poll.
    pub(crate) fn enter(&self, turn: Turn) -> Entering {
        match &self.bound {
            Some(bound) => Entering(Door::Bounded { bound: bound.clone(), turn, ticket: None }),
            None => Entering(Door::Unbounded { closed: self.is_closed() }),
        }
    }

    /// Lets nobody in any more; whoever waits is turned away.
    pub(crate) fn close(&self) {
        // ORDERING: Release pairs with the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
        if let Some(bound) = &self.bound {
            bound.change(|room| room.closed = true);
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Adapts the room to another number of workers.
    pub(crate) fn resize(&self, from: usize, to: usize) {
        let Some(bound) = &self.bound else { return };
        bound.change(|room| {
            room.free = if to >= from {
                room.free.saturating_add_unsigned(to - from)
            } else {
                room.free.saturating_sub_unsigned(from - to)
            };
        });
    }
}

impl Bound {
    fn try_enter(self: &Arc<Self>) -> Result<Place, NoRoom> {
        let mut room = self.lock();
        if room.closed {
            return Err(NoRoom::Closed);
        }
        if !room.is_free_after(room.kept) {
            return Err(NoRoom::Full { limit: self.queue_limit });
        }
        room.free -= 1;
        Ok(self.place())
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>) -> Place {
        Place(Some(self.clone()))
    }

    /// Makes room in some way, and wakes whoever may enter now.
    fn change(&self, change: impl FnOnce(&mut Room)) {
        let mut room = self.lock();
        change(&mut room);
        let woken = room.take_wakers();
        drop(room);
        for waker in woken {
            shield(|| waker.wake());
        }
    }

    /// Enters, or stands in the line.
    fn poll_enter(
        self: &Arc<Self>,
        turn: Turn,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Result<Place, NoRoom>> {
        // Foreign code, so before the lock; what it replaces is dropped after it.
        let waker = cx.waker().clone();
        let mut room = self.lock();
        let decided = room.poll_enter(turn, *ticket);
        if let Poll::Ready(outcome) = decided {
            let left = ticket.take().and_then(|ticket| room.leave(ticket));
            drop(room);
            drop(left);
            return Poll::Ready(outcome.map(|()| self.place()));
        }
        let ticket = *ticket.get_or_insert_with(|| room.stand_in_line(turn));
        let before = room.line.get_mut(&ticket).and_then(|waiter| waiter.waker.replace(waker));
        drop(room);
        drop(before);
        Poll::Pending
    }

    /// Gives up a place in the line.
    fn leave(&self, ticket: u64) {
        let mut left = None;
        self.change(|room| left = room.leave(ticket));
        drop(left);
    }
}

/// Decides; wakes nobody.
impl Room {
    /// Whether a place is free for who has so many kept turns before it.
    fn is_free_after(&self, kept: usize) -> bool {
        usize::try_from(self.free).is_ok_and(|free| free > kept)
    }

    fn poll_enter(&mut self, turn: Turn, ticket: Option<u64>) -> Poll<Result<(), NoRoom>> {
        if self.closed {
            return Poll::Ready(Err(NoRoom::Closed));
        }
        let may_enter = match ticket {
            Some(ticket) => self.may_enter(ticket),
            None => self.is_free_after(self.kept),
        };
        if !may_enter {
            return Poll::Pending;
        }
        debug_assert!(ticket.is_none_or(|ticket| self.line[&ticket].turn == turn));
        self.free -= 1;
        Poll::Ready(Ok(()))
    }

    fn may_enter(&self, ticket: u64) -> bool {
        let before = self.line.range(..ticket).filter(|(_, waiter)| waiter.turn == Turn::Kept);
        // No longer a look than there are places.
        let free = usize::try_from(self.free).unwrap_or(0);
        self.is_free_after(before.take(free).count())
    }

    fn stand_in_line(&mut self, turn: Turn) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.kept += usize::from(turn == Turn::Kept);
        self.line.insert(ticket, Waiter { turn, waker: None });
        ticket
    }

    fn leave(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.line.remove(&ticket)?;
        self.kept -= usize::from(waiter.turn == Turn::Kept);
        Some(waiter)
    }

    /// The wakers of all who may enter now, or who must be told that it is over.
    fn take_wakers(&mut self) -> Vec<Waker> {
        let mut places = if self.closed { usize::MAX } else { usize::try_from(self.free).unwrap_or(0) };
        let mut woken = Vec::new();
        for waiter in self.line.values_mut() {
            if places == 0 {
                break;
            }
            places -= usize::from(waiter.turn == Turn::Kept);
            woken.extend(waiter.waker.take());
        }
        woken
    }
}

/// Waits for room. Dropping it gives up its place in the line.
#[derive(Debug)]
pub(crate) struct Entering(Door);

#[derive(Debug)]
enum Door {
    Unbounded { closed: bool },
    Bounded { bound: Arc<Bound>, turn: Turn, ticket: Option<u64> },
}

impl Future for Entering {
    type Output = Result<Place, NoRoom>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Place, NoRoom>> {
        match &mut self.get_mut().0 {
            Door::Unbounded { closed: true } => Poll::Ready(Err(NoRoom::Closed)),
            Door::Unbounded { closed: false } => Poll::Ready(Ok(Place::default())),
            Door::Bounded { bound, turn, ticket } => bound.poll_enter(*turn, ticket, cx),
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        if let Door::Bounded { bound, ticket, .. } = &mut self.0
            && let Some(ticket) = ticket.take()
        {
            bound.leave(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_workers_and_the_queue() {
        let door = Admission::new(Some(1), 2);
        let mut places: Vec<Place> = (0..3).map(|_| door.try_enter().unwrap()).collect();
        assert_eq!(door.try_enter().unwrap_err(), NoRoom::Full { limit: 1 });
        places.pop();
        assert!(door.try_enter().is_ok());
        door.close();
        assert_eq!(door.try_enter().unwrap_err(), NoRoom::Closed);
    }

    #[test]
    fn a_smaller_pool_withdraws_places_as_they_come_back() {
        let door = Admission::new(Some(1), 2);
        let places: Vec<Place> = (0..3).map(|_| door.try_enter().unwrap()).collect();
        door.resize(2, 1);
        drop(places);
        let kept: Vec<Place> = std::iter::from_fn(|| door.try_enter().ok()).collect();
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn places_of_several_jobs_come_back_one_by_one_or_together() {
        let door = Admission::new(Some(3), 2);
        let mut places = Places::default();
        while let Ok(more) = door.try_enter_together(4) {
            assert_eq!(more.len(), 1, "where there is a bound nobody gets more than it asked for first");
            places.append(more);
        }
        assert_eq!(places.len(), 5);
        let free = || std::iter::from_fn(|| door.try_enter().ok()).collect::<Vec<_>>().len();
        let two = places.split_off(2);
        let one = places.next();
        assert_eq!((two.len(), places.len(), free()), (2, 2, 0));
        drop(one);
        assert_eq!(free(), 1);
        drop(two);
        assert_eq!(free(), 3);
        places.truncate(1);
        assert_eq!((free(), places.split_off(7).len(), places.next().is_none()), (4, 1, true));
        assert_eq!(free(), 5);
        assert_eq!(Admission::new(None, 2).try_enter_together(4).map(|places| places.len()), Ok(4));
    }

    #[test]
    fn who_waits_gets_the_place_that_is_given_back() {
        let door = Admission::new(Some(1), 0);
        let place = door.try_enter().unwrap();
        let mut entering = tokio_test::task::spawn(door.enter(Turn::Kept));
        assert!(entering.poll().is_pending());
        drop(place);
        assert!(entering.is_woken());
        assert!(door.try_enter().is_err(), "the place is promised to who waits");
        tokio_test::assert_ready!(entering.poll()).unwrap();
    }

    /// A full door with a line before it.
    fn line<const N: usize>(
        turns: [Turn; N],
    ) -> (Admission, Vec<Place>, [tokio_test::task::Spawn<Entering>; N]) {
        let door = Admission::new(Some(1), 1);
        let places = std::iter::from_fn(|| door.try_enter().ok()).collect();
        let mut line = turns.map(|turn| tokio_test::task::spawn(door.enter(turn)));
        assert!(line.iter_mut().all(|waiter| waiter.poll().is_pending()));
        (door, places, line)
    }

    #[test]
    fn kept_turns_are_taken_in_order() {
        let (_door, mut places, [mut first, mut second]) = line([Turn::Kept, Turn::Kept]);
        places.pop();
        assert!(first.is_woken() && !second.is_woken());
        assert!(second.poll().is_pending(), "it is not its turn");
        let entered = tokio_test::assert_ready!(first.poll());
        drop(entered);
        assert!(second.is_woken() && second.poll().is_ready());
    }

    #[test]
    fn a_turn_that_is_given_up_goes_to_the_next() {
        let (_door, mut places, [first, mut second]) = line([Turn::Kept, Turn::Kept]);
        places.pop();
        drop(first);
        assert!(second.is_woken() && second.poll().is_ready());
    }

    #[test]
    fn who_yields_and_does_not_come_holds_up_nobody() {
        let turns = [Turn::Yielded, Turn::Kept, Turn::Yielded, Turn::Kept];
        let (door, mut places, [first, mut second, third, fourth]) = line(turns);
        places.pop();
        assert!(first.is_woken() && second.is_woken());
        assert!(!third.is_woken() && !fourth.is_woken(), "a kept turn comes before theirs");
        assert!(door.try_enter().is_err());
        assert!(second.poll().is_ready());
    }

    #[test]
    fn who_comes_too_late_waits_again_in_its_old_place() {
        let (_door, mut places, [mut first, mut second]) = line([Turn::Yielded, Turn::Kept]);
        places.pop();
        let entered = tokio_test::assert_ready!(second.poll());
        assert!(first.poll().is_pending());
        drop(entered);
        assert!(first.is_woken() && first.poll().is_ready());
    }

    #[test]
    fn closing_turns_everybody_away() {
        let (door, _places, line) = line([Turn::Kept, Turn::Yielded, Turn::Kept]);
        door.close();
        for mut waiter in line {
            assert!(waiter.is_woken());
            assert_eq!(tokio_test::assert_ready!(waiter.poll()).unwrap_err(), NoRoom::Closed);
        }
    }
}
