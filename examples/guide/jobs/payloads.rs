//! Little work on arguments and results of all sizes.

use super::{RealJob, yard::noise};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "payloads";
    vec![
        RealJob::new(family, "mix-8", 500_000, mix, |_, nth| nth as u64),
        RealJob::new(family, "reverse-1k", 150_000, reverse, |_, nth| noise(nth as u64, 1 << 10)),
        RealJob::new(family, "reverse-64k", 3_000, reverse, |_, nth| noise(nth as u64, 64 << 10)),
        RealJob::new(family, "reverse-1m", 300, reverse, |_, nth| noise(nth as u64, 1 << 20)),
        RealJob::new(family, "reverse-16m", 16, reverse, |_, nth| vec![nth as u8; 16 << 20]),
        RealJob::new(family, "fill-16m", 40, fill, |_, nth| nth as u64),
    ]
}

/// 8 bytes in, 8 bytes out, some 150 ns.
fn mix(number: u64) -> u64 {
    (0..150).fold(number, |x, _| (x ^ (x >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// 8 bytes in, 16 MiB out.
fn fill(number: u64) -> Vec<u64> {
    vec![number | 1; 2 << 20]
}
