//! What happened to workers.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{CELL, LEFT, Picture, paths::Tenths, words::about_mark};
use crate::timeline::{Mark, RecordedWorker};

/// Marks.
impl<'a> Picture<'a> {
    /// What happened to workers; what happened at about the same time is one mark.
    pub(super) fn draw_marks(&mut self) {
        let places = self.places();
        if self.is_crowded {
            return self.draw_ticks(places.keys().copied());
        }
        let is_dense = places.len() > 25 * self.lanes;
        let size = (self.height / 3.2).clamp(2.5, if is_dense { 3.0 } else { 4.5 });
        for ((mark, lane, _), (at, count, worker)) in places {
            let low = if matches!(mark, Mark::Killed | Mark::Died) { 0.36 } else { 0.68 };
            let y = self.lane_top(lane as usize) + self.height * low;
            let title = about_mark(at, count, mark, worker);
            self.draw_mark(self.x(at), y, size, mark, &title);
        }
    }

    /// Where marks are: the kind, the lane and the cell; the first one's time and worker, and how many they are.
    pub(super) fn places(&self) -> BTreeMap<(Mark, u32, usize), (u64, u64, &'a RecordedWorker)> {
        let mut places = BTreeMap::new();
        for (at, mark, worker) in self.timeline.marks() {
            if at >= self.scale.from && shape(mark).is_some() {
                let key = (mark, worker.number, self.scale.column(at) / CELL);
                places.entry(key).or_insert((at, 0, worker)).1 += 1;
            }
        }
        places
    }

    /// A short line for each mark, where they are too many for more: one path for each kind.
    fn draw_ticks(&mut self, places: impl Iterator<Item = (Mark, u32, usize)>) {
        let mut paths: BTreeMap<Mark, (String, u32, usize)> = BTreeMap::new();
        for (mark, lane, cell) in places {
            let Some((low, length)) = tick(mark) else { continue };
            let (y, length) =
                (self.lane_top(lane as usize) + self.height * low, Tenths::of(self.height * length));
            let (path, before, last) = paths.entry(mark).or_insert((String::new(), u32::MAX, 0));
            let _ = if *before == lane {
                write!(path, "m{}-{length}v{length}", (cell - *last) * CELL)
            } else {
                write!(path, "M{} {}v{length}", LEFT + cell * CELL, Tenths::of(y))
            };
            (*before, *last) = (lane, cell);
        }
        for (path, ..) in paths.into_values() {
            self.line(format_args!("<path class=\"y\" d=\"{path}\"/>"));
        }
    }

    pub(super) fn draw_mark(&mut self, x: f64, y: f64, size: f64, mark: Mark, title: &str) {
        let Some(shape) = shape(mark) else { return };
        if self.is_crowded {
            // In the legend.
            let (low, length) = tick(mark).unwrap_or_default();
            let (top, length) = (y - 5.5 + 11.0 * low, 11.0 * length);
            return self.line(format_args!("<path class=\"y\" d=\"M{x:.1} {top:.1}v{length:.1}\"/>"));
        }
        let title = if title.is_empty() { String::new() } else { format!("<title>{title}</title>") };
        let scale = size / 4.0;
        self.line(format_args!(
            "<g transform=\"translate({x:.1} {y:.1})scale({scale:.2})\">{title}<path class=\"o\" d=\"{shape}\"/>\
             <path class=\"s\" d=\"{shape}\"/></g>"
        ));
    }
}

/// Where in a lane the line for a mark begins where there are many, and how long it is.
pub(super) fn tick(mark: Mark) -> Option<(f64, f64)> {
    match mark {
        Mark::Died => Some((0.0, 1.0)),
        Mark::Killed => Some((0.0, 0.5)),
        Mark::Recycled => Some((0.5, 0.5)),
        // It follows another.
        Mark::Restarted | Mark::Started | Mark::Retired => None,
    }
}

/// How a mark is drawn, four units around its middle.
pub(super) fn shape(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Started | Mark::Retired => None,
        // A cross, a flash, a triangle on its side, and a circle with an arrow.
        Mark::Killed => Some("M-3.5-3.5L3.5 3.5M3.5-3.5L-3.5 3.5"),
        Mark::Died => Some("M1.5-4.5L-2.5.5H2.5L-1.5 4.5"),
        Mark::Restarted => Some("M-2.5-3.5L3.5 0L-2.5 3.5z"),
        Mark::Recycled => Some("M3.5 0A3.5 3.5 0 1 1 1-3.4M1-3.4L.3-6M1-3.4L-1.6-2.6"),
    }
}
