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

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::{self, Write},
};

use axis::{Ticks, Time};
use columns::{Colour, Columns, Scale, narrowest};

use super::{Mark, RecordedJob, RecordedWorker, Timeline, escape::Xml};

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

/// An entry of the legend.
enum Entry {
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
    fn legend(&self) -> Vec<Vec<Entry>> {
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

    fn draw_legend(&mut self, top: f64, row: &[Entry]) {
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

    fn draw_axis(&mut self) {
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
    fn draw_lanes(&mut self) {
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

    fn lane_top(&self, lane: usize) -> f64 {
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

    /// What happened to workers; what happened at about the same time is one mark.
    fn draw_marks(&mut self) {
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
    fn places(&self) -> BTreeMap<(Mark, u32, usize), (u64, u64, &'a RecordedWorker)> {
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

    fn draw_mark(&mut self, x: f64, y: f64, size: f64, mark: Mark, title: &str) {
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
fn tick(mark: Mark) -> Option<(f64, f64)> {
    match mark {
        Mark::Died => Some((0.0, 1.0)),
        Mark::Killed => Some((0.0, 0.5)),
        Mark::Recycled => Some((0.5, 0.5)),
        // It follows another.
        Mark::Restarted | Mark::Started | Mark::Retired => None,
    }
}

/// How a mark is drawn, four units around its middle.
fn shape(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Started | Mark::Retired => None,
        // A cross, a flash, a triangle on its side, and a circle with an arrow.
        Mark::Killed => Some("M-3.5-3.5L3.5 3.5M3.5-3.5L-3.5 3.5"),
        Mark::Died => Some("M1.5-4.5L-2.5.5H2.5L-1.5 4.5"),
        Mark::Restarted => Some("M-2.5-3.5L3.5 0L-2.5 3.5z"),
        Mark::Recycled => Some("M3.5 0A3.5 3.5 0 1 1 1-3.4M1-3.4L.3-6M1-3.4L-1.6-2.6"),
    }
}

/// The queue.
impl Picture<'_> {
    fn draw_queue(&mut self) {
        let mut most = vec![0; COLUMNS];
        let mut last = 0;
        let mut filled = 0;
        for &(at, jobs) in &self.timeline.queued {
            let column = self.scale.column(at);
            // Until somebody looked again it was as before.
            most[filled..=column].iter_mut().for_each(|most| *most = (*most).max(last));
            most[column] = most[column].max(jobs);
            (last, filled) = (jobs, column);
        }
        most[filled..].iter_mut().for_each(|most| *most = (*most).max(last));
        let highest = most.iter().copied().max().unwrap_or(0);
        let (base, x) = (self.queue + QUEUE, LEFT - 6);
        let label = base - 3.0;
        self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{label:.0}\">queued</text>"));
        if highest > 0 {
            let steps = |jobs: u64| (jobs as f64 / highest as f64 * QUEUE).ceil() as u32;
            let path = skyline(most.iter().map(|&jobs| steps(jobs)), base, 1.0);
            let (top, number) = (self.queue + 9.0, Number(highest));
            self.line(format_args!(
                "<path class=\"a\" d=\"{path}\"><title>jobs that waited: {number} at most</title></path>"
            ));
            self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{top:.0}\">{number}</text>"));
        }
        self.draw_unbegun();
    }

    /// Tasks that ended without a run.
    fn draw_unbegun(&mut self) {
        let unbegun = self.timeline.jobs.iter().chain(&self.timeline.failed_items);
        let unbegun: Vec<&RecordedJob> = unbegun.filter(|job| job.worker().is_none()).collect();
        let mut columns = Columns::new(COLUMNS);
        let mut counts: BTreeMap<Colour, (u64, &RecordedJob)> = BTreeMap::new();
        for job in unbegun {
            columns.add(&self.scale, job.ended, job.ended, Colour::of(job));
            counts.entry(Colour::of(job)).or_insert((0, job)).0 += u64::from(job.items);
        }
        let top = self.queue - 12.0;
        for (colour, (count, first)) in counts {
            let mut path = String::new();
            for column in (0..COLUMNS).filter(|&column| columns.failures_in(column).any(|it| it == colour)) {
                let above = columns.failures_in(column).take_while(|it| *it != colour).count();
                let each = 9.0 / columns.failures_in(column).count() as f64;
                let _ = write!(path, "M{} {:.1}h2v{each:.1}h-2z", LEFT + column, top + each * above as f64);
            }
            let (class, text, count, first) = (colour.class(), colour.text(), Number(count), about(first));
            self.line(format_args!(
                "<path class=\"{class}\" d=\"{path}\"><title>never began: {count} {text}; the first: {first}</title></path>"
            ));
        }
    }
}

/// An area above `base`: columns of so many steps of this height. Goes along the base where there are none.
fn skyline(heights: impl Iterator<Item = u32>, base: f64, step: f64) -> String {
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
enum Which {
    /// One above the other.
    Each,
    TheWorst,
}

/// A line through each column that has such a failure.
fn strokes(columns: &Columns, colour: Colour, which: Which, top: f64, height: f64) -> String {
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
struct Tenths(i64);

impl Tenths {
    fn of(length: f64) -> Self {
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

/// In groups of three digits.
struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (nth, digit) in digits.chars().enumerate() {
            if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// What is said of a job on hover, escaped.
fn about(job: &RecordedJob) -> String {
    let mut text = format!("{}, task {}", said(job.name()), job.id());
    if job.items > 1 {
        let _ = write!(text, " and more: {} items", Number(job.items.into()));
    }
    if job.ran > 0 {
        let _ = write!(text, "\nran {}", Time(job.ran));
    }
    if job.waited != u64::MAX {
        let _ = write!(text, "\nwaited {}", Time(job.waited));
    }
    let _ = write!(text, "\n{}", job.end());
    if let Some(error) = job.error() {
        let _ = write!(text, ": {}", said(error));
    }
    text
}

fn about_mark(at: u64, count: u64, mark: Mark, worker: &RecordedWorker) -> String {
    let (number, what) = (worker.number, mark.text());
    let more = if count > 1 { format!(", and {} more", Number(count - 1)) } else { String::new() };
    let pid = worker.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let is_end = matches!(mark, Mark::Killed | Mark::Died);
    let why = worker.why().filter(|_| is_end);
    let why = why.map_or_else(String::new, |why| format!(": {}", said(why)));
    format!("worker {number}{pid} {what} at {}{more}{why}", Time(at))
}

/// The text, cut to so many characters.
fn fitted(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Foreign text as it is written, cut to a bearable length.
fn said(text: &str) -> String {
    let mut said = String::new();
    for (at, c) in text.char_indices() {
        let before = said.len();
        let _ = write!(said, "{}", Xml(&text[at..at + c.len_utf8()]));
        if said.len() > LONGEST {
            said.truncate(before);
            said.push('…');
            break;
        }
    }
    said
}

/// The last parts of a path of Rust's, as the type of a function has one.
fn short_name(name: &str) -> &str {
    let end = name.find(['<', ' ']).unwrap_or(name.len());
    let mut parts = name[..end].rmatch_indices("::").map(|(at, _)| at);
    let Some(last) = parts.next() else { return name };
    let is_closure = name[last..].starts_with("::{{closure}}");
    let at = if is_closure { parts.next() } else { Some(last) };
    at.map_or(name, |at| &name[at + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn names_are_shortened_to_what_tells_them_apart() {
        let table = [
            ("thumbnail", "thumbnail"),
            ("service::images::thumbnail", "thumbnail"),
            ("service::main::{{closure}}", "main::{{closure}}"),
            ("service::run<alloc::vec::Vec<u8>>", "run<alloc::vec::Vec<u8>>"),
            ("{{closure}}", "{{closure}}"),
            ("a name: with spaces::", "a name: with spaces::"),
        ];
        for (name, short) in table {
            assert_eq!(short_name(name), short);
        }
        assert_eq!(said("<&>"), "&lt;&amp;&gt;");
        assert!(said(&"<".repeat(1_000)).len() <= LONGEST + 3);
        assert_eq!((fitted("größer", 4).as_str(), fitted("groß", 4).as_str()), ("grö…", "groß"));
    }

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

    #[test]
    fn numbers_are_in_groups_of_three() {
        let table = [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")];
        for (number, text) in table {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
