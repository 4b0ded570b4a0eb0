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
    cell::Cell,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

#[cfg(feature = "tracing")]
use super::speaker::Speaker;
use super::{EXIT_FAILED, exit_now, exit_with, or_exit, pieces::Pieces, zygote::run_setup};
#[cfg(feature = "tracing")]
use crate::trace::run_inside;
use crate::{
    metrics::{
        Measured,
        meter::Meter,
        processor::{Whose, read},
    },
    pause::Pause,
    process::{
        call::{self, Function},
        items::ShortItem,
        message::{HAS_NAMES, LISTEN, SIGNAL_LEN, Settings, Signal},
        names::take_off,
        reply::Reply,
        ring::{Arena, Claim, Copied, INLINE, JobHeader, Place, WorkerRing},
        segments::{Incoming, Outgoing, Reserved},
        sys::{
            Clock, Heap, Interest, Mapped, Received, Socket, close_all_but, die_with, enter_cgroup,
            flush_c_stdout, keep_high, limit_address_space, null_to_stdin, reset_signals,
            set_up_worker_process, wait,
        },
    },
    shared_memory::SharedBytes,
    task::{StopSignal, enter},
    wire::{Arrived, Body},
};
#[cfg(feature = "opentelemetry")]
use crate::{process::message::note_len, trace::set_current};

/// What a worker is born with.
pub(super) struct Birth {
    pub(super) zygote: u32,
    pub(super) name: String,
    pub(super) fds: Fds,
    /// The cgroup that is its own.
    pub(super) leaf: Option<PathBuf>,
    pub(super) settings: Settings,
}

/// The descriptors that come with the order to fork it.
pub(super) struct Fds {
    pub(super) socket: OwnedFd,
    pub(super) arena: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Only where standard output is not the program's own.
    pub(super) stdout: Option<OwnedFd>,
    /// Only where events are told.
    pub(super) events: Option<OwnedFd>,
}

impl Fds {
    /// In the order in which they travel.
    pub(super) fn to_order(&self) -> Vec<BorrowedFd<'_>> {
        let all =
            [&self.socket, &self.arena, &self.stderr].into_iter().chain(&self.stdout).chain(&self.events);
        all.map(AsFd::as_fd).collect()
    }

    /// As they have travelled.
    pub(super) fn from_order(fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (socket, arena, stderr) = (fds.next()?, fds.next()?, fds.next()?);
        let (stdout, events) = (fds.next(), fds.next());
        fds.next().is_none().then_some(Self { socket, arena, stderr, stdout, events })
    }
}

/// How long no job must have come before a worker gives back what earlier ones have freed.
const REST: Duration = Duration::from_secs(1);

/// The memory that jobs have freed, in a worker that keeps it.
///
/// ```text
/// cold ──job──▶ used ──goes to sleep──▶ cold, or watched if there is much ──sleeps for `REST`──▶ cold, given back
/// ```
struct Spare {
    heap: Heap,
    /// A job has run since this was last looked at.
    is_used: bool,
    /// There is much of it, and sleep ends after [`REST`].
    is_watched: bool,
}

struct Worker {
    socket: Socket,
    ring: WorkerRing<&'static Arena>,
    stop: Arc<Stop>,
    outgoing: Outgoing,
    incoming: Incoming,
    pieces: Pieces,
    max_payload: u64,
    /// `None` if everything is given back at once.
    spare: Option<Spare>,
    meter: Meter,
    clock: Clock,
    /// Whether the program wants events, as each job says.
    #[cfg(feature = "tracing")]
    speaks: bool,
    #[cfg(feature = "tracing")]
    name: String,
}

/// Tells the running job whether it should stop.
struct Stop {
    arena: &'static Arena,
    /// Whether the running job is several items.
    ///
    /// ORDERING: Relaxed, as for the position.
    has_items: AtomicBool,
    max_payload: u64,
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

impl call::PublishItems for Stop {
    fn begin(&self) {
        self.has_items.store(true, Relaxed);
        self.arena.begin_items(self.position.load(Relaxed));
    }

    fn publish(&self, items: u32, results: &[u8], from: usize) -> bool {
        self.arena.add_item(items, results, from)
    }

    fn publish_short(&self, items: u32, ShortItem { word, len }: ShortItem, from: usize) -> bool {
        self.arena.add_short_item(items, word, from..from + len)
    }

    fn max_payload(&self) -> u64 {
        self.max_payload
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
        let Birth { zygote, name, fds, leaf, settings } = birth;
        let Fds { socket, arena, stderr, stdout, events } = fds;
        let what = "a worker cannot start";
        or_exit(rustix::stdio::dup2_stderr(&stderr), what);
        if let Some(leaf) = leaf {
            or_exit(enter_cgroup(&leaf), "a worker cannot enter its cgroup");
        }
        if let Some(stdout) = &stdout {
            or_exit(rustix::stdio::dup2_stdout(stdout), what);
        }
        or_exit(null_to_stdin(), what);
        let socket = or_exit(keep_high(socket), what);
        let events = events.map(|events| or_exit(keep_high(events), what));
        let mapped: Mapped<Arena> = or_exit(Mapped::open(arena.as_fd()), what);
        // What the zygote had open besides; the owned ones among them are never dropped in this process.
        let kept: Vec<RawFd> = [&socket].into_iter().chain(&events).map(AsRawFd::as_raw_fd).collect();
        close_all_but(&kept);
        std::mem::forget((arena, stderr, stdout));
        reset_signals();
        or_exit(set_up_worker_process(zygote, settings.stack_size), what);
        set_thread_name(&name);
        let arena: &'static Arena = Box::leak(Box::new(mapped));
        let worker = Self {
            socket: Socket::from_fd(socket),
            ring: WorkerRing::new(arena),
            stop: Arc::new(Stop {
                arena,
                has_items: AtomicBool::new(false),
                max_payload: settings.max_payload,
                position: AtomicU64::new(u64::MAX),
            }),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            pieces: Pieces::default(),
            max_payload: settings.max_payload,
            spare: settings.keeps_heap.then(Spare::keep).flatten(),
            meter: Meter::new(),
            clock: Clock::new(),
            #[cfg(feature = "tracing")]
            speaks: events.is_some(),
            #[cfg(feature = "tracing")]
            name,
        };
        call::publish_items_by(worker.stop.clone());
        if let Some(bytes) = settings.address_space_limit {
            or_exit(limit_address_space(bytes), what);
        }
        worker.initialize(settings, events);
        // An initializer that changed its user has cleared it.
        or_exit(die_with(zygote), what);
        worker
    }

    #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nothing is ever told"))]
    fn initialize(&self, settings: Settings, events: Option<OwnedFd>) {
        if let Some(Err(reason)) = settings.initializer.map(|setup| run_setup(setup, "initializer")) {
            let _ = self.socket.try_send(&Signal::NotReady.to_wire(), &[]);
            exit_with(&reason);
        }
        #[cfg(feature = "tracing")]
        events.into_iter().for_each(Speaker::install);
        or_exit(self.socket.ring(&Signal::Ready.to_wire()), "cannot say that it is ready");
    }

    fn serve(&mut self) -> ! {
        let mut pause = Pause::default();
        loop {
            let (begun, now) = (Cell::new(0), self.clock);
            let clock = || {
                begun.set(now.now_ns());
                begun.get()
            };
            while let Some(claim) = or_exit(self.ring.claim(clock), "the ring is corrupt") {
                pause.end();
                self.work(claim, begun.get());
            }
            if pause.linger(|| !self.ring.may_sleep()) {
                continue;
            }
            self.ring.fall_asleep();
            if self.ring.may_sleep() {
                self.spare.iter_mut().for_each(|spare| spare.before_sleep(&self.socket));
                self.hear();
            }
            self.ring.wake_up();
        }
    }

    fn work(&mut self, claim: Claim, begun_ns: u64) {
        let Claim { position, header, argument } = claim;
        self.meter.begin(begun_ns, || read(Whose::Process));
        if let Some(spare) = &mut self.spare {
            spare.is_used = true;
        }
        #[cfg(feature = "tracing")]
        if self.speaks {
            Speaker::listen_to(header.flags);
        }
        let argument = self.fetch(argument);
        if header.flags & LISTEN != 0 {
            self.listen();
        }
        let (argument, given) = match self.unpack(header.flags, argument) {
            Ok(pieces) => pieces,
            Err(why) => {
                self.ring.note_took(0);
                return self.publish(Reply::ArgumentNotDecodable(why), &[]);
            }
        };
        self.stop.position.store(position, Relaxed);
        let function = function_of(&header);
        #[expect(unsafe_code, reason = "calls the function that the parent named")]
        // SAFETY: the name comes from the parent, which runs the same file: the zygote's greeting has shown it.
        let call = || enter(&*self.stop, || unsafe { call::call(function, argument) });
        let reply = self.traced(&header, call);
        flush_stdout();
        let took_ns = self.clock.now_ns().saturating_sub(begun_ns);
        self.ring.note_took(took_ns);
        self.measure(begun_ns + took_ns, took_ns);
        // Items have been looked at one by one.
        let has_items = self.stop.has_items.load(Relaxed);
        if has_items {
            self.stop.has_items.store(false, Relaxed);
        }
        let limit = if has_items { u64::MAX } else { self.max_payload };
        self.publish(reply.within(limit), &given);
    }

    /// Runs a job with what there is of its trace.
    #[cfg(feature = "tracing")]
    fn traced(&self, header: &JobHeader, call: impl FnOnce() -> Reply) -> Reply {
        #[cfg(feature = "opentelemetry")]
        let _told = Told::of(&self.ring, header.flags);
        run_inside(&self.name, header.task, call)
    }

    #[cfg(not(feature = "tracing"))]
    fn traced(&self, _header: &JobHeader, call: impl FnOnce() -> Reply) -> Reply {
        call()
    }

    /// Takes note of a job that has ended.
    fn measure(&mut self, now: u64, took_ns: u64) {
        if let Some(span) = self.meter.end(now, 1, took_ns, || read(Whose::Process)) {
            self.stop.arena.add_figures(Measured::from(span).0);
        }
    }

    /// The argument with the shared memory that it names, and that once more.
    fn unpack(&mut self, flags: u32, body: Body) -> Result<(Arrived, Vec<SharedBytes>), String> {
        if flags & HAS_NAMES == 0 {
            return Ok((body.into(), Vec::new()));
        }
        let mut bytes = body.into_vec();
        let names =
            or_exit(take_off(&mut bytes).ok_or("an argument without its names"), "the ring is corrupt");
        if !self.pieces.has_mapped(&names) {
            // They were sent before the job was, or sent again.
            self.listen();
        }
        if !self.pieces.knows(&names) {
            exit_with("the parent named shared memory that it had not sent");
        }
        let pieces = self.pieces.find(&names, &self.socket)?;
        Ok((Arrived { body: bytes.into(), pieces: pieces.clone() }, pieces))
    }

    /// The argument's bytes, from the slot or in a segment, where the parent may be writing them yet.
    fn fetch(&mut self, argument: Place<Copied>) -> Body {
        match argument {
            Place::Inline(bytes) => bytes.into(),
            Place::Segment { id, len } => {
                while !self.incoming.knows(id) {
                    self.hear();
                }
                let payload = self.incoming.arriving(id, len);
                let payload = payload.ok_or("a segment is shorter than its payload");
                Body::There(Box::new(or_exit(payload, "the ring is corrupt")))
            }
        }
    }

    /// Publishes the result of a job that was `given` that shared memory.
    fn publish(&mut self, reply: Reply, given: &[SharedBytes]) {
        let first = self.pieces.sent();
        let reply = self.pieces.send(reply, given, &self.socket);
        let (kind, bytes) = reply.into_wire();
        let bytes = bytes.as_bytes();
        if bytes.len() <= INLINE {
            self.ring.publish(kind, Place::Inline(bytes));
        } else {
            // Segments may have been given back while jobs kept coming and nothing was waited for.
            self.listen();
            match self.write_out(bytes) {
                Ok(id) => self.ring.publish(kind, Place::Segment { id, len: bytes.len() as u64 }),
                Err(why) => {
                    self.pieces.take_back(first, &self.socket);
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

    /// Writes a result into a segment; waits for room if the parent has to be told of a new one.
    fn write_out(&mut self, bytes: &[u8]) -> io::Result<u32> {
        loop {
            match self.outgoing.reserve(bytes.len(), &self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait([Interest::Write(self.socket.as_fd())], None);
                }
                Err(error) => return Err(error),
                Ok(Reserved { id, segment }) => {
                    segment.write(bytes, || true);
                    return Ok(id);
                }
            }
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.spare.iter_mut().for_each(|spare| spare.after_rest(&self.socket));
                false
            }
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                let Some(Signal::Shared { id }) = Signal::from_wire(buffer) else { exit_now(EXIT_FAILED) };
                self.pieces.lose(id);
                true
            }
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
            (Some(Signal::Shared { id }), [fd]) => self.pieces.add(id, fd),
            (Some(Signal::ForgetShared { id }), []) => self.pieces.forget(id),
            (Some(Signal::Doorbell), []) => {}
            _ => exit_with("the parent sent what it never sends"),
        }
    }
}

/// The running job has been told of its trace.
#[cfg(feature = "opentelemetry")]
struct Told;

#[cfg(feature = "opentelemetry")]
impl Told {
    fn of(ring: &WorkerRing<&'static Arena>, flags: u32) -> Option<Self> {
        let len = note_len(flags);
        if len == 0 {
            return None;
        }
        set_current(&or_exit(ring.note(len), "the ring is corrupt"));
        Some(Self)
    }
}

#[cfg(feature = "opentelemetry")]
impl Drop for Told {
    fn drop(&mut self) {
        set_current(&[]);
    }
}

impl Spare {
    fn keep() -> Option<Self> {
        Some(Self { heap: Heap::keep()?, is_used: false, is_watched: false })
    }

    /// Has the sleep end in time if there is something to give back.
    fn before_sleep(&mut self, socket: &Socket) {
        if std::mem::take(&mut self.is_used) && !self.is_watched && self.heap.has_spare() {
            self.is_watched = socket.limit_waits(Some(REST)).is_ok();
        }
    }

    /// No job has come for long.
    fn after_rest(&mut self, socket: &Socket) {
        self.heap.give_back();
        self.is_watched = socket.limit_waits(None).is_err();
    }
}

fn function_of(header: &JobHeader) -> Function {
    Function { distance: header.trampoline, type_hash: header.type_hash }
}

fn flush_stdout() {
    // A job may have closed it: that is its own business.
    let _ = io::stdout().flush();
    flush_c_stdout();
}

fn set_thread_name(name: &str) {
    let short: String = name.chars().rev().take(15).collect::<Vec<_>>().into_iter().rev().collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        let _ = rustix::thread::set_name(&short);
    }
}
