//! Peers in a process of their own, which answer requests line by line: another build of tokio, async-nats by hand, and Python.
//!
//! A request is a line of words; the answer is `figures A B …` or `error WHY`. While it is not asked, a peer waits for its
//! standard input and costs nothing.

use std::{
    cell::RefCell,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::race::Answers;

/// A running peer. Dropping it ends it.
pub(crate) struct LinePeer {
    child: Child,
    lines: RefCell<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl LinePeer {
    fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".to_owned());
        };
        Ok(Self { child, lines: RefCell::new((Some(requests), BufReader::new(answers))) })
    }
}

impl Answers for LinePeer {
    fn answer(&self, request: &str) -> Result<Vec<f64>, String> {
        let (requests, answers) = &mut *self.lines.borrow_mut();
        let requests = requests.as_mut().ok_or("the peer has ended")?;
        writeln!(requests, "{request}").and_then(|()| requests.flush()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        match answer.trim().split_once(' ') {
            Some(("figures", figures)) => {
                figures.split(' ').map(|word| word.parse().map_err(|_| answer.clone())).collect()
            }
            Some(("error", why)) => Err(why.to_owned()),
            _ => Err(format!("the peer ended, or said {answer:?}")),
        }
    }
}

impl Drop for LinePeer {
    fn drop(&mut self) {
        self.lines.get_mut().0 = None; // the end of its input is the end of the peer
        let _ended = self.child.wait();
    }
}

/// `spawn_blocking` of a tokio without `parking_lot`. Cargo would unify the feature, so it is built apart, on demand.
pub(crate) fn tokio_std() -> Result<LinePeer, String> {
    LinePeer::start(&mut Command::new(build("tokio_std")?))
}

/// async-nats without heavylift. Built on demand, so that the other benches need not have it.
pub(crate) fn nats_raw() -> Result<LinePeer, String> {
    LinePeer::start(&mut Command::new(build("nats_raw")?))
}

fn build(peer: &str) -> Result<PathBuf, String> {
    let manifest = peers().join(peer).join("Cargo.toml");
    if !manifest.exists() {
        return Err("benches/peers is not part of the package".to_owned());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = |more: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]).arg(&manifest);
        command.arg("--target-dir").arg(&target).args(more);
        command.status().is_ok_and(|status| status.success())
    };
    let built = build(&["--offline"]) || build(&[]);
    if built { Ok(target.join("release").join(peer)) } else { Err("it could not be built".to_owned()) }
}

/// Python's pools. What of them cannot be imported answers with an error.
pub(crate) fn python() -> Result<LinePeer, String> {
    LinePeer::start(Command::new("python3").arg(peers().join("python_pools.py")))
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}
