//! What the user sees: lines on stdout; progress, failures and the summary on stderr.

use std::{
    ffi::OsStr,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use heavylift::{Task, is_cancelled, run_in_thread_pool};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    name::{push_line, shown},
    pipeline::Digested,
    walk::Walk,
};

pub(crate) struct Report {
    /// Draws only on a terminal.
    bar: ProgressBar,
    started: Instant,
    files: u64,
    bytes: u64,
    failures: u64,
    /// Finds out how much there is to do. Dropping it ends it.
    _counting: Option<Task<()>>,
}

impl Report {
    /// `walk` is walked only if somebody can see the bar whose length it gives.
    pub(crate) fn new(walk: Walk) -> Self {
        let style = ProgressStyle::with_template(
            "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        );
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let counting = (!bar.is_hidden()).then(|| {
            bar.enable_steady_tick(Duration::from_millis(100));
            count_ahead(walk, bar.clone())
        });
        Self { bar, started: Instant::now(), files: 0, bytes: 0, failures: 0, _counting: counting }
    }

    /// Prints the lines of those that were hashed, all at once, and says which were not. The error is that of stdout.
    pub(crate) fn print<'a>(&mut self, ready: impl IntoIterator<Item = &'a Digested>) -> io::Result<()> {
        let mut lines = Vec::new();
        for Digested { name, outcome } in ready {
            match outcome {
                Ok(hashed) => {
                    push_line(&mut lines, &hashed.digest, name);
                    self.hashed(hashed.bytes);
                }
                Err(error) => {
                    self.failures += 1;
                    self.note(name, error);
                }
            }
        }
        self.bar.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&lines)?;
            stdout.flush()
        })
    }

    fn hashed(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.bar.inc(bytes);
    }

    /// Says something about a file.
    pub(crate) fn note(&self, name: &OsStr, what: impl Display) {
        self.bar.suspend(|| complain(format_args!("{}: {what}", shown(name))));
    }

    /// Prints the summary, with who has computed. Returns whether nothing failed.
    pub(crate) fn finish(self, workers: impl Display) -> bool {
        self.bar.finish_and_clear();
        let Self { files, failures, .. } = self;
        let (seconds, megabytes) = (self.started.elapsed().as_secs_f64(), self.bytes as f64 / 1e6);
        complain(format_args!(
            "{files} files, {megabytes:.1} MB in {seconds:.2} s, {:.1} MB/s, {workers}, {failures} failures",
            megabytes / seconds,
        ));
        failures == 0
    }
}

/// How the program ends, once it has printed what it could: whether all of it was read, or the error of stdout.
pub(crate) fn exit_code(printed: io::Result<bool>) -> ExitCode {
    match printed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read our lines has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the arguments, and ends the program so.
pub(crate) fn wrong_usage(message: impl Display) -> ExitCode {
    complain(format_args!("{message} (see --help)"));
    ExitCode::from(2)
}

/// Writes a line on stderr. If that is closed there is nobody left to tell.
pub(crate) fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "digest: {what}");
}

fn count_ahead(walk: Walk, bar: ProgressBar) -> Task<()> {
    run_in_thread_pool(move || {
        let sizes = walk.take_while(|_| !is_cancelled()).filter_map(|found| found.size.ok());
        sizes.for_each(|size| bar.inc_length(size));
    })
}
