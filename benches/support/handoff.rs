//! The two ways in which jobs are handed over: many at once, and one at a time. Whose jobs they are is the caller's.
//!
//! Also compiled into `peers/tokio_std`, so that both builds of tokio run the same code.

use std::{future::Future, time::Instant};

use tokio::runtime::{Builder, Runtime};

/// Kind of runtime, and who awaits on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A spawned task of a multi-thread runtime.
    Multi,
    /// A spawned task of a current-thread runtime.
    Current,
    /// The future that a multi-thread runtime blocks on, as an `async fn main` is.
    Main,
}

impl Flavour {
    /// Those that differ when many jobs are awaited.
    pub(crate) const MANY: [Self; 2] = [Self::Multi, Self::Current];
    pub(crate) const ALL: [Self; 3] = [Self::Main, Self::Multi, Self::Current];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Multi => "multi",
            Self::Current => "current",
            Self::Main => "main",
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Multi => "multi-thread runtime",
            Self::Current => "current-thread runtime",
            Self::Main => "multi-thread runtime, from main",
        }
    }

    /// Two workers where there are workers, and two blocking threads.
    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::Multi | Self::Main => Builder::new_multi_thread(),
            Self::Current => Builder::new_current_thread(),
        };
        builder.worker_threads(2).max_blocking_threads(2).build().expect("the machine has threads")
    }
}

/// Jobs per second: `jobs` jobs started by `tasks` spawned tasks, each of which then awaits all of its own.
pub(crate) fn fan_out<T, S>(
    runtime: &Runtime,
    jobs: u64,
    tasks: u64,
    start: S,
    value: fn(T::Output) -> u64,
) -> f64
where
    T: Future + Send + 'static,
    S: Fn(u64) -> T + Clone + Send + 'static,
{
    let begun = Instant::now();
    runtime.block_on(async {
        let submitters: Vec<_> = (0..tasks)
            .map(|_| {
                let start = start.clone();
                tokio::spawn(async move {
                    let jobs: Vec<T> = (0..jobs / tasks).map(start).collect();
                    for (n, job) in jobs.into_iter().enumerate() {
                        assert_eq!(value(job.await), n as u64);
                    }
                })
            })
            .collect();
        for submitter in submitters {
            submitter.await.expect("every job gives its number back");
        }
    });
    jobs as f64 / begun.elapsed().as_secs_f64()
}

/// Median and 99th percentile, in seconds, of `times` jobs that are started and awaited one after the other.
pub(crate) fn round_trips<T, S>(runtime: &Runtime, flavour: Flavour, times: usize, start: S) -> [f64; 2]
where
    T: Future + Send + 'static,
    S: Fn() -> T + Send + 'static,
{
    let trips = async move {
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            start().await;
            all.push(begun.elapsed().as_secs_f64());
        }
        all
    };
    median_and_p99(match flavour {
        Flavour::Main => runtime.block_on(trips),
        _ => runtime.block_on(async { tokio::spawn(trips).await.expect("a no-op job ends") }),
    })
}

/// Median and 99th percentile.
pub(crate) fn median_and_p99(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}
