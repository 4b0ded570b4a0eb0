//! [`Stamp`]: the time for a thread that asks for it with every job it starts or runs.
//!
//! To read the clock takes 36 ns where this was measured, a sixth of what it takes to start a job. The processor's own counter takes
//! a quarter of that. So a thread that has just read the clock reckons from there: it adds what the counter says has passed since.
//!
//! 1. A time is never to come: the counter is read after the clock, and the length of its tick is taken a little too short.
//! 2. Nobody reckons over more than [`REACH`] ticks, a few microseconds: so what one in two hundred is too short does not matter, nor
//!    that a thread has come to a processor that counts otherwise.
//! 3. Before the tick is known, in a program's first milliseconds, the last time is taken as it was, and that for a shorter time.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "reads the processor's time stamp counter"))]

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

#[cfg(target_arch = "x86_64")]
use std::{
    arch::x86_64::_rdtsc,
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A time in the life of the program, in nanoseconds: half as large as an [`Instant`], and quickly told from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// Before all others: for a time that is not known.
    pub(crate) const NEVER: Self = Self(0);

    /// The time, or what it was less than a tenth of a microsecond ago. Never a time to come.
    pub(crate) fn now() -> Self {
        Self(nanos_roughly())
    }

    /// A time that was read from the clock.
    pub(crate) fn of(time: Instant) -> Self {
        Self(time.saturating_duration_since(first()).as_nanos() as u64)
    }

    /// So many nanoseconds since some time at the beginning of the program.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since some time at the beginning of the program.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// So long after this.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
    pub(crate) fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later.as_nanos() as u64))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from another one to this. Zero if that is the later one.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn instant(self) -> Instant {
        first() + Duration::from_nanos(self.0)
    }
}

/// From when on stamps count.
fn first() -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    *FIRST.get_or_init(Instant::now)
}

/// Reads the clock.
fn nanos() -> u64 {
    let first = first();
    // Five hundred years fit.
    first.elapsed().as_nanos() as u64
}

/// How many ticks after it has read the clock a thread still reckons from there. Less than ten microseconds on any processor
/// that counts at more than one gigahertz, which all do.
#[cfg(target_arch = "x86_64")]
const REACH: u64 = 10_000;
/// The same as long as nobody knows how long a tick is.
#[cfg(target_arch = "x86_64")]
const BLIND_REACH: u64 = 1_000;
/// To read the clock takes fewer ticks than this. If it took more something has come between, and clock and counter do not belong
/// together.
#[cfg(target_arch = "x86_64")]
const TOGETHER: u64 = 500;

/// The clock and the counter at the same time.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Mark {
    nanos: u64,
    count: u64,
}

/// The clock, read or reckoned.
#[cfg(target_arch = "x86_64")]
fn nanos_roughly() -> u64 {
    thread_local! {
        static LAST: Cell<Option<Mark>> = const { Cell::new(None) };
    }
    let count = count();
    let tick = tick();
    let reach = if tick == 0 { BLIND_REACH } else { REACH };
    if let Some(last) = LAST.get() {
        // Also great if it wraps around, for a thread that has come to a processor whose counter is behind.
        let since = count.wrapping_sub(last.count);
        if since < reach {
            return last.nanos + ((since * tick) >> TICK_BITS);
        }
    }
    let mark = Mark::read(count);
    if let Some(mark) = mark.filter(|_| tick == 0) {
        learn_tick(mark);
    }
    LAST.set(mark);
    mark.map_or_else(nanos, |mark| mark.nanos)
}

/// The length of a tick in nanoseconds has so many binary places.
#[cfg(target_arch = "x86_64")]
const TICK_BITS: u32 = 20;

/// How long a tick is, by [`TICK_BITS`]. Zero while nobody knows.
///
/// ORDERING: Relaxed. It stands for itself.
#[cfg(target_arch = "x86_64")]
static TICK: AtomicU64 = AtomicU64::new(0);

#[cfg(target_arch = "x86_64")]
fn tick() -> u64 {
    TICK.load(Relaxed)
}

/// Finds out how long a tick is, as soon as enough time has passed since the first call.
#[cfg(target_arch = "x86_64")]
fn learn_tick(now: Mark) {
    /// The two readings of the clock may be a hundred nanoseconds off.
    const ENOUGH: u64 = 1_000_000;
    static FIRST: OnceLock<Mark> = OnceLock::new();
    let first = FIRST.get_or_init(|| now);
    let passed = now.nanos.saturating_sub(first.nanos);
    if passed >= ENOUGH {
        TICK.store(tick_between(passed, now.count.wrapping_sub(first.count)), Relaxed);
    }
}

/// The length of a tick if so many took so long, made one in two hundred too short. Zero if that cannot be.
#[cfg(target_arch = "x86_64")]
fn tick_between(nanos: u64, ticks: u64) -> u64 {
    let exact = (u128::from(nanos) << TICK_BITS) / u128::from(ticks.max(1));
    // A tick is shorter than a nanosecond: a counter that says otherwise was not the same one.
    if exact >> TICK_BITS == 0 { (exact - exact / 200) as u64 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
impl Mark {
    /// Reads the clock; `before` is the counter just now. `None` if it was held up.
    fn read(before: u64) -> Option<Self> {
        let nanos = nanos();
        let count = count();
        (count.wrapping_sub(before) < TOGETHER).then_some(Self { nanos, count })
    }
}

#[cfg(target_arch = "x86_64")]
fn count() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the C library's clock uses it, too.
    unsafe { _rdtsc() }
}

/// Reads the clock.
#[cfg(not(target_arch = "x86_64"))]
fn nanos_roughly() -> u64 {
    nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_tick_is_taken_a_little_too_short_and_one_that_cannot_be_is_none() {
        let table = [
            // so many ticks took a microsecond => a thousand of them are so many nanoseconds
            (2_500, 397),
            (1_001, 994),
            (100_000, 9),
            (999, 0),
            (0, 0),
        ];
        for (ticks, nanos) in table {
            let tick = super::tick_between(1_000, ticks);
            assert_eq!((1_000 * tick) >> super::TICK_BITS, nanos, "{ticks}");
        }
    }

    #[test]
    fn the_time_goes_on_and_is_never_to_come() {
        let start = Stamp::now();
        let mut last = start;
        // Long enough for the tick to become known.
        for _ in 0..1_000_000 {
            let time = Stamp::now();
            assert!(time >= last && time.instant() <= Instant::now());
            last = time;
        }
        std::thread::sleep(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
        assert_eq!(last.since(Stamp::now()), Duration::ZERO);
    }
}
