//! The zygote: a single-threaded process that forks workers on request, reaps them, and ends them all when the program ends.
//!
//! ```text
//! greeted ──preload──▶ serving ──fork──▶ serving
//!    any state ──end of file on the control socket──▶ kills everything, exits
//! ```
//!
//! 1. It has one thread, always: a preload that leaves another behind is a failure.
//! 2. It keeps no socket, arena or standard error of a worker open after the fork.
//! 3. It never waits for anything but orders and deaths, so the program's death is noticed at once.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, c_char},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

use super::{
    DEPTH,
    entry::Guard,
    exit_now, exit_with, or_exit,
    worker::{self, Birth},
};
use crate::{
    error::ExitCause,
    process::{
        call,
        message::{
            Exit, Hello, MAX_CONTROL, Notice, Order, PROTOCOL, Settings, SetupCall, from_bytes, to_bytes,
        },
        reply::Reply,
        sys::{
            ChildSignal, Forked, Interest, Leaves, Memory, Socket, Title, adopt_stdin, close_all_but, fork,
            keep_high, kill_group, null_to_stdin, reap, reset_signals, signal_on_event, wait,
        },
    },
};

/// How long the program may take to say hello.
const GREETING: Duration = Duration::from_secs(10);

/// How long the last children may take to die of SIGKILL before the zygote leaves anyway.
const LAST_WAIT: Duration = Duration::from_secs(2);

struct Zygote {
    control: Socket,
    /// Carries nothing; ends when the program does.
    life: OwnedFd,
    deaths: ChildSignal,
    settings: Settings,
    program: String,
    title: Option<Title>,
    /// The living workers, by pid.
    workers: HashMap<u32, u64>,
    /// Processes that the preload has left.
    own: HashSet<u32>,
}

/// Runs the zygote in this process, which was started as a child.
pub(super) fn run(guard: Guard, argv: *const *const c_char) -> ! {
    let mut zygote = Zygote::new(guard, argv);
    zygote.preload();
    // From now on its end is heard, and everything ended in order; but it may be stopped just then.
    or_exit(signal_on_event(zygote.life.as_fd(), libc::SIGCONT), "cannot watch the program");
    zygote.tell(&Notice::Ready);
    loop {
        zygote.turn();
    }
}

impl Zygote {
    fn new(guard: Guard, argv: *const *const c_char) -> Self {
        let refused = "refused to start as a child";
        let control = or_exit(adopt_stdin(guard.parent), refused);
        or_exit(null_to_stdin(), refused);
        let control = Socket::from_fd(or_exit(keep_high(control.into_fd()), refused));
        close_all_but(&[control.number()]);
        reset_signals();
        let (settings, life) = or_exit(greet(&control, guard), refused);
        let life = or_exit(keep_high(life), refused);
        // Nobody listens to the control socket before the preload is done.
        or_exit(die_with_socket(&life), refused);
        DEPTH.store(settings.depth, std::sync::atomic::Ordering::Relaxed);
        or_exit(set_child_subreaper(Some(getpid())), "cannot adopt orphans");
        #[expect(unsafe_code, reason = "the arguments are rewritten for `ps`")]
        // SAFETY: `argv` is what the C library passed, or null; this is the only thread.
        let title = unsafe { Title::take(argv) };
        let program = program_name();
        if let Some(title) = &title {
            title.set(&format!("{program} {}-zygote", settings.pool));
        }
        let deaths = or_exit(ChildSignal::new(), "cannot watch children");
        Self { control, life, deaths, settings, program, title, workers: HashMap::new(), own: HashSet::new() }
    }

    /// Runs what the program wants loaded before any worker is forked.
    fn preload(&mut self) {
        let outcome = self.settings.preload.take().map_or(Ok(()), |setup| run_setup(setup, "preload"));
        let outcome =
            outcome.and_then(|()| match has_threads() {
                true => Err("preload left a thread running: workers can only be forked from a single thread"
                    .to_owned()),
                false => Ok(()),
            });
        if let Err(reason) = outcome {
            self.tell(&Notice::Failed(reason.clone()));
            exit_with(&reason);
        }
        self.own = children().into_iter().collect();
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) {
        let [order, death] =
            wait([Interest::Read(self.control.as_fd()), Interest::Read(self.deaths.as_fd())], None);
        if death {
            self.deaths.clear();
            self.bury();
        }
        if order {
            self.take_order();
        }
    }

    fn take_order(&mut self) {
        let mut buffer = [0; MAX_CONTROL];
        let received = match self.control.receive(&mut buffer) {
            Ok(received) if received.len > 0 => received,
            _ => self.end(),
        };
        let Some(Order::Fork { ticket, number }) = from_bytes(&buffer[..received.len]) else { self.end() };
        let Ok(fds) = <[OwnedFd; 3]>::try_from(received.fds) else { self.end() };
        self.fork(ticket, number, fds);
    }

    fn fork(&mut self, ticket: u64, number: u32, [socket, arena, stderr]: [OwnedFd; 3]) {
        let zygote = getpid().as_raw_nonzero().get() as u32;
        if has_threads() {
            let why =
                "the zygote has a second thread: workers can only be forked from a single one".to_owned();
            return self.tell(&Notice::NotForked { ticket, why });
        }
        match fork() {
            Ok(Forked::Child) => {
                let title = format!("{} {}-{number}", self.program, self.settings.pool);
                if let Some(area) = &self.title {
                    area.set(&title);
                }
                let name = format!("{}-{number}", self.settings.pool);
                let leaf = self.leaves().and_then(|leaves| leaves.path(ticket));
                worker::run(Birth {
                    zygote,
                    name,
                    socket,
                    arena,
                    stderr,
                    leaf,
                    settings: self.settings.clone(),
                })
            }
            Ok(Forked::Parent { pid, pidfd }) => {
                self.workers.insert(pid, ticket);
                self.tell_with(&Notice::Forked { ticket, pid }, &[pidfd.as_fd()]);
            }
            Err(why) => self.tell(&Notice::NotForked { ticket, why: format!("fork: {why}") }),
        }
    }

    /// Reaps the dead and reports the workers among them.
    fn bury(&mut self) {
        while let Some((pid, cause)) = reap(kill_group) {
            if let Some(ticket) = self.workers.remove(&pid) {
                self.kill_strays();
                self.tell(&Notice::Exited { ticket, cause: cause.into() });
            }
        }
        self.kill_strays();
    }

    /// Kills what a dead worker has left behind: it was its heir, and now we are.
    fn kill_strays(&self) {
        for pid in children() {
            if !self.workers.contains_key(&pid) && !self.own.contains(&pid) {
                kill(pid);
            }
        }
    }

    /// The cgroups of its workers, if they have some.
    fn leaves(&self) -> Option<Leaves> {
        let stem = self.settings.leaves.as_ref()?;
        Some(Leaves::from_stem(OsStr::from_bytes(stem).into()))
    }

    fn tell(&self, notice: &Notice) {
        self.tell_with(notice, &[]);
    }

    fn tell_with(&self, notice: &Notice, fds: &[std::os::fd::BorrowedFd<'_>]) {
        // If the program is gone, the next turn sees the end of file.
        let _ = self.control.send(&to_bytes(notice), fds);
    }

    /// Ends everything: the program is gone, or no longer wants this zygote.
    fn end(&mut self) -> ! {
        let deadline = Instant::now() + LAST_WAIT;
        loop {
            for &pid in self.workers.keys() {
                kill_group(pid);
                kill(pid);
            }
            while let Some((pid, _)) = reap(kill_group) {
                self.workers.remove(&pid);
            }
            let left = children();
            if left.is_empty() || Instant::now() >= deadline {
                if let Some(leaves) = self.leaves() {
                    leaves.clear(deadline);
                }
                exit_now(0);
            }
            left.into_iter().for_each(kill);
            wait(
                [Interest::Read(self.deaths.as_fd())],
                Some(deadline.min(Instant::now() + Duration::from_millis(20))),
            );
            self.deaths.clear();
        }
    }
}

/// Receives the program's hello and the settings.
fn greet(control: &Socket, guard: Guard) -> Result<(Settings, OwnedFd), String> {
    let [arrived] = wait([Interest::Read(control.as_fd())], Some(Instant::now() + GREETING));
    if !arrived {
        return Err("nobody said hello".to_owned());
    }
    let mut buffer = [0; MAX_CONTROL];
    let received = control.receive(&mut buffer).map_err(|error| error.to_string())?;
    let hello: Hello = from_bytes(&buffer[..received.len]).ok_or("the first message is no hello")?;
    if hello.nonce != guard.nonce {
        return Err("the hello is not for this process".to_owned());
    }
    if hello.protocol != PROTOCOL || hello.fingerprint != call::fingerprint() {
        return Err("the hello comes from another build of this program".to_owned());
    }
    let fds = <[OwnedFd; 2]>::try_from(received.fds);
    let [fd, life] = fds.map_err(|_| "the hello came without its descriptors")?;
    let len = usize::try_from(hello.settings_len).map_err(|error| error.to_string())?;
    let memory = Memory::open(fd.as_fd(), len).map_err(|error| error.to_string())?;
    memory
        .read(len)
        .and_then(|bytes| from_bytes(&bytes))
        .map(|settings| (settings, life))
        .ok_or_else(|| "the settings cannot be read".to_owned())
}

/// Has this process killed when the other end of `life` is closed.
fn die_with_socket(life: &OwnedFd) -> io::Result<()> {
    signal_on_event(life.as_fd(), libc::SIGKILL)?;
    // It may have happened already.
    match wait([Interest::Read(life.as_fd())], Some(Instant::now())) {
        [true] => Err(io::Error::other("the program is gone")),
        [false] => Ok(()),
    }
}

/// Runs a preload or an initialiser.
pub(super) fn run_setup(setup: SetupCall, what: &str) -> Result<(), String> {
    #[expect(unsafe_code, reason = "calls the function that the program named")]
    // SAFETY: the name comes from the program, whose greeting has shown that it runs the same file.
    let reply = unsafe { call::call(setup.function, setup.argument) };
    let _ = io::stdout().flush();
    match reply {
        Reply::Value(_) => Ok(()),
        Reply::Panicked(panic) => Err(format!("{what} panicked: {}", panic.message())),
        Reply::ArgumentNotDecodable(why) => Err(format!("the argument of {what} cannot be decoded: {why}")),
        Reply::ResultNotEncodable(why) => Err(format!("{what} failed: {why}")),
        Reply::ResultTooLarge(_) => Ok(()),
    }
}

/// Whether this process has a second thread: the kernel unshares memory only of a single one
/// ([unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html)), and that changes nothing.
fn has_threads() -> bool {
    #[expect(unsafe_code, reason = "unshare has no safe interface")]
    // SAFETY: for a single thread this does nothing, for several it fails.
    let outcome = unsafe { libc::unshare(libc::CLONE_VM) };
    outcome != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// The pids of this process's children, zombies included.
fn children() -> Vec<u32> {
    let listed = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Kills a child. Its pid is its own until we reap it.
fn kill(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn program_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "heavylift".to_owned())
}

impl From<ExitCause> for Exit {
    fn from(cause: ExitCause) -> Self {
        match cause {
            ExitCause::Code(code) => Self::Code(code),
            ExitCause::Signal(signal) => Self::Signal(signal),
            ExitCause::Unknown => Self::Unknown,
        }
    }
}
