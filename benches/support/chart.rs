//! Charts as SVG, written by hand: bars on a logarithmic scale, on a card of their own, light or dark as the reader's system is.

use std::fmt::Write;

use super::row::{Comparison, Row, Spread};

const WIDTH: f64 = 1040.0;
const LABELS: f64 = 500.0;
const FIGURES: f64 = 180.0;
const BAR: f64 = 24.0;
/// Characters that fit into a label.
const LABEL: usize = 66;
const STYLE: &str = "<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.card { fill: #ffffff; stroke: #d0d7de } .title { font-weight: 600; font-size: 15px } .faint { fill: #57606a }
.good { fill: #2da44e } .bad { fill: #cf6b00 } .ours { fill: #0969da } .peer { fill: #8c959f }
.goal { stroke: #24292f; stroke-width: 1.5; stroke-dasharray: 4 3 } .grid { stroke: #d0d7de } .range { stroke: #24292f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .card { fill: #161b22; stroke: #30363d } .faint { fill: #9da7b3 }
.good { fill: #3fb950 } .bad { fill: #db6d28 } .ours { fill: #4493f8 } .peer { fill: #768390 }
.goal, .range { stroke: #e6edf3 } .grid { stroke: #30363d }
}
</style>";

/// A drawing that grows downwards.
struct Sheet {
    body: String,
    y: f64,
}

impl Sheet {
    fn new() -> Self {
        Self { body: String::new(), y: 12.0 }
    }

    fn text(&mut self, x: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let y = self.y + 16.0;
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    fn bar(&mut self, class: &str, from: f64, to: f64) {
        let (x, width, y) = (from.min(to), (to - from).abs().max(1.0), self.y + 4.0);
        let height = BAR - 8.0;
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"/>"#
        );
    }

    fn finish(self) -> String {
        let (height, body) = (self.y + 14.0, self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\">\n{STYLE}\n<rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" \
             rx=\"6\"/>\n{body}</svg>\n",
            WIDTH - 1.0,
            height - 1.0
        )
    }
}

/// A logarithmic scale between two figures, drawn between the labels and the figures.
#[derive(Clone, Copy)]
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// From a bit below the least figure, so that its bar shows, to the most.
    fn over(figures: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = figures.filter(|figure| figure.is_finite() && *figure > 0.0);
        let least = positive.clone().fold(f64::INFINITY, f64::min);
        let most = positive.fold(0.0, f64::max);
        if most == 0.0 {
            Self { least: 0.5, most: 2.0 }
        } else {
            Self { least: least / 2.0, most: most.max(least * 1.01) }
        }
    }

    fn x(self, figure: f64) -> f64 {
        let share = (figure.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        LABELS + share.clamp(0.0, 1.0) * (WIDTH - LABELS - FIGURES)
    }
}

/// All claims: how much better or worse than its goal each one is. To the right of the line is met.
pub(crate) fn claims(rows: &[Row]) -> String {
    let all: Vec<(&Row, &Comparison)> =
        rows.iter().flat_map(|row| row.comparisons.iter().map(move |comparison| (row, comparison))).collect();
    let scores =
        all.iter().filter_map(|(_, comparison)| Some(comparison.goal.score(comparison.ratio?.median)));
    let scale = Scale::over(scores.chain([0.25, 4.0]));
    let mut sheet = Sheet::new();
    sheet.text(16.0, "title", "start", "Claims against their goals: right of the line is met");
    sheet.text(WIDTH - 16.0, "faint", "end", "reached (goal)");
    sheet.y += 30.0;
    let top = sheet.y;
    let mut program = "";
    for (row, comparison) in all {
        if row.program != program && !program.is_empty() {
            sheet.y += 8.0;
        }
        program = &row.program;
        claim(&mut sheet, scale, row, comparison);
    }
    let bottom = sheet.y;
    sheet.line("goal", [scale.x(1.0), top, scale.x(1.0), bottom]);
    for score in [0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0] {
        if (scale.least..=scale.most).contains(&score) {
            sheet.text(scale.x(score), "faint", "middle", &format!("{score}"));
        }
    }
    sheet.y += 18.0;
    sheet.text(scale.x(1.0), "faint", "middle", "times as good as the goal");
    sheet.y += 18.0;
    sheet.finish()
}

fn claim(sheet: &mut Sheet, scale: Scale, row: &Row, comparison: &Comparison) {
    let against = if comparison.peer == "–" { String::new() } else { format!(" / {}", comparison.peer) };
    sheet.text(LABELS - 10.0, "", "end", &shortened(&row.claim, LABEL));
    let goal = comparison.goal.show(row.unit);
    let figure = match comparison.ratio {
        Some(Spread { median, .. }) => {
            let class = if comparison.met == Some(true) { "good" } else { "bad" };
            sheet.bar(class, scale.x(1.0), scale.x(comparison.goal.score(median)));
            comparison.goal.show_ratio(median, row.unit)
        }
        None => "not found".to_owned(),
    };
    sheet.text(WIDTH - 16.0, "", "end", &format!("{figure} ({goal})"));
    sheet.y += 17.0;
    let who = shortened(&format!("{}{against}", comparison.ours), LABEL);
    sheet.text(LABELS - 10.0, "faint", "end", &who);
    sheet.y += BAR - 2.0;
}

/// The figures of all candidates of some rows, each row with a scale of its own.
pub(crate) fn figures(rows: &[&Row]) -> String {
    let mut sheet = Sheet::new();
    for row in rows {
        sheet.text(16.0, "title", "start", &shortened(&row.claim, 118));
        sheet.y += 28.0;
        let scale = Scale::over(row.figures.iter().map(|figure| figure.spread.median));
        for figure in &row.figures {
            let ours = row.comparisons.iter().any(|comparison| comparison.ours == figure.name)
                || figure.name.starts_with("heavylift");
            sheet.text(LABELS - 10.0, "", "end", &shortened(&figure.name, LABEL));
            sheet.bar(if ours { "ours" } else { "peer" }, LABELS, scale.x(figure.spread.median));
            range(&mut sheet, scale, figure.spread);
            sheet.text(WIDTH - 16.0, "", "end", &row.unit.show(figure.spread.median));
            sheet.y += BAR;
        }
        for missing in &row.missing {
            sheet.text(LABELS - 10.0, "faint", "end", &shortened(&missing.name, LABEL));
            sheet.text(LABELS, "faint", "start", "not found");
            sheet.y += BAR;
        }
        let better = if row.unit.is_better(2.0, 1.0) { "longer is better" } else { "shorter is better" };
        sheet.text(LABELS, "faint", "start", &format!("logarithmic scale; {better}"));
        sheet.y += 34.0;
    }
    sheet.finish()
}

fn range(sheet: &mut Sheet, scale: Scale, spread: Spread) {
    let y = sheet.y + BAR / 2.0;
    sheet.line("range", [scale.x(spread.least), y, scale.x(spread.most), y]);
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}
