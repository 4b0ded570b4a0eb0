//! Copies of a bench program that run beside it, each as something else: told what by a variable, ended by the end of their input.

use std::{
    env, io,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
};

/// What a copy is to be.
const ROLE: &str = "HEAVYLIFT_BENCH_ROLE";
/// What a copy says when it is.
const READY: &str = "ready";

/// The words that this program was started with as a copy, if it was.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Tells who started this copy that it is ready, and waits for the end.
pub(crate) fn ready() -> io::Result<()> {
    println!("{READY}");
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// A running copy. Dropping it ends it.
pub(crate) struct Copy {
    child: Child,
    input: Option<ChildStdin>,
}

impl Copy {
    /// Starts a copy and waits until it is ready.
    pub(crate) fn start(role: &str) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{role}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let copy = Self { child, input };
        let mut said = String::new();
        let output = output.ok_or("no pipe")?;
        BufReader::new(output).read_line(&mut said).map_err(|error| error.to_string())?;
        if said.trim() == READY { Ok(copy) } else { Err(format!("{role}: it has ended")) }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.child.wait();
    }
}
