//! Candidates that take turns in each round, so that all of them meet the same noise.

use super::{
    os,
    program::Effort,
    row::{Comparison, Figure, Goal, Missing, Row, Spread, Unit},
    spawn_blocking::SpawnBlocking,
};

/// A peer that is asked in words for figures.
pub(crate) trait Answers {
    /// The figures of one run, or why there are none.
    fn answer(&self, request: &str) -> Result<Vec<f64>, String>;
}

impl Answers for SpawnBlocking {
    fn answer(&self, request: &str) -> Result<Vec<f64>, String> {
        self.figures(request)
    }
}

impl<P: Answers> Answers for Result<P, String> {
    fn answer(&self, request: &str) -> Result<Vec<f64>, String> {
        self.as_ref().map_err(Clone::clone)?.answer(request)
    }
}

type Turn<'a, const N: usize> = Box<dyn FnMut() -> Result<[f64; N], String> + 'a>;

/// Candidates of one race, each of which gives `N` figures per round. The first is the one that the claim is about.
pub(crate) struct Race<'a, const N: usize = 1> {
    candidates: Vec<(String, Turn<'a, N>, Vec<[f64; N]>)>,
    missing: Vec<Missing>,
}

impl<'a, const N: usize> Race<'a, N> {
    pub(crate) fn new() -> Self {
        Self { candidates: Vec::new(), missing: Vec::new() }
    }

    /// Adds a candidate.
    pub(crate) fn enter(&mut self, name: &str, mut turn: impl FnMut() -> [f64; N] + 'a) {
        self.attempt(name, move || Ok(turn()));
    }

    /// Adds a candidate that may turn out not to be there.
    pub(crate) fn attempt(&mut self, name: &str, turn: impl FnMut() -> Result<[f64; N], String> + 'a) {
        self.candidates.push((name.to_owned(), Box::new(turn), Vec::new()));
    }

    /// Adds a peer that is asked in words.
    pub(crate) fn ask(&mut self, name: &str, peer: &'a impl Answers, request: impl Into<String>) {
        let request = request.into();
        self.attempt(name, move || {
            let figures = peer.answer(&request)?;
            <[f64; N]>::try_from(figures).map_err(|figures| format!("{request} gave {figures:?}"))
        });
    }

    /// Says that a peer cannot be had.
    pub(crate) fn missing(&mut self, name: &str, why: impl Into<String>) {
        self.missing.push(Missing { name: name.to_owned(), why: why.into() });
    }

    /// Runs the rounds. The one who begins changes, for whoever comes after a busy one may inherit its warm or its full caches.
    pub(crate) fn run(mut self, effort: Effort) -> Finish<N> {
        for round in 0..effort.warm_up + effort.rounds {
            let first = round % self.candidates.len().max(1);
            for place in 0..self.candidates.len() {
                let at = (first + place) % self.candidates.len();
                self.turn(at, round >= effort.warm_up);
            }
            self.drop_absent();
        }
        let figures = self.candidates.into_iter().map(|(name, _, figures)| (name, figures)).collect();
        Finish { figures, missing: self.missing }
    }

    fn turn(&mut self, at: usize, counts: bool) {
        os::tidy_heap();
        let (name, turn, figures) = &mut self.candidates[at];
        match turn() {
            Ok(found) if counts => figures.push(found),
            Ok(_) => {}
            Err(why) => self.missing.push(Missing { name: name.clone(), why }),
        }
    }

    fn drop_absent(&mut self) {
        let missing = &self.missing;
        self.candidates.retain(|(name, ..)| missing.iter().all(|gone| gone.name != *name));
    }
}

/// Figures of all candidates, by round.
pub(crate) struct Finish<const N: usize> {
    figures: Vec<(String, Vec<[f64; N]>)>,
    missing: Vec<Missing>,
}

impl<const N: usize> Finish<N> {
    /// A row of the report about the candidates' `nth` figure.
    pub(crate) fn row(&self, nth: usize, id: &str, claim: &str, unit: Unit) -> Claim {
        let figures = |all: &[[f64; N]]| all.iter().map(|figures| figures[nth]).collect();
        let rounds = self.figures.iter().map(|(name, all)| (name.clone(), figures(all))).collect();
        let mut claim = Claim { row: Row::new(id, claim, unit), rounds };
        claim.row.figures = claim.rounds.iter().map(|(name, all)| Figure::new(name, all)).collect();
        claim.row.missing = self.missing.clone();
        claim
    }
}

/// A row, while goals are set for it.
pub(crate) struct Claim {
    pub(crate) row: Row,
    rounds: Vec<(String, Vec<f64>)>,
}

impl Claim {
    /// Compares the first candidate with the best of `peers`.
    pub(crate) fn goal(self, goal: Goal, peers: &[&str]) -> Self {
        let ours = self.rounds.first().map_or(String::new(), |(name, _)| name.clone());
        self.goal_of(&ours, goal, peers)
    }

    /// Compares a candidate with the best of `peers`, round by round.
    pub(crate) fn goal_of(mut self, ours: &str, goal: Goal, peers: &[&str]) -> Self {
        let best = peers.iter().filter_map(|name| self.figures(name)).reduce(|best, next| {
            let (b, n) = (Spread::of(&best.1).median, Spread::of(&next.1).median);
            if self.row.unit.is_better(n, b) { next } else { best }
        });
        let ratio = self.figures(ours).zip(best.clone()).map(|((_, ours), (_, peer))| ratio(&ours, &peer));
        let ratio = ratio
            .filter(|ratio| [ratio.median, ratio.least, ratio.most].iter().all(|figure| figure.is_finite()));
        self.row.comparisons.push(Comparison {
            ours: ours.to_owned(),
            peer: best.map_or_else(|| peers.first().map_or("–", |name| name).to_owned(), |(name, _)| name),
            met: ratio.map(|ratio| goal.is_met(ratio.median)),
            ratio,
            goal,
        });
        self
    }

    /// Holds the first candidate's own figure against a limit.
    pub(crate) fn limit(self, most: f64) -> Self {
        self.own(Goal::Limit(most))
    }

    /// Holds the first candidate's own figure against what it must be at least.
    pub(crate) fn floor(self, least: f64) -> Self {
        self.own(Goal::Floor(least))
    }

    fn own(mut self, goal: Goal) -> Self {
        let ours = self.rounds.first().filter(|(_, figures)| !figures.is_empty());
        let figure = ours.map(|(_, figures)| Spread::of(figures));
        let name = ours.map(|(name, _)| name).or(self.row.missing.first().map(|missing| &missing.name));
        self.row.comparisons.push(Comparison {
            ours: name.cloned().unwrap_or_default(),
            peer: "–".to_owned(),
            ratio: figure,
            goal,
            met: figure.map(|figure| goal.is_met(figure.median)),
        });
        self
    }

    fn figures(&self, name: &str) -> Option<(String, Vec<f64>)> {
        self.rounds.iter().find(|(known, all)| known == name && !all.is_empty()).cloned()
    }
}

/// Ratio of the medians; its spread is that of the rounds' own ratios.
fn ratio(ours: &[f64], peer: &[f64]) -> Spread {
    let rounds: Vec<f64> = ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect();
    Spread { median: Spread::of(ours).median / Spread::of(peer).median, ..Spread::of(&rounds) }
}
