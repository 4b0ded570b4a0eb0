//! [`Samples`]: the arguments that a job is measured with, as bytes, so that each call gets a copy.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::MeasureError;
use crate::{
    Payload, SharedBytes,
    panic::catch,
    wire::{Arrived, Body, decode, encode},
};

/// At most so many samples are looked at, and no more than come in [`FOR_SAMPLES`] or take this many bytes: enough for what they name not to
/// lie in a cache, if in earnest it does not.
const SAMPLES: usize = 128;
const SAMPLE_BYTES: usize = 16 << 20;
const FOR_SAMPLES: Duration = Duration::from_millis(50);
/// No more arguments than that are made for calls one after the other, and no more bytes of them.
const GROUP_CALLS: usize = 4_096;
const GROUP_BYTES: usize = 16 << 20;
/// For calls on several cores there may be more bytes, if that is what one for each takes.
const GROUP_BYTES_AT_MOST: usize = 256 << 20;
/// No more than so many are made for a round of a trial, of calls that take a fifth of a microsecond and more.
const ROUND_CALLS: usize = 16_384;

/// Arguments as bytes, from which as many are made as are needed.
pub(super) struct Samples {
    pub(super) encoded: Vec<Crossed>,
}

/// A payload as bytes.
pub(super) struct Crossed {
    pub(super) bytes: Bytes,
    pieces: Vec<SharedBytes>,
}

impl Crossed {
    pub(super) fn new<T: Payload>(value: T) -> Result<Self, MeasureError> {
        let mut encoded = caught(|| encode(value))??;
        let pieces = encoded.pieces().to_vec();
        Ok(Self { bytes: encoded.share(), pieces })
    }

    pub(super) fn arrived(&self) -> Arrived {
        Arrived { body: Body::Here(self.bytes.to_vec()), pieces: self.pieces.clone() }
    }
}

impl Samples {
    pub(super) fn take<A: Payload>(samples: impl IntoIterator<Item = A>) -> Result<Self, MeasureError> {
        let begun = Instant::now();
        let mut encoded = Vec::new();
        let mut bytes = 0;
        for sample in samples.into_iter().take(SAMPLES) {
            let sample = Crossed::new(sample)?;
            bytes += sample.bytes.len();
            encoded.push(sample);
            if bytes > SAMPLE_BYTES || begun.elapsed() > FOR_SAMPLES {
                break;
            }
        }
        if encoded.is_empty() { Err(MeasureError::NoSample) } else { Ok(Self { encoded }) }
    }

    /// A new argument: the samples come round and round.
    pub(super) fn make<A: Payload>(&self, index: u64) -> Result<A, MeasureError> {
        let sample = &self.encoded[(index % self.encoded.len() as u64) as usize];
        Ok(caught(|| decode(sample.arrived()))??)
    }

    /// How many may lie in memory at once for calls one after the other.
    pub(super) fn together(&self) -> usize {
        self.within(GROUP_BYTES).clamp(1, GROUP_CALLS)
    }

    /// How many may lie in memory at once for a round on so many cores: if need be one for each, as long as that is not too much.
    pub(super) fn together_in_turns(&self, cores: usize) -> usize {
        self.within(GROUP_BYTES).clamp(1, ROUND_CALLS).max(cores.min(self.within(GROUP_BYTES_AT_MOST)))
    }

    fn within(&self, bytes: usize) -> usize {
        let largest = self.encoded.iter().map(|sample| sample.bytes.len()).max().unwrap_or(0);
        bytes / largest.max(1)
    }
}

pub(super) fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed(), value)
}

pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Calls foreign code.
pub(super) fn caught<T>(foreign: impl FnOnce() -> T) -> Result<T, MeasureError> {
    catch(foreign).map_err(|report| MeasureError::Panicked(report.message))
}
