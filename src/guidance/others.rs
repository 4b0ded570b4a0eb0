//! [`Others`]: how large a share of the cores other programs have had. What they take, a trial does not get, and would blame on the job.
//!
//! ```text
//! others = processors × time − idle − this program        of the processors that this thread may run on
//! share  = (others − processors over and above our cores × time) / (cores × time)
//! ```
//!
//! 1. Idle time is what `/proc/stat` tells of each processor, waiting for a disk included
//!    ([proc_stat(5)](https://man7.org/linux/man-pages/man5/proc_stat.5.html)). The rest was somebody's: a program's, the kernel's, or the
//!    hypervisor's (steal). To add up the busy columns instead is the same on paper, but these are sampled, by a tick of 4 ms or so, while idle
//!    time is measured: side by side, on a busy machine, fifteen windows of 150 ms were from 75 to 94 % by the one, and from 80 to 85 % by the other.
//! 2. Columns are cut off to 10 ms, which puts a look off by 4 ms on each processor, mostly, and 10 at most. A trial looks for 200 ms or more, in two
//!    or three pieces: up to 3 % on two processors, and less on more of them.
//! 3. This program is told apart by its own clock ([`processor::of_program`]), exactly; its other threads are not others.
//! 4. Worker processes are others, by that clock, and their pool alone knows them: whoever has them work looks away meanwhile
//!    ([`Others::before`]). What disturbs for so long that it matters is there before and after. A program that the job starts counts as another.
//! 5. Where a quota leaves fewer cores than there are processors, others have those that are left over, and disturb nobody.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::Choice;
use crate::metrics::processor;

/// Others that have more than this share of the cores disturb. Beside a trial on two cores nobody shows as 0 to 3 %, in 56 trials, and a
/// busy loop as 32 to 47 %: half of the cores against a plain loop, a third against two threads.
pub const DISTURBED: f64 = 0.15;

/// What was looked at for less than this is not known.
const LEAST: Duration = Duration::from_millis(50);

/// Whether others had so much of the cores that what was measured meanwhile cannot be relied on. What is not known disturbs nobody.
pub fn is_disturbed(others: Option<f64>) -> bool {
    others.is_some_and(|share| share > DISTURBED)
}

/// So often at most something is measured that others disturb.
const TIMES: usize = 3;

/// Measures until others do not disturb, three times at most, and returns what they disturbed least.
///
/// # Errors
///
/// The first of `measure`.
pub fn least_disturbed<T, E>(
    others: impl Fn(&T) -> Option<f64>,
    mut measure: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut least = measure()?;
    for _ in 1..TIMES {
        if !is_disturbed(others(&least)) {
            break;
        }
        let next = measure()?;
        if others(&next).is_some() && others(&next) < others(&least) {
            least = next;
        }
    }
    Ok(least)
}

/// Looks at what other programs take.
#[derive(Debug)]
pub struct Others {
    seen: Span,
    /// The moment since when it looks, if it does.
    since: Option<Moment>,
    cores: usize,
    is_known: bool,
}

impl Others {
    /// Begins to look.
    pub fn look() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut others = Self { seen: Span::default(), since: None, cores, is_known: true };
        others.look_on();
        others
    }

    /// To be called before an executor runs: looks away while that is processes, whose work would be taken for that of others.
    pub fn before(&mut self, executor: Choice) {
        match executor {
            Choice::Processes => self.look_away(),
            _ => self.look_on(),
        }
    }

    fn look_away(&mut self) {
        let Some(since) = self.since.take() else { return };
        match Moment::now().and_then(|now| now.since(&since)) {
            Some(span) => self.seen = self.seen.plus(span),
            None => self.is_known = false,
        }
    }

    fn look_on(&mut self) {
        if self.since.is_none() {
            self.since = Moment::now();
            self.is_known &= self.since.is_some();
        }
    }

    /// The share of the cores that others had while it looked, from 0 to 1; `None` where the system does not tell, or after too short a look.
    pub fn share(mut self) -> Option<f64> {
        self.look_away();
        self.is_known.then(|| self.seen.share(self.cores)).flatten()
    }
}

/// What the counters have come to at some moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    processors: Processors,
    program: Duration,
}

impl Moment {
    fn now() -> Option<Self> {
        let processors = system::processors()?;
        Some(Self { at: Instant::now(), processors, program: processor::of_program()? })
    }

    /// What has passed since an earlier moment; `None` if processors have come or gone.
    fn since(&self, earlier: &Self) -> Option<Span> {
        let (from, to) = (earlier.processors, self.processors);
        (from.count == to.count).then(|| {
            let time = self.at.duration_since(earlier.at);
            Span {
                time,
                all: time * to.count,
                told: to.told.saturating_sub(from.told),
                idle: to.idle.saturating_sub(from.idle),
                program: self.program.saturating_sub(earlier.program),
            }
        })
    }
}

/// What the system tells of the processors that this thread may run on, since it booted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Processors {
    count: u32,
    /// Everything that was counted, idle or not.
    told: Duration,
    idle: Duration,
}

/// The columns of `/proc/stat` for the processors that are `ours`, in `tick`s. Guests, which come after `steal`, have been counted as user.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells"))]
fn parse(stat: &str, tick: Duration, ours: impl Fn(usize) -> bool) -> Option<Processors> {
    let time = |ticks: u64| Duration::from_nanos(ticks.saturating_mul(tick.as_nanos() as u64));
    const IDLE: usize = 3;
    const IO_WAIT: usize = 4;
    const STEAL: usize = 7;
    let mut all = Processors::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
        if !name.is_some_and(&ours) {
            continue;
        }
        let columns: Vec<u64> = words.take(STEAL + 1).map_while(|word| word.parse().ok()).collect();
        all.count += 1;
        all.told += time(columns.iter().sum());
        all.idle += time(columns.get(IDLE)? + columns.get(IO_WAIT)?);
    }
    (all.count > 0).then_some(all)
}

/// What has passed while somebody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    time: Duration,
    /// That time on all processors.
    all: Duration,
    told: Duration,
    idle: Duration,
    program: Duration,
}

impl Span {
    fn plus(self, more: Self) -> Self {
        Self {
            time: self.time + more.time,
            all: self.all + more.all,
            told: self.told + more.told,
            idle: self.idle + more.idle,
            program: self.program + more.program,
        }
    }

    /// The share that others had of so many `cores`; `None` if it was too short, or if the system tells of less than half of the time: some
    /// sandboxes have a `/proc/stat` that stands still.
    fn share(&self, cores: usize) -> Option<f64> {
        if self.time < LEAST || self.told * 2 < self.all {
            return None;
        }
        let others = self.all.saturating_sub(self.idle + self.program);
        let ours = self.time.as_secs_f64() * cores.max(1) as f64;
        let spare = (self.all.as_secs_f64() - ours).max(0.0);
        Some(((others.as_secs_f64() - spare) / ours).clamp(0.0, 1.0))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{fs, time::Duration};

    use rustix::{
        param::clock_ticks_per_second,
        thread::{CpuSet, sched_getaffinity},
    };

    use super::{Processors, parse};

    pub(super) fn processors() -> Option<Processors> {
        let ours = sched_getaffinity(None).ok()?;
        let tick = Duration::from_secs(1) / u32::try_from(clock_ticks_per_second()).ok()?.max(1);
        parse(&fs::read_to_string("/proc/stat").ok()?, tick, |cpu| cpu < CpuSet::MAX_CPU && ours.is_set(cpu))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn processors() -> Option<super::Processors> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const STAT: &str = "cpu  66 6 15 300 3 0 6 9 7 0\n\
                        cpu0 10 1 2 100 3 4 5 6 9 9\n\
                        cpu1 20 2 4 50 0 0 0 0\n\
                        cpu12 1 1 1 1 1 1 1 1 0 0\n\
                        intr 1 2 3\n";

    #[test]
    fn the_columns_of_our_processors_are_added_up() {
        let of = |count, told, idle| Some(Processors { count, told: 10 * MS * told, idle: 10 * MS * idle });
        let table: [(&str, &[usize], _); 4] = [
            (STAT, &[0, 1, 12], of(3, 131 + 76 + 8, 103 + 50 + 2)),
            (STAT, &[1, 7], of(1, 76, 50)),
            (STAT, &[7], None),
            ("cpu0 10 1 2\n", &[0], None),
        ];
        for (stat, ours, expected) in table {
            assert_eq!(parse(stat, 10 * MS, |cpu| ours.contains(&cpu)), expected, "{ours:?} of {stat}");
        }
        let years = parse("cpu0 0 0 0 99000000000 0 0 0 0", 10 * MS, |_| true).unwrap();
        assert_eq!(years.idle, Duration::from_secs(990_000_000), "no counter is cut off");
    }

    #[test]
    fn what_is_neither_idle_nor_ours_was_others() {
        let span = |[time, all, told, idle, program]: [u32; 5]| Span {
            time: MS * time,
            all: MS * all,
            told: MS * told,
            idle: MS * idle,
            program: MS * program,
        };
        let table = [
            ("quiet, one core of two", [100, 200, 200, 100, 100], 2, Some(0.0)),
            ("a busy loop on the other", [100, 200, 200, 0, 100], 2, Some(0.5)),
            ("two against two", [100, 200, 200, 0, 100], 2, Some(0.5)),
            ("everything is theirs", [100, 200, 200, 0, 0], 2, Some(1.0)),
            ("told a little too much idle time", [100, 200, 210, 110, 100], 2, Some(0.0)),
            ("told a little less than there was", [100, 200, 180, 20, 100], 2, Some(0.4)),
            ("a quota leaves them enough", [100, 800, 800, 400, 200], 2, Some(0.0)),
            ("a quota, and they are everywhere", [100, 800, 800, 0, 100], 2, Some(0.5)),
            ("too short", [49, 98, 98, 0, 0], 2, None),
            ("nothing is told", [100, 200, 0, 0, 100], 2, None),
        ];
        for (name, figures, cores, expected) in table {
            let found = span(figures).share(cores);
            let is_so = found.zip(expected).is_none_or(|(found, expected)| (found - expected).abs() < 1e-9);
            assert!(found.is_some() == expected.is_some() && is_so, "{name}: {found:?}");
        }
        let twice = span([30, 60, 60, 10, 20]).plus(span([70, 140, 140, 40, 50]));
        assert_eq!(twice, span([100, 200, 200, 50, 70]));
    }

    #[test]
    fn what_is_not_known_disturbs_nobody() {
        for (others, expected) in [(None, false), (Some(0.0), false), (Some(0.15), false), (Some(0.16), true)]
        {
            assert_eq!(is_disturbed(others), expected, "{others:?}");
        }
    }

    #[test]
    fn who_was_disturbed_measures_again_and_what_was_disturbed_least_counts() {
        let table: [(&str, &[Option<f64>], usize); 6] = [
            ("quiet", &[Some(0.02)], 0),
            ("not known", &[None], 0),
            ("quiet again", &[Some(0.5), Some(0.1)], 1),
            ("not known later", &[Some(0.5), None, None], 0),
            ("disturbed for good", &[Some(0.5), Some(0.3), Some(0.4)], 1),
            ("more and more", &[Some(0.3), Some(0.4), Some(0.5)], 0),
        ];
        for (name, others, expected) in table {
            let mut trials = others.iter().copied().enumerate();
            let found = least_disturbed(|(_, others)| *others, || trials.next().ok_or("tried too often"));
            assert_eq!(found, Ok((expected, others[expected])), "{name}");
            assert_eq!(trials.next(), None, "{name}");
        }
        assert_eq!(least_disturbed(|()| None, || Err("failed")), Err("failed"));
    }

    #[cfg(target_os = "linux")]
    fn compute(time: Duration) -> Duration {
        let begun = Instant::now();
        while begun.elapsed() < time {}
        begun.elapsed()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn nobody_looks_while_processes_run() {
        let begun = Instant::now();
        let mut others = Others::look();
        others.before(Choice::Processes);
        let away = compute(20 * MS);
        others.before(Choice::Inline);
        let there = compute(20 * MS);
        others.before(Choice::Cpu);
        others.before(Choice::Processes);
        let looked = others.seen.time;
        assert!(looked >= there && looked + away <= begun.elapsed(), "{looked:?}, {away:?} away");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_this_program_computes_is_not_others() {
        let (mut others, begun) = (Others::look(), Instant::now());
        let before = processor::of_program().unwrap();
        let cores = thread::available_parallelism().unwrap().get();
        thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(|| compute(400 * MS)))));
        others.before(Choice::Processes);
        let ours = (processor::of_program().unwrap() - before).as_secs_f64();
        let ours = ours / (cores as f64 * begun.elapsed().as_secs_f64());
        // Where the system tells nothing.
        let Some(share) = others.share() else { return };
        // Of such a time two looks of 10 ms are a twentieth.
        assert!(share <= 1.1 - ours, "{share} for others, {ours} for this program");
    }
}
