//! A timeline as [Chrome trace events](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), which
//! Perfetto reads.
//!
//! Written by hand: it is a line of a fixed form for each event, and `serde_json` is no dependency of a program that does not ask for it.

use std::{
    cmp::Reverse,
    fmt,
    io::{self, BufWriter, Write},
};

use super::{Mark, RecordedJob, RecordedWorker, Timeline, escape::Json};

/// The one process.
const POOL: u32 = 1;
/// The thread of worker 0: not that of the process, which would be called its main thread.
const FIRST: u32 = 2;

/// What an event is made of.
#[derive(Clone, Copy)]
enum Event<'a> {
    Run(&'a RecordedJob),
    /// Without a run: in the queue, or an item.
    End(&'a RecordedJob),
    Worker(Mark, &'a RecordedWorker),
    Queued(u64),
}

/// Nanoseconds as the microseconds of the format.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

pub(super) fn write(timeline: &Timeline, writer: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(writer);
    let out = &mut out;
    writeln!(out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"dropped\":{}}},", timeline.dropped())?;
    writeln!(out, "\"traceEvents\":[")?;
    let (pool, kind) = (Json(timeline.pool()), timeline.kind.label());
    write!(out, "{{\"ph\":\"M\",\"pid\":{POOL},\"tid\":0,\"name\":\"process_name\"")?;
    write!(out, ",\"args\":{{\"name\":\"{pool} ({kind} pool)\"}}}}")?;
    let lanes = timeline.lanes() as u32;
    for lane in 0..lanes {
        thread_name(out, FIRST + lane, &format!("worker {lane}"))?;
    }
    let queue = FIRST + lanes;
    thread_name(out, queue, "never began")?;
    for (at, event) in in_order(timeline) {
        out.write_all(b",\n")?;
        match event {
            Event::Run(job) => run(out, at, job)?,
            Event::End(job) => end(out, at, job.worker().map_or(queue, |lane| FIRST + lane), job)?,
            Event::Worker(mark, worker) => change(out, at, mark, worker)?,
            Event::Queued(jobs) => {
                write!(
                    out,
                    "{{\"ph\":\"C\",\"pid\":{POOL},\"tid\":0,\"ts\":{},\"name\":\"queued\"",
                    Micros(at)
                )?;
                write!(out, ",\"args\":{{\"jobs\":{jobs}}}}}")?;
            }
        }
    }
    writeln!(out, "\n]}}")?;
    out.flush()
}

/// All events by time; of those that begin at once the longest first, so that what lies on top of another comes after it.
fn in_order(timeline: &Timeline) -> Vec<(u64, Event<'_>)> {
    let runs = timeline.jobs.iter().filter(|job| job.worker().is_some());
    let runs = runs.map(|job| (job.begun_nanos(), Event::Run(job)));
    let unbegun = timeline.jobs.iter().filter(|job| job.worker().is_none());
    let ends = unbegun.chain(&timeline.failed_items).map(|job| (job.ended, Event::End(job)));
    let workers = timeline.marks().into_iter().map(|(at, mark, worker)| (at, Event::Worker(mark, worker)));
    let queued = timeline.queued.iter().map(|&(at, jobs)| (at, Event::Queued(jobs)));
    let mut all: Vec<_> = runs.chain(ends).chain(workers).chain(queued).collect();
    all.sort_by_key(|(at, event)| {
        let length = if let Event::Run(job) = event { job.ended - job.begun_nanos() } else { 0 };
        (*at, Reverse(length))
    });
    all
}

fn thread_name(out: &mut impl Write, tid: u32, name: &str) -> io::Result<()> {
    write!(out, ",\n{{\"ph\":\"M\",\"pid\":{POOL},\"tid\":{tid},\"name\":\"thread_name\"")?;
    writeln!(out, ",\"args\":{{\"name\":\"{}\"}}}},", Json(name))?;
    write!(out, "{{\"ph\":\"M\",\"pid\":{POOL},\"tid\":{tid},\"name\":\"thread_sort_index\"")?;
    write!(out, ",\"args\":{{\"sort_index\":{tid}}}}}")
}

fn run(out: &mut impl Write, at: u64, job: &RecordedJob) -> io::Result<()> {
    let (tid, length) = (FIRST + job.lane, Micros(job.ended - at));
    write!(out, "{{\"ph\":\"X\",\"pid\":{POOL},\"tid\":{tid},\"ts\":{},\"dur\":{length}", Micros(at))?;
    arguments(out, job)
}

fn end(out: &mut impl Write, at: u64, tid: u32, job: &RecordedJob) -> io::Result<()> {
    write!(out, "{{\"ph\":\"i\",\"s\":\"t\",\"pid\":{POOL},\"tid\":{tid},\"ts\":{}", Micros(at))?;
    arguments(out, job)
}

fn arguments(out: &mut impl Write, job: &RecordedJob) -> io::Result<()> {
    write!(out, ",\"name\":\"{}\",\"cat\":\"job\",\"args\":{{\"task\":{}", Json(job.name()), job.id())?;
    if job.items > 1 {
        write!(out, ",\"items\":{}", job.items)?;
    }
    if let Some(pid) = job.pid() {
        write!(out, ",\"pid\":{pid}")?;
    }
    if job.waited != u64::MAX {
        write!(out, ",\"queue_wait_us\":{}", Micros(job.waited))?;
    }
    write!(out, ",\"outcome\":\"{}\"", job.end().label())?;
    if let Some(error) = job.error() {
        write!(out, ",\"error\":\"{}\"", Json(error))?;
    }
    write!(out, "}}}}")
}

fn change(out: &mut impl Write, at: u64, mark: Mark, worker: &RecordedWorker) -> io::Result<()> {
    let tid = FIRST + worker.number;
    write!(out, "{{\"ph\":\"i\",\"s\":\"t\",\"pid\":{POOL},\"tid\":{tid},\"ts\":{}", Micros(at))?;
    write!(out, ",\"name\":\"{}\",\"cat\":\"worker\",\"args\":{{", mark.text())?;
    write!(out, "\"worker\":{}", worker.number)?;
    if let Some(pid) = worker.pid {
        write!(out, ",\"pid\":{pid}")?;
    }
    let is_end = matches!(mark, Mark::Killed | Mark::Died);
    if let Some(why) = worker.why().filter(|_| is_end) {
        write!(out, ",\"why\":\"{}\"", Json(why))?;
    }
    write!(out, "}}}}")
}
