//! The truth about a job: what each executor takes for all of its calls.
//!
//! Each executor gets its chance: the one that was advised runs as was advised, the others as the same rules would have
//! them run. Rounds change who begins, and what counts is the median.

use std::time::Duration;

use heavylift::{
    Advice, Machine, Profile, TaskError,
    guidance::{Choice, predict},
};

use crate::jobs::{Place, RealJob, Stage, Travel};

/// One way to run all calls, and what it took in each round.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    pub(crate) travel: Travel,
    pub(crate) predicted: Duration,
    pub(crate) rounds: Vec<Duration>,
}

impl Candidate {
    fn new(place: Place, travel: Travel, predicted: Duration) -> Self {
        Self { place, travel, predicted, rounds: Vec::new() }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.place.choice().name()
    }

    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.rounds.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}

/// What all executors took, and which of them was advised.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) advised: Candidate,
    pub(crate) others: Vec<Candidate>,
}

impl Truth {
    /// Measures `calls` calls on every executor; `None` if what was advised is none, but to await, or a thread.
    pub(crate) fn of(
        (job, calls): (&RealJob, usize),
        (profile, machine, advice): (&Profile, &Machine, &Advice),
        stage: &Stage<'_>,
        rounds: usize,
    ) -> Result<Option<Self>, TaskError> {
        let Some(advised) = Place::ALL.iter().copied().find(|place| place.choice() == advice.executor) else {
            return Ok(None);
        };
        let as_advised = Travel { chunk_size: Some(advice.chunk_size), in_flight: Some(advice.in_flight) };
        let others = Place::ALL.iter().copied().filter(|place| *place != advised);
        let others = others.filter_map(|place| {
            let plan = predict(place.choice(), profile, machine)?;
            let travel = Travel { chunk_size: Some(plan.chunk_size), in_flight: None };
            Some(Candidate::new(place, travel, Duration::from_secs_f64(plan.seconds)))
        });
        let advised = Candidate::new(advised, as_advised, advice.predicted);
        let mut all: Vec<Candidate> = [advised].into_iter().chain(others).collect();
        take_turns(job, calls, stage, rounds, &mut all)?;
        let advised = all.remove(0);
        Ok(Some(Self { advised, others: all }))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Candidate> {
        [&self.advised].into_iter().chain(&self.others)
    }

    pub(crate) fn fastest(&self) -> &Candidate {
        self.all().min_by_key(|candidate| candidate.median()).unwrap_or(&self.advised)
    }

    /// How much longer the advised executor takes than the fastest: 0 is as long, 1 twice as long.
    pub(crate) fn regret(&self) -> f64 {
        self.advised.median().as_secs_f64() / self.fastest().median().as_secs_f64() - 1.0
    }

    pub(crate) fn inline(&self) -> Duration {
        let inline = self.all().find(|candidate| candidate.place.choice() == Choice::Inline);
        inline.map_or(Duration::MAX, Candidate::median)
    }
}

/// Runs all candidates in each round, after one that does not count.
fn take_turns(
    job: &RealJob,
    calls: usize,
    stage: &Stage<'_>,
    rounds: usize,
    all: &mut [Candidate],
) -> Result<(), TaskError> {
    let count = all.len();
    for (round, turn) in (0..=rounds).flat_map(|round| (0..count).map(move |turn| (round, turn))) {
        let candidate = &mut all[(round + turn) % count];
        (stage.before)(candidate.place);
        let time = job.time(stage, calls, candidate.place, candidate.travel)?;
        if round > 0 {
            candidate.rounds.push(time);
        }
    }
    Ok(())
}
