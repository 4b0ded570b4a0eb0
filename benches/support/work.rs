//! Work of a known length, and payloads of a known size.
//!
//! Also compiled into `peers/tokio_std`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Steps that a core of this machine does in a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spin {
    steps_per_second: f64,
}

impl Spin {
    /// Measures the machine: the fastest of several tries, for noise only ever slows down.
    pub(crate) fn calibrate() -> Self {
        const STEPS: u64 = 4_000_000;
        let fastest = (0..9)
            .map(|_| {
                let begun = Instant::now();
                spin(black_box(STEPS));
                begun.elapsed()
            })
            .min()
            .unwrap_or(Duration::MAX);
        Self { steps_per_second: STEPS as f64 / fastest.as_secs_f64() }
    }

    /// Steps that take `time`.
    pub(crate) fn steps(self, time: Duration) -> u64 {
        (self.steps_per_second * time.as_secs_f64()).round().max(1.0) as u64
    }
}

/// Does `steps` steps of xorshift: each needs the one before, and no compiler knows a shorter way. (A chain of multiplications
/// and additions would not do: several of them are one.)
#[inline(never)]
pub(crate) fn spin(steps: u64) -> u64 {
    let mut x = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x)
}
