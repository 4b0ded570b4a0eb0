//! The zygote: a single-threaded process that forks workers on request, reaps them, and ends them all when the program ends.
//!
//! ```text
//! greeted ──preload──▶ serving ──fork──▶ serving
//!    any state ──end of file on the control socket──▶ kills everything, exits
//! ```
//!
//! 1. It forks only while it has one thread. If a preload has left others behind, each worker is the program started afresh,
//!    which runs the preload itself ([`Role::Worker`]).
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
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, set_child_subreaper,
};

use super::{
    DEPTH, PRELOADS,
    entry::Guard,
    exit_now, exit_with, or_exit,
    worker::{self, Birth, Fds},
};
use crate::{
    error::ExitCause,
    process::{
        call,
        message::{Exit, Hello, MAX_CONTROL, Notice, Order, Role, Settings, SetupCall, from_bytes, to_bytes},
        program::{new_guard, once_more},
        reply::Reply,
        sys::{
            ChildSignal, Forked, Interest, Leaves, Socket, Title, adopt_stdin, close_all_but, die_with,
            fill_standard_descriptors, flush_c_stdout, fork, keep_high, kill_group, null_to_stdin, reap,
            reset_signals, signal_on_event, wait,
        },
    },
};

/// How long the program may take to say hello.
const GREETING: Duration = Duration::from_secs(10);

/// How long the last children may take to die of SIGKILL before the zygote leaves anyway.
const LAST_WAIT: Duration = Duration::from_secs(2);

struct Zygote {
    control: Socket,
    /// The program's pidfd: a copy of the program that was forked without exec may hold the other end of the sockets.
    owner: OwnedFd,
    deaths: ChildSignal,
    settings: Settings,
    /// Whether workers are forked. If not, each is the program started afresh.
    forks: bool,
    program: String,
    title: Option<Title>,
    /// The living workers, by pid.
    workers: HashMap<u32, u64>,
    /// Processes that the preload has left.
    own: HashSet<u32>,
}

/// Runs the zygote in this process, which was started as a child.
pub(super) fn run(guard: Guard, argv: *const *const c_char) -> ! {
    let (mut zygote, life) = Zygote::new(guard, argv);
    let Some(life) = life else { zygote.be_the_worker(guard.parent) };
    zygote.preload();
    // From now on its end is heard, and everything ended in order; but it may be stopped just then.
    or_exit(signal_on_event(life.as_fd(), libc::SIGCONT), "cannot watch the program");
    zygote.tell(&Notice::Ready);
    loop {
        zygote.turn();
    }
}

impl Zygote {
    /// With the socket that ends with the program, unless this process is to be a worker.
    fn new(guard: Guard, argv: *const *const c_char) -> (Self, Option<OwnedFd>) {
        let refused = "refused to start as a child";
        let control = or_exit(adopt_stdin(guard.parent), refused);
        or_exit(null_to_stdin(), refused);
        let control = Socket::from_fd(or_exit(keep_high(control.into_fd()), refused));
        close_all_but(&[control.number()]);
        reset_signals();
        let owner = or_exit(watch_owner(guard.parent).and_then(keep_high), refused);
        let (settings, life) = or_exit(greet(&control, guard), refused);
        let life = life.map(|life| or_exit(keep_high(life), refused));
        // Nobody listens to the control socket before the preload is done.
        match &life {
            Some(life) => or_exit(die_with_socket(life), refused),
            None => or_exit(die_with(guard.parent), refused),
        }
        DEPTH.store(settings.depth, Relaxed);
        or_exit(set_child_subreaper(Some(getpid())), "cannot adopt orphans");
        #[expect(unsafe_code, reason = "the arguments are rewritten for `ps`")]
        // SAFETY: `argv` is what the C library passed, or null; this is the only thread.
        let title = unsafe { Title::take(argv) };
        let program = program_name();
        if let Some(title) = &title {
            title.set(&format!("{program} {}-zygote", settings.pool));
        }
        let deaths = or_exit(ChildSignal::new(), "cannot watch children");
        let zygote = Self {
            control,
            owner,
            deaths,
            settings,
            forks: true,
            program,
            title,
            workers: HashMap::new(),
            own: HashSet::new(),
        };
        (zygote, life)
    }

    /// Runs what the program wants loaded before any worker is forked.
    fn preload(&mut self) {
        if let Err(reason) = self.run_preload() {
            self.tell(&Notice::Failed(reason.clone()));
            exit_with(&reason);
        }
        self.own = children().into_iter().collect();
        if !has_threads() {
            // It has done its work, and may be large.
            self.settings.preload = None;
        } else {
            self.forks = false;
            let _ = writeln!(
                io::stderr(),
                "heavylift: the preload of pool {:?} has left a thread behind, so its workers cannot be forked: each is \
                 started afresh, and runs the preload itself",
                self.settings.pool
            );
        }
    }

    fn run_preload(&self) -> Result<(), String> {
        PRELOADS.store(true, Relaxed);
        let outcome = self.settings.preload.clone().map_or(Ok(()), |setup| run_setup(setup, "preload"));
        PRELOADS.store(false, Relaxed);
        // A descriptor that a worker is to have must not take the place of a standard one.
        or_exit(fill_standard_descriptors(), "cannot replace what preload has closed");
        outcome
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) {
        let fds = [self.control.as_fd(), self.deaths.as_fd(), self.owner.as_fd()];
        let [order, death, orphaned] = wait(fds.map(Interest::Read), None);
        if orphaned {
            self.end();
        }
        if death {
            self.deaths.clear();
            self.bury();
        }
        if order {
            self.take_order();
        }
    }

    fn take_order(&mut self) {
        let Some((order, fds)) = self.next_order() else { self.end() };
        let Order::Fork { ticket, .. } = order;
        let zygote = std::process::id();
        let forked = if !self.forks {
            self.start_afresh(&order, &fds)
        } else if has_threads() {
            Err(io::Error::other("the zygote has a second thread, which it had not after preload"))
        } else {
            fork()
        };
        match forked {
            Ok(Forked::Child) => self.be_worker(zygote, order, fds),
            Ok(Forked::Parent { pid, pidfd }) => {
                self.workers.insert(pid, ticket);
                self.tell_with(&Notice::Forked { ticket, pid }, &[pidfd.as_fd()]);
            }
            Err(why) => self.tell(&Notice::NotForked { ticket, why: why.to_string() }),
        }
    }

    /// Waits for the next order and the descriptors that come with it; `None` when there will be none.
    fn next_order(&self) -> Option<(Order, Fds)> {
        let mut buffer = [0; MAX_CONTROL];
        let received = self.control.receive(&mut buffer).ok().filter(|received| received.len > 0)?;
        Some((from_bytes(&buffer[..received.len])?, Fds::from_order(received.fds)?))
    }

    /// Starts this program once more, to be the worker that is ordered.
    fn start_afresh(&self, order: &Order, fds: &Fds) -> io::Result<Forked> {
        let (near, far) = Socket::pair()?;
        let guard = new_guard()?;
        let mut program = once_more(guard);
        program.stdin(far.into_fd()).stderr(fds.stderr.try_clone()?);
        if let Some(stdout) = &fds.stdout {
            program.stdout(stdout.try_clone()?);
        }
        let child = program.spawn()?;
        // It is not reaped before it has been looked at, so the pid is still its own.
        let forked = Forked::parent(child.id())?;
        let (hello, memory) = Hello::new(guard, &Settings { role: Role::Worker, ..self.settings.clone() })?;
        near.send(&to_bytes(&hello), &[memory.as_fd()])?;
        near.send(&to_bytes(order), &fds.to_order())?;
        Ok(forked)
    }

    /// Becomes the one worker that this process was started for, by a zygote that cannot fork.
    fn be_the_worker(mut self, zygote: u32) -> ! {
        let order = self.next_order().ok_or("no worker was ordered");
        let (order, fds) = or_exit(order, "refused to start as a child");
        or_exit(self.run_preload(), "a worker cannot start");
        self.settings.preload = None;
        self.be_worker(zygote, order, fds)
    }

    fn be_worker(&self, zygote: u32, Order::Fork { ticket, number }: Order, fds: Fds) -> ! {
        let name = format!("{}-{number}", self.settings.pool);
        if let Some(area) = &self.title {
            area.set(&format!("{} {name}", self.program));
        }
        let leaf = self.leaves().and_then(|leaves| leaves.path(ticket));
        worker::run(Birth { zygote, name, fds, leaf, settings: self.settings.clone() })
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

/// Opens the pidfd of the program that has started this process.
fn watch_owner(program: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(program as i32).ok_or(io::ErrorKind::InvalidInput)?;
    let owner = pidfd_open(pid, PidfdFlags::empty())?;
    // As long as it is our parent it lives, and its number was nobody else's a moment ago.
    if getppid() == Some(pid) { Ok(owner) } else { Err(io::Error::other("the program is gone")) }
}

/// Receives the program's hello: the settings, and for a zygote the socket that ends with the program.
fn greet(control: &Socket, guard: Guard) -> Result<(Settings, Option<OwnedFd>), String> {
    let [arrived] = wait([Interest::Read(control.as_fd())], Some(Instant::now() + GREETING));
    if !arrived {
        return Err("nobody said hello".to_owned());
    }
    let mut buffer = [0; MAX_CONTROL];
    let received = control.receive(&mut buffer).map_err(|error| error.to_string())?;
    let hello: Hello = from_bytes(&buffer[..received.len]).ok_or("the first message is no hello")?;
    let mut fds = received.fds.into_iter();
    let memory = fds.next().ok_or("the hello came without its settings")?;
    let settings = hello.settings(guard, memory.as_fd())?;
    match (settings.role, fds.next()) {
        (Role::Zygote, None) => Err("the hello came without its second socket".to_owned()),
        (Role::Zygote, life) => Ok((settings, life)),
        (Role::Worker, _) => Ok((settings, None)),
    }
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
    let reply = unsafe { call::call(setup.function, setup.argument.into()) };
    let _ = io::stdout().flush();
    flush_c_stdout();
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
