//! The legend and the axis of time.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    CHARACTER, COLUMNS, LEFT, Picture, WIDTH,
    axis::Ticks,
    columns::Colour,
    marks::{shape, tick},
    words::Number,
};
use crate::timeline::Mark;

/// An entry of the legend.
pub(super) enum Entry {
    Colour(Colour, u64),
    Mark(Mark, u64),
}

impl Entry {
    fn text(&self) -> String {
        match self {
            Self::Colour(colour, count) => format!("{} {}", colour.text(), Number(*count)),
            Self::Mark(mark, count) => format!("{} {}", mark.text(), Number(*count)),
        }
    }

    fn width(&self) -> f64 {
        32.0 + CHARACTER * self.text().chars().count() as f64
    }
}

/// Head and axis.
impl Picture<'_> {
    /// What there is, in rows.
    pub(super) fn legend(&self) -> Vec<Vec<Entry>> {
        let mut colours = BTreeMap::new();
        for job in &self.timeline.jobs {
            *colours.entry(Colour::of(job)).or_insert(0) += u64::from(job.items);
        }
        for item in &self.timeline.failed_items {
            *colours.entry(Colour::of(item)).or_insert(0) += 1;
            // Its run was counted as one of values.
            colours.entry(Colour::Value).and_modify(|count| *count = count.saturating_sub(1));
        }
        let mut marks = BTreeMap::new();
        for (_, mark, _) in self.timeline.marks() {
            *marks.entry(mark).or_insert(0) += 1;
        }
        let colours = colours.into_iter().filter(|(_, count)| *count > 0);
        let colours = colours.map(|(colour, count)| Entry::Colour(colour, count));
        let is_drawn = |mark| if self.is_crowded { tick(mark).is_some() } else { shape(mark).is_some() };
        let marks = marks.into_iter().filter(|(mark, _)| is_drawn(*mark));
        let entries = colours.chain(marks.map(|(mark, count)| Entry::Mark(mark, count)));
        let mut rows: Vec<Vec<Entry>> = Vec::new();
        let mut room = 0.0;
        for entry in entries {
            if rows.is_empty() || entry.width() > room {
                rows.push(Vec::new());
                room = (WIDTH - 20) as f64;
            }
            room -= entry.width();
            rows.last_mut().expect("there is one now").push(entry);
        }
        rows
    }

    pub(super) fn draw_legend(&mut self, top: f64, row: &[Entry]) {
        let mut x = 10.0;
        for entry in row {
            match entry {
                Entry::Colour(colour, _) => {
                    let class = colour.class();
                    self.line(format_args!(
                        "<rect class=\"{class}\" x=\"{x:.0}\" y=\"{top:.0}\" width=\"11\" height=\"11\" rx=\"2\"/>"
                    ));
                }
                Entry::Mark(mark, _) => self.draw_mark(x + 5.5, top + 5.5, 4.5, *mark, ""),
            }
            let (at, base, text) = (x + 16.0, top + 10.0, entry.text());
            self.line(format_args!("<text x=\"{at:.0}\" y=\"{base:.0}\">{text}</text>"));
            x += entry.width();
        }
    }

    pub(super) fn draw_axis(&mut self) {
        let ticks = Ticks::between(self.scale.from, self.scale.to, 8);
        let (top, bottom) = (self.top - 4.0, self.axis);
        let mut lines = String::new();
        for &at in &ticks.at {
            let _ = write!(lines, "M{:.1} {top:.0}V{:.0}", self.x(at), bottom + 4.0);
        }
        let right = LEFT + COLUMNS;
        self.line(format_args!("<path class=\"g\" d=\"{lines}M{LEFT} {bottom:.1}H{right}\"/>"));
        for &at in &ticks.at {
            let x = self.x(at);
            let text = ticks.label(at).to_string();
            let half = CHARACTER * text.chars().count() as f64 / 2.0;
            let (class, x) =
                if x + half > (WIDTH - 4) as f64 { ("q e", (WIDTH - 4) as f64) } else { ("q m", x) };
            let y = bottom + 17.0;
            self.line(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.0}\">{text}</text>"));
        }
    }
}
