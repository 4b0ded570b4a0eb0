//! What the figures were taken on, and of what.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// Machine, tools and commit of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) tokio: String,
    pub(crate) python: String,
    pub(crate) commit: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            cpu: value_of(&cpu_info, "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            rustc: first_line(&["rustc", "--version"]),
            tokio: tokio_version(),
            python: first_line(&["python3", "--version"]),
            commit: commit(),
            date: first_line(&["date", "-u", "+%Y-%m-%d %H:%M UTC"]),
        }
    }
}

impl Machine {
    /// A sentence for the report.
    pub(crate) fn in_words(&self) -> String {
        let Self { cpu, cores, kernel, rustc, tokio, python, commit, date } = self;
        format!(
            "Last run: {date}, commit {commit}. {cpu}, {cores} cores, Linux {kernel}; {rustc}, tokio {tokio}, {python}.\n"
        )
    }
}

fn value_of(text: &str, key: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_once(':')).map_or(String::new(), |(_, value)| value.trim().to_owned())
}

fn first_line(command: &[&str]) -> String {
    let output =
        Command::new(command[0]).args(&command[1..]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn commit() -> String {
    let commit = first_line(&["git", "rev-parse", "--short=12", "HEAD"]);
    let changes =
        first_line(&["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/results"]);
    if changes.is_empty() { commit } else { format!("{commit} with changes") }
}

fn tokio_version() -> String {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap_or_default();
    let after = lock.split("name = \"tokio\"\nversion = \"").nth(1).unwrap_or_default();
    after.split('"').next().unwrap_or_default().to_owned()
}
