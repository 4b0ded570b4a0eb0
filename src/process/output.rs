//! [`Output`]: what becomes of what workers print.

/// What becomes of what a pool's workers print, on their standard output and standard error. Chosen by
/// [`capture_output`](crate::ProcessPoolBuilder::capture_output).
///
/// In every case the end of a worker's standard error is kept, for the error of a job that dies with it
/// ([`WorkerExit::stderr_tail`](crate::WorkerExit::stderr_tail)): it comes through a pipe anyway, and keeping 4 KiB of it costs
/// next to nothing. After each job a worker flushes the standard output of Rust and that of C.
///
/// # When nobody reads
///
/// What has come and could not be handed on is kept up to 64 KiB a stream; a job that prints more than that, and more than a
/// pipe holds, waits in its `print!` until somebody reads, as any program does on a terminal that was stopped. Its
/// `run_timeout` goes on meanwhile. Other jobs, and the pool's own threads, wait for nothing; of what is left to hand on when
/// a job or a worker ends, up to 1 MiB is kept and the rest is dropped and counted. Where there is nobody to read, because
/// the program's standard error is closed, everything is read and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Output {
    /// Standard output is the program's own; standard error is passed on to the program's, unchanged. The default.
    #[default]
    Inherit,
    /// Each line is an event for the program's [`tracing`] subscriber, at level `INFO`, with the target `heavylift::worker`; and so is each
    /// event of the workers themselves: see below.
    ///
    /// | field | |
    /// |---|---|
    /// | `message` | the line, without its end; what is no UTF-8 is replaced |
    /// | `pool` | the pool's name |
    /// | `worker`, `pid` | number and pid of the worker; without a number it is the process from which workers are forked |
    /// | `task`, `task_name` | id and name of the task whose job ran; absent before the first, after the last and between two |
    /// | `stream` | `stdout` or `stderr` |
    /// | `cut` | whether the line goes on in the next event: those over 8 KiB come in pieces |
    ///
    /// A last line without an end is delivered when its job ends or its worker dies; what a killed job had not flushed is lost.
    /// Events come soon after the line, not necessarily before the task finishes; all have come when a
    /// [`shutdown`](crate::ProcessPool::shutdown) resolves, unless the subscriber takes longer than a second. They are made on a
    /// thread of the pool's own, as children of the [job's span](crate::trace), for the subscriber that has that; without one it is
    /// the *global* subscriber that gets them. One that panics loses the event; one that blocks holds up the events of this pool,
    /// and what prints.
    ///
    /// # The workers' own events
    ///
    /// Where neither `preload` nor `initializer` sets a subscriber, a worker gets one that sends each event to the program: those of the levels that the
    /// program's subscriber wants when the job is sent. They come as the lines do, at their own level, and with other fields:
    ///
    /// | field | |
    /// |---|---|
    /// | `message` | its message |
    /// | `worker.target` | its target: that of the event here is `heavylift::worker`, for a filter has to know it beforehand |
    /// | `fields` | its other fields, as text: `n=3 name="x"` |
    /// | `worker.spans` | the spans of the worker that it was said inside, as text: `request{id=3}:decode` |
    /// | `pool`, `worker`, `pid`, `task`, `task_name` | as above |
    /// | `cut` | whether something was left out: of a message more than 4 KiB, of the fields more than 2 KiB, of the spans 1 KiB, of a target 256 bytes |
    ///
    /// Events of one worker keep their order; between them and lines there is none. What a worker said before it died is told. A job that says more than a socket holds waits as one that prints. A worker that
    /// sends what is no event loses what it says until the job ends, and an event says so.
    ///
    /// `Span::current()` knows of no span in such a worker. A job that sets a global subscriber finds one there: do that in [`initializer`](crate::ProcessPoolBuilder::initializer).
    ///
    /// # Which job a line belongs to
    ///
    /// Before a job is sent to a worker, and as soon as its reply is there, everything that the worker has printed is taken
    /// out of its pipes. So what a job itself prints is never ascribed to another. What cannot be known is who prints while
    /// a job runs: a thread or a child process that an earlier one has left behind writes to the same pipe, and its lines
    /// are ascribed to the job that runs at the time.
    ///
    /// The price is that jobs are not sent ahead: a worker gets the next one when it has answered the last, which costs short
    /// jobs (below some 100 µs) throughput.
    ///
    /// Needs the feature `tracing`.
    #[cfg(feature = "tracing")]
    Tracing,
    /// Nothing is printed: standard output is /dev/null, and of standard error only the end is kept.
    Null,
}

#[cfg(target_os = "linux")]
impl Output {
    /// Whether lines are told one by one, each with its task.
    pub(super) fn is_told(self) -> bool {
        match self {
            #[cfg(feature = "tracing")]
            Self::Tracing => true,
            Self::Inherit | Self::Null => false,
        }
    }
}
