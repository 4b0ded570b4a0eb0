//! A bench program: how much it is to do, and the rows that it adds to the report.

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{machine::Machine, race::Claim, report::Report, row::Row};

/// How many rounds a race has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) warm_up: usize,
    pub(crate) rounds: usize,
}

/// One program of `cargo bench`.
pub(crate) struct Program {
    name: &'static str,
    quick: bool,
    begun: Instant,
    rows: Vec<Row>,
}

impl Program {
    /// Reads the settings: `--quick`, or `HEAVYLIFT_BENCH_QUICK=1`, only checks that everything works. So does `cargo test
    /// --all-targets`, which does not say `--bench`.
    pub(crate) fn new(name: &'static str) -> Self {
        let given = |option: &str| env::args().any(|argument| argument == option);
        let asked = env::var_os("HEAVYLIFT_BENCH_QUICK").is_some_and(|value| value != "0");
        let is_test = env::var_os("CARGO").is_some() && !given("--bench");
        let quick = asked || given("--quick") || is_test;
        Self { name, quick, begun: Instant::now(), rows: Vec::new() }
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// `full`, or a little of it in a quick run.
    pub(crate) fn size(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// One round that does not count and seven that do.
    pub(crate) fn effort(&self) -> Effort {
        self.effort_of(7)
    }

    /// For what is short and depends on where the scheduler has put two threads: many rounds.
    pub(crate) fn effort_of_many(&self) -> Effort {
        self.effort_of(41)
    }

    /// For long races: fewer rounds, at least five.
    pub(crate) fn effort_of(&self, rounds: usize) -> Effort {
        if self.quick {
            Effort { warm_up: 0, rounds: 2 }
        } else {
            Effort { warm_up: 1, rounds: rounds.max(5) }
        }
    }

    /// For what needs no warming up, and takes long.
    pub(crate) fn effort_without_warm_up(&self) -> Effort {
        Effort { warm_up: 0, ..self.effort_of(5) }
    }

    /// Adds a row, and prints it.
    pub(crate) fn add(&mut self, claim: Claim) {
        self.add_row(claim.row);
    }

    /// Adds a row with a note.
    pub(crate) fn add_with_note(&mut self, claim: Claim, note: impl Into<String>) {
        let mut row = claim.row;
        row.note = note.into();
        self.add_row(row);
    }

    fn add_row(&mut self, mut row: Row) {
        row.program = self.name.to_owned();
        println!("{}", super::report::in_words(&row));
        self.rows.push(row);
    }

    /// Puts the rows into the report in place of the program's old ones, and draws it anew.
    pub(crate) fn finish(self) {
        let took: Duration = self.begun.elapsed();
        let directory = self.directory();
        let mut report = Report::read(&directory);
        report.replace(self.name, self.rows, Machine::look());
        report.write(&directory).expect("the directory of results can be written");
        println!("{} took {:.1} s; written to {}\n", self.name, took.as_secs_f64(), directory.display());
    }

    /// Draws the report anew, and puts its claims into README if asked to.
    pub(crate) fn draw(self, into_readme: bool) {
        let directory = self.directory();
        let report = Report::read(&directory);
        report.write(&directory).expect("the directory of results can be written");
        if into_readme {
            report.write_readme().expect("README has a place for the claims");
        }
    }

    /// Where results go. Quick figures never take the place of real ones.
    pub(crate) fn directory(&self) -> PathBuf {
        if self.quick {
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("quick_results")
        } else {
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/results")
        }
    }
}
