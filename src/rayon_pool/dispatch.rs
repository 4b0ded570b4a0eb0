//! [`Dispatch`]: which job a thread of rayon's runs when it is called.
//!
//! rayon has neither priorities nor a way to take back what was given to it. So jobs wait in a queue of ours, and rayon is given
//! a *call* for each: whichever thread answers it takes the job that is due first.
//!
//! ```text
//!               answered on a free thread: Run, or Nothing
//!  submit ──▶ CALLED ─────────────────────────────────────▶ (gone)
//!               │  ▲
//!               │  │ the end of a job on its thread (one), or the reminder (one for each thread)
//!               ▼  │
//!              OWED      answered on an occupied thread: Later
//! ```
//!
//! 1. **A thread that is in a job begins no other.** rayon's threads take on other work while they wait for parallel parts that
//!    another thread runs. A job that began on top of a waiting one would hold it up for as long as it runs, and for ever if it
//!    waits for that one, or for a lock that it holds. So such a thread owes the call. (The one exception is a job that the
//!    waiting one waits for, and runs itself: `RayonSeat::help`.)
//! 2. **No job is stranded.** There are at least as many calls, made and owed, as entries in the queue. When a call is owed a job runs
//!    on a thread, and at its end that thread makes one of the owed calls, whose job ends in turn. (A call that the submitting thread
//!    could not make, because it belongs to another pool of rayon's, is owed, too. For that one a reminder is certain.)
//! 3. **No thread is idle for long.** A thread that has run out of parallel parts is not told to us. So while calls are owed, a
//!    reminder makes as many of them as there are threads, after [`REMINDER`].
//! 4. What is begun is in `running` from the step in which it leaves the queue, so that a shutdown finds every job in one of the two.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::stack::Here;
use crate::pool::queue::{Queue, Queued};

/// How long calls are owed before they are made again.
pub(super) const REMINDER: Duration = Duration::from_millis(1);

/// The queue and the running jobs of one pool. See the module's documentation.
#[derive(Debug)]
pub(super) struct Dispatch<J> {
    /// A leaf: nothing else is locked, and no foreign code is called, under it.
    state: Mutex<State<J>>,
}

#[derive(Debug)]
struct State<J> {
    queue: Queue<J>,
    running: Vec<J>,
    /// Calls that were answered and could not be heeded.
    owed: usize,
    /// Whether somebody will remind us of them.
    is_reminded: bool,
    stage: Stage,
}

/// How far the pool has come. Only ever goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Closed,
    /// Closed, and nobody waits for what runs.
    Killed,
}

/// What whoever answers a call does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<J> {
    /// Runs the job, and calls [`Dispatch::ended`].
    Run(J),
    /// Drops an entry that is of no use any more, and asks again.
    Void(J),
    /// Nothing waits.
    Nothing,
    /// Goes on with what it was in.
    Later(Remind),
}

/// Whether [`Dispatch::remind`] is to be called in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a thread may be idle for long unless somebody is reminded"]
pub(super) enum Remind {
    InAWhile,
    /// Somebody does so already, or there is nothing to remind of.
    No,
}

impl<J: Queued + Clone> Dispatch<J> {
    pub(super) fn new() -> Self {
        let state = State {
            queue: Queue::new(),
            running: Vec::new(),
            owed: 0,
            is_reminded: false,
            stage: Stage::Open,
        };
        Self { state: Mutex::new(state) }
    }

    /// Adds a job, for which the caller then makes a call.
    ///
    /// # Errors
    ///
    /// The job, when the pool is closed.
    pub(super) fn submit(&self, job: J) -> Result<(), J> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Err(job);
        }
        state.queue.push(job);
        Ok(())
    }

    /// Answers a call.
    pub(super) fn answer(&self, here: Here, is_wanted: impl Fn(&J) -> bool) -> Answer<J> {
        let mut state = self.lock();
        if here == Here::Occupied {
            return Answer::Later(state.owe());
        }
        let Some(job) = state.queue.pop() else { return Answer::Nothing };
        if !is_wanted(&job) {
            return Answer::Void(job);
        }
        state.running.push(job.clone());
        Answer::Run(job)
    }

    /// Takes note of a call that could not be made.
    pub(super) fn owe(&self) -> Remind {
        self.lock().owe()
    }

    /// Takes note that a job is begun which another one waits for. Its entry stays in the queue.
    pub(super) fn begin_here(&self, job: J) {
        self.lock().running.push(job);
    }

    /// Takes note that a job has ended. Returns it, to be dropped, and whether a call is to be made.
    pub(super) fn ended(&self, here: Here, is_it: impl Fn(&J) -> bool) -> (Option<J>, bool) {
        let mut state = self.lock();
        let at = state.running.iter().position(is_it);
        let ended = at.map(|at| state.running.swap_remove(at));
        (ended, here == Here::Free && state.pay(1) == 1)
    }

    /// How many of the owed calls are to be made now, when each of so many threads may be free.
    pub(super) fn remind(&self, threads: usize) -> usize {
        let mut state = self.lock();
        state.is_reminded = false;
        state.pay(threads)
    }

    /// Takes note that a job in the queue was cancelled. Returns entries that are of no use any more, to be dropped.
    pub(super) fn cancelled(&self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        self.lock().queue.cancelled(is_wanted)
    }

    /// Looks at the jobs that run, under the lock: none is held that may have ended meanwhile.
    pub(super) fn look_at_running<R>(&self, look: impl FnOnce(&[J]) -> R) -> R {
        look(&self.lock().running)
    }

    /// How many jobs run.
    pub(super) fn running(&self) -> usize {
        self.lock().running.len()
    }
}

/// The end.
impl<J: Queued + Clone> Dispatch<J> {
    /// Takes no job any more.
    pub(super) fn close(&self) {
        self.lock().go_on_to(Stage::Closed);
    }

    /// Takes everything that waits.
    pub(super) fn take_queued(&self) -> Vec<J> {
        self.lock().queue.take_all()
    }

    /// Takes everything that waits and everything that runs, for which nobody is to wait any more.
    pub(super) fn kill(&self) -> Vec<J> {
        let mut state = self.lock();
        state.go_on_to(Stage::Killed);
        let mut all = state.queue.take_all();
        all.extend(state.running.iter().cloned());
        all
    }

    /// Whether the pool has come to its end, apart from so many jobs that run. Returns entries to be dropped, too.
    pub(super) fn is_over(&self, apart_from: usize, is_wanted: impl Fn(&J) -> bool) -> (bool, Vec<J>) {
        let mut state = self.lock();
        match state.stage {
            Stage::Open => (false, Vec::new()),
            Stage::Killed => (true, Vec::new()),
            Stage::Closed => {
                let void = state.queue.compact(is_wanted);
                (state.queue.is_empty() && state.running.len() <= apart_from, void)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    /// Owes a call, if there is an entry for it.
    fn owe(&mut self) -> Remind {
        self.owed = (self.owed + 1).min(self.queue.len());
        let is_reminded = self.is_reminded;
        self.is_reminded |= self.owed > 0;
        if self.is_reminded && !is_reminded { Remind::InAWhile } else { Remind::No }
    }

    /// How many calls are to be made, of those that are owed and for which there is an entry.
    fn pay(&mut self, most: usize) -> usize {
        let owed = self.owed.min(self.queue.len());
        let paid = owed.min(most);
        self.owed = owed - paid;
        paid
    }

    fn go_on_to(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Here::{Free, Occupied};

    fn dispatch(jobs: &[u32]) -> Dispatch<u32> {
        let dispatch = Dispatch::new();
        jobs.iter().for_each(|&job| dispatch.submit(job).unwrap());
        dispatch
    }

    fn is_odd(job: &u32) -> bool {
        !job.is_multiple_of(2)
    }

    #[test]
    fn a_free_thread_runs_what_is_wanted_in_the_order_of_submission() {
        let dispatch = dispatch(&[1, 2, 3]);
        let answers = [Answer::Run(1), Answer::Void(2), Answer::Run(3), Answer::Nothing];
        for answer in answers {
            assert_eq!(dispatch.answer(Free, is_odd), answer);
        }
        assert_eq!(dispatch.running(), 2);
        assert_eq!(dispatch.ended(Free, |&job| job == 1), (Some(1), false));
        assert_eq!(dispatch.running(), 1);
    }

    #[test]
    fn an_occupied_thread_owes_the_call_and_makes_it_when_its_job_has_ended() {
        let dispatch = dispatch(&[1, 3, 5]);
        assert_eq!(dispatch.answer(Free, is_odd), Answer::Run(1));
        assert_eq!(dispatch.answer(Occupied, is_odd), Answer::Later(Remind::InAWhile));
        assert_eq!(dispatch.answer(Occupied, is_odd), Answer::Later(Remind::No));
        // A job that another one has run itself: that one still occupies the thread.
        dispatch.begin_here(5);
        assert_eq!(dispatch.ended(Occupied, |&job| job == 5), (Some(5), false));
        assert_eq!(dispatch.ended(Free, |&job| job == 1), (Some(1), true));
        assert_eq!(dispatch.answer(Free, is_odd), Answer::Run(3));
        assert_eq!(dispatch.ended(Free, |&job| job == 3), (Some(3), true));
    }

    #[test]
    fn a_reminder_makes_one_call_for_each_thread_and_is_asked_for_again_when_it_was_in_vain() {
        let dispatch = dispatch(&[1, 3, 5, 7]);
        assert_eq!(dispatch.owe(), Remind::InAWhile);
        (0..9).for_each(|_| assert_eq!(dispatch.owe(), Remind::No));
        assert_eq!(dispatch.remind(3), 3, "no more than there are threads");
        assert_eq!(dispatch.answer(Occupied, is_odd), Answer::Later(Remind::InAWhile));
        assert_eq!(dispatch.remind(3), 2, "no more than are owed");
        assert_eq!(dispatch.remind(3), 0);
    }

    #[test]
    fn no_call_is_owed_for_what_does_not_wait_any_more() {
        let dispatch = dispatch(&[1]);
        assert_eq!(dispatch.owe(), Remind::InAWhile);
        assert_eq!(dispatch.take_queued(), [1]);
        assert_eq!(dispatch.remind(3), 0);
        assert_eq!(dispatch.owe(), Remind::No);
    }

    #[test]
    fn a_closed_pool_is_over_when_nothing_waits_that_is_wanted_and_nothing_runs() {
        let dispatch = dispatch(&[1, 2, 4]);
        assert!(!dispatch.is_over(9, is_odd).0, "it is open");
        assert_eq!(dispatch.answer(Free, is_odd), Answer::Run(1));
        dispatch.close();
        assert_eq!(dispatch.submit(7), Err(7));
        assert_eq!(dispatch.is_over(0, is_odd), (false, vec![2, 4]));
        assert!(dispatch.is_over(1, is_odd).0, "who asks is the one that runs");
        assert_eq!(dispatch.kill(), [1]);
        dispatch.close();
        assert!(dispatch.is_over(0, is_odd).0, "nobody waits for it any more");
    }
}
