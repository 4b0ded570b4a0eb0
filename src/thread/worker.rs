//! Worker threads: what they are called, what they do, and what remains of one that breaks.

use std::{
    cell::RefCell,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{
    desk::{Desk, Turnover},
    dispatch::{Act, Member, Nap, Turn, Wish},
    seat::ThreadJob,
    shared::Shared,
};
use crate::{
    counted::{Counted, unsize},
    panic::shield,
    pause::Pause,
    record::{Change, Ending, Spot},
    sync::{Sleeper, Slept},
    text::beginning,
};

/// What Linux keeps of a thread's name, in bytes.
const NAME_LIMIT: usize = 15;

thread_local! {
    /// The worker that this thread is.
    static HERE: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// How much work a worker takes at a time.
const AHEAD: Duration = Duration::from_micros(50);
/// How long after it has taken several jobs a worker asks for more.
const GATHER: Duration = Duration::from_micros(4);
/// The most jobs that a worker takes at a time.
const MOST: usize = 64;

/// One worker, on its own thread.
#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    number: usize,
    desk: Arc<Desk<Counted<dyn ThreadJob>>>,
    spot: Arc<Spot>,
}

/// Creates the thread of a worker.
pub(crate) fn start(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let setup = &shared.setup;
    let mut builder = thread::Builder::new().name(thread_name(&setup.name, number));
    if let Some(size) = setup.stack_size {
        builder = builder.stack_size(size);
    }
    let worker = Worker {
        shared: shared.clone(),
        number,
        desk: Arc::new(Desk::new()),
        spot: Arc::new(Spot::new(number)),
    };
    (setup.spawn)(builder, Box::new(move || worker.live()))
}

/// Whether this thread is a worker of that pool.
pub(crate) fn is_here(shared: &Arc<Shared>) -> bool {
    here(shared).is_some()
}

/// The number of the worker that this thread is.
pub(crate) fn number_here() -> Option<usize> {
    HERE.try_with(|here| here.borrow().as_ref().map(|worker| worker.number)).ok().flatten()
}

/// Runs a queued job right here, if this thread is a worker of its pool. Says whether it is.
pub(crate) fn run_here<J: ThreadJob + 'static>(shared: &Arc<Shared>, job: &Counted<J>) -> bool {
    let Some(worker) = here(shared) else { return false };
    let job = unsize!(job.clone() => dyn ThreadJob);
    let runtime = job.runtime();
    let inside = runtime.as_ref().map(Handle::enter);
    worker.desk.begin(&job);
    worker.run(&*job);
    drop(inside);
    drop(worker.desk.end());
    true
}

fn here(shared: &Arc<Shared>) -> Option<Worker> {
    // Absent also while the thread's own values are being dropped, when it has ceased to be a worker.
    let worker = HERE.try_with(|here| here.borrow().clone()).ok().flatten();
    worker.filter(|worker| Arc::ptr_eq(&worker.shared, shared))
}

/// `{pool}-{number}`, with the pool's name cut so that the whole fits.
fn thread_name(pool: &str, number: usize) -> String {
    let number = format!("-{number}");
    let room = NAME_LIMIT.saturating_sub(number.len());
    beginning(pool, room).to_owned() + &number
}

impl Worker {
    /// The thread's whole life.
    fn live(self) {
        let _guard = Guard(self.clone());
        HERE.set(Some(self.clone()));
        self.shared.worker_came(self.desk.clone(), self.spot.clone());
        self.shared.counters.recorders().thread_changed(self.spot.number, Change::Started);
        if let Some(start) = &self.shared.setup.on_worker_start {
            shield(start);
        }
        self.work();
        self.end();
    }

    /// Takes one turn after the other, until it is told to leave.
    fn work(&self) {
        let mut shift = Shift::new(self);
        let mut turn = self.look(&mut shift);
        loop {
            turn = match turn {
                Turn::Run(job, act) => {
                    self.shared.perform(act);
                    self.work_in_runtime(job, &mut shift)
                }
                Turn::Linger => {
                    shift.pause.linger(|| self.shared.dispatch().has_entries());
                    self.look(&mut shift)
                }
                Turn::Sleep(nap) => {
                    shift.pause.begin();
                    self.shared.soon.falls_asleep();
                    shift.slept = shift.member.sleeper.sleep(self.limit(nap));
                    self.look(&mut shift)
                }
                Turn::Leave(act) => return self.shared.perform(act),
            }
        }
    }

    /// Runs a job in its runtime, which is entered once for all jobs in a row that come from it. Returns the first turn that is
    /// something else.
    fn work_in_runtime(
        &self,
        mut job: Counted<dyn ThreadJob>,
        shift: &mut Shift,
    ) -> Turn<Counted<dyn ThreadJob>> {
        let runtime = job.runtime();
        let _inside = runtime.as_ref().map(Handle::enter);
        let id = runtime.as_ref().map(Handle::id);
        loop {
            self.run(&*job);
            drop(job);
            shift.jobs += 1;
            match self.next(shift) {
                Turn::Run(next, act) if next.runtime_id() == id => {
                    self.shared.perform(act);
                    job = next;
                }
                other => return other,
            }
        }
    }

    /// The next turn after a job: what waits on the desk, or else what the dispatch says.
    fn next(&self, shift: &mut Shift) -> Turn<Counted<dyn ThreadJob>> {
        let Turnover { ended, next } = self.desk.turn_over();
        drop(ended);
        match next {
            Some(job) => Turn::Run(job, Act::Nothing),
            None => {
                shift.let_jobs_gather();
                self.look(shift)
            }
        }
    }

    /// Asks the dispatch, and puts the job that it gives on the desk.
    fn look(&self, shift: &mut Shift) -> Turn<Counted<dyn ThreadJob>> {
        let wish = shift.wish();
        let turn = self.shared.dispatch().look(&shift.member, shift.slept, wish);
        if let Turn::Run(job, _) = &turn {
            shift.pause.end();
            shift.took_several = self.desk.has_waiting();
            self.desk.begin(job);
        }
        turn
    }

    fn limit(&self, nap: Nap) -> Option<Duration> {
        (nap == Nap::KeepAlive).then_some(self.shared.setup.keep_alive)
    }

    /// Runs a job that lies on the desk.
    fn run(&self, job: &dyn ThreadJob) {
        if self.shared.is_killed() {
            job.cancel();
        } else if self.shared.cancels_queued() {
            job.cancel_waiting();
        }
        job.run(&self.spot);
    }

    /// Undoes what `live` has set up.
    fn end(&self) {
        self.shared.clear_desk(&self.desk);
        let ending = Change::Ended(Ending::Retired);
        self.shared.counters.recorders().thread_changed(self.spot.number, ending);
        HERE.set(None);
        self.shared.worker_left();
    }
}

/// What a worker remembers from turn to turn.
struct Shift {
    member: Member<Counted<dyn ThreadJob>>,
    slept: Slept,
    pause: Pause,
    /// When it last asked for jobs, and how many it has run since.
    asked: Instant,
    jobs: u32,
    /// Whether it was given more than one job when it last asked.
    took_several: bool,
    /// How many jobs it takes at a time.
    most: usize,
}

impl Shift {
    /// Where jobs come in great numbers, waits a little after it has last asked: others use the processor, and who submits has
    /// the queue for itself, while more come that can be taken at once.
    fn let_jobs_gather(&self) {
        while self.took_several && self.pause.may_linger() && self.asked.elapsed() < GATHER {
            thread::yield_now();
        }
    }

    fn new(worker: &Worker) -> Self {
        let member = Member { number: worker.number, sleeper: Sleeper::current(), desk: worker.desk.clone() };
        let (slept, pause) = (Slept::Woken, Pause::default());
        Self { member, slept, pause, asked: Instant::now(), jobs: 0, took_several: false, most: 1 }
    }

    /// What to ask for now, by how long the last jobs took.
    fn wish(&mut self) -> Wish {
        let now = Instant::now();
        let asked = std::mem::replace(&mut self.asked, now);
        let jobs = std::mem::take(&mut self.jobs);
        if jobs > 0 {
            self.most = most_of(now.duration_since(asked) / jobs);
        }
        let all = if self.most == MOST { MOST } else { 0 };
        Wish { now, most: self.most, all, eager: self.pause.may_linger() }
    }
}

/// How many jobs that take so long make up the work that a worker takes at a time.
fn most_of(mean: Duration) -> usize {
    let jobs = AHEAD.as_nanos() / mean.as_nanos().max(1);
    usize::try_from(jobs).unwrap_or(MOST).clamp(1, MOST)
}

/// What is left to do if a worker unwinds, which only a bug of this crate can cause: its tasks finish, and another worker
/// takes its place.
struct Guard(Worker);

impl Drop for Guard {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let Worker { shared, number, desk, .. } = &self.0;
        let reason =
            format!("worker {number} of pool {:?} broke down, by a bug in heavylift", shared.setup.name);
        desk.running().iter().for_each(|job| job.fail(&reason));
        shared.perform(shared.dispatch().lost(*number));
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_named_after_its_pool_and_keeps_its_number() {
        let table = [
            ("images", 0, "images-0"),
            ("thumbnails-of-cats", 7, "thumbnails-of-7"),
            ("thumbnails-of-cats", 1234, "thumbnails-1234"),
            ("größenwahnsinnig", 10, "größenwahn-10"),
            ("ääääääää", 5, "ääääää-5"),
            ("", usize::MAX, "-18446744073709551615"),
        ];
        for (pool, number, name) in table {
            assert_eq!(thread_name(pool, number), name);
        }
    }
}
