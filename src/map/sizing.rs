//! [`Sizing`]: how many items of a map travel together, and how many are in flight, at this moment.

use std::time::{Duration, Instant};

use super::size::{self, Known};
use crate::metrics::Recent;

/// The sizes of one map. [`size`] has the rule; this remembers what it needs.
#[derive(Debug)]
pub(super) struct Sizing {
    /// What the map was told.
    in_flight: Option<usize>,
    chunk_size: Option<usize>,
    /// The sizes as they were last worked out. A map that was never polled has none, and nothing in flight.
    chunk: usize,
    most: usize,
    /// For how large a chunk room is made by default: one that has to be split is smaller, but as many items are needed to keep workers busy.
    wanted: usize,
    /// How long it took lately to pull an input.
    pulls: Recent,
    /// So many items went into one job of the pool, where a chunk had to be split; and how many chunks of that size have not been since.
    fit: usize,
    fitted: u32,
}

/// So many jobs are a chunk, as to what is in flight, where fewer items fit into each than would travel together for their time.
const JOBS: usize = 4;
/// After so many chunks that were not split larger ones are tried.
const FITTED: u32 = 16;

/// What the sizes depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// None: jobs run on the polling thread, as they are started.
    pub(super) workers: usize,
    /// Whether items can travel together.
    pub(super) takes_chunks: bool,
    pub(super) hand_off: Duration,
    /// How long items ran lately.
    pub(super) runs: Recent,
    /// How many inputs are still to come, if that is known.
    pub(super) remaining: Option<usize>,
}

impl Default for Sizing {
    fn default() -> Self {
        Self {
            in_flight: None,
            chunk_size: None,
            chunk: 0,
            most: 0,
            wanted: 0,
            pulls: Recent::default(),
            fit: usize::MAX,
            fitted: 0,
        }
    }
}

impl Sizing {
    pub(super) fn set_in_flight(&mut self, items: usize) {
        self.in_flight = Some(items);
    }

    pub(super) fn set_chunk_size(&mut self, items: usize) {
        self.chunk_size = Some(items);
    }

    /// Whether the size of chunks follows what is measured.
    pub(super) fn is_automatic(&self) -> bool {
        self.chunk_size.is_none()
    }

    /// How many items are to travel together.
    pub(super) fn chunk(&self) -> usize {
        self.chunk
    }

    /// For how many items there is room beside so many in flight.
    pub(super) fn room(&self, in_flight: usize) -> usize {
        self.most.saturating_sub(in_flight)
    }

    /// Whether there is room for another chunk.
    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        in_flight.saturating_add(self.chunk) <= self.most
    }

    /// How many items may be in flight by now.
    pub(super) fn most(&self, workers: usize) -> usize {
        if workers == 0 {
            // A job has run when it has been started: with more than one, the first result would wait for the others.
            return 1;
        }
        self.in_flight.unwrap_or_else(|| match self.chunk_size {
            Some(items) => size::in_flight_for(workers, items),
            None => size::automatic_in_flight_for(workers, self.wanted),
        })
    }

    /// Works the sizes out.
    pub(super) fn renew(&mut self, now: Situation) {
        match self.chunk_size {
            Some(items) => {
                self.most = self.most(now.workers);
                // At least two, so that one is run while the outcomes of another are yielded.
                self.chunk = if now.takes_chunks { items.min(self.most.div_ceil(2)) } else { 1 };
            }
            None => {
                let before = self.most;
                self.wanted = if now.takes_chunks { self.automatic_chunk(now) } else { 1 };
                self.chunk = self.wanted.min(self.fit);
                self.most = self.most(now.workers);
                if self.in_flight.is_none() {
                    // Chunks may be small for a moment only: what is in flight must not run dry before the next look.
                    self.most = self.most.max(before / 2);
                }
            }
        }
    }

    fn automatic_chunk(&self, now: Situation) -> usize {
        let per_item = now.runs.mean().map(|run| run.max(self.pulls.mean().unwrap_or_default()));
        let chunk = size::chunk_for(&Known {
            per_item,
            measured: now.runs.count(),
            hand_off: now.hand_off,
            workers: now.workers,
            remaining: now.remaining,
            in_flight: self.in_flight.unwrap_or(size::MOST_IN_FLIGHT),
        });
        // Where hardly any fit into a job they are large, and a few are enough.
        chunk.min(self.fit.saturating_mul(JOBS))
    }

    /// Takes note that so many inputs have been pulled since `begun`, if that was looked at.
    pub(super) fn note_pulls(&mut self, inputs: usize, begun: Option<Instant>) {
        if let Some(begun) = begun.filter(|_| inputs > 0) {
            self.pulls.note(inputs as u64, begun.elapsed());
        }
    }

    /// Takes note that so many items were started as so many jobs, with `largest` in that of most of them: where a chunk did not fit into
    /// one, the next ones are smaller.
    pub(super) fn note_jobs(&mut self, items: usize, jobs: usize, largest: usize) {
        if jobs > 1 {
            (self.fit, self.fitted) = (largest.max(1), 0);
        } else if items >= self.fit {
            self.fitted += 1;
            if self.fitted == FITTED {
                (self.fit, self.fitted) = (self.fit.saturating_add(self.fit / 8 + 1), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn situation(count: u64, each: Duration) -> Situation {
        let mut runs = Recent::default();
        runs.note(count, each * count as u32);
        Situation { workers: 2, takes_chunks: true, hand_off: 2 * US, runs, remaining: None }
    }

    #[test]
    fn in_flight_follows_the_chunk_up_at_once_and_down_by_halves() {
        let mut sizing = Sizing::default();
        assert!(sizing.has_room(0));
        let mut seen = Vec::new();
        for (count, each) in [
            (0, US),
            (64, US),
            (4096, US),
            (4096, 1000 * US),
            (4096, 1000 * US),
            (4096, 1000 * US),
            (4096, US),
        ] {
            sizing.renew(situation(count, each));
            seen.push((sizing.chunk(), sizing.most));
        }
        assert_eq!(seen, [(1, 64), (64, 512), (100, 800), (1, 400), (1, 200), (1, 100), (100, 800)]);
        assert!(sizing.has_room(700) && !sizing.has_room(701));
    }

    #[test]
    fn what_was_told_is_kept() {
        let mut sizing = Sizing::default();
        sizing.set_in_flight(10);
        sizing.renew(situation(4096, US));
        assert_eq!((sizing.chunk(), sizing.most), (2, 10));
        sizing.set_chunk_size(100);
        sizing.renew(situation(4096, 1000 * US));
        assert_eq!((sizing.chunk(), sizing.most), (5, 10));
        sizing.renew(Situation { takes_chunks: false, ..situation(4096, US) });
        assert_eq!((sizing.chunk(), sizing.most), (1, 10));
        sizing.renew(Situation { workers: 0, takes_chunks: false, ..situation(4096, US) });
        assert_eq!((sizing.chunk(), sizing.most), (1, 1));
    }

    #[test]
    fn inputs_that_take_long_to_pull_are_not_waited_for_in_numbers() {
        let mut sizing = Sizing::default();
        sizing.pulls.note(10, 200 * US);
        sizing.renew(situation(4096, US / 10));
        assert_eq!(sizing.chunk(), 5);
    }

    #[test]
    fn a_chunk_that_had_to_be_split_makes_the_next_ones_smaller() {
        let mut sizing = Sizing::default();
        let mut chunk = |items, jobs, first| {
            sizing.note_jobs(items, jobs, first);
            sizing.renew(situation(4096, US / 100));
            sizing.chunk()
        };
        assert_eq!(chunk(1024, 1, 1024), 1024);
        assert_eq!(chunk(1024, 2, 700), 700);
        assert_eq!(chunk(100, 1, 100), 700);
        let sizes: Vec<_> = (0..16).map(|_| chunk(700, 1, 700)).collect();
        assert_eq!((sizes[14], sizes[15]), (700, 788));
        assert_eq!(chunk(788, 788, 1), 1);
        assert_eq!((0..16).map(|_| chunk(1, 1, 1)).last(), Some(2));
    }

    #[test]
    fn small_items_of_split_chunks_are_as_many_in_flight_and_large_ones_few() {
        let mut sizing = Sizing::default();
        for (first, chunk, most) in
            [(500, 500, 8192), (100, 100, 4096), (10, 10, 2048), (10, 10, 1024), (1, 1, 512)]
        {
            sizing.note_jobs(1024, 2, first);
            sizing.renew(situation(4096, US / 100));
            assert_eq!((sizing.chunk(), sizing.most), (chunk, most));
        }
        (0..5).for_each(|_| sizing.renew(situation(4096, US / 100)));
        assert_eq!(sizing.most, 64);
    }
}
