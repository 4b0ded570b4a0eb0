//! Waiting awake for a moment, where going to sleep and being woken would take longer: [`Pause`] for those who wait for work,
//! [`Soon`] for those who wait for its outcome.
//!
//! To wake an idle processor takes 15 to 50 µs (measured), far more than to hand over a small job.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How long who has run out of work stays awake: as long as it takes to be woken, so that it costs at most as much again as it
/// can save.
const LINGER: Duration = Duration::from_micros(50);

/// Who yields and does not run again for so long has given its turn to somebody with work of their own. One that sleeps is run as
/// soon as it is woken; one that has yielded waits for its next turn, milliseconds later.
const CROWDED: Duration = Duration::from_micros(100);
/// In so many pauses after that it does not linger: twice as many each time, up to [`MOST_SOBER`], and half as many when lingering
/// has been good for something. One turn is soon lost to somebody who wants the processor for a moment: then most of what follows
/// would be slow for nothing. Where others keep on wanting it each further try costs milliseconds.
const SOBER: u32 = 16;
const MOST_SOBER: u32 = 1024;

/// The time in which a thread has nothing to do. While work comes in quick succession it stays awake meanwhile, yielding its
/// processor; if the last pause was a long one, or the processor has lately been wanted by others, it does not.
#[derive(Debug)]
pub(crate) struct Pause {
    begun: Option<Instant>,
    was_short: bool,
    /// In how many pauses not to linger, for others want the processor.
    crowded: u32,
    /// In how many it will be the next time that its turn is lost.
    sober: u32,
}

impl Default for Pause {
    fn default() -> Self {
        Self { begun: None, was_short: true, crowded: 0, sober: SOBER }
    }
}

impl Pause {
    /// There is nothing to do.
    pub(crate) fn begin(&mut self) -> Instant {
        *self.begun.get_or_insert_with(Instant::now)
    }

    /// There is something to do.
    pub(crate) fn end(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        self.was_short = begun.elapsed() < LINGER;
        self.crowded = self.crowded.saturating_sub(1);
    }

    /// Whether to linger: the last pause was so short that it would have caught its end, and nobody else wants the processor.
    pub(crate) fn may_linger(&self) -> bool {
        self.was_short && self.crowded == 0
    }

    /// Lets other threads run until something is `found`, for as long as it is worth it. Says whether it was found.
    pub(crate) fn linger(&mut self, found: impl Fn() -> bool) -> bool {
        let begun = self.begin();
        let mut now = begun.elapsed();
        let mut has_yielded = false;
        while self.may_linger() && now < LINGER {
            if found() {
                if has_yielded {
                    self.sober = SOBER.max(self.sober / 2);
                }
                return true;
            }
            thread::yield_now();
            has_yielded = true;
            let before = std::mem::replace(&mut now, begun.elapsed());
            if now - before > CROWDED {
                self.lose_turn();
            }
        }
        false
    }

    /// Others had the processor for long.
    fn lose_turn(&mut self) {
        self.crowded = self.sober;
        self.sober = (2 * self.sober).min(MOST_SOBER);
    }
}

/// How long an outcome is waited for awake while whoever runs the jobs is awake, too.
///
/// Its job takes less than one microsecond. Longer, because the system may have put both on one processor: then it sees two that
/// want to run, and moves one of them, at its next tick.
const MOMENT: Duration = Duration::from_micros(10);
/// How long if the worker has to be woken first, after a short pause: else worker and awaiter would wake each other in turn for ever,
/// each just asleep when it is needed.
const WAKING: Duration = Duration::from_micros(60);
/// How long a pause is short.
const SHORT_PAUSE: Duration = Duration::from_micros(300);
/// So much waiting in vain without a success between, and for [`DOUBTS`] outcomes nobody waits awake: no processor is free for the worker.
const IN_VAIN: Duration = Duration::from_millis(5);
const DOUBTS: u32 = 4096;

/// Whether a pool's jobs end so soon that their outcome is better waited for awake, and how long.
///
/// ORDERING: Relaxed throughout. Hints.
#[derive(Debug, Default)]
pub(crate) struct Soon {
    /// `UNLIKELY`, `AWAKE` or `ASLEEP`.
    state: AtomicU32,
    /// When a worker went to sleep, in nanoseconds after some time.
    asleep_since: AtomicU64,
    /// For how many nanoseconds outcomes were waited for in vain since one was not.
    in_vain: AtomicU64,
    /// For how many outcomes nobody is to wait awake.
    doubts: AtomicU32,
}

/// Jobs take long.
const UNLIKELY: u32 = 0;
/// The last job was short.
const AWAKE: u32 = 1;
/// And then a worker has gone to sleep.
const ASLEEP: u32 = 2;

impl Soon {
    /// A job has taken so long, and whoever ran it is awake.
    pub(crate) fn took(&self, time: Duration) {
        let short = time < Duration::from_micros(1) && is_parallel();
        store(&self.state, if short { AWAKE } else { UNLIKELY });
    }

    /// Whoever runs jobs goes to sleep.
    pub(crate) fn falls_asleep(&self) {
        if self.state.load(Relaxed) == AWAKE {
            self.asleep_since.store(nanos_now(), Relaxed);
            store(&self.state, ASLEEP);
        }
    }

    /// How long to wait awake for an outcome that is to come, if at all.
    pub(crate) fn worth_waiting(&self) -> Option<Duration> {
        let limit = match self.state.load(Relaxed) {
            AWAKE => MOMENT,
            ASLEEP if self.has_just_fallen_asleep() => WAKING,
            _ => return None,
        };
        let doubts = self.doubts.load(Relaxed);
        if doubts == 0 {
            return Some(limit);
        }
        self.doubts.store(doubts - 1, Relaxed);
        None
    }

    fn has_just_fallen_asleep(&self) -> bool {
        let pause = nanos_now().saturating_sub(self.asleep_since.load(Relaxed));
        pause < SHORT_PAUSE.as_nanos() as u64
    }

    /// An outcome was waited for awake so long, and did not come.
    pub(crate) fn waited_in_vain(&self, time: Duration) {
        let in_vain = self.in_vain.fetch_add(time.as_nanos() as u64, Relaxed);
        if in_vain >= IN_VAIN.as_nanos() as u64 {
            self.in_vain.store(0, Relaxed);
            self.doubts.store(DOUBTS, Relaxed);
        }
    }

    /// An outcome was waited for awake, and came.
    pub(crate) fn waited_well(&self) {
        if self.in_vain.load(Relaxed) != 0 {
            self.in_vain.store(0, Relaxed);
        }
    }
}

/// Stores what is new; most often nothing is, and then nobody else's cache is disturbed.
fn store(place: &AtomicU32, value: u32) {
    if place.load(Relaxed) != value {
        place.store(value, Relaxed);
    }
}

/// Nanoseconds since some time in the life of the program.
fn nanos_now() -> u64 {
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Whether somebody else can run while this thread spins.
pub(crate) fn is_parallel() -> bool {
    processors() > 1
}

/// How many processors this program may use, as far as that was known when it was first asked for.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Spins until `found`, or until `limit` is over. Says whether it was found.
pub(crate) fn spin(limit: Duration, mut found: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !found() {
        if begun.elapsed() >= limit {
            return false;
        }
        (0..8).for_each(|_| std::hint::spin_loop());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_nanos(100);

    #[test]
    fn an_outcome_is_waited_for_awake_if_jobs_are_short_and_longer_if_the_worker_has_just_fallen_asleep() {
        if !is_parallel() {
            return;
        }
        let soon = Soon::default();
        assert_eq!(soon.worth_waiting(), None);
        soon.falls_asleep();
        assert_eq!(soon.worth_waiting(), None);
        soon.took(QUICK);
        assert_eq!(soon.worth_waiting(), Some(MOMENT));
        soon.falls_asleep();
        // Unless this thread was held up, the worker has just fallen asleep.
        assert!([Some(WAKING), None].contains(&soon.worth_waiting()));
        soon.asleep_since.store(0, Relaxed);
        thread::sleep(SHORT_PAUSE);
        assert_eq!(soon.worth_waiting(), None);
        soon.took(QUICK);
        soon.took(Duration::from_micros(2));
        assert_eq!(soon.worth_waiting(), None);
    }

    #[test]
    fn who_has_lost_the_processor_to_others_does_not_linger_for_a_while() {
        let mut pause = Pause::default();
        for pauses in [SOBER, 2 * SOBER, 4 * SOBER] {
            pause.lose_turn();
            for _ in 0..pauses {
                assert!(!pause.may_linger());
                assert!(!pause.linger(|| panic!("there is no looking while others want the processor")));
                pause.end();
            }
            // Unless this thread was held up in the last one.
            assert!(pause.may_linger() || !pause.was_short);
        }
        (0..20).for_each(|_| pause.lose_turn());
        assert_eq!(pause.crowded, MOST_SOBER);
    }

    #[test]
    fn to_have_lingered_well_makes_up_for_lost_turns() {
        let mut pause = Pause { sober: MOST_SOBER, ..Pause::default() };
        let looks = std::cell::Cell::new(0);
        // Unless this thread loses its turn in the first look.
        if pause.linger(|| looks.replace(looks.get() + 1) > 0) {
            assert_eq!(pause.sober, MOST_SOBER / 2);
        }
    }

    #[test]
    fn who_has_waited_in_vain_for_long_leaves_it_for_a_while() {
        if !is_parallel() {
            return;
        }
        let soon = Soon::default();
        soon.took(QUICK);
        (0..3).for_each(|_| soon.waited_in_vain(IN_VAIN / 2));
        (0..DOUBTS).for_each(|_| assert_eq!(soon.worth_waiting(), None));
        assert_eq!(soon.worth_waiting(), Some(MOMENT));
        soon.waited_in_vain(IN_VAIN);
        soon.waited_well();
        soon.waited_in_vain(IN_VAIN);
        assert_eq!(soon.worth_waiting(), Some(MOMENT));
    }
}
