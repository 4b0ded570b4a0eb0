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
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::{self, Write},
};

use axis::{Ticks, Time};
use columns::{Colour, Columns, Scale, narrowest};

use super::{RecordedJob, RecordedWorker, Timeline, escape::Xml, timeline::Mark};

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
const MOST_BARS: usize = 1500;
const MOST_MARKS: usize = 600;
/// So many characters of a name or an error are shown.
const LONGEST: usize = 90;
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
            out: String::new(),
        };
        picture.out.reserve(1 << 16);
        picture
    }

    fn draw(mut self) -> String {
        let legend = self.legend();
        self.top = 34.0 + 18.0 * legend.len() as f64 + 8.0;
        self.queue = self.top + self.lanes as f64 * self.pitch + 20.0;
        self.axis = self.queue + QUEUE + 1.0;
        let height = self.axis + 24.0;
        let Timeline { kind, .. } = self.timeline;
        let (pool, kind) = (Xml(shortened(self.timeline.pool())).to_string(), kind.label());
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
        let marks = marks.into_iter().filter(|(mark, _)| shape(*mark).is_some());
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

/// Lanes.
impl Picture<'_> {
    fn draw_lanes(&mut self) {
        let mut runs: Vec<Vec<&RecordedJob>> = vec![Vec::new(); self.lanes];
        for job in self.timeline.jobs.iter().chain(&self.timeline.failed_items) {
            if let Some(lane) = job.worker() {
                runs[lane as usize].push(job);
            }
        }
        let widths = runs.iter().flatten().map(|job| self.width(job)).collect();
        let narrowest = narrowest(widths, MOST_BARS);
        let every = (12.0 / self.pitch).ceil() as usize;
        for (lane, runs) in runs.iter_mut().enumerate() {
            // What lies on top of another begins later.
            runs.sort_by_key(|job| (job.begun_nanos(), std::cmp::Reverse(job.ended)));
            if lane % every == 0 {
                let y = self.lane_top(lane) + self.height / 2.0 + 4.0;
                let x = LEFT - 6;
                self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{y:.1}\">worker {lane}</text>"));
            }
            self.draw_presence(lane);
            let (wide, narrow): (Vec<&RecordedJob>, Vec<&RecordedJob>) =
                runs.iter().partition(|job| self.width(job) >= narrowest);
            self.draw_narrow(lane, &narrow);
            for job in wide {
                self.draw_bar(lane, job);
            }
        }
        self.draw_marks();
    }

    fn lane_top(&self, lane: usize) -> f64 {
        self.top + lane as f64 * self.pitch
    }

    fn width(&self, job: &RecordedJob) -> f64 {
        self.scale.x(job.ended) - self.scale.x(job.begun_nanos())
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
        let path = skyline(present.heights(1), LEFT, top + height, height);
        if !path.is_empty() {
            self.line(format_args!("<path class=\"w\" d=\"{path}\"/>"));
        }
    }

    /// Runs that are added up.
    fn draw_narrow(&mut self, lane: usize, runs: &[&RecordedJob]) {
        if runs.is_empty() {
            return;
        }
        let mut columns = Columns::new(COLUMNS);
        let mut failed: BTreeMap<Colour, (u64, &RecordedJob)> = BTreeMap::new();
        let mut jobs = 0;
        for job in runs {
            let colour = Colour::of(job);
            columns.add(&self.scale, job.begun_nanos(), job.ended, colour);
            jobs += u64::from(job.items) * u64::from(job.ran > 0);
            if colour != Colour::Value && colour != Colour::Running {
                failed.entry(colour).or_insert((0, job)).0 += 1;
            }
        }
        let base = self.lane_top(lane) + self.height;
        let steps = if self.height > 12.0 { self.height as u32 } else { self.height.round().max(2.0) as u32 };
        let path = skyline(columns.heights(steps), LEFT, base, self.height / f64::from(steps));
        let (jobs, height) = (Number(jobs), self.height);
        self.line(format_args!(
            "<path class=\"v\" d=\"{path}\"><title>worker {lane}: {jobs} short jobs; the height says how busy it was</title></path>"
        ));
        let stretches = columns.stretches();
        for (&colour, (count, first)) in &failed {
            let mut path = String::new();
            for (column, length, bits) in
                stretches.iter().filter(|(.., bits)| bits & (1 << colour as u8) != 0)
            {
                let kinds = bits.count_ones();
                let above = (bits & ((1 << colour as u8) - 1)).count_ones();
                let each = height / f64::from(kinds);
                let top = base - height + each * f64::from(above);
                // A little wider than its column, or a single one would be overlooked.
                let (x, width) = (LEFT + column, if *length == 1 { 1.6 } else { *length as f64 });
                let _ = write!(path, "M{x} {top:.1}h{width}v{each:.1}h-{width}z");
            }
            let (class, kind, count, first) = (colour.class(), colour.text(), Number(*count), about(first));
            self.line(format_args!(
                "<path class=\"{class}\" d=\"{path}\"><title>worker {lane}: {count} {kind}; the first: {first}</title></path>"
            ));
        }
    }

    /// A run by itself.
    fn draw_bar(&mut self, lane: usize, job: &RecordedJob) {
        let (x, width, top, height) =
            (self.x(job.begun_nanos()), self.width(job), self.lane_top(lane), self.height);
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
        let marks = self.timeline.marks();
        let marks: Vec<_> = marks
            .into_iter()
            .filter(|(at, mark, _)| *at >= self.scale.from && shape(*mark).is_some())
            .collect();
        let mut cell = 2;
        let mut places = self.places(&marks, cell);
        while places.len() > MOST_MARKS {
            cell *= 2;
            places = self.places(&marks, cell);
        }
        let is_dense = places.len() > 25 * self.lanes;
        let size = (self.height / 3.2).clamp(2.5, if is_dense { 3.0 } else { 4.5 });
        for ((lane, _, mark), (at, count, worker)) in places {
            let low = if matches!(mark, Mark::Killed | Mark::Died) { 0.36 } else { 0.68 };
            let y = self.lane_top(lane as usize) + self.height * low;
            let title = about_mark(at, count, mark, worker);
            self.draw_mark(self.x(at), y, size, mark, &title);
        }
    }

    /// By lane, cell and kind: the first one's time and worker, and how many they are.
    fn places<'a>(
        &self,
        marks: &[(u64, Mark, &'a RecordedWorker)],
        cell: usize,
    ) -> BTreeMap<(u32, usize, Mark), (u64, u64, &'a RecordedWorker)> {
        let mut places = BTreeMap::new();
        for &(at, mark, worker) in marks {
            let key = (worker.number, self.scale.column(at) / cell, mark);
            places.entry(key).or_insert((at, 0, worker)).1 += 1;
        }
        places
    }

    fn draw_mark(&mut self, x: f64, y: f64, size: f64, mark: Mark, title: &str) {
        let Some(shape) = shape(mark) else { return };
        let title = if title.is_empty() { String::new() } else { format!("<title>{title}</title>") };
        let scale = size / 4.0;
        self.line(format_args!(
            "<g transform=\"translate({x:.1} {y:.1})scale({scale:.2})\">{title}<path class=\"o\" d=\"{shape}\"/>\
             <path class=\"s\" d=\"{shape}\"/></g>"
        ));
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
            let path = skyline(most.iter().map(|&jobs| steps(jobs)), LEFT, base, 1.0);
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

/// An area above `base`: columns of so many steps of this height.
fn skyline(heights: impl Iterator<Item = u32>, left: usize, base: f64, step: f64) -> String {
    let mut path = String::new();
    let (mut level, mut run) = (0_u32, 0_usize);
    let close = |path: &mut String, level: u32, run: usize| {
        if run > 0 && level > 0 {
            let _ = write!(path, "h{run}");
        }
    };
    for (column, height) in heights.enumerate() {
        if height == level {
            run += 1;
            continue;
        }
        close(&mut path, level, run);
        run = 1;
        if level == 0 {
            let _ = write!(path, "M{} {base:.1}v{}", left + column, Rounded(-step * f64::from(height)));
        } else if height == 0 {
            let _ = write!(path, "V{base:.1}z");
        } else {
            let _ = write!(path, "v{}", Rounded(step * (f64::from(level) - f64::from(height))));
        }
        level = height;
    }
    close(&mut path, level, run);
    if level > 0 {
        let _ = write!(path, "V{base:.1}z");
    }
    path
}

/// With no more digits than are seen.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0 * 100.0).round() / 100.0;
        write!(f, "{hundredths}")
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
    let mut text = format!("{}, task {}", Xml(&fitted(job.name(), LONGEST)), job.id());
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
        let _ = write!(text, ": {}", Xml(&fitted(error, LONGEST)));
    }
    text
}

fn about_mark(at: u64, count: u64, mark: Mark, worker: &RecordedWorker) -> String {
    let (number, what) = (worker.number, mark.text());
    let more = if count > 1 { format!(", and {} more", Number(count - 1)) } else { String::new() };
    let pid = worker.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let is_end = matches!(mark, Mark::Killed | Mark::Died);
    let why = worker.why().filter(|_| is_end);
    let why = why.map_or_else(String::new, |why| format!(": {}", Xml(&fitted(why, LONGEST))));
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

fn shortened(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(at, _)| &text[..at])
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
        let path = |heights: &[u32]| skyline(heights.iter().copied(), 10, 100.0, 2.0);
        assert_eq!(path(&[]), "");
        assert_eq!(path(&[0, 0]), "");
        assert_eq!(path(&[1, 1]), "M10 100.0v-2h2V100.0z");
        assert_eq!(path(&[0, 2, 1, 0, 3]), "M11 100.0v-4h1v2h1V100.0zM14 100.0v-6h1V100.0z");
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
        assert_eq!((fitted("größer", 4).as_str(), fitted("groß", 4).as_str()), ("grö…", "groß"));
    }

    #[test]
    fn numbers_are_in_groups_of_three() {
        let table = [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")];
        for (number, text) in table {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
