//! A lane for each worker, with its runs.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    CHARACTER, COLUMNS, LEFT, MOST_BARS, MOST_STROKES, Picture,
    columns::{Colour, Columns, Scale, narrowest},
    paths::{Which, skyline, strokes},
    words::{Number, about, fitted, short_name},
};
use crate::timeline::{RecordedJob, escape::Xml};

fn width(scale: &Scale, job: &RecordedJob) -> f64 {
    scale.x(job.ended) - scale.x(job.begun_nanos())
}

fn is_wide(scale: &Scale, job: &RecordedJob, narrowest: f64) -> bool {
    width(scale, job) >= narrowest
}

/// The runs of a lane that are added up.
struct Narrow<'a> {
    columns: Columns,
    /// How many ended so, and the first of them.
    failed: BTreeMap<Colour, (u64, &'a RecordedJob)>,
    jobs: u64,
    is_empty: bool,
}

impl<'a> Narrow<'a> {
    fn new(scale: &Scale, runs: impl Iterator<Item = &'a RecordedJob>) -> Self {
        let mut narrow =
            Self { columns: Columns::new(COLUMNS), failed: BTreeMap::new(), jobs: 0, is_empty: true };
        for job in runs {
            let colour = Colour::of(job);
            narrow.is_empty = false;
            narrow.columns.add(scale, job.begun_nanos(), job.ended, colour);
            narrow.jobs += u64::from(job.items) * u64::from(job.ran > 0);
            if colour.is_failure() {
                narrow.failed.entry(colour).or_insert((0, job)).0 += 1;
            }
        }
        narrow
    }
}

/// Lanes.
impl<'a> Picture<'a> {
    pub(super) fn draw_lanes(&mut self) {
        let mut runs: Vec<Vec<&RecordedJob>> = vec![Vec::new(); self.lanes];
        for job in self.timeline.jobs.iter().chain(&self.timeline.failed_items) {
            if let Some(lane) = job.worker() {
                runs[lane as usize].push(job);
            }
        }
        let widths = runs.iter().flatten().map(|job| width(&self.scale, job)).collect();
        let narrowest = narrowest(widths, MOST_BARS);
        let every = (12.0 / self.pitch).ceil() as usize;
        // What lies on top of another begins later.
        runs.iter_mut().for_each(|runs| runs.sort_by_key(|job| (job.begun_nanos(), Reverse(job.ended))));
        let narrow = runs.iter().map(|runs| {
            Narrow::new(&self.scale, runs.iter().copied().filter(|job| !is_wide(&self.scale, job, narrowest)))
        });
        let narrow: Vec<Narrow<'_>> = narrow.collect();
        let strokes: usize = narrow.iter().map(|narrow| narrow.columns.failures()).sum();
        let which = if strokes > MOST_STROKES { Which::TheWorst } else { Which::Each };
        for (lane, (runs, narrow)) in runs.iter().zip(&narrow).enumerate() {
            if lane % every == 0 {
                let y = self.lane_top(lane) + self.height / 2.0 + 4.0;
                let x = LEFT - 6;
                self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{y:.1}\">worker {lane}</text>"));
            }
            self.draw_presence(lane);
            self.draw_narrow(lane, narrow, which);
            for job in runs {
                if is_wide(&self.scale, job, narrowest) {
                    self.draw_bar(lane, job);
                }
            }
        }
        self.draw_marks();
    }

    pub(super) fn lane_top(&self, lane: usize) -> f64 {
        self.top + lane as f64 * self.pitch
    }

    /// When there was a worker.
    fn draw_presence(&mut self, lane: usize) {
        let mut present = Columns::new(COLUMNS);
        for worker in self.timeline.workers.iter().filter(|worker| worker.number as usize == lane) {
            let from = worker.started.unwrap_or(0);
            present.add(&self.scale, from, worker.ended.unwrap_or(u64::MAX), Colour::Value);
        }
        let (top, height) = (self.lane_top(lane), self.height);
        self.line(format_args!(
            "<rect class=\"l\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{COLUMNS}\" height=\"{height:.1}\"/>"
        ));
        let path = skyline(present.heights(1), top + height, height);
        if !path.is_empty() {
            self.line(format_args!("<path class=\"w\" d=\"{path}\"/>"));
        }
    }

    /// Runs that are added up.
    fn draw_narrow(&mut self, lane: usize, narrow: &Narrow<'_>, which: Which) {
        if narrow.is_empty {
            return;
        }
        let (base, height) = (self.lane_top(lane) + self.height, self.height);
        let steps = height.round().max(2.0) as u32;
        let path = skyline(narrow.columns.heights(steps), base, height / f64::from(steps));
        let jobs = Number(narrow.jobs);
        self.line(format_args!(
            "<path class=\"v\" d=\"{path}\"><title>worker {lane}: {jobs} short jobs; the height says how busy it was</title></path>"
        ));
        for (&colour, (count, first)) in &narrow.failed {
            let path = strokes(&narrow.columns, colour, which, base - height, height);
            let (class, kind, count) = (colour.class(), colour.text(), Number(*count));
            // Of more lanes nobody looks at each.
            let first =
                if self.lanes > 64 { String::new() } else { format!("; the first: {}", about(first)) };
            self.line(format_args!(
                "<path class=\"{class} x\" d=\"{path}\"><title>worker {lane}: {count} {kind}{first}</title></path>"
            ));
        }
    }

    /// A run by itself.
    fn draw_bar(&mut self, lane: usize, job: &RecordedJob) {
        let (x, width, top, height) =
            (self.x(job.begun_nanos()), width(&self.scale, job), self.lane_top(lane), self.height);
        let (colour, about) = (Colour::of(job), about(job));
        let class = colour.class();
        let edge = if width >= 3.0 { " b" } else { "" };
        self.line(format_args!(
            "<rect class=\"{class}{edge}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{about}</title></rect>"
        ));
        let room = ((width - 8.0) / CHARACTER) as usize;
        if height >= 14.0 && room >= 4 {
            let name = Xml(&fitted(short_name(job.name()), room)).to_string();
            let class = if matches!(colour, Colour::TimedOut | Colour::Cancelled) { 'k' } else { 'i' };
            let (x, y) = (x + 4.0, top + height / 2.0 + 3.5);
            self.line(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>"));
        }
    }
}
