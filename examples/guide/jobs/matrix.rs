//! Products of square matrices.

use super::{RealJob, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "matrix";
    vec![
        RealJob::new(family, "matrix", 50, product, |_, nth| pair(nth, 200)),
        RealJob::new(family, "matrix-16", 30_000, product, |_, nth| pair(nth, 16)),
        RealJob::new(family, "matrix-64", 1_500, product, |_, nth| pair(nth, 64)),
    ]
}

/// Two matrices of `side` lines, line by line.
fn pair(nth: usize, side: usize) -> (Vec<f64>, Vec<f64>) {
    let mut numbers = random(nth as u64).map(|n| (n % 1000) as f64);
    let mut matrix = || numbers.by_ref().take(side * side).collect();
    (matrix(), matrix())
}

fn product((left, right): (Vec<f64>, Vec<f64>)) -> Vec<f64> {
    let side = left.len().isqrt();
    let mut product = vec![0.0; left.len()];
    for (line, sums) in left.chunks(side).zip(product.chunks_mut(side)) {
        for (factor, right) in line.iter().zip(right.chunks(side)) {
            for (sum, value) in sums.iter_mut().zip(right) {
                *sum += factor * value;
            }
        }
    }
    product
}
