//! The report: `latest.json` holds all figures; the table and the charts are drawn from it.

use std::{fmt::Write, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    chart,
    machine::Machine,
    row::{Comparison, Row},
};

/// The programs in the order of the report.
const PROGRAMS: [&str; 17] = [
    "fan_out",
    "thread_map",
    "round_trip",
    "process_fan_out",
    "process_map",
    "payload",
    "shared_bytes",
    "start",
    "gather",
    "cpu_batch",
    "advice",
    "digest",
    "idle",
    "growth",
    "timer",
    "record",
    "cluster",
];

/// All rows, and the machine of the last run.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

impl Report {
    /// What was written before, or nothing.
    pub(crate) fn read(directory: &Path) -> Self {
        match fs::read_to_string(directory.join("latest.json")) {
            Ok(text) => serde_json::from_str(&text).expect("latest.json is a report of this version"),
            Err(_) => Self::default(),
        }
    }

    /// Puts a program's rows in place of its old ones.
    pub(crate) fn replace(&mut self, program: &str, rows: Vec<Row>, machine: Machine) {
        self.rows.retain(|row| row.program != program);
        let taken = format!("{}, {}", machine.date, machine.commit);
        self.rows.extend(rows.into_iter().map(|row| Row { taken: taken.clone(), ..row }));
        self.rows.sort_by_key(|row| PROGRAMS.iter().position(|program| *program == row.program));
        self.machine = machine;
    }

    /// Writes the figures, the table and the charts.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("latest.json"), self.json()?)?;
        fs::write(directory.join("latest.md"), self.table())?;
        fs::write(directory.join("claims.svg"), chart::claims(&self.rows))?;
        for program in PROGRAMS {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.program == program).collect();
            if !rows.is_empty() {
                fs::write(directory.join(format!("{program}.svg")), chart::figures(&rows))?;
            }
        }
        Ok(())
    }

    /// A line per row, so that two reports can be compared.
    fn json(&self) -> io::Result<String> {
        let machine = serde_json::to_string(&self.machine)?;
        let rows = self.rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("{{\"machine\": {machine},\n\"rows\": [\n{}\n]}}\n", rows.join(",\n")))
    }

    /// Puts the claims between README's marks.
    pub(crate) fn write_readme(&self) -> io::Result<()> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let claims = format!("{}\n{}", self.machine.in_words(), self.claims());
        write_between([BEGIN, END], Path::new(path), &claims)
    }

    fn claims(&self) -> String {
        let lines = self
            .rows
            .iter()
            .flat_map(|row| row.comparisons.iter().map(|comparison| claim_line(row, comparison)));
        [CLAIM_HEAD.to_owned()].into_iter().chain(lines).collect()
    }

    fn table(&self) -> String {
        let mut text = format!(
            "# Measured\n\n{}\nMedians of interleaved rounds. A ratio is heavylift / peer, of the medians; in brackets the \
             least and the most of the rounds' own ratios.\n\n## Claims\n\n{}",
            self.machine.in_words(),
            self.claims()
        );
        text.push_str("\n## All figures\n");
        for row in &self.rows {
            let Row { program, taken, .. } = row;
            let _ = writeln!(text, "\n**{}** (`cargo bench --bench {program}`; {taken})\n", cell(&row.claim));
            text.push_str(&figures(row));
        }
        text
    }
}

/// Puts `text` between two marks of a file, in place of what stands there.
pub(crate) fn write_between([begin, end]: [&str; 2], path: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(path)?;
    let parts = old.split_once(begin).zip(old.split_once(end));
    let Some(((before, _), (_, after))) = parts else { return Err(io::ErrorKind::NotFound.into()) };
    fs::write(path, format!("{before}{begin}\n{text}{end}{after}"))
}

/// README's marks around what `--readme` writes.
const BEGIN: &str = "<!-- claims: written by `cargo bench --bench report -- --readme` -->";
const END: &str = "<!-- end of claims -->";
const CLAIM_HEAD: &str = "| claim | heavylift | peer | ratio | goal | met |\n|---|---|---|---|---|---|\n";

fn claim_line(row: &Row, comparison: &Comparison) -> String {
    let figure = |name: &str| match row.figure(name) {
        Some(figure) => format!("{name}: {}", row.unit.show(figure.spread.median)),
        None if name == "–" => name.to_owned(),
        None => format!("{name}: not found"),
    };
    let ratio = comparison.ratio.map_or("–".to_owned(), |ratio| {
        let show = |figure| comparison.goal.show_ratio(figure, row.unit);
        format!("**{}** ({} – {})", show(ratio.median), show(ratio.least), show(ratio.most))
    });
    format!(
        "| {} | {} | {} | {ratio} | {} | {} |\n",
        cell(&row.claim),
        cell(&figure(&comparison.ours)),
        cell(&figure(&comparison.peer)),
        comparison.goal.show(row.unit),
        verdict(comparison)
    )
}

/// Text that is no mark-up.
fn cell(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

fn verdict(comparison: &Comparison) -> &'static str {
    match comparison.met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "not measured",
    }
}

fn figures(row: &Row) -> String {
    let mut text = "| | median | least – most |\n|---|---|---|\n".to_owned();
    let show = |figure| row.unit.show(figure);
    for figure in &row.figures {
        let (name, spread) = (cell(&figure.name), figure.spread);
        let _ = writeln!(
            text,
            "| {name} | {} | {} – {} |",
            show(spread.median),
            show(spread.least),
            show(spread.most)
        );
    }
    for missing in &row.missing {
        let _ = writeln!(text, "| {} | not found | {} |", cell(&missing.name), cell(&missing.why));
    }
    if !row.note.is_empty() {
        let _ = writeln!(text, "\n{}", row.note);
    }
    text
}

/// A row as a program prints it.
pub(crate) fn in_words(row: &Row) -> String {
    let mut text = format!("{}\n\n{}", row.claim, figures(row));
    for comparison in &row.comparisons {
        let ratio = comparison.ratio.map_or("–".to_owned(), |ratio| {
            let show = |figure| comparison.goal.show_ratio(figure, row.unit);
            format!("{} ({} – {})", show(ratio.median), show(ratio.least), show(ratio.most))
        });
        let _ = writeln!(
            text,
            "  {} against {}: {ratio}, goal {}: {}",
            comparison.ours,
            comparison.peer,
            comparison.goal.show(row.unit),
            verdict(comparison)
        );
    }
    text
}
