//! [`Yard`]: a directory in which a test and its jobs meet, in whichever process they are.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::drive::{BOUND, until};

/// A directory of marks. When it is dropped every job that waits in it goes on.
pub(crate) struct Yard(TempDir);

impl Drop for Yard {
    fn drop(&mut self) {
        // Again while a job that goes on leaves a last mark in it.
        let end = Instant::now() + BOUND;
        while self.0.path().exists() && Instant::now() < end {
            let _ = fs::remove_dir_all(self.0.path());
        }
    }
}

/// A place in a yard, which can be marked once, or be written to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spot(PathBuf);

impl Yard {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn spot(&self, name: &str) -> Spot {
        Spot(self.0.path().join(name))
    }
}

impl Spot {
    pub(crate) fn mark(&self) {
        // The yard may be gone, and the test with it.
        let _ = fs::write(&self.0, "");
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.0.exists()
    }

    /// Waits for the mark, in a job.
    pub(crate) fn wait(&self) {
        let end = Instant::now() + BOUND;
        let is_open = || self.is_marked() || !self.0.parent().is_some_and(|yard| yard.exists());
        while !is_open() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the mark, in a test.
    pub(crate) async fn marked(&self) {
        until("a mark", || self.is_marked()).await;
    }

    /// Adds a line.
    pub(crate) fn write(&self, line: u32) {
        let file = OpenOptions::new().create(true).append(true).open(&self.0);
        // One write call, which the system does not tear apart.
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<u32> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}
