//! This program, started once more as a child: by its own process for the zygote, by a zygote that cannot fork for a worker.

use std::{env, io, os::unix::process::CommandExt, process::Command};

use super::child::entry::{Guard, VARIABLE};

/// Where this program is found. Not `current_exe`: the file may have been replaced or deleted since, and a child must be the
/// same program.
pub(super) const PROGRAM: &str = "/proc/self/exe";

/// The command that starts this program once more with the arguments it has, to be a child of who holds `guard`.
pub(super) fn once_more(guard: Guard) -> Command {
    let mut command = Command::new(PROGRAM);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(VARIABLE, guard.to_value());
    command
}

/// A guard for a child of this process.
pub(super) fn new_guard() -> io::Result<Guard> {
    let mut nonce = [0; 16];
    let filled = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())?;
    if filled < nonce.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Guard { parent: std::process::id(), nonce: u128::from_ne_bytes(nonce) })
}
