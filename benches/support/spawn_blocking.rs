//! tokio's `spawn_blocking` with two blocking threads, as a peer that is asked in words.
//!
//! Also compiled into `peers/tokio_std`: the same code over a tokio without its feature `parking_lot`.

use std::time::Instant;

use tokio::{
    runtime::Runtime,
    task::{JoinSet, spawn_blocking},
};

use super::{
    handoff::{Flavour, fan_out, round_trips},
    work::spin,
};

/// Both kinds of runtime, each with its own two blocking threads.
pub(crate) struct SpawnBlocking {
    multi: Runtime,
    current: Runtime,
}

impl SpawnBlocking {
    pub(crate) fn new() -> Self {
        Self { multi: Flavour::Multi.runtime(), current: Flavour::Current.runtime() }
    }

    pub(crate) fn runtime(&self, flavour: Flavour) -> &Runtime {
        match flavour {
            Flavour::Multi | Flavour::Main => &self.multi,
            Flavour::Current => &self.current,
        }
    }

    /// Figures for `fan_out FLAVOUR JOBS TASKS`, `round_trip FLAVOUR TIMES` or `map JOBS STEPS`.
    pub(crate) fn figures(&self, request: &str) -> Result<Vec<f64>, String> {
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["fan_out", flavour, jobs, tasks] => Ok(vec![fan_out(
                self.runtime(named(flavour)?),
                number(jobs)?,
                number(tasks)?,
                |n| spawn_blocking(move || n),
                |value| value.expect("a no-op job ends"),
            )]),
            ["round_trip", flavour, times] => {
                let (flavour, times) = (named(flavour)?, number(times)? as usize);
                Ok(round_trips(self.runtime(flavour), flavour, times, || spawn_blocking(|| ())).to_vec())
            }
            ["map", jobs, steps] => Ok(vec![self.map(number(jobs)?, number(steps)?)]),
            _ => Err(format!("not a request: {request}")),
        }
    }

    /// Jobs per second through a `JoinSet` of blocking jobs.
    fn map(&self, jobs: u64, steps: u64) -> f64 {
        let begun = Instant::now();
        let done = self.multi.block_on(async {
            let mut set = JoinSet::new();
            for _ in 0..jobs {
                set.spawn_blocking(move || spin(steps));
            }
            let mut done = 0;
            while let Some(value) = set.join_next().await {
                value.expect("a job of spinning ends");
                done += 1;
            }
            done
        });
        assert_eq!(done, jobs);
        jobs as f64 / begun.elapsed().as_secs_f64()
    }
}

fn named(flavour: &str) -> Result<Flavour, String> {
    let found = Flavour::ALL.into_iter().find(|known| known.name() == flavour);
    found.ok_or_else(|| format!("no runtime {flavour}"))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|error| format!("{word}: {error}"))
}
