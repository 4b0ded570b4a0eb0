//! The manager: the thread that starts the zygote, has it fork workers, and ends the pool.
//!
//! ```text
//! no zygote ──start──▶ greeted ──ready──▶ serving ──fork──▶ serving
//!     ▲                   │ failed, silent      │ died, silent
//!     └──────back-off─────┴─────────────────────┘
//! pool closed, queue empty, all workers gone ──▶ zygote left, latch opened, thread ends
//! ```

use std::{
    hash::{BuildHasher, RandomState},
    io,
    os::fd::{AsFd, OwnedFd},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{
    backoff::Backoff,
    copier::{Copier, Pipe},
    link::Link,
    schedule::Start,
    shared::Shared,
    sink::{Printer, Sink, Stream},
    worker::{Parts, Worker},
    zygote::{Zygote, explain},
};
#[cfg(feature = "tracing")]
use crate::process::sys::stream_pair;
use crate::{
    error::ExitCause,
    process::{
        message::{Exit, Notice, Order},
        sys::{Bell, ClosedInCopies, Interest, Mapped, Socket, wait},
    },
};

/// How often zygotes that should be gone are looked at.
const REAP_AGAIN: Duration = Duration::from_millis(20);
/// How long a zygote that was left may take to exit before it is killed.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Runs the manager of a pool.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut manager = Manager {
        shared,
        zygote: None,
        replaced: Vec::new(),
        left: Vec::new(),
        copier: None,
        backoff: Backoff::default(),
        not_before: None,
        next_ticket: 0,
        next_zygote: 0,
    };
    let outcome = crate::panic::catch(|| manager.serve());
    if let Err(report) = outcome {
        // Our own bug: the tasks must not wait for ever.
        shared.schedule().closing.get_or_insert(super::schedule::Closing {
            mode: crate::Shutdown::Kill,
            before: shared.counters().outcomes(),
        });
        shared.fail_queued(&format!("the pool's manager failed: {}", report.into_summary()));
    }
    shared.end();
}

struct Manager<'a> {
    shared: &'a Arc<Shared>,
    zygote: Option<Zygote>,
    /// Zygotes that no longer answer, until their last worker is gone: their workers would die with them.
    replaced: Vec<Zygote>,
    /// Zygotes that were told to end, until they have exited.
    left: Vec<Left>,
    copier: Option<Arc<Copier>>,
    backoff: Backoff,
    /// No start before this.
    not_before: Option<Instant>,
    next_ticket: u64,
    next_zygote: u64,
}

/// A zygote that was told to end.
struct Left {
    child: Child,
    /// Tells of its exit.
    pidfd: Option<OwnedFd>,
    /// It has had time enough, then.
    kill_at: Instant,
}

impl Manager<'_> {
    fn serve(&mut self) {
        loop {
            self.hear();
            self.reap();
            self.judge_starts();
            if self.shared.schedule().is_over() {
                return self.end();
            }
            let started = self.start_workers();
            if !started {
                self.wait();
            }
        }
    }

    fn wait(&self) {
        let bell = self.shared.bell().expect("the bell is there before the manager");
        let control = self.zygote.as_ref().map_or(Interest::Nothing, |zygote| Interest::Read(zygote.as_fd()));
        let wanted = self.wanted() > 0;
        let again = (!self.left.is_empty() || !self.replaced.is_empty()).then(|| Instant::now() + REAP_AGAIN);
        let deadline = [self.not_before.filter(|_| wanted), again].into_iter().flatten().min();
        wait([Interest::Read(bell.as_fd()), control], deadline);
        bell.silence();
    }

    fn wanted(&self) -> usize {
        self.shared.schedule().to_start(self.shared.config().min_workers)
    }

    /// Starts what is wanted, one worker at a time. Says whether there may be more to do.
    fn start_workers(&mut self) -> bool {
        if self.wanted() == 0 || self.not_before.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        if let Err(reason) = self.start_worker() {
            self.failed(&reason);
        }
        true
    }

    fn start_worker(&mut self) -> Result<(), String> {
        self.ensure_zygote()?;
        let shared = self.shared;
        let parts = self.fork()?;
        shared.employ(Worker::new(parts))
    }

    /// A start has failed: pauses, and gives up on what is queued when it was one too many.
    fn failed(&mut self, reason: &str) {
        let verdict = self.backoff.failed(jitter());
        self.not_before = Some(Instant::now() + verdict.pause);
        let mut schedule = self.shared.schedule();
        // While one worker serves, what is queued will be run.
        if verdict.give_up && !schedule.has_serving() {
            schedule.to_replace = 0;
            drop(schedule);
            self.shared.fail_queued(reason);
        }
    }

    fn judge_starts(&mut self) {
        loop {
            let start = self.shared.schedule().starts.pop_front();
            match start {
                Some(Start::Succeeded) => self.backoff.succeeded(),
                Some(Start::Failed(reason)) => self.failed(&reason),
                Some(Start::Unneeded) => {}
                None => return,
            }
        }
    }
}

/// The zygote.
impl Manager<'_> {
    fn ensure_zygote(&mut self) -> Result<(), String> {
        if self.zygote.is_some() {
            return Ok(());
        }
        let copier = self.copier()?;
        self.next_zygote += 1;
        let zygote = Zygote::start(self.shared.config(), self.next_zygote)
            .map_err(|why| format!("the worker side cannot start: {why}"))?;
        let printer = Printer { worker: None, pid: zygote.pid() };
        self.watch(
            &copier,
            printer,
            [
                Some((&zygote.stderr, Stream::Stderr)),
                zygote.stdout.as_ref().map(|stdout| (stdout, Stream::Stdout)),
                None,
            ],
        );
        self.zygote = Some(zygote);
        match self.hear_until(|notice| matches!(notice, Notice::Ready | Notice::Failed(_)), "start") {
            Ok((Notice::Ready, _)) => Ok(()),
            Ok((Notice::Failed(reason), _)) => Err(self.zygote_failed(&reason)),
            Ok(_) => Err(self.zygote_failed("it broke the protocol")),
            Err(reason) => Err(self.zygote_failed(&reason)),
        }
    }

    /// The zygote could not start: says why, with how it ended and the last of its standard error.
    fn zygote_failed(&mut self, reason: &str) -> String {
        let Some(mut zygote) = self.zygote.take() else { return reason.to_owned() };
        let stderr = zygote.stderr.clone();
        let patience = Instant::now() + Duration::from_millis(100);
        while zygote.exit_status().is_none() && Instant::now() < patience {
            wait([Interest::Nothing], Some(Instant::now() + Duration::from_millis(2)));
        }
        let status = zygote.kill().map_or_else(String::new, |status| format!(": {status}"));
        stderr.finish();
        let tail = stderr.tail();
        let tail = tail.trim_end();
        let tail = if tail.is_empty() { String::new() } else { format!("; its standard error ends: {tail}") };
        format!("the worker side did not start: {reason}{status}{tail}")
    }

    /// Waits for one of the zygote's messages, and deals with the others meanwhile.
    fn hear_until(
        &mut self,
        wanted: impl Fn(&Notice) -> bool,
        what: &str,
    ) -> Result<(Notice, Vec<OwnedFd>), String> {
        let limit = self.shared.config().start_timeout;
        let deadline = Instant::now() + limit;
        loop {
            let Some(zygote) = &self.zygote else { return Err("it is gone".to_owned()) };
            match zygote.hear() {
                Ok(Some((notice, fds))) if wanted(&notice) => return Ok((notice, fds)),
                Ok(Some((notice, _))) => self.note(notice),
                Ok(None) if Instant::now() >= deadline => {
                    return Err(format!("it did not {what} in time (start_timeout is {limit:?})"));
                }
                Ok(None) if self.is_killed() => return Err("the pool was shut down meanwhile".to_owned()),
                Ok(None) => {
                    let bell = self.shared.bell().expect("the bell is there before the manager");
                    wait([Interest::Read(zygote.as_fd()), Interest::Read(bell.as_fd())], Some(deadline));
                    bell.silence();
                }
                Err(error) => return Err(format!("it ended ({})", explain(&error))),
            }
        }
    }

    /// Whether nothing is left to start for.
    fn is_killed(&self) -> bool {
        self.shared.schedule().is_finishing()
    }

    /// Deals with every message that has come.
    fn hear(&mut self) {
        if self.zygote.as_ref().is_some_and(|zygote| !self.hear_all(zygote)) {
            self.leave_zygote();
        }
        let replaced = std::mem::take(&mut self.replaced);
        for zygote in replaced {
            if self.hear_all(&zygote) && self.shared.schedule().needs_zygote(zygote.serial) {
                self.replaced.push(zygote);
            } else {
                self.leave(zygote);
            }
        }
    }

    /// Deals with every message that a zygote has sent. Says whether it lives.
    fn hear_all(&self, zygote: &Zygote) -> bool {
        loop {
            match zygote.hear() {
                Ok(Some((notice, _))) => self.note(notice),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn note(&self, notice: Notice) {
        // A fork that is no longer waited for is not a worker: its socket is closed, so it exits.
        let Notice::Exited { ticket, cause } = notice else { return };
        let cause = match cause {
            Exit::Code(code) => ExitCause::Code(code),
            Exit::Signal(signal) => ExitCause::Signal(signal),
            Exit::Unknown => ExitCause::Unknown,
        };
        self.shared.tell_exit(ticket, cause);
    }

    /// Gives the zygote up: it kills what it has forked, and exits.
    fn leave_zygote(&mut self) {
        if let Some(zygote) = self.zygote.take() {
            self.leave(zygote);
        }
    }

    fn leave(&mut self, zygote: Zygote) {
        let child = zygote.leave();
        let pidfd = watch(&child).ok();
        self.left.push(Left { child, pidfd, kill_at: Instant::now() + LEAVE_WITHIN });
    }

    /// Reaps zygotes that were given up.
    fn reap(&mut self) {
        let now = Instant::now();
        self.left.retain_mut(|left| match left.child.try_wait() {
            Ok(None) => {
                if now >= left.kill_at {
                    let _ = left.child.kill();
                }
                true
            }
            // Gone, or reaped by somebody who ignores or collects all children.
            Ok(Some(_)) | Err(_) => false,
        });
    }

    /// Ends the pool's threads and its zygote.
    fn end(&mut self) {
        self.leave_zygote();
        while let Some(zygote) = self.replaced.pop() {
            self.leave(zygote);
        }
        while let Some(left) = self.left.first() {
            let exit = left.pidfd.as_ref().map_or(Interest::Nothing, |pidfd| Interest::Read(pidfd.as_fd()));
            wait([exit], Some(left.kill_at.min(Instant::now() + REAP_AGAIN)));
            self.reap();
        }
        if let Some(copier) = self.copier.take() {
            copier.end();
        }
    }
}

/// Workers.
impl Manager<'_> {
    fn fork(&mut self) -> Result<Parts, String> {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let number = self.shared.free_number();
        let (socket, theirs) = Socket::pair().map_err(|error| explain(&error))?;
        let (arena, arena_fd) = Mapped::create().map_err(|error| explain(&error))?;
        let (stderr, stderr_fd) = Pipe::new().map_err(|error| explain(&error))?;
        let stdout = self.shared.config().output.is_told().then(Pipe::new).transpose();
        let (stdout, stdout_fd) = stdout.map_err(|error| explain(&error))?.unzip();
        let (events, events_fd) = self.events_pipe().map_err(|error| explain(&error))?.unzip();
        let bell = Bell::new().map_err(|error| explain(&error))?;
        // Until the worker has them: the answer to the order takes its time.
        let _in_copies = [socket.as_fd(), theirs.as_fd(), arena_fd.as_fd(), stderr_fd.as_fd()]
            .into_iter()
            .chain(stdout_fd.iter().chain(&events_fd).map(AsFd::as_fd))
            .map(|fd| ClosedInCopies::new(&fd))
            .collect::<Vec<_>>();
        let copier = self.copier()?;
        let zygote = self.zygote.as_ref().ok_or("the zygote is gone")?;
        let serial = zygote.serial;
        let leaf = zygote.make_leaf(ticket, self.shared.config())?;
        let mut fds = vec![theirs.as_fd(), arena_fd.as_fd(), stderr_fd.as_fd()];
        fds.extend(stdout_fd.iter().chain(&events_fd).map(AsFd::as_fd));
        let ordered = zygote.order(&Order::Fork { ticket, number }, &fds);
        let forked = match ordered {
            Ok(()) => self.hear_until(|notice| is_answer(notice, ticket), "fork a worker"),
            Err(error) => Err(error.to_string()),
        };
        match forked {
            Ok((Notice::Forked { pid, .. }, fds)) => {
                let pidfd = fds.into_iter().next().ok_or("the zygote sent no pidfd")?;
                let streams = [
                    Some((&stderr, Stream::Stderr)),
                    stdout.as_ref().map(|stdout| (stdout, Stream::Stdout)),
                    events.as_ref().map(|events| (events, Stream::Events)),
                ];
                self.watch(&copier, Printer { worker: Some(number), pid }, streams);
                Ok(Parts {
                    ticket,
                    zygote: serial,
                    number,
                    pid,
                    pidfd,
                    socket,
                    bell,
                    stderr,
                    stdout,
                    events,
                    leaf,
                    link: Link::new(arena),
                })
            }
            Ok((Notice::NotForked { why, .. }, _)) => Err(format!("a worker cannot be forked: {why}")),
            Ok(_) => Err("the zygote broke the protocol".to_owned()),
            Err(reason) => {
                // It answers no more: the next start makes another.
                self.replaced.extend(self.zygote.take());
                Err(format!("the zygote failed: {reason}"))
            }
        }
    }

    /// Has the output of a process handed on.
    fn watch(&self, copier: &Copier, printer: Printer, streams: [Option<(&Arc<Pipe>, Stream)>; 3]) {
        for (pipe, stream) in streams.into_iter().flatten() {
            copier.watch(pipe.clone(), Sink::new(self.shared.config(), printer, stream));
        }
    }

    /// The stream of a worker's events, and its end for the worker, where they are told.
    #[cfg(feature = "tracing")]
    fn events_pipe(&self) -> io::Result<Option<(Arc<Pipe>, OwnedFd)>> {
        if !self.shared.config().output.is_told() {
            return Ok(None);
        }
        let (ours, theirs) = stream_pair()?;
        Ok(Some((Pipe::over(ours)?, theirs)))
    }

    #[cfg(not(feature = "tracing"))]
    fn events_pipe(&self) -> io::Result<Option<(Arc<Pipe>, OwnedFd)>> {
        Ok(None)
    }

    /// The thread that hands output on, started on first use. Without it workers would block on a full pipe.
    fn copier(&mut self) -> Result<Arc<Copier>, String> {
        if let Some(copier) = &self.copier {
            return Ok(copier.clone());
        }
        let copier = Copier::start(&self.shared.config().name).map_err(|error| {
            format!("the thread for the output of workers cannot start: {}", explain(&error))
        })?;
        self.copier = Some(copier.clone());
        Ok(copier)
    }
}

/// Opens the pidfd of a child that has not been reaped, so that the pid is its own.
fn watch(child: &Child) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn is_answer(notice: &Notice, expected: u64) -> bool {
    match notice {
        Notice::Forked { ticket, .. } | Notice::NotForked { ticket, .. } => *ticket == expected,
        _ => false,
    }
}

/// A number between 0 and 1 that differs from call to call.
pub(super) fn jitter() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
