//! What is known of each name: the pools that have it, what those that have ended have left, and what has been told.
//!
//! 1. Each pool is in the list until it has ended and its last figures have been entered into its account, in one step: it
//!    counts once at any time.
//! 2. An account is opened when a pool of its name and kind is read, and never closed: what it has told stays true. From
//!    [`MOST`] on further names share one account for each kind.
//! 3. A figure that adds up is told as the greatest that it has been: counts that were taken back are told late.
//! 4. A duration is recorded by whoever has entered it as told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{Ordering::Acquire, fence},
    },
};

use super::series::SERIES;
use crate::{
    Metrics,
    metrics::{
        Counters,
        histogram::{BUCKETS, Buckets},
    },
    panic::drop_shielded,
    pool::registry::{AnyPool, Kind},
};

/// So many names have an account of their own.
const MOST: usize = 64;
/// The name of the account that the others share.
const OTHER: &str = "other";
/// Longer names are cut off after so many characters.
const LONGEST: usize = 64;
/// So many durations of an account are recorded in one report at most.
const MOST_RECORDED: u64 = 20_000;

/// Whose account it is: kind and name.
pub(super) type Owner = (Kind, Arc<str>);

/// Taken alone. No foreign code runs under it, and no pool is dropped.
static BOOKS: Mutex<Books> = Mutex::new(Books { pools: Vec::new(), accounts: BTreeMap::new() });

#[derive(Default)]
struct Books {
    pools: Vec<Listed>,
    accounts: BTreeMap<Owner, Account>,
}

/// A pool, and its counts also when it has ended.
#[derive(Clone)]
struct Listed {
    pool: Weak<dyn AnyPool>,
    owner: Owner,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Account {
    /// What pools have left that have ended.
    ended: Sums,
    told: Sums,
}

/// Figures of one pool or of several, in the order of [`SERIES`].
#[derive(Debug, Clone)]
struct Sums {
    figures: [u64; SERIES.len()],
    /// How long jobs waited, and how long they ran.
    times: Box<[Buckets; 2]>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { figures: [0; SERIES.len()], times: Box::new([[0; BUCKETS]; 2]) }
    }
}

impl Sums {
    fn of(metrics: &Metrics, counters: &Counters) -> Self {
        let mut sums = Self::default();
        for (figure, series) in sums.figures.iter_mut().zip(&SERIES) {
            *figure = (series.figure)(metrics);
        }
        let [waits, runs] = &mut *sums.times;
        counters.add_times(waits, runs);
        sums
    }

    fn add(&mut self, other: &Self) {
        self.figures
            .iter_mut()
            .zip(other.figures)
            .for_each(|(sum, figure)| *sum = sum.saturating_add(figure));
        let others = other.times.as_flattened();
        self.times.as_flattened_mut().iter_mut().zip(others).for_each(|(sum, count)| *sum += count);
    }

    /// Forgets what only a pool that lives has.
    fn without_levels(mut self) -> Self {
        for (figure, _) in self.figures.iter_mut().zip(&SERIES).filter(|(_, series)| !series.sort.adds_up()) {
            *figure = 0;
        }
        self
    }
}

impl Listed {
    /// The figures of a pool, whether it lives or not. It may end in this call, and its drop is foreign code.
    fn read(&self) -> Sums {
        match self.pool.upgrade() {
            Some(pool) => {
                let sums = Sums::of(&pool.metrics(), &self.counters);
                drop_shielded(pool);
                sums
            }
            None => self.last(),
        }
    }

    /// The figures of a pool that has ended.
    fn last(&self) -> Sums {
        // ORDERING: Acquire pairs with the Release by which `Arc` gave up each hold on the pool, the last of which was seen to be gone:
        // what its threads counted before that is seen, too.
        fence(Acquire);
        Sums::of(&self.counters.snapshot(), &self.counters).without_levels()
    }

    fn has_ended(&self) -> bool {
        self.pool.strong_count() == 0
    }
}

/// What is to be told of an account.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) owner: Owner,
    /// In the order of [`SERIES`].
    pub(super) figures: [u64; SERIES.len()],
    /// By bucket, how many durations are to be recorded of how long jobs waited, and how long they ran.
    pub(super) times: Box<[Buckets; 2]>,
}

impl Books {
    /// Whose account it is that this owner has or shares; it is opened if need be.
    fn open(&mut self, owner: &Owner) -> Owner {
        let has_own = self.accounts.contains_key(owner) || self.accounts.len() < MOST;
        let owner = if has_own { owner.clone() } else { (owner.0, OTHER.into()) };
        self.accounts.entry(owner.clone()).or_default();
        owner
    }

    /// Enters what pools have left that have ended, and takes them off the list.
    fn enter_ended(&mut self) {
        for pool in self.pools.extract_if(.., |pool| pool.has_ended()).collect::<Vec<_>>() {
            let owner = self.open(&pool.owner);
            self.accounts.entry(owner).or_default().ended.add(&pool.last());
        }
    }

    /// What pools have left that have ended and are on the list no more.
    fn ended(&self) -> BTreeMap<Owner, Sums> {
        self.accounts.iter().map(|(owner, account)| (owner.clone(), account.ended.clone())).collect()
    }

    /// Adds up, takes note, and returns what is to be told of each account.
    fn settle(&mut self, mut sums: BTreeMap<Owner, Sums>, read: &[(Owner, Sums)]) -> Vec<Statement> {
        for (owner, figures) in read {
            sums.entry(self.open(owner)).or_default().add(figures);
        }
        let settle = |(owner, now): (Owner, Sums)| {
            let account = self.accounts.entry(owner.clone()).or_default();
            account.settle(owner, &now)
        };
        sums.into_iter().map(settle).collect()
    }
}

impl Account {
    /// Takes note of the figures, and returns what is to be told.
    fn settle(&mut self, owner: Owner, now: &Sums) -> Statement {
        for ((told, now), series) in self.told.figures.iter_mut().zip(now.figures).zip(&SERIES) {
            *told = if series.sort.adds_up() { now.max(*told) } else { now };
        }
        let ([told_waits, told_runs], [waits, runs]) = (&mut *self.told.times, &*now.times);
        let times = Box::new([settle_times(told_waits, waits), settle_times(told_runs, runs)]);
        Statement { owner, figures: self.told.figures, times }
    }
}

/// Enters durations as told, and returns how many are to be recorded. If they are too many, one in so many of each bucket, rounded; what is
/// left of a bucket comes in a later report, and what was too much does not.
fn settle_times(told: &mut Buckets, now: &Buckets) -> Buckets {
    let due: Buckets = std::array::from_fn(|bucket| now[bucket].saturating_sub(told[bucket]));
    let one_in = due.iter().sum::<u64>().div_ceil(MOST_RECORDED).max(1);
    std::array::from_fn(|bucket| {
        let recorded = (due[bucket] + one_in / 2) / one_in;
        told[bucket] += recorded * one_in;
        recorded
    })
}

fn books() -> MutexGuard<'static, Books> {
    BOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a pool that was built just now.
pub(crate) fn enter<P: AnyPool + 'static>(pool: &Arc<P>) {
    let entry: Weak<P> = Arc::downgrade(pool);
    let owner = (pool.kind(), label(pool.name()));
    let listed = Listed { pool: entry, owner, counters: pool.counters().clone() };
    let mut books = books();
    // So the list is no longer than the pools that live, also where nobody ever reports.
    books.enter_ended();
    books.pools.push(listed);
}

/// Reads all pools, and returns what is to be told.
pub(super) fn read() -> Vec<Statement> {
    let books_now = books();
    let (pools, ended) = (books_now.pools.clone(), books_now.ended());
    drop(books_now);
    let read: Vec<(Owner, Sums)> = pools.into_iter().map(|pool| (pool.owner.clone(), pool.read())).collect();
    let mut books = books();
    let statements = books.settle(ended, &read);
    books.enter_ended();
    statements
}

/// The name of a pool as it is told.
///
/// Exporters do not escape a backslash before a quotation mark as they should, nor do they agree on control characters.
fn label(name: &str) -> Arc<str> {
    let name = name.chars().take(LONGEST).map(|c| if c == '\\' || c.is_control() { '_' } else { c });
    name.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(submitted: u64, queued: usize, runs: &[(usize, u64)]) -> Sums {
        let mut sums = Sums::of(&Metrics { submitted, queued, ..Metrics::default() }, &Counters::default());
        runs.iter().for_each(|&(bucket, count)| sums.times[1][bucket] = count);
        sums
    }

    fn owner(name: &str) -> Owner {
        (Kind::Threads, label(name))
    }

    fn figure(statement: &Statement, name: &str) -> u64 {
        let at = SERIES.iter().position(|series| series.name == name).unwrap();
        statement.figures[at]
    }

    #[test]
    fn names_beyond_the_limit_share_an_account_and_lose_nothing() {
        let mut books = Books::default();
        let read: Vec<_> = (0..100).map(|n| (owner(&format!("pool {n}")), sums(1, 0, &[]))).collect();
        let told = books.settle(books.ended(), &read);
        assert_eq!(told.len(), MOST + 1);
        let of = |told: &[Statement], name| {
            let statement = told.iter().find(|statement| statement.owner == owner(name));
            statement.map(|statement| figure(statement, "heavylift_jobs_submitted_total"))
        };
        assert_eq!(
            (of(&told, "other"), of(&told, "pool 63"), of(&told, "pool 64")),
            (Some(36), Some(1), None)
        );
        // Who has an account keeps it, and who has none gets none.
        let told = books.settle(books.ended(), &read[60..]);
        assert_eq!(
            (of(&told, "other"), of(&told, "pool 63"), of(&told, "pool 99")),
            (Some(36), Some(1), None)
        );
    }

    #[test]
    fn what_adds_up_never_goes_back_and_what_comes_and_goes_does() {
        let mut books = Books::default();
        let mut told = |submitted, queued| {
            let told = books.settle(BTreeMap::new(), &[(owner("a"), sums(submitted, queued, &[]))]);
            ["heavylift_jobs_submitted_total", "heavylift_jobs_queued"].map(|name| figure(&told[0], name))
        };
        assert_eq!([told(5, 3), told(4, 1), told(6, 2)], [[5, 3], [5, 1], [6, 2]]);
    }

    #[test]
    fn a_pool_that_has_ended_leaves_its_counts_and_no_levels() {
        let last = sums(7, 3, &[(5, 2)]).without_levels();
        let mut books = Books::default();
        books.accounts.entry(owner("a")).or_default().ended.add(&last);
        let told = books.settle(books.ended(), &[(owner("a"), sums(1, 1, &[(5, 1)]))]);
        assert_eq!(figure(&told[0], "heavylift_jobs_submitted_total"), 8);
        assert_eq!((figure(&told[0], "heavylift_jobs_queued"), told[0].times[1][5]), (1, 3));
    }

    #[test]
    fn durations_are_told_once_and_of_too_many_a_part_of_each_bucket() {
        let mut told = [0; BUCKETS];
        let mut now = [0; BUCKETS];
        let mut settle = |additions: &[(usize, u64)]| {
            additions.iter().for_each(|&(bucket, count)| now[bucket] += count);
            let recorded = settle_times(&mut told, &now);
            [3, 9, 200].map(|bucket| recorded[bucket])
        };
        assert_eq!(settle(&[(3, 10_000), (9, 9_999), (200, 1)]), [10_000, 9_999, 1]);
        assert_eq!(settle(&[]), [0, 0, 0]);
        // One in two, and one in four; the odd ones come later, or have come before.
        assert_eq!(settle(&[(3, 30_000), (9, 9_997), (200, 3)]), [15_000, 4_999, 2]);
        assert_eq!(settle(&[(3, 70_000), (9, 1), (200, 1)]), [17_500, 0, 0]);
        assert_eq!(settle(&[(9, 4), (200, 2)]), [0, 4, 2]);
        // Of many reports each bucket has its share, however few it is in each.
        let shares: Vec<_> = (0..100).map(|_| settle(&[(3, 199_990), (200, 10)])).collect();
        let sum = |at: usize| shares.iter().map(|share| share[at]).sum::<u64>();
        assert!(shares.iter().all(|share| share.iter().sum::<u64>() <= MOST_RECORDED + BUCKETS as u64));
        assert!((0.9..1.1).contains(&(sum(2) as f64 / sum(0) as f64 * 19_999.0)), "{} {}", sum(0), sum(2));
    }

    #[test]
    fn names_are_told_so_that_every_exporter_can_escape_them() {
        let long = "x".repeat(100);
        for (name, told) in
            [("a\\\"b", "a_\"b"), ("a\nb\u{7f}", "a_b_"), ("µ 🦀", "µ 🦀"), (&*long, &long[..LONGEST])]
        {
            assert_eq!(&*label(name), told);
        }
    }
}
