//! [`Zygote`]: a pool's zygote, as its manager sees it.

use std::{
    env, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    process::{Child, Command, Stdio},
    sync::Arc,
};

use super::copier::Stderr;
use crate::process::{
    call,
    child::{
        depth,
        entry::{self, Guard, VARIABLE},
    },
    config::Config,
    message::{Hello, MAX_CONTROL, Notice, Order, PROTOCOL, Settings, from_bytes, to_bytes},
    sys::{Leaf, Leaves, Memory, Socket, entry_is_in_program, is_privileged},
};

/// How deep process pools may be nested.
const MAX_DEPTH: u32 = 2;

/// Variables that tell libraries how many threads to start.
const THREAD_COUNTS: [&str; 5] =
    ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"];

/// A zygote process that is alive, or was when we last looked.
#[derive(Debug)]
pub(super) struct Zygote {
    /// Tells the zygotes of a pool apart.
    pub(super) serial: u64,
    child: Child,
    control: Socket,
    /// Carries nothing: its end reaches also a zygote that is stopped or in its preload.
    _life: Socket,
    pub(super) stderr: Arc<Stderr>,
    /// The cgroups of its workers, if they get some.
    leaves: Option<Leaves>,
}

/// A message of a zygote, with the descriptors that came along.
pub(super) type Heard = (Notice, Vec<OwnedFd>);

impl Zygote {
    /// Starts a zygote and says hello. It answers with `Ready` or `Failed`.
    ///
    /// # Errors
    ///
    /// A text with the reason.
    pub(super) fn start(config: &Config, serial: u64) -> Result<Self, String> {
        check_that_children_are_possible()?;
        Self::spawn(config, serial).map_err(|error| explain(&error))
    }

    fn spawn(config: &Config, serial: u64) -> io::Result<Self> {
        let (control, theirs) = Socket::pair()?;
        let (life, their_life) = Socket::pair()?;
        let leaves = config.cgroup.as_deref().map(Leaves::new).transpose()?;
        let guard = Guard { parent: std::process::id(), nonce: nonce()? };
        let mut child = command(config, guard).stdin(Stdio::from(theirs.into_fd())).spawn()?;
        let stderr = child.stderr.take().expect("the command pipes standard error");
        let zygote = Stderr::over(stderr.into()).map(|stderr| Self {
            serial,
            child,
            control,
            _life: life,
            stderr,
            leaves,
        })?;
        match zygote.say_hello(config, guard, &their_life) {
            Ok(()) => Ok(zygote),
            Err(error) => {
                zygote.kill();
                Err(error)
            }
        }
    }

    fn say_hello(&self, config: &Config, guard: Guard, life: &Socket) -> io::Result<()> {
        let settings = to_bytes(&Settings {
            pool: config.name.clone(),
            depth: depth() + 1,
            stack_size: config.stack_size,
            address_space_limit: config.address_space_limit,
            leaves: self.leaves.as_ref().map(|leaves| leaves.stem().as_os_str().as_bytes().to_owned()),
            max_payload: config.max_payload,
            preload: config.preload.clone(),
            initializer: config.initializer.clone(),
        });
        let (memory, fd) = Memory::create(settings.len())?;
        memory.write(&settings);
        let hello = Hello {
            protocol: PROTOCOL,
            fingerprint: call::fingerprint(),
            nonce: guard.nonce,
            settings_len: settings.len() as u64,
        };
        self.control.send(&to_bytes(&hello), &[fd.as_fd(), life.as_fd()])
    }

    /// Makes the cgroup of a worker that is to be forked, if it gets one.
    ///
    /// # Errors
    ///
    /// A text with the reason.
    pub(super) fn make_leaf(&self, ticket: u64, config: &Config) -> Result<Option<Leaf>, String> {
        let leaf = self.leaves.as_ref().map(|leaves| leaves.make(ticket, config.max_memory_per_worker));
        leaf.transpose().map_err(|why| format!("a worker cannot start: {why}"))
    }

    /// Asks for a worker; it answers with `Forked` or `NotForked`.
    pub(super) fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.control.try_send(&to_bytes(order), fds)
    }

    /// The next message: `Ok(None)` if there is none now.
    ///
    /// # Errors
    ///
    /// When it is dead, or says what no zygote says.
    pub(super) fn hear(&self) -> io::Result<Option<Heard>> {
        let mut buffer = [0; MAX_CONTROL];
        let Some(received) = self.control.try_receive(&mut buffer)? else { return Ok(None) };
        if received.len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let notice = from_bytes(&buffer[..received.len]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((notice, received.fds)))
    }

    /// Gives it up: it sees the end of its control socket, kills its workers and exits. The rest is to reap it.
    pub(super) fn leave(self) -> Child {
        self.stderr.finish();
        self.child
    }

    /// Kills it, for one that does not answer, and reaps it.
    pub(super) fn kill(mut self) -> Option<std::process::ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    /// How it exited, if it has.
    pub(super) fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// Says why no child can be started from this process, before anything is executed.
fn check_that_children_are_possible() -> Result<(), String> {
    if !entry::is_in_place() {
        return Err("the worker side is not in place: enable heavylift's feature `auto-start`, or call \
                    `heavylift::worker::init()` as the first line of `main`"
            .to_owned());
    }
    if is_privileged() {
        return Err(
            "the program runs with more rights than its caller (set-uid, set-gid or file capabilities)"
                .to_owned(),
        );
    }
    if !entry_is_in_program(entry::address()) {
        return Err("heavylift is part of a shared library: its workers would run the program's own `main`"
            .to_owned());
    }
    if depth() >= MAX_DEPTH {
        return Err(format!("process pools are nested {MAX_DEPTH} deep already, and not deeper"));
    }
    Ok(())
}

/// The command that starts this program once more, as a child.
fn command(config: &Config, guard: Guard) -> Command {
    // Not `current_exe`: the file may have been replaced or deleted since, and the zygote must be the same program.
    let mut command = Command::new("/proc/self/exe");
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).stderr(Stdio::piped());
    // A group of its own: Ctrl-C in the terminal reaches the program alone.
    command.process_group(0);
    if config.env_clear {
        command.env_clear();
    }
    let threads = (available_cpus() / config.max_workers).max(1).to_string();
    for variable in THREAD_COUNTS {
        if config.env_clear || env::var_os(variable).is_none() {
            command.env(variable, &threads);
        }
    }
    command.envs(config.env.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &config.current_dir {
        command.current_dir(directory);
    }
    command.env(VARIABLE, guard.to_value());
    command
}

fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn nonce() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == bytes.len() {
        Ok(u128::from_ne_bytes(bytes))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Names the limit that a failure of the system most likely hit.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            format!("{error}: the program's limit of open files (RLIMIT_NOFILE) is reached")
        }
        Some(libc::ENFILE) => format!("{error}: the system's limit of open files is reached"),
        Some(libc::EAGAIN) => {
            format!("{error}: the limit of processes and threads (RLIMIT_NPROC, pids.max) is reached")
        }
        _ => error.to_string(),
    }
}
