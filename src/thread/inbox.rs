//! [`Inboxes`]: jobs on their way into the queue, where threads that submit in great numbers leave them without the dispatch's lock.
//!
//! Each thread has an inbox of its own, so that none of them waits for another's cache, and none for a lock but while the inbox is
//! emptied. The dispatch opens inboxes, empties them and shuts them, under its own lock; it says when.
//!
//! 1. An inbox that is shut is empty, and nothing can be put there. It is opened by the thread that it belongs to, and shut by anybody.
//! 2. All that are open are emptied in one step, with all their locks held: a job that was put into one before another was put into
//!    another is taken out before that, or together with it.
//! 3. What is taken out together is in the order of submission: jobs of one thread as they came, those of several by their
//!    times. A time may be too early by less than a tenth of a microsecond ([`Stamp::now`](crate::clock::Stamp::now)), which is less
//!    than it takes one thread to submit and another to hear of it and submit.
//! 4. Only usual jobs come this way: between lanes it counts who has waited, and the queue has to know of all.

use std::sync::{Arc, PoisonError};

use super::queue::{Queued, is_usual};
use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering::Relaxed};

/// The most jobs for which a buffer is kept while nobody needs it.
const KEPT: usize = 1024;

/// The inboxes of one pool. A clone is the same ones.
#[derive(Debug)]
pub(crate) struct Inboxes<J> {
    boxes: Arc<[Inbox<J>]>,
    /// How many jobs must wait in the queue for an inbox to be worth opening.
    many: usize,
}

impl<J> Clone for Inboxes<J> {
    fn clone(&self) -> Self {
        Self { boxes: self.boxes.clone(), many: self.many }
    }
}

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Inbox<J> {
    /// Whether it is open, for the thread that it belongs to. Written under the lock.
    ///
    /// ORDERING: Relaxed. A hint: who acts on 1 looks again under the lock. 0 is true, because nobody else opens it.
    hint: AtomicU32,
    /// Taken after the dispatch's lock, if both are needed, and after those of inboxes before this one.
    content: Mutex<Content<J>>,
}

#[derive(Debug)]
struct Content<J> {
    is_open: bool,
    /// The time of the last job.
    last: u64,
    jobs: Vec<Timed<J>>,
}

/// A job and when it was submitted, or else when the one before it was, if that is later.
type Timed<J> = (u64, J);

/// What the dispatch knows of the inboxes, under its lock.
#[derive(Debug)]
pub(crate) struct Mail<J> {
    /// Which are open, in their order.
    open: Vec<usize>,
    /// What was taken out. Empty but while it is sorted: a buffer to exchange for a full one.
    jobs: Vec<Timed<J>>,
}

/// What becomes of inboxes that are emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    StayOpen,
    Shut,
}

impl<J> Mail<J> {
    pub(crate) fn new() -> Self {
        Self { open: Vec::new(), jobs: Vec::new() }
    }

    /// Whether an inbox is open.
    #[inline]
    pub(crate) fn may_come(&self) -> bool {
        !self.open.is_empty()
    }
}

impl<J> Inbox<J> {
    fn new() -> Self {
        let content = Content { is_open: false, last: 0, jobs: Vec::new() };
        Self { hint: AtomicU32::new(0), content: Mutex::new(content) }
    }

    fn lock(&self) -> MutexGuard<'_, Content<J>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_open(&self, content: &mut Content<J>, is_open: bool) {
        if content.is_open != is_open {
            content.is_open = is_open;
            self.hint.store(is_open.into(), Relaxed);
        }
    }
}

impl<J: Queued> Inboxes<J> {
    pub(crate) fn new(count: usize, many: usize) -> Self {
        Self { boxes: (0..count).map(|_| Inbox::new()).collect(), many }
    }

    /// Puts a job into an inbox. Only for the thread that it belongs to.
    ///
    /// # Errors
    ///
    /// The job, if the inbox is shut, or the job unusual.
    #[inline]
    pub(crate) fn put(&self, number: usize, job: J) -> Result<(), J> {
        let inbox = &self.boxes[number];
        if inbox.hint.load(Relaxed) == 0 || !is_usual(&job) {
            return Err(job);
        }
        let mut content = inbox.lock();
        if !content.is_open {
            return Err(job);
        }
        content.last = content.last.max(job.submitted_nanos());
        let timed = (content.last, job);
        content.jobs.push(timed);
        Ok(())
    }

    /// Whether so many jobs wait in the queue that it is worth opening an inbox.
    #[inline]
    pub(crate) fn are_worth_opening(&self, waiting: usize) -> bool {
        waiting >= self.many
    }

    /// Opens the inbox of this thread. Under the dispatch's lock.
    pub(crate) fn open(&self, number: usize, mail: &mut Mail<J>) {
        let inbox = &self.boxes[number];
        let mut content = inbox.lock();
        if !content.is_open {
            inbox.set_open(&mut content, true);
            mail.open.push(number);
            mail.open.sort_unstable();
        }
    }

    /// Takes out all jobs. Under the dispatch's lock.
    pub(crate) fn empty<'a>(
        &self,
        mail: &'a mut Mail<J>,
        then: Then,
    ) -> impl Iterator<Item = J> + use<'a, J> {
        if self.collect(mail, then) > 1 {
            mail.jobs.sort_by_key(|&(time, _)| time);
        }
        mail.jobs.drain(..).map(|(_, job)| job)
    }

    /// Takes out all jobs, in the order of the inboxes. Returns how many had some.
    fn collect(&self, mail: &mut Mail<J>, then: Then) -> usize {
        let Mail { open, jobs } = mail;
        let mut all: Vec<_> =
            open.iter().map(|&number| (&self.boxes[number], self.boxes[number].lock())).collect();
        let mut full = 0;
        for (inbox, content) in &mut all {
            full += usize::from(!content.jobs.is_empty());
            if jobs.is_empty() {
                std::mem::swap(jobs, &mut content.jobs);
            } else {
                jobs.append(&mut content.jobs);
            }
            if then == Then::Shut {
                inbox.set_open(content, false);
                content.jobs.shrink_to(KEPT);
            }
        }
        drop(all);
        if then == Then::Shut {
            open.clear();
            jobs.shrink_to(KEPT);
        }
        full
    }
}
