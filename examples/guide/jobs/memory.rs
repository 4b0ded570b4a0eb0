//! Work that waits for memory more than it computes.

use std::sync::LazyLock;

use super::{RealJob, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "memory";
    vec![
        RealJob::new(family, "sum-16m", 16, |numbers: Vec<u64>| sum(&numbers), |_, nth| large(nth)),
        RealJob::new(family, "sum-table", 40, sum_of_table, |_, nth| nth),
        RealJob::new(family, "chase", 150, chase, |_, nth| nth),
    ]
}

/// 16 MiB.
fn large(nth: usize) -> Vec<u64> {
    vec![nth as u64; 2 << 20]
}

/// 32 MiB, made once in each process.
static TABLE: LazyLock<Vec<u64>> = LazyLock::new(|| random(1).take(4 << 20).collect());

fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, n| sum.wrapping_add(*n))
}

fn sum_of_table(first: usize) -> u64 {
    sum(&TABLE[first..])
}

/// Goes from place to place in the table, each of which says which is next.
fn chase(first: usize) -> u64 {
    let places = TABLE.len() as u64;
    (0..20_000).fold(first as u64, |at, _| TABLE[(at % places) as usize].wrapping_add(at))
}
