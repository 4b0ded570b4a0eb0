//! Counting primes, for about as long as the name says.

use super::RealJob;

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "primes";
    vec![
        RealJob::new(family, "primes-1us", 100_000, count_primes, |_, _| 214),
        RealJob::new(family, "primes-10us", 10_000, count_primes, |_, _| 1_170),
        RealJob::new(family, "primes-100us", 1_000, count_primes, |_, _| 6_240),
        RealJob::new(family, "primes-1ms", 100, count_primes, |_, _| 33_700),
        RealJob::new(family, "primes-10ms", 12, count_primes, |_, _| 182_000),
        RealJob::new(family, "primes-100ms", 4, count_primes, |_, _| 966_000),
    ]
}

/// Primes below a limit, by trial division.
pub(crate) fn count_primes(limit: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..limit).filter(is_prime).count() as u64
}
