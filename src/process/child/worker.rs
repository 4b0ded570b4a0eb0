//! The worker: claims jobs from its ring, one after the other, and publishes their results.
//!
//! ```text
//! born ──initializer──▶ waiting ──claim──▶ running ──publish──▶ waiting
//!   waiting ──end of file on the socket──▶ exits
//! ```
//!
//! 1. Jobs run on the main thread of the process.
//! 2. A result is published before the next job is claimed, and standard output is flushed before that.
//! 3. The socket lies on a high descriptor and is only used by calls that fail on anything but a socket; if a job has closed
//!    it, the worker exits.

use std::{
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{EXIT_FAILED, exit_now, exit_with, or_exit, zygote::run_setup};
use crate::{
    process::{
        call::{self, Function},
        message::{SIGNAL_LEN, Settings, Signal},
        reply::Reply,
        ring::{Arena, Claim, INLINE, JobHeader, Place, WorkerRing},
        segments::{Incoming, Outgoing},
        sys::{
            Mapped, Received, Socket, close_all_but, die_with, enter_cgroup, keep_high, limit_address_space,
            linger, monotonic_ns, null_to_stdin, reset_signals, set_up_worker_process,
        },
    },
    task::{StopSignal, enter},
};

/// What a worker is born with.
pub(super) struct Birth {
    pub(super) zygote: u32,
    pub(super) name: String,
    pub(super) socket: OwnedFd,
    pub(super) arena: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// The cgroup that is its own.
    pub(super) leaf: Option<PathBuf>,
    pub(super) settings: Settings,
}

struct Worker {
    socket: Socket,
    ring: WorkerRing<&'static Arena>,
    stop: Arc<Stop>,
    outgoing: Outgoing,
    incoming: Incoming,
    max_payload: u64,
}

/// Tells the running job whether it should stop.
struct Stop {
    arena: &'static Arena,
    /// The position of the running job.
    ///
    /// ORDERING: Relaxed. Written and read by the thread that runs the job, or by one that the job has told.
    position: AtomicU64,
}

impl StopSignal for Stop {
    fn is_stopped(&self) -> bool {
        self.arena.stop_requested(self.position.load(Relaxed))
    }
}

/// Runs a worker in this process, which was forked just now.
pub(super) fn run(birth: Birth) -> ! {
    // A panic here is ours: it must not unwind into what the zygote had on its stack.
    let _: Result<std::convert::Infallible, _> =
        catch_unwind(AssertUnwindSafe(|| Worker::new(birth).serve()));
    exit_now(EXIT_FAILED)
}

impl Worker {
    fn new(birth: Birth) -> Self {
        let Birth { zygote, name, socket, arena, stderr, leaf, settings } = birth;
        let what = "a worker cannot start";
        or_exit(rustix::stdio::dup2_stderr(&stderr), what);
        if let Some(leaf) = leaf {
            or_exit(enter_cgroup(&leaf), "a worker cannot enter its cgroup");
        }
        or_exit(null_to_stdin(), what);
        let socket = or_exit(keep_high(socket), what);
        let mapped: Mapped<Arena> = or_exit(Mapped::open(arena.as_fd()), what);
        // What the zygote had open besides; the owned ones among them are never dropped in this process.
        close_all_but(&[socket.as_raw_fd()]);
        std::mem::forget((arena, stderr));
        reset_signals();
        or_exit(set_up_worker_process(zygote, settings.stack_size), what);
        set_thread_name(&name);
        let arena: &'static Arena = Box::leak(Box::new(mapped));
        let worker = Self {
            socket: Socket::from_fd(socket),
            ring: WorkerRing::new(arena),
            stop: Arc::new(Stop { arena, position: AtomicU64::new(u64::MAX) }),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            max_payload: settings.max_payload,
        };
        if let Some(bytes) = settings.address_space_limit {
            or_exit(limit_address_space(bytes), what);
        }
        worker.initialize(settings);
        // An initializer that changed its user has cleared it.
        or_exit(die_with(zygote), what);
        worker
    }

    fn initialize(&self, settings: Settings) {
        if let Some(Err(reason)) = settings.initializer.map(|setup| run_setup(setup, "initializer")) {
            let _ = self.socket.try_send(&Signal::NotReady.to_wire(), &[]);
            exit_with(&reason);
        }
        self.tell(Signal::Ready);
    }

    fn serve(&mut self) -> ! {
        loop {
            let mut worked = 0;
            while let Some(claim) = or_exit(self.ring.claim(monotonic_ns), "the ring is corrupt") {
                self.work(claim);
                worked += 1;
            }
            if worked > 1 && linger(|| !self.ring.may_sleep()) {
                continue;
            }
            self.ring.fall_asleep();
            if self.ring.may_sleep() {
                self.hear();
            }
            self.ring.wake_up();
        }
    }

    fn work(&mut self, claim: Claim) {
        let Claim { position, header, argument } = claim;
        let argument = self.fetch(argument);
        self.stop.position.store(position, Relaxed);
        let function = function_of(&header);
        #[expect(unsafe_code, reason = "calls the function that the parent named")]
        // SAFETY: the name comes from the parent, which runs the same file: the zygote's greeting has shown it.
        let reply = enter(self.stop.clone(), || unsafe { call::call(function, argument) });
        flush_stdout();
        self.publish(reply.within(self.max_payload));
    }

    /// The argument's bytes, from the slot or from a segment.
    fn fetch(&mut self, argument: Place<Vec<u8>>) -> Vec<u8> {
        match argument {
            Place::Inline(bytes) => bytes,
            Place::Segment { id, len } => {
                while !self.incoming.knows(id) {
                    self.hear();
                }
                let bytes = self.incoming.read(id, len);
                or_exit(bytes.ok_or("a segment is shorter than its payload"), "the ring is corrupt")
            }
        }
    }

    fn publish(&mut self, reply: Reply) {
        let (kind, bytes) = reply.into_wire();
        let bytes = bytes.as_bytes();
        if bytes.len() <= INLINE {
            self.ring.publish(kind, Place::Inline(bytes));
        } else {
            // Segments may have been given back while jobs kept coming and nothing was waited for.
            self.listen();
            match self.outgoing.write(bytes, &self.socket) {
                Ok(id) => self.ring.publish(kind, Place::Segment { id, len: bytes.len() as u64 }),
                Err(why) => {
                    let why = format!("no shared memory for its {} bytes: {why}", bytes.len());
                    let (kind, bytes) = Reply::ResultNotEncodable(why).into_wire();
                    self.ring.publish(kind, Place::Inline(bytes.as_bytes()));
                }
            }
        }
        if self.ring.should_ring_parent() {
            self.tell(Signal::Doorbell);
        }
    }

    fn tell(&self, signal: Signal) {
        if self.socket.ring(&signal.to_wire()).is_err() {
            exit_now(EXIT_FAILED);
        }
    }

    /// Waits for a signal from the parent and takes note of all that have come.
    fn hear(&mut self) {
        let mut buffer = [0; SIGNAL_LEN];
        let received = self.socket.receive(&mut buffer).map(Some);
        self.take_in(received, &buffer);
        self.listen();
    }

    /// Takes note of all signals that have come.
    fn listen(&mut self) {
        let mut buffer = [0; SIGNAL_LEN];
        loop {
            let received = self.socket.try_receive(&mut buffer);
            if !self.take_in(received, &buffer) {
                return;
            }
        }
    }

    /// Takes note of what was received; says whether that was anything.
    fn take_in(&mut self, received: io::Result<Option<Received>>, buffer: &[u8]) -> bool {
        match received {
            Ok(Some(message)) if message.len > 0 => {
                self.note(&buffer[..message.len], &message.fds);
                true
            }
            Ok(None) => false,
            // The parent wants no more of this worker, or is gone.
            Ok(Some(_)) => exit_now(0),
            Err(_) => exit_now(EXIT_FAILED),
        }
    }

    fn note(&mut self, message: &[u8], fds: &[OwnedFd]) {
        match (Signal::from_wire(message), fds) {
            (Some(Signal::Segment { id, len }), [fd]) => {
                or_exit(self.incoming.add(id, len, fd), "cannot map a segment")
            }
            (Some(Signal::Forget { id }), []) => self.incoming.forget(id),
            (Some(Signal::Release { id }), []) => self.outgoing.release(id, &self.socket),
            (Some(Signal::Doorbell), []) => {}
            _ => exit_with("the parent sent what it never sends"),
        }
    }
}

fn function_of(header: &JobHeader) -> Function {
    Function { distance: header.trampoline, type_hash: header.type_hash }
}

fn flush_stdout() {
    // A job may have closed it: that is its own business.
    let _ = io::stdout().flush();
}

fn set_thread_name(name: &str) {
    let short: String = name.chars().rev().take(15).collect::<Vec<_>>().into_iter().rev().collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        let _ = rustix::thread::set_name(&short);
    }
}
