//! What the nodes of these tests can do.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use heavylift::job;

/// What a node of these tests is called, for its jobs: see `scene::Serving`.
pub(super) const NAME: &str = "HEAVYLIFT_FAULTS_NAME";

/// Appends a line to a file, and waits until another is there. Returns its run.
#[heavylift::job]
pub(super) fn visit((lines, gate): (PathBuf, Option<PathBuf>)) -> u32 {
    let this = job::current();
    let node = env::var(NAME).unwrap_or_else(|_| "this".to_owned());
    let line = format!("{} {} {node} {}\n", this.id(), this.attempt(), std::process::id());
    let file = fs::OpenOptions::new().create(true).append(true).open(lines);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("a file to write to");
    let end = Instant::now() + Duration::from_secs(60);
    while gate.as_ref().is_some_and(|gate| !gate.exists()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    this.attempt()
}

/// Ends its process.
#[heavylift::job]
pub(super) fn poison(_: ()) {
    std::process::abort();
}

/// A run of [`visit`], as its line tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Visit {
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) node: String,
    pub(super) pid: u32,
}

/// All runs that have begun.
pub(super) fn visits(lines: &Path) -> Vec<Visit> {
    let text = fs::read_to_string(lines).unwrap_or_default();
    let visit = |line: &str| {
        let [id, attempt, node, pid] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (attempt, pid) = (attempt.parse().unwrap(), pid.parse().unwrap());
        Visit { id: id.to_owned(), attempt, node: node.to_owned(), pid }
    };
    text.lines().map(visit).collect()
}
