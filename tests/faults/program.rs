//! Programs of their own: this test binary started once more, so that a scenario has a process, surroundings and an end for
//! itself.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use rustix::process::Signal;

use crate::processes::signal;

/// Names the scenario to be played; without it a test that holds scenarios does nothing.
const SCENARIO: &str = "SCENARIO";

/// How a program is to be started.
pub(crate) struct Script {
    /// The command that is to start it, such as `setsid`; none if it is empty.
    wrapper: Vec<String>,
    binary: PathBuf,
    test: &'static str,
    scenario: &'static str,
    variables: Vec<(&'static str, String)>,
}

impl Script {
    /// Plays `scenario` in the test named `test`, which calls [`asked_for`].
    pub(crate) fn new(test: &'static str, scenario: &'static str) -> Self {
        let binary = env::current_exe().expect("a path");
        Self { wrapper: Vec::new(), binary, test, scenario, variables: Vec::new() }
    }

    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Runs another copy of this binary.
    pub(crate) fn of(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(Into::into).chain([self.binary.clone().into_os_string()]);
        let mut command = Command::new(words.next().expect("at least the binary"));
        command.args(words).args(["--exact", self.test, "--nocapture", "--test-threads=1"]);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.envs(variables).env(SCENARIO, self.scenario).stdin(Stdio::null());
        command
    }

    /// Plays it to its end.
    #[track_caller]
    pub(crate) fn play(&self) -> Output {
        let output = self.command().output().expect("the program starts");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}: {}\n{out}\n{err}", self.scenario, output.status);
        assert!(out.contains("1 passed"), "the scenario {} was not played: {out}\n{err}", self.scenario);
        output
    }

    /// Starts it, and goes on.
    pub(crate) fn start(&self) -> Program {
        let temporary = tempfile::tempdir().expect("a directory");
        let mut command = self.command();
        command.env("TMPDIR", temporary.path()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        Program { child, said, _temporary: temporary }
    }
}

/// The scenario to be played in this process.
pub(crate) fn asked_for() -> Option<String> {
    env::var(SCENARIO).ok()
}

/// A program that plays a scenario. Killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStdout>,
    /// Its temporary files, which outlive it: it is seldom left to its end.
    _temporary: tempfile::TempDir,
}

impl Program {
    /// What it says next on a line that begins with `topic`.
    #[track_caller]
    pub(crate) fn says(&mut self, topic: &str) -> String {
        let mut lines = self.said.by_ref().lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.strip_prefix(topic)?.strip_prefix(": ").map(str::to_owned));
        said.expect("a line on the topic")
    }

    pub(crate) fn kill(&mut self) {
        signal(self.child.id(), Signal::KILL);
        self.child.wait().expect("its end");
    }

    /// Whether it ends well.
    pub(crate) fn ends_well(&mut self) -> bool {
        self.child.wait().expect("its end").success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
