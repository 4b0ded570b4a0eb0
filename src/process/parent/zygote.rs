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

use super::copier::Pipe;
use crate::process::{
    Output,
    child::{
        depth,
        entry::{self, Guard, VARIABLE},
        preloads,
    },
    config::Config,
    message::{Hello, MAX_CONTROL, Notice, Order, Role, Settings, from_bytes, to_bytes},
    program::{PROGRAM, new_guard, once_more},
    sys::{ClosedInCopies, Leaf, Leaves, Socket, entry_is_in_program, is_privileged},
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
    // Before the sockets: a copy of the program must not keep them open, or their end would not be that of the program.
    _in_copies: [ClosedInCopies; 2],
    control: Socket,
    /// Carries nothing: its end reaches also a zygote that is stopped or in its preload.
    _life: Socket,
    pub(super) stderr: Arc<Pipe>,
    /// Where standard output is not the program's own.
    pub(super) stdout: Option<Arc<Pipe>>,
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
        let _in_copies = [ClosedInCopies::new(&control), ClosedInCopies::new(&life)];
        let _theirs_in_copies = ClosedInCopies::new(&their_life);
        let leaves = config.cgroup.as_deref().map(Leaves::new).transpose()?;
        let guard = new_guard()?;
        let mut child = command(config, guard).stdin(Stdio::from(theirs.into_fd())).spawn()?;
        let stderr = child.stderr.take().expect("the command pipes standard error");
        let stderr = Pipe::over(stderr.into())?;
        let stdout = child.stdout.take().map(|stdout| Pipe::over(stdout.into())).transpose()?;
        let zygote = Self { serial, child, _in_copies, control, _life: life, stderr, stdout, leaves };
        match zygote.say_hello(config, guard, &their_life) {
            Ok(()) => Ok(zygote),
            Err(error) => {
                zygote.kill();
                Err(error)
            }
        }
    }

    fn say_hello(&self, config: &Config, guard: Guard, life: &Socket) -> io::Result<()> {
        let settings = Settings {
            role: Role::Zygote,
            pool: config.name.clone(),
            depth: depth() + 1,
            stack_size: config.stack_size,
            address_space_limit: config.address_space_limit,
            leaves: self.leaves.as_ref().map(|leaves| leaves.stem().as_os_str().as_bytes().to_owned()),
            max_payload: config.max_payload,
            // Where memory is limited a worker holds what its jobs hold, and nothing else.
            keeps_heap: config.max_memory_per_worker.is_none() && config.address_space_limit.is_none(),
            preload: config.preload.clone(),
            initializer: config.initializer.clone(),
        };
        let (hello, fd) = Hello::new(guard, &settings)?;
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
        self.stdout.iter().for_each(|stdout| stdout.finish());
        self.child
    }

    /// Kills it, for one that does not answer, and reaps it.
    pub(super) fn kill(mut self) -> Option<std::process::ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
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
    if preloads() {
        return Err("a preload must not use process pools: their threads would keep the zygote from forking"
            .to_owned());
    }
    // By no other name: the path that the program was started by may lead to another one, whose `main` would run.
    if std::fs::symlink_metadata(PROGRAM).is_err() {
        return Err(format!("{PROGRAM} is not to be found: /proc is not mounted"));
    }
    if depth() >= MAX_DEPTH {
        return Err(format!("process pools are nested {MAX_DEPTH} deep already, and not deeper"));
    }
    Ok(())
}

/// The command that starts this program once more, as a child.
fn command(config: &Config, guard: Guard) -> Command {
    let mut command = once_more(guard);
    command.stdout(stdout(config.output)).stderr(Stdio::piped());
    // A group of its own: Ctrl-C in the terminal reaches the program alone.
    command.process_group(0);
    if config.env_clear {
        command.env_clear().env(VARIABLE, guard.to_value());
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
    command
}

/// What the zygote, and with it each worker, has as standard output at first.
fn stdout(output: Output) -> Stdio {
    match output {
        Output::Inherit => Stdio::inherit(),
        #[cfg(feature = "tracing")]
        Output::Tracing => Stdio::piped(),
        Output::Null => Stdio::null(),
    }
}

fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Names the limit that a failure of the system most likely hit.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            format!("{error}: the program's limit of open files (RLIMIT_NOFILE) is reached")
        }
        Some(libc::ENFILE) => format!("{error}: the system's limit of open files is reached"),
        Some(libc::ETOOMANYREFS) => {
            format!(
                "{error}: as many descriptors are under way between processes as may be open (RLIMIT_NOFILE)"
            )
        }
        Some(libc::EAGAIN) => {
            format!("{error}: the limit of processes and threads (RLIMIT_NPROC, pids.max) is reached")
        }
        _ => error.to_string(),
    }
}
