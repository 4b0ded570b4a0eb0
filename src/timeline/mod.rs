//! [`Recording`] of a pool, and the [`Timeline`] that comes of it: as plain data, as a trace, as a picture.
//!
//! What is recorded, and how, is `record`'s. Here it is put together: which run belongs to which task, which worker was where, how
//! many jobs waited when. All of that is pure.

mod depth;
mod escape;
mod recorded;
mod recording;
mod svg;
#[cfg(test)]
mod tests;
mod trace;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

pub use recorded::{JobEnd, RecordedJob, RecordedWorker, WorkerEnd};
pub use recording::Recording;

use crate::{
    TaskId,
    clock::Stamp,
    pool::registry::Kind,
    record::{
        Change, Ending, Failure, JobRecord, Lane, Place, Queued, Running, Stage, Taken, UNKNOWN, WorkerRecord,
    },
};
use depth::steps;

/// Two times that were read in different ways differ by no more, in nanoseconds.
const SAME_TIME: u64 = 1_000;

/// What the workers of a pool did while it was [recorded](crate::Recording).
///
/// All times are counted from the beginning of the recording.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::{JobEnd, ThreadPool};
///
/// let recording = ThreadPool::cpu().record();
/// let task = ThreadPool::cpu().job(|| -> u32 { panic!("no luck") }).name("unlucky").run();
/// assert!(task.await.is_err());
/// let timeline = recording.stop();
/// let unlucky = timeline.failures().next().ok_or("it has failed")?;
/// assert_eq!(unlucky.name(), "unlucky");
/// assert!(unlucky.error().is_some_and(|text| text.ends_with("no luck")));
/// assert!(unlucky.ended() <= timeline.duration());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Timeline {
    pool: String,
    kind: Kind,
    /// From when on it has everything, and how long it is.
    begins: u64,
    length: u64,
    /// By their ends; runs have a worker, the others have none.
    jobs: Vec<RecordedJob>,
    failed_items: Vec<RecordedJob>,
    workers: Vec<RecordedWorker>,
    queued: Vec<(u64, u64)>,
    dropped: u64,
}

/// What a timeline is made of.
struct Parts<'a> {
    pool: &'a str,
    kind: Kind,
    since: Stamp,
    until: Stamp,
    taken: Taken,
    /// The workers when the recording began and when it ended.
    before: &'a [Lane],
    now: &'a [Lane],
    queued_now: u64,
}

impl Timeline {
    fn new(parts: Parts<'_>) -> Self {
        let Parts { pool, kind, since, until, taken, before, now, queued_now } = parts;
        let after = |at: Stamp| at.since(since).as_nanos() as u64;
        let length = after(until).max(1);
        let mut staff = Staff::new(&taken.workers, before, now, since);
        staff.remember(&taken.places, kind);
        let begins = after(taken.begins);
        let looks = taken.queued.iter().map(|&Queued { at, jobs }| (at, jobs));
        let looks: Vec<_> = looks.chain([(until, queued_now)]).collect();
        let queued = steps(&taken.jobs, &looks, since.max(taken.begins), until);
        let queued = queued.into_iter().map(|(at, jobs)| (after(at), jobs)).collect();
        let mut book = Book::new(&taken.jobs, now, since);
        let mut jobs = Vec::with_capacity(taken.jobs.len());
        let mut failed_items = Vec::new();
        for record in taken.jobs {
            match record.failure.as_ref().map(|failure| failure.stage) {
                Some(Stage::Item) => failed_items.push(book.job(record, &staff)),
                Some(Stage::Abandoned) => {}
                _ => jobs.push(book.job(record, &staff)),
            }
        }
        jobs.extend(now.iter().filter_map(|lane| book.running(lane, until)));
        let mut timeline = Self {
            pool: pool.to_owned(),
            kind,
            begins: begins.min(length - 1),
            length,
            jobs,
            failed_items,
            workers: staff.workers,
            queued,
            dropped: taken.dropped,
        };
        timeline.put_runs_in_line();
        timeline.find_workers_of_items();
        timeline
    }

    /// Runs follow one another on a worker: makes up for clocks that are read in two ways.
    ///
    /// On a thread a job may also run another that it waits for. A process has one at a time, whose times it says itself; they are as exact
    /// as this program's threads get to run.
    fn put_runs_in_line(&mut self) {
        let most = if self.kind == Kind::Processes { u64::MAX } else { SAME_TIME };
        let mut order: Vec<usize> =
            (0..self.jobs.len()).filter(|&at| self.jobs[at].lane != UNKNOWN).collect();
        order.sort_by_key(|&at| (self.jobs[at].lane, self.jobs[at].ended));
        for pair in order.windows(2) {
            let before = (self.jobs[pair[0]].lane, self.jobs[pair[0]].ended);
            let job = &mut self.jobs[pair[1]];
            let overlap = before.1.saturating_sub(job.ended.saturating_sub(job.ran));
            if before.0 == job.lane && overlap <= most {
                job.ran -= overlap.min(job.ran);
            }
        }
    }

    /// A failed item of a process's belongs to the run that it was a part of.
    fn find_workers_of_items(&mut self) {
        // Threads share the items of a chunk as they come.
        if self.kind != Kind::Processes || self.failed_items.iter().all(|item| item.lane != UNKNOWN) {
            return;
        }
        let mut runs: Vec<&RecordedJob> = self.jobs.iter().filter(|job| job.lane != UNKNOWN).collect();
        runs.sort_by_key(|run| run.id);
        for item in self.failed_items.iter_mut().filter(|item| item.lane == UNKNOWN) {
            let at = runs.partition_point(|run| run.id <= item.id);
            let run = at.checked_sub(1).map(|at| runs[at]);
            if let Some(run) = run.filter(|run| run.id.plus(run.items) > item.id) {
                (item.lane, item.pid) = (run.lane, run.pid);
            }
        }
    }
}

/// The workers, and where a job's is found.
struct Staff {
    workers: Vec<RecordedWorker>,
    /// By the serial number: the number and the process.
    places: HashMap<u32, (u32, u32)>,
    /// The lane for runs of all processes of which not even that is known. A thread's number is its serial number.
    others: Option<u32>,
    /// The serial numbers of processes that have ended, which do not come back. A thread's may.
    ended: HashSet<u32>,
}

impl Staff {
    fn new(changes: &[WorkerRecord], before: &[Lane], now: &[Lane], since: Stamp) -> Self {
        let mut staff =
            Self { workers: Vec::new(), places: HashMap::new(), others: None, ended: HashSet::new() };
        let mut present = HashMap::new();
        let after = |at: Stamp| at.since(since).as_nanos() as u64;
        for lane in before {
            staff.note(lane.worker, lane.number, lane.pid);
            let started = lane.born.filter(|born| *born >= since).map(after);
            staff.come(&mut present, lane.worker, RecordedWorker::new(lane.number, lane.pid, started));
        }
        for WorkerRecord { worker, number, pid, at, what } in changes {
            staff.note(*worker, *number, *pid);
            match what {
                Change::Started => {
                    staff.come(&mut present, *worker, RecordedWorker::new(*number, *pid, Some(after(*at))));
                }
                Change::Ended(ending) => {
                    staff.come(&mut present, *worker, RecordedWorker::new(*number, *pid, None));
                    if let Some(index) = present.remove(worker) {
                        staff.workers[index].ends(after(*at), ending);
                        staff.ended.extend(pid.map(|_| *worker));
                    }
                }
            }
        }
        for lane in now {
            staff.note(lane.worker, lane.number, lane.pid);
            let started = lane.born.filter(|born| *born >= since).map(after);
            staff.come(&mut present, lane.worker, RecordedWorker::new(lane.number, lane.pid, started));
        }
        staff.workers.sort_by_key(|worker| (worker.number, worker.started, worker.ended));
        staff
    }

    fn note(&mut self, worker: u32, number: u32, pid: Option<u32>) {
        self.places.insert(worker, (number, pid.unwrap_or(0)));
    }

    /// Knows the places of workers that have left the records.
    fn remember(&mut self, places: &[Place], kind: Kind) {
        for &Place { worker, number, pid } in places {
            self.places.entry(worker).or_insert((number, pid.unwrap_or(0)));
        }
        if kind == Kind::Processes {
            self.others = Some(self.places.values().map(|(number, _)| number + 1).max().unwrap_or(0));
        }
    }

    /// A worker is there, unless it was known to be.
    fn come(&mut self, present: &mut HashMap<u32, usize>, worker: u32, new: RecordedWorker) {
        if let Some(&known) = present.get(&worker) {
            let started = &mut self.workers[known].started;
            *started = started.or(new.started.filter(|_| new.pid.is_some()));
            return;
        }
        // One that has left its pool may be in the list of the end for a moment. (Its pid says nothing: another may have it by then.)
        if self.ended.contains(&worker) {
            return;
        }
        present.insert(worker, self.workers.len());
        self.workers.push(new);
    }

    fn place(&self, worker: u32) -> (u32, u32) {
        self.places.get(&worker).copied().unwrap_or((self.others.unwrap_or(worker), 0))
    }
}

/// Which records belong together.
struct Book {
    since: Stamp,
    /// How tasks ended whose jobs ran on.
    abandoned: HashMap<TaskId, Arc<Failure>>,
    /// What ran on each worker at the end, by its serial number, as long as no record says that it has ended.
    running: HashMap<u32, Running>,
}

impl Book {
    fn new(jobs: &[JobRecord], now: &[Lane], since: Stamp) -> Self {
        let failures = jobs.iter().filter_map(|job| Some((job.id, job.failure.as_ref()?)));
        let abandoned = failures.filter(|(_, failure)| failure.stage == Stage::Abandoned);
        let abandoned = abandoned.map(|(id, failure)| (id, failure.clone())).collect();
        let running = now.iter().filter_map(|lane| Some((lane.worker, lane.running.clone()?)));
        // A worker that has a job in hand and has not begun it, or is done with it, does not say since when.
        let running = running.filter(|(_, running)| running.since != Stamp::NEVER);
        Self { since, abandoned, running: running.collect() }
    }

    fn job(&mut self, record: JobRecord, staff: &Staff) -> RecordedJob {
        let JobRecord { id, name, submitted, begun, ended, worker, items, mut failure } = record;
        let is_run = failure.as_ref().is_none_or(|it| matches!(it.stage, Stage::Ran | Stage::Outlived));
        if is_run {
            self.is_over(id, worker, begun, ended);
            if let Some(abandoned) = self.abandoned.get(&id) {
                failure = Some(abandoned.clone());
            }
        }
        let (lane, pid) = if worker == UNKNOWN { (UNKNOWN, 0) } else { staff.place(worker) };
        let waited = (submitted != Stamp::NEVER).then(|| begun.since(submitted).as_nanos() as u64);
        RecordedJob {
            id,
            name,
            waited: waited.unwrap_or(u64::MAX),
            ended: ended.since(self.since).as_nanos() as u64,
            ran: ended.since(begun).as_nanos() as u64,
            lane,
            pid,
            items,
            is_running: false,
            failure,
        }
    }

    /// A run has been recorded: it may be what its worker was seen at.
    ///
    /// The id alone does not say: a job may be run again, and items of a map that run some together all go by the first one's id while
    /// they run. An earlier run has ended when this one began; a later one on top of it begins after it.
    fn is_over(&mut self, id: TaskId, worker: u32, begun: Stamp, ended: Stamp) {
        if let Entry::Occupied(seen) = self.running.entry(worker) {
            let Running { id: running, since, .. } = *seen.get();
            if ended > since && (begun <= since || running == id) {
                seen.remove();
            }
        }
    }

    /// What a worker runs at the end of the recording, unless it has ended meanwhile and was recorded.
    fn running(&self, lane: &Lane, until: Stamp) -> Option<RecordedJob> {
        let running = self.running.get(&lane.worker)?;
        Some(RecordedJob {
            id: running.id,
            name: running.name.clone(),
            waited: u64::MAX,
            ended: until.since(self.since).as_nanos() as u64,
            ran: until.since(running.since).as_nanos() as u64,
            lane: lane.number,
            pid: lane.pid.unwrap_or(0),
            items: 1,
            is_running: true,
            failure: self.abandoned.get(&running.id).cloned(),
        })
    }
}

impl RecordedWorker {
    fn ends(&mut self, at: u64, ending: &Ending) {
        let (end, why) = match ending {
            Ending::Retired => (WorkerEnd::Retired, None),
            Ending::Recycled => (WorkerEnd::Recycled, None),
            Ending::Killed(job) => (WorkerEnd::Killed, Some(job.clone())),
            Ending::Died(how) => (WorkerEnd::Died, Some(how.clone())),
        };
        (self.ended, self.end, self.why) = (Some(at), Some(end), why.filter(|why| !why.is_empty()));
    }
}

/// What it holds.
impl Timeline {
    /// The name of the pool.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// How long the recording took.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.length)
    }

    /// The jobs, in the order of their ends: those that ran, those that never began because their task was cancelled, timed out or
    /// refused before, and at last those that still run.
    ///
    /// A job that was [run again](crate::Job::retry) is there once for each run; one that was [handed back](crate::Refused) was no
    /// task, and is not there. Items of a [`map`](crate::ThreadPool::map) that travelled together are there some together: see
    /// [`RecordedJob::items`].
    pub fn jobs(&self) -> &[RecordedJob] {
        &self.jobs
    }

    /// What did not end with a value, in no special order: jobs, and single items of jobs that are several.
    pub fn failures(&self) -> impl Iterator<Item = &RecordedJob> {
        self.jobs.iter().filter(|job| job.failure.is_some()).chain(&self.failed_items)
    }

    /// The workers, by their numbers and then by time. On rayon's threads all there are.
    pub fn workers(&self) -> &[RecordedWorker] {
        &self.workers
    }

    /// How many jobs waited: since when, and how many then. Some thousand steps at most, the highest among them.
    ///
    /// Exact for jobs that have begun; of those that still waited at the end it was looked at now and then.
    pub fn queued(&self) -> impl ExactSizeIterator<Item = (Duration, u64)> + '_ {
        self.queued.iter().map(|&(at, jobs)| (Duration::from_nanos(at), jobs))
    }

    /// How many records of jobs were dropped because the [limit](crate::Recording::limit) was reached: those before
    /// [`begins`](Self::begins).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// From when on every job is in it: zero, unless records were dropped.
    pub fn begins(&self) -> Duration {
        Duration::from_nanos(self.begins)
    }
}

/// As a file.
impl Timeline {
    /// Writes a trace to a file: see [`write_trace`](Self::write_trace). What the file held before is lost.
    ///
    /// Blocks while it writes: on a runtime, call it in [`run_in_thread_pool`](crate::run_in_thread_pool).
    ///
    /// # Errors
    ///
    /// When the file cannot be created or written.
    pub fn save_trace(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.write_trace(File::create(path)?)
    }

    /// Writes a trace in the JSON of Chrome's trace events, which [Perfetto](https://ui.perfetto.dev) and `chrome://tracing` open.
    ///
    /// The pool is a process there and each worker a thread, with a slice for each run. Its arguments are the task, how long it waited,
    /// how it ended, and the error; the `outcome` is `succeeded`, `running`, or a kind of error in snake case, as `timed_out`. The length
    /// of the queue is a counter; what happened to workers, and tasks that ended without a run, are instants. Times are in microseconds. Some 200 bytes for each job. The writer need not be buffered.
    ///
    /// Blocks while it writes: on a runtime, call it in [`run_in_thread_pool`](crate::run_in_thread_pool).
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_trace(&self, writer: impl Write) -> io::Result<()> {
        trace::write(self, writer)
    }

    /// Writes a picture to a file: see [`write_svg`](Self::write_svg). What the file held before is lost.
    ///
    /// Blocks while it writes: on a runtime, call it in [`run_in_thread_pool`](crate::run_in_thread_pool).
    ///
    /// # Errors
    ///
    /// When the file cannot be created or written.
    pub fn save_svg(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.write_svg(File::create(path)?)
    }

    /// Writes a picture: a lane for each worker, jobs as bars whose colour says how they ended, what happened to workers, and the
    /// length of the queue below.
    ///
    /// It shows each job with its name on hover while there are few. What is narrower than a pixel is drawn together: the height
    /// says how busy the worker was, and no failure is left out. It follows the reader's light or dark, needs nothing beside it, and is
    /// smaller than a megabyte for any number of jobs on 64 workers. The writer need not be buffered.
    ///
    /// Blocks while it writes: on a runtime, call it in [`run_in_thread_pool`](crate::run_in_thread_pool).
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_svg(&self, writer: impl Write) -> io::Result<()> {
        svg::write(self, writer)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("pool", &self.pool)
            .field("duration", &self.duration())
            .field("jobs", &self.jobs.len())
            .field("workers", &self.workers.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// Something that happened to a worker, as it is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Started,
    Restarted,
    Retired,
    Recycled,
    Killed,
    Died,
}

impl Mark {
    fn text(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Restarted => "restarted",
            Self::Retired => "retired",
            Self::Recycled => "recycled",
            Self::Killed => "killed",
            Self::Died => "died",
        }
    }
}

impl Timeline {
    /// What happened to workers, and when. By their numbers, then by time.
    fn marks(&self) -> Vec<(u64, Mark, &RecordedWorker)> {
        let mut marks = Vec::new();
        let mut before: Option<&RecordedWorker> = None;
        for worker in &self.workers {
            let lost = before.filter(|before| before.number == worker.number).and_then(|before| before.end);
            let is_restart = matches!(lost, Some(WorkerEnd::Killed | WorkerEnd::Died));
            let start = if is_restart { Mark::Restarted } else { Mark::Started };
            marks.extend(worker.started.map(|at| (at, start, worker)));
            let end = worker.end.map(|end| match end {
                WorkerEnd::Retired => Mark::Retired,
                WorkerEnd::Recycled => Mark::Recycled,
                WorkerEnd::Killed => Mark::Killed,
                WorkerEnd::Died => Mark::Died,
            });
            marks.extend(worker.ended.zip(end).map(|(at, mark)| (at, mark, worker)));
            before = Some(worker);
        }
        marks
    }

    /// One more than the highest number of a worker.
    fn lanes(&self) -> usize {
        let of_workers = self.workers.iter().map(|worker| worker.number);
        let jobs = self.jobs.iter().chain(&self.failed_items);
        let of_runs = jobs.map(|job| job.lane).filter(|&lane| lane != UNKNOWN);
        of_workers.chain(of_runs).max().map_or(0, |last| last as usize + 1)
    }
}
