//! Runs that are too narrow to be seen, added up by the pixel.

use super::super::{JobEnd, RecordedJob};
use crate::TaskErrorKind;

/// How a job is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Colour {
    Value,
    Running,
    Cancelled,
    /// Its pool did not take it.
    Refused,
    Failed,
    TimedOut,
    Panicked,
    WorkerDied,
}

impl Colour {
    pub(super) const ALL: [Self; 8] = [
        Self::Value,
        Self::Running,
        Self::Cancelled,
        Self::Refused,
        Self::Failed,
        Self::TimedOut,
        Self::Panicked,
        Self::WorkerDied,
    ];

    pub(super) fn of(job: &RecordedJob) -> Self {
        match job.end() {
            JobEnd::Value => Self::Value,
            JobEnd::Running => Self::Running,
            JobEnd::Failed(kind) => match kind {
                TaskErrorKind::Cancelled => Self::Cancelled,
                TaskErrorKind::TimedOut => Self::TimedOut,
                TaskErrorKind::Panicked => Self::Panicked,
                TaskErrorKind::WorkerDied => Self::WorkerDied,
                TaskErrorKind::Overloaded | TaskErrorKind::Closed => Self::Refused,
                _ => Self::Failed,
            },
        }
    }

    pub(super) fn is_failure(self) -> bool {
        !matches!(self, Self::Value | Self::Running)
    }

    /// Its class in the style.
    pub(super) fn class(self) -> char {
        match self {
            Self::Value => 'v',
            Self::Running => 'n',
            Self::Cancelled => 'c',
            Self::Refused => 'r',
            Self::Failed => 'f',
            Self::TimedOut => 't',
            Self::Panicked => 'p',
            Self::WorkerDied => 'd',
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Failed => "failed otherwise",
            Self::TimedOut => "timed out",
            Self::Panicked => "panicked",
            Self::WorkerDied => "worker died",
        }
    }
}

/// What is drawn: from one time to another, so many columns wide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) columns: usize,
}

impl Scale {
    /// Where a time lies, in columns; at the edge if it is beyond.
    pub(super) fn x(&self, at: u64) -> f64 {
        let at = at.clamp(self.from, self.to) - self.from;
        at as f64 / (self.to - self.from) as f64 * self.columns as f64
    }

    /// In which column a time lies.
    pub(super) fn column(&self, at: u64) -> usize {
        (self.x(at) as usize).min(self.columns - 1)
    }
}

/// Narrow runs of one lane.
#[derive(Debug)]
pub(super) struct Columns {
    /// How much of each column is busy: 1 for all of it.
    pub(super) busy: Vec<f64>,
    /// Which failures lie in it, as bits by colour.
    failures: Vec<u8>,
}

impl Columns {
    pub(super) fn new(columns: usize) -> Self {
        Self { busy: vec![0.0; columns], failures: vec![0; columns] }
    }

    /// Adds a run, or a failure without one.
    pub(super) fn add(&mut self, scale: &Scale, begun: u64, ended: u64, colour: Colour) {
        let (left, right) = (scale.x(begun), scale.x(ended));
        for column in scale.column(begun)..=scale.column(ended) {
            let here = right.min(column as f64 + 1.0) - left.max(column as f64);
            self.busy[column] += here.max(0.0);
        }
        if colour.is_failure() {
            self.failures[scale.column(ended)] |= 1 << colour as u8;
        }
    }

    pub(super) fn failures_in(&self, column: usize) -> impl Iterator<Item = Colour> + use<> {
        let bits = self.failures[column];
        Colour::ALL.into_iter().filter(move |colour| bits & (1 << *colour as u8) != 0)
    }

    /// How many kinds of failures there are in all columns.
    pub(super) fn failures(&self) -> usize {
        self.failures.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// How high each column is drawn, in steps of which so many are all of it; what is busy at all has one.
    pub(super) fn heights(&self, steps: u32) -> impl Iterator<Item = u32> + '_ {
        self.busy.iter().map(move |&busy| (busy.min(1.0) * f64::from(steps)).ceil() as u32)
    }
}

/// How wide a bar must be to be drawn by itself, so that no more than `most` of these widths are.
pub(super) fn narrowest(mut widths: Vec<f64>, most: usize) -> f64 {
    widths.retain(|width| *width >= 1.0);
    if widths.len() <= most {
        return 1.0;
    }
    widths.sort_by(|a, b| b.total_cmp(a));
    // Of those that are as wide as the first that is one too many none is drawn by itself.
    widths[most] + f64::EPSILON * widths[most]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { from: 100, to: 200, columns: 10 };

    #[test]
    fn a_column_knows_how_much_of_it_is_busy() {
        let mut columns = Columns::new(10);
        columns.add(&SCALE, 105, 125, Colour::Value);
        columns.add(&SCALE, 126, 127, Colour::Value);
        columns.add(&SCALE, 0, 101, Colour::Value);
        columns.add(&SCALE, 199, 900, Colour::Value);
        let tenths: Vec<_> = columns.busy.iter().map(|busy| (busy * 10.0).round() as u32).collect();
        assert_eq!(tenths, [6, 10, 6, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(columns.heights(4).collect::<Vec<_>>(), [3, 4, 3, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(columns.failures(), 0);
    }

    #[test]
    fn no_failure_is_lost_among_any_number_of_values() {
        let mut columns = Columns::new(10);
        (0..10_000).for_each(|nth| columns.add(&SCALE, 100 + nth / 100, 100 + nth / 100, Colour::Value));
        columns.add(&SCALE, 150, 150, Colour::Panicked);
        columns.add(&SCALE, 155, 155, Colour::WorkerDied);
        columns.add(&SCALE, 160, 161, Colour::Panicked);
        columns.add(&SCALE, 171, 172, Colour::Panicked);
        columns.add(&SCALE, 200, 200, Colour::Cancelled);
        let found: Vec<_> = (0..10).map(|column| columns.failures_in(column).count()).collect();
        assert_eq!(found, [0, 0, 0, 0, 0, 2, 1, 1, 0, 1]);
        assert_eq!(columns.failures_in(5).collect::<Vec<_>>(), [Colour::Panicked, Colour::WorkerDied]);
    }

    #[test]
    fn the_widest_bars_are_drawn_by_themselves() {
        assert_eq!(narrowest(vec![0.2, 3.0, 1.0], 2), 1.0);
        let least = narrowest(vec![5.0, 2.0, 9.0, 2.0, 0.5], 2);
        assert!(least > 2.0 && least <= 5.0);
        let least = narrowest(vec![2.0; 100], 50);
        assert!(least > 2.0, "all or none of what is equal");
    }
}
