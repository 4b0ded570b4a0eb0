//! [`Worker`]: one worker process, as the program sees it.

use std::{
    borrow::Cow,
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::process::{Signal, pidfd_send_signal};

use super::{
    copier::{Owner, Pipe},
    forgotten::Forgotten,
    link::{Condemned, Flight, Link, Stop},
    seat::ProcessJob,
};
use crate::{
    TaskId, WorkerExit,
    clock::Stamp,
    error::{ExitCause, TaskLabel},
    metrics::Measured,
    process::{
        ring::Look,
        sys::{Bell, ClosedInCopies, Leaf, Moment, Socket, exit_of_zombie},
    },
    record::{Lane, LaneState, Running},
};

/// How long a dead worker's exit status is waited for.
const STATUS_WAIT: Duration = Duration::from_millis(100);

/// One worker process. Shared by its keeper, the pool's schedule, and the tasks whose jobs it was sent.
pub(in crate::process) struct Worker {
    pub(super) ticket: u64,
    /// The serial number of the zygote that forked it.
    pub(super) zygote: u64,
    pub(super) number: u32,
    pub(super) pid: u32,
    // Before the descriptors.
    _in_copies: [ClosedInCopies; 2],
    pub(super) pidfd: OwnedFd,
    pub(super) socket: Socket,
    /// Wakes the keeper.
    pub(super) bell: Bell,
    /// Shared memory that it is to let go of.
    pub(super) forgotten: Forgotten,
    pub(super) stderr: Arc<Pipe>,
    /// Where standard output is not the program's own.
    stdout: Option<Arc<Pipe>>,
    /// Where events are told.
    events: Option<Arc<Pipe>>,
    pub(super) born: Instant,
    /// Whether it has come to serve.
    ///
    /// ORDERING: Relaxed. The schedule's lock orders it with what depends on it.
    pub(super) serves: AtomicBool,
    /// Whether the schedule counts it among those that have a place and start.
    ///
    /// ORDERING: Relaxed, as above.
    pub(super) awaited: AtomicBool,
    /// Its cgroup, if the pool has one for each worker.
    leaf: Option<Leaf>,
    /// Taken after the schedule's lock, if both are needed.
    link: Mutex<Link>,
    /// How the process exited, once the zygote has told; taken alone.
    exit: Mutex<Option<ExitCause>>,
    exited: Condvar,
}

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) ticket: u64,
    pub(super) zygote: u64,
    pub(super) number: u32,
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) socket: Socket,
    pub(super) bell: Bell,
    pub(super) stderr: Arc<Pipe>,
    pub(super) stdout: Option<Arc<Pipe>>,
    pub(super) events: Option<Arc<Pipe>>,
    pub(super) leaf: Option<Leaf>,
    pub(super) link: Link,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts { ticket, zygote, number, pid, pidfd, socket, bell, .. } = parts;
        let Parts { stderr, stdout, events, leaf, link, .. } = parts;
        Arc::new(Self {
            ticket,
            zygote,
            number,
            pid,
            _in_copies: [ClosedInCopies::new(&pidfd), ClosedInCopies::new(&socket)],
            pidfd,
            socket,
            bell,
            forgotten: Forgotten::default(),
            stderr,
            stdout,
            events,
            born: Instant::now(),
            serves: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            leaf,
            link: Mutex::new(link),
            exit: Mutex::new(None),
            exited: Condvar::new(),
        })
    }

    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the worker has measured of its jobs, as far as that can be true.
    pub(super) fn measured(&self) -> Measured {
        Measured(self.link().ring.figures()).limited(self.born.elapsed())
    }

    /// What it does at this moment; idle means that nothing else is known than that it serves.
    pub(super) fn lane(&self, state: LaneState) -> Lane {
        let mut link = self.link();
        let now = Moment::now();
        let running = link.running(now.ns).map(|(flight, begun_ns)| {
            let TaskLabel { id, name, .. } = flight.job.label().clone();
            Running { id, name, since: Stamp::of(flight.began_at(begun_ns, now)) }
        });
        drop(link);
        let state = match state {
            LaneState::Idle | LaneState::StandingBy if !self.serves.load(Relaxed) => LaneState::Starting,
            LaneState::Idle if running.is_some() => LaneState::Busy,
            other => other,
        };
        let (number, pid, born) = (self.number, Some(self.pid), Some(Stamp::of(self.born)));
        Lane { worker: self.ticket as u32, number, pid, born, state, running }
    }

    /// Whether it has had a job.
    pub(super) fn is_used(&self) -> bool {
        let link = self.link();
        link.answered > 0 || !link.flights.is_empty()
    }

    /// Stops a job that this worker was sent: takes it back, or begins to settle the worker under it (steps 1 to 3).
    ///
    /// Returns the other jobs that were taken back, to be run elsewhere, and the position for which the worker is to be
    /// [signalled](Self::signal_for) once these have their old places again: before it is dead, nobody takes its place and what
    /// comes after them.
    pub(super) fn stop(&self, task: TaskId, grace: Duration) -> (Vec<Flight>, Option<u64>) {
        let mut link = self.link();
        match link.stop(task) {
            Stop::Nothing => (Vec::new(), None),
            Stop::Suspect => {
                drop(link);
                self.bell.ring();
                (Vec::new(), None)
            }
            Stop::TakenBack(flight) => {
                drop(link);
                // It may have nothing to do now, and be on no list.
                self.bell.ring();
                crate::panic::drop_shielded(flight);
                (Vec::new(), None)
            }
            Stop::Running(position) => {
                let (runs, taken) = link.condemn_for(position, grace);
                (taken, runs.then_some(position))
            }
        }
    }

    /// Signals the worker for the job at `position`, for which it was condemned, if that still runs (step 4).
    pub(super) fn signal_for(&self, position: u64, grace: Duration) {
        let mut link = self.link();
        if link.condemned.is_some_and(|condemned| condemned.position == Some(position)) {
            if matches!(link.ring.look(position), Look::Claimed { .. }) {
                self.request_end(grace);
            } else {
                link.condemned = None;
            }
        }
        drop(link);
        self.bell.ring();
    }

    /// Whether it has no job, and is to have some.
    pub(super) fn is_without_jobs(&self) -> bool {
        let link = self.link();
        link.flights.is_empty() && link.condemned.is_none()
    }

    /// Takes a job back if it has not begun; says whether that was so.
    pub(super) fn take_back(&self, task: TaskId) -> bool {
        let mut link = self.link();
        let position =
            link.flights.iter().find(|flight| flight.job.id() == task).map(|flight| flight.position);
        let Some(position) = position else { return false };
        if !link.ring.take_back(position) {
            return false;
        }
        let flight = link.remove(position);
        drop(link);
        self.bell.ring();
        crate::panic::drop_shielded(flight);
        true
    }

    /// The polite signal if there is a grace, otherwise SIGKILL. The caller holds the link and has seen the job run.
    fn request_end(&self, grace: Duration) {
        if grace.is_zero() {
            self.kill();
        } else {
            self.signal(Signal::TERM);
            self.signal(Signal::CONT);
        }
    }

    /// Kills the worker once its grace is over, if the job that it was condemned for still runs.
    ///
    /// If the job has ended in time the worker is pardoned.
    pub(super) fn carry_out(&self, link: &mut Link, now: Instant) {
        let Some(Condemned { position: Some(position), kill_at: Some(kill_at), note, .. }) = link.condemned
        else {
            return;
        };
        if !matches!(link.ring.look(position), Look::Claimed { .. }) {
            link.condemned = None;
        } else if now >= kill_at {
            link.condemned = Some(Condemned { position: Some(position), kill_at: None, note, since: now });
            self.kill();
        }
    }

    /// Kills the worker for something that it did itself; `note` says what.
    pub(super) fn convict(&self, link: &mut Link, note: &'static str) -> Vec<Flight> {
        if link.condemned.is_some_and(|condemned| condemned.position.is_none()) {
            return Vec::new();
        }
        let since = Instant::now();
        link.condemned = Some(Condemned { position: None, kill_at: None, note: Some(note), since });
        self.kill();
        link.take_back_all()
    }

    /// Sends SIGKILL, to this very process or to nobody: a pidfd cannot hit a stranger.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // It may be dead already.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Closes the connection: an idle worker exits.
    pub(super) fn dismiss(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Ascribes what the worker prints from now on to a task, or to none.
    pub(super) fn mark_output(&self, job: Option<&dyn ProcessJob>) {
        let owner = job.map(|job| Owner { label: job.label().clone(), span: job.span() });
        self.streams().for_each(|pipe| pipe.mark(owner.clone()));
    }

    /// The process is gone, so it prints no more.
    pub(super) fn finish_output(&self) {
        self.streams().for_each(|pipe| pipe.finish());
    }

    fn streams(&self) -> impl Iterator<Item = &Arc<Pipe>> {
        std::iter::once(&self.stderr).chain(&self.stdout).chain(&self.events)
    }

    /// Ends what a dead worker has left in its cgroup, and removes that.
    pub(super) fn clear_up(&self) {
        if let Some(leaf) = &self.leaf {
            leaf.clear();
        }
    }

    /// Says that the kernel has ended the worker at the limit of its cgroup, if that is so.
    fn out_of_memory(&self) -> Option<String> {
        self.leaf.as_ref().and_then(Leaf::out_of_memory)
    }

    /// The zygote has reaped it.
    pub(super) fn set_exit(&self, cause: ExitCause) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        self.exited.notify_all();
    }

    /// How the dead worker exited: from the zygote if it tells in time, else from /proc, else unknown.
    pub(super) fn exit(&self, note: Option<&'static str>) -> WorkerExit {
        let exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        let (exit, _) = self
            .exited
            .wait_timeout_while(exit, STATUS_WAIT, |exit| exit.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let cause = exit.unwrap_or_else(|| exit_of_zombie(self.pid));
        drop(exit);
        self.finish_output();
        let note = note.map(Cow::from).or_else(|| self.out_of_memory().map(Cow::from));
        WorkerExit::new(self.pid, cause, self.stderr.tail()).with_note(note)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("number", &self.number).field("pid", &self.pid).finish_non_exhaustive()
    }
}
