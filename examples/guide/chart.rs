//! The chart: speed-up against run time, both on logarithmic scales, on a card that is light or dark as the reader's system is.

use std::{fmt::Write, time::Duration};

use heavylift::{Machine, guidance::Choice};

use crate::decisions::{PAYLOADS, grid, speed_up};

const WIDTH: f64 = 1040.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 440.0;
/// The run times that are shown, in seconds.
const SHOWN: (f64, f64) = (1e-7, 1.0);
/// The least speed-up that is shown.
const LEAST: f64 = 0.05;

const STYLE: &str = "<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.card { fill: #ffffff; stroke: #d0d7de } .title { font-weight: 600; font-size: 15px } .faint { fill: #57606a }
.grid { stroke: #d0d7de } path, .key { fill: none; stroke-width: 2.5 }
.inline { stroke: #57606a; stroke-dasharray: 6 4 } .threads { stroke: #0969da }
.p0 { stroke: #1a7f37 } .p1 { stroke: #2da44e; stroke-dasharray: 10 3 } .p2 { stroke: #bf8700 }
.p3 { stroke: #cf6b00; stroke-dasharray: 10 3 } .p4 { stroke: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .card { fill: #161b22; stroke: #30363d } .faint { fill: #9da7b3 } .grid { stroke: #30363d }
.inline { stroke: #9da7b3 } .threads { stroke: #4493f8 } .p0 { stroke: #3fb950 } .p1 { stroke: #56d364 } .p2 { stroke: #d29922 }
.p3 { stroke: #db6d28 } .p4 { stroke: #f85149 }
}
</style>";

/// Draws what is predicted for this machine.
pub(crate) fn of(machine: &Machine) -> String {
    let most = (machine.cores as f64 * 1.25).max(2.0);
    let scale = Scale { most };
    let mut body = format!(
        "<text class=\"title\" x=\"16\" y=\"28\">Speed-up against a plain loop: 1000 calls that compute, on {} cores</text>\n\
         <text class=\"faint\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">run time of a call</text>\n",
        machine.cores,
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 48.0
    );
    body.push_str(&grid_lines(scale));
    let plain = |time| speed_up(Choice::Inline, time, 8, machine);
    body.push_str(&curve(scale, "inline", "inline", 0, plain));
    let threads = |time| speed_up(Choice::Cpu, time, 8, machine);
    body.push_str(&curve(scale, "threads", "threads", 1, threads));
    for (nth, (bytes, name)) in PAYLOADS.into_iter().enumerate() {
        let processes = |time| speed_up(Choice::Processes, time, bytes, machine);
        body.push_str(&curve(scale, &format!("p{nth}"), &format!("processes, {name}"), nth + 2, processes));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\">\n\
         {STYLE}\n<rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\"/>\n{body}</svg>\n",
        WIDTH - 1.0,
        HEIGHT - 1.0
    )
}

#[derive(Clone, Copy)]
struct Scale {
    most: f64,
}

impl Scale {
    fn x(self, seconds: f64) -> f64 {
        LEFT + (seconds / SHOWN.0).ln() / (SHOWN.1 / SHOWN.0).ln() * (RIGHT - LEFT)
    }

    fn y(self, times: f64) -> f64 {
        BOTTOM - (times / LEAST).ln() / (self.most / LEAST).ln() * (BOTTOM - TOP)
    }
}

fn grid_lines(scale: Scale) -> String {
    let mut text = String::new();
    let mut line = |[x1, y1, x2, y2]: [f64; 4], [x, y]: [f64; 2], anchor: &str, label: &str| {
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\
             <text class=\"faint\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>"
        );
    };
    let run_times = [
        (1e-7, "100 ns"),
        (1e-6, "1 µs"),
        (1e-5, "10 µs"),
        (1e-4, "100 µs"),
        (1e-3, "1 ms"),
        (1e-2, "10 ms"),
    ];
    for (seconds, label) in run_times.into_iter().chain([(0.1, "100 ms"), (1.0, "1 s")]) {
        let x = scale.x(seconds);
        line([x, TOP, x, BOTTOM], [x, BOTTOM + 22.0], "middle", label);
    }
    for times in [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0] {
        if times <= scale.most {
            let y = scale.y(times);
            line([LEFT, y, RIGHT, y], [LEFT - 8.0, y + 4.0], "end", &format!("{times} ×"));
        }
    }
    text
}

/// A line through the run times of the grid, and its entry in the key; nothing where this machine has no such executor.
fn curve(
    scale: Scale,
    class: &str,
    name: &str,
    place: usize,
    times: impl Fn(Duration) -> Option<f64>,
) -> String {
    let shown = grid().filter(|time| (SHOWN.0 * 0.99..=SHOWN.1 * 1.01).contains(&time.as_secs_f64()));
    let points: Vec<String> = shown
        .filter_map(|time| Some((time, times(time)?)))
        .filter(|(_, times)| *times >= LEAST)
        .map(|(time, times)| format!("{:.1} {:.1}", scale.x(time.as_secs_f64()), scale.y(times)))
        .collect();
    if points.is_empty() {
        return String::new();
    }
    let (x, y) = (RIGHT + 24.0, TOP + 10.0 + 26.0 * place as f64);
    format!(
        "<path class=\"{class}\" d=\"M{}\"/>\n\
         <line class=\"key {class}\" x1=\"{x:.0}\" y1=\"{y:.0}\" x2=\"{:.0}\" y2=\"{y:.0}\"/>\
         <text x=\"{:.0}\" y=\"{:.0}\">{name}</text>\n",
        points.join("L"),
        x + 32.0,
        x + 42.0,
        y + 4.0
    )
}
