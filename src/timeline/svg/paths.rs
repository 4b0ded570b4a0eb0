//! Paths through many columns, in few characters.

use std::fmt::{self, Write as _};

use super::{
    COLUMNS, LEFT,
    columns::{Colour, Columns},
};

/// An area above `base`: columns of so many steps of this height. Goes along the base where there are none.
pub(super) fn skyline(heights: impl Iterator<Item = u32>, base: f64, step: f64) -> String {
    let base = Tenths::of(base);
    let mut path = String::new();
    let (mut level, mut run, mut y) = (0, 0_usize, base.0);
    let mut up_to = |path: &mut String, height: u32, run: usize| {
        if path.is_empty() {
            let _ = write!(path, "M{LEFT} {base}");
        }
        let to = base.0 - Tenths::of(step * f64::from(height)).0;
        let by = Tenths(std::mem::replace(&mut y, to).wrapping_neg() + to);
        if run > 0 {
            let _ = write!(path, "h{run}");
        }
        let _ = write!(path, "v{by}");
    };
    for height in heights {
        if height != level {
            up_to(&mut path, height, std::mem::take(&mut run));
            level = height;
        }
        run += 1;
    }
    if level > 0 {
        up_to(&mut path, 0, run);
    }
    if !path.is_empty() {
        path.push('z');
    }
    path
}

/// Which of the failures in one column are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// One above the other.
    Each,
    TheWorst,
}

/// A line through each column that has such a failure.
pub(super) fn strokes(columns: &Columns, colour: Colour, which: Which, top: f64, height: f64) -> String {
    let mut path = String::new();
    let mut pen = None;
    for column in 0..COLUMNS {
        let all: Vec<Colour> = columns.failures_in(column).collect();
        let Some(above) = all.iter().position(|it| *it == colour) else { continue };
        let (above, parts) = match which {
            Which::Each => (above, all.len()),
            Which::TheWorst if above + 1 == all.len() => (0, 1),
            Which::TheWorst => continue,
        };
        let each = height / parts as f64;
        let (y, length) = (Tenths::of(top + each * above as f64), Tenths::of(each));
        let _ = match pen.replace((column, y.0 + length.0)) {
            None => write!(path, "M{}.5 {y}v{length}", LEFT + column),
            Some((before, end)) => write!(path, "m{}{}v{length}", column - before, Signed(y.0 - end)),
        };
    }
    path
}

/// A length in tenths: with one digit where that is needed, and none of it lost when many are added up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenths(i64);

impl Tenths {
    pub(super) fn of(length: f64) -> Self {
        Self((length * 10.0).round() as i64)
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, tenths) = (self.0.abs() / 10, self.0.abs() % 10);
        match (whole, tenths) {
            (_, 0) => write!(f, "{sign}{whole}"),
            (0, _) => write!(f, "{sign}.{tenths}"),
            _ => write!(f, "{sign}{whole}.{tenths}"),
        }
    }
}

/// A length in tenths behind another number, from which its sign or a space tells it apart.
struct Signed(i64);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.0 < 0 { "" } else { " " };
        write!(f, "{space}{}", Tenths(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::svg::columns::Scale;

    #[test]
    fn a_skyline_goes_up_and_down_and_leaves_gaps() {
        let path = |heights: &[u32]| skyline(heights.iter().copied(), 100.0, 1.25);
        assert_eq!(path(&[]), "");
        assert_eq!(path(&[0, 0]), "");
        assert_eq!(path(&[1, 1]), "M70 100v-1.3h2v1.3z");
        assert_eq!(path(&[0, 2, 1, 0, 3]), "M70 100h1v-2.5h1v1.2h1v1.3h1v-3.8h1v3.8z");
    }

    #[test]
    fn each_failure_has_a_stroke_or_the_worst_of_its_column() {
        let scale = Scale { from: 0, to: COLUMNS as u64, columns: COLUMNS };
        let mut columns = Columns::new(COLUMNS);
        for (at, colour) in
            [(3, Colour::Panicked), (5, Colour::Panicked), (5, Colour::Cancelled), (6, Colour::Panicked)]
        {
            columns.add(&scale, at, at, colour);
        }
        let path = |colour, which| strokes(&columns, colour, which, 100.0, 9.0);
        assert_eq!(path(Colour::Panicked, Which::Each), "M73.5 100v9m2-4.5v4.5m1-9v9");
        assert_eq!(path(Colour::Cancelled, Which::Each), "M75.5 100v4.5");
        assert_eq!(path(Colour::Panicked, Which::TheWorst), "M73.5 100v9m2-9v9m1-9v9");
        assert_eq!(path(Colour::Cancelled, Which::TheWorst), "");
    }
}
