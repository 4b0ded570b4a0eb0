//! One row of the report: a claim, the figures of all candidates, and how they compare.

use serde::{Deserialize, Serialize};

/// What the figures of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    JobsPerSecond,
    BatchesPerSecond,
    Seconds,
    Ticks,
    Bytes,
    /// How many jobs.
    Jobs,
    /// How many times as long as something else.
    Times,
    /// A part of a whole; less is better.
    Share,
    Messages,
}

impl Unit {
    /// Whether `a` is a better figure than `b`.
    pub(crate) fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::JobsPerSecond | Self::BatchesPerSecond | Self::Jobs => a > b,
            Self::Seconds | Self::Ticks | Self::Bytes | Self::Times | Self::Share | Self::Messages => a < b,
        }
    }

    /// The figure in a size that is easy to read.
    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Self::JobsPerSecond => {
                format!("{}/s", three_digits(figure, &[(1e6, " M"), (1e3, " k"), (1.0, " ")]))
            }
            Self::BatchesPerSecond => format!("{}/s", three_digits(figure, &[(1.0, " ")])),
            Self::Seconds => {
                three_digits(figure, &[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")])
            }
            Self::Ticks => format!("{figure} ticks"),
            Self::Jobs => format!("{figure} jobs"),
            Self::Times => format!("{figure:.2} ×"),
            Self::Share => format!("{:.1} %", 100.0 * figure),
            Self::Messages => format!("{figure:.2} messages"),
            Self::Bytes => three_digits(figure, &[(1048576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")]),
        }
    }
}

fn three_digits(figure: f64, units: &[(f64, &str)]) -> String {
    let fits = units.iter().find(|(size, _)| figure.abs() >= *size);
    let Some((size, name)) = fits.or(units.last()) else { return figure.to_string() };
    let figure = figure / size;
    let digits = match figure.abs() {
        99.95.. => 0,
        9.995.. => 1,
        _ => 2,
    };
    format!("{figure:.digits$}{name}")
}

/// Median, least and most.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |nth: usize| sorted.get(nth).copied().unwrap_or(f64::NAN);
        let (half, last) = (sorted.len() / 2, sorted.len().wrapping_sub(1));
        Self { median: (at(last / 2) + at(half)) / 2.0, least: at(0), most: at(last) }
    }
}

/// What one candidate reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: &str, rounds: &[f64]) -> Self {
        let rounds: Vec<f64> = rounds.iter().copied().map(five_digits).collect();
        Self { name: name.to_owned(), spread: Spread::of(&rounds), rounds }
    }
}

/// More digits than that are noise.
fn five_digits(figure: f64) -> f64 {
    format!("{figure:.4e}").parse().unwrap_or(figure)
}

/// A peer that could not be had, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// What is claimed of the ratio ours / peer, or of our figure itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Of the figure, in the row's unit: that much at most.
    Limit(f64),
    /// Of the figure, in the row's unit: that much at least.
    Floor(f64),
}

impl Goal {
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) | Self::Floor(goal) => figure >= goal,
            Self::AtMost(goal) | Self::Limit(goal) => figure <= goal,
        }
    }

    /// How much better than the goal: 1 is just met, 2 twice as good.
    pub(crate) fn score(self, figure: f64) -> f64 {
        match self {
            Self::AtLeast(goal) | Self::Floor(goal) => figure / goal,
            Self::AtMost(goal) => goal / figure,
            // A limit of nothing is met by nothing: no ratio says more.
            Self::Limit(goal) => (goal.max(1e-9) / figure.max(1e-9)).clamp(0.05, 20.0),
        }
    }

    pub(crate) fn show(self, unit: Unit) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal} ×"),
            Self::AtMost(goal) => format!("≤ {goal} ×"),
            Self::Limit(goal) => format!("≤ {}", unit.show(goal)),
            Self::Floor(goal) => format!("≥ {}", unit.show(goal)),
        }
    }

    pub(crate) fn show_ratio(self, figure: f64, unit: Unit) -> String {
        match self {
            Self::AtLeast(_) | Self::AtMost(_) => three_digits(figure, &[(1.0, " ×")]),
            Self::Limit(_) | Self::Floor(_) => unit.show(figure),
        }
    }
}

/// One candidate against one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) ours: String,
    pub(crate) peer: String,
    /// Ours / peer: of the medians, and the spread of the rounds' ratios.
    pub(crate) ratio: Option<Spread>,
    pub(crate) goal: Goal,
    pub(crate) met: Option<bool>,
}

/// One claim with its figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) program: String,
    pub(crate) claim: String,
    pub(crate) unit: Unit,
    /// When and of which commit the figures were taken.
    #[serde(default)]
    pub(crate) taken: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) missing: Vec<Missing>,
    /// What one must know to read the figures.
    #[serde(default)]
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(id: &str, claim: &str, unit: Unit) -> Self {
        Self {
            id: id.to_owned(),
            program: String::new(),
            claim: claim.to_owned(),
            unit,
            taken: String::new(),
            figures: Vec::new(),
            comparisons: Vec::new(),
            missing: Vec::new(),
            note: String::new(),
        }
    }

    pub(crate) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}
