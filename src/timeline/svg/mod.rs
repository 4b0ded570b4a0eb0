//! A timeline as a picture.
//!
//! ```text
//!  pool "images": 1 200 jobs in 3.1 s
//!  ■ value 1 180  ■ panicked 12 …  × killed 3 …
//!  worker 0 ▐█████▌▐██▌ ▐▌×  ▲▐████████▌     wide runs by themselves, narrow ones added up by the column
//!  worker 1 ▐██▌▐█████████▌▐████▌▐█████▌
//!    queued ▃▅▇▆▅▃▂▁                         what never began is marked above it
//!           0 s    1 s    2 s    3 s
//! ```
//!
//! 1. It has no more than [`MOST_BARS`] bars with names and [`MOST_MARKS`] marks; the rest is a few paths for each lane, whose length is
//!    limited by the number of columns. So its size is bounded, whatever was recorded.
//! 2. Each failure is seen: as a bar, or in its column.

mod axis;
mod columns;
mod head;
mod lanes;
mod marks;
mod paths;
mod queue;
mod words;

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use axis::Time;
use columns::Scale;
use words::{Number, said};

use super::Timeline;

const WIDTH: usize = 900;
/// Where the columns begin, and how many there are.
const LEFT: usize = 70;
const COLUMNS: usize = 816;
/// How high all lanes are together, if that can be, and how high one is at least and at most.
const LANES: f64 = 480.0;
const LOWEST: f64 = 4.0;
const HIGHEST: f64 = 26.0;
const QUEUE: f64 = 56.0;
/// The most bars that are drawn by themselves, and the most marks.
const MOST_BARS: usize = 800;
const MOST_MARKS: usize = 300;
/// Marks in so many columns are one.
const CELL: usize = 2;
/// With more failures in columns only the worst of each column is drawn.
const MOST_STROKES: usize = 30_000;
/// So many bytes of a name or an error are shown, as they are written.
const LONGEST: usize = 110;
/// How wide a character is, about.
const CHARACTER: f64 = 5.8;

pub(super) fn write(timeline: &Timeline, mut writer: impl Write) -> io::Result<()> {
    writer.write_all(Picture::new(timeline).draw().as_bytes())?;
    writer.flush()
}

/// What is drawn, and where.
struct Picture<'a> {
    timeline: &'a Timeline,
    scale: Scale,
    lanes: usize,
    /// How high a lane is, and from one to the next.
    height: f64,
    pitch: f64,
    /// Where the lanes, the queue and the axis begin.
    top: f64,
    queue: f64,
    axis: f64,
    /// Whether there are so many marks that each is only a line.
    is_crowded: bool,
    out: String,
}

impl<'a> Picture<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let lanes = timeline.lanes();
        let fit = (LANES / lanes.max(1) as f64).clamp(LOWEST, HIGHEST);
        let gap = if fit > 12.0 { 4.0 } else { 1.0 };
        let from = timeline.begins;
        let scale = Scale { from, to: timeline.length.max(from + 1), columns: COLUMNS };
        let mut picture = Self {
            timeline,
            scale,
            lanes,
            height: fit - gap,
            pitch: fit,
            top: 0.0,
            queue: 0.0,
            axis: 0.0,
            is_crowded: false,
            out: String::new(),
        };
        picture.is_crowded = picture.places().len() > MOST_MARKS;
        picture
    }

    fn draw(mut self) -> String {
        let legend = self.legend();
        self.top = 34.0 + 18.0 * legend.len() as f64 + 8.0;
        self.queue = self.top + self.lanes as f64 * self.pitch + 20.0;
        self.axis = self.queue + QUEUE + 1.0;
        let height = self.axis + 24.0;
        let Timeline { kind, .. } = self.timeline;
        let (pool, kind) = (said(self.timeline.pool()), kind.label());
        let title = format!("{kind} pool {pool}: {}", self.summary());
        self.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             role=\"img\" aria-label=\"{title}\">"
        ));
        self.line(format_args!("<style>\n{}</style>", include_str!("style.css")));
        self.line(format_args!("<rect class=\"bg\" width=\"{WIDTH}\" height=\"{height:.0}\"/>"));
        self.line(format_args!("<text class=\"h\" x=\"10\" y=\"22\">{title}</text>"));
        for (nth, row) in legend.iter().enumerate() {
            self.draw_legend(34.0 + 18.0 * nth as f64, row);
        }
        self.draw_axis();
        self.draw_lanes();
        self.draw_queue();
        self.out.push_str("</svg>\n");
        self.out
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // To a `String`, which takes everything.
        let _ = self.out.write_fmt(text);
        self.out.push('\n');
    }

    fn summary(&self) -> String {
        let ran = self.timeline.jobs.iter().map(|job| u64::from(job.items)).sum();
        let dropped = self.timeline.dropped();
        let before = if dropped > 0 {
            format!(", after {} that were dropped", Number(dropped))
        } else {
            String::new()
        };
        let jobs = if ran == 1 { "job" } else { "jobs" };
        format!("{} {jobs} in {}{before}", Number(ran), Time(self.scale.to - self.scale.from))
    }

    /// Where a time lies.
    fn x(&self, at: u64) -> f64 {
        LEFT as f64 + self.scale.x(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever was recorded: here as much as is kept, each in a place of its own.
    #[test]
    fn a_picture_is_small_for_any_number_of_jobs_and_workers() {
        for (jobs, lanes, width) in [(100_000, 64, 900), (60_000, 64, 40_000), (20_000, 1_000, 20)] {
            let timeline = crate::timeline::tests::chaos(jobs, lanes, width);
            let mut picture = Vec::new();
            write(&timeline, &mut picture).unwrap();
            let limit = if lanes > 64 { 2_000_000 } else { 1_000_000 };
            assert!(picture.len() < limit, "{jobs} jobs on {lanes} lanes: {} bytes", picture.len());
        }
    }
}
