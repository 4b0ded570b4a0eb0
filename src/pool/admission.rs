//! [`Admission`]: lets a job into a pool while there is room.
//!
//! A pool with `queue_limit` has room for `max_workers + queue_limit` jobs: as many as run, and as many as may wait. A job
//! keeps its [`Place`] from its admission until a worker is done with it, so the answer does not depend on how quickly
//! workers pick jobs up.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The door of one pool.
#[derive(Debug)]
pub(crate) struct Admission {
    closed: AtomicBool,
    bound: Option<Arc<Bound>>,
}

#[derive(Debug)]
struct Bound {
    queue_limit: usize,
    room: Arc<Semaphore>,
    /// Places that a smaller pool no longer has, still in use: each is withdrawn when it is given back.
    excess: AtomicUsize,
}

/// The right of one job to be in the pool; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(OwnedSemaphorePermit, Arc<Bound>)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((permit, bound)) = self.0.take() else { return };
        // ORDERING: Relaxed. A count on its own; the semaphore does the rest.
        let pay = |excess: usize| excess.checked_sub(1);
        if bound.excess.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() {
            permit.forget();
        }
    }
}

/// Why a job is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full { limit: usize },
    Closed,
}

/// Waits for room, first come, first served.
pub(crate) struct Entering(Pin<Box<dyn Future<Output = Result<Place, NoRoom>> + Send + Sync>>);

impl Admission {
    pub(crate) fn new(queue_limit: Option<usize>, workers: usize) -> Self {
        let bound = queue_limit.map(|queue_limit| {
            let places = queue_limit.saturating_add(workers).min(Semaphore::MAX_PERMITS);
            Arc::new(Bound {
                queue_limit,
                room: Arc::new(Semaphore::new(places)),
                excess: AtomicUsize::new(0),
            })
        });
        Self { closed: AtomicBool::new(false), bound }
    }

    pub(crate) fn try_enter(&self) -> Result<Place, NoRoom> {
        if self.is_closed() {
            return Err(NoRoom::Closed);
        }
        let Some(bound) = &self.bound else { return Ok(Place::default()) };
        match bound.room.clone().try_acquire_owned() {
            Ok(permit) => Ok(bound.place(permit)),
            Err(TryAcquireError::NoPermits) => Err(NoRoom::Full { limit: bound.queue_limit }),
            Err(TryAcquireError::Closed) => Err(NoRoom::Closed),
        }
    }

    /// Returns a future that waits for room.
    pub(crate) fn enter(&self) -> Entering {
        let entered = self.try_enter();
        let (Err(NoRoom::Full { .. }), Some(bound)) = (&entered, &self.bound) else {
            return Entering(Box::pin(std::future::ready(entered)));
        };
        let bound = bound.clone();
        Entering(Box::pin(async move {
            match bound.room.clone().acquire_owned().await {
                Ok(permit) => Ok(bound.place(permit)),
                Err(_closed) => Err(NoRoom::Closed),
            }
        }))
    }

    /// Lets nobody in any more; whoever waits is turned away.
    pub(crate) fn close(&self) {
        // ORDERING: Release pairs with the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
        if let Some(bound) = &self.bound {
            bound.room.close();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Adapts the room to another number of workers.
    pub(crate) fn resize(&self, from: usize, to: usize) {
        let Some(bound) = &self.bound else { return };
        if to >= from {
            let spare = Semaphore::MAX_PERMITS.saturating_sub(bound.room.available_permits());
            bound.room.add_permits((to - from).min(spare));
            return;
        }
        let excess = from - to;
        let missing = excess - bound.room.forget_permits(excess);
        // ORDERING: Relaxed, as where it is paid.
        bound.excess.fetch_add(missing, Ordering::Relaxed);
    }
}

impl Bound {
    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        Place(Some((permit, self.clone())))
    }
}

impl Future for Entering {
    type Output = Result<Place, NoRoom>;

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Place, NoRoom>> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Entering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entering")
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
    fn who_waits_gets_the_place_that_is_given_back() {
        let door = Admission::new(Some(1), 0);
        let place = door.try_enter().unwrap();
        let mut entering = tokio_test::task::spawn(door.enter());
        assert!(entering.poll().is_pending());
        drop(place);
        assert!(entering.is_woken());
        assert!(door.try_enter().is_err(), "the place is promised to who waits");
        tokio_test::assert_ready!(entering.poll()).unwrap();
    }
}
