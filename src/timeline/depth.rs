//! How many jobs waited at which time, from what was recorded of them.

use std::collections::BTreeMap;

use crate::{
    clock::Stamp,
    record::{JobRecord, Stage},
};

/// More steps than twice as many are thinned out.
const STRETCHES: u64 = 2_048;

/// The steps of the number of jobs that waited: since when, and how many.
///
/// A job that was recorded says when it came and when it left. Those that wait at the end are known by their number only, and by how many
/// more jobs waited at the `looks` than there were of the others. None of them has left, so they only become more. Pure.
pub(super) fn steps(jobs: &[JobRecord], looks: &[(Stamp, u64)], from: Stamp, to: Stamp) -> Vec<(Stamp, u64)> {
    let mut changes: Vec<(Stamp, i64)> = jobs.iter().flat_map(|job| changes_of(job, from)).collect();
    changes.sort_unstable();
    let mut recorded = vec![(from, 0)];
    let mut waiting = 0;
    for (at, change) in changes {
        waiting += change;
        push(&mut recorded, at, waiting);
    }
    let left = left_at(&recorded, looks);
    let all = sum(&recorded, &left);
    thin_out(all, from, to)
}

/// When the job came into the queue and when it left.
fn changes_of(job: &JobRecord, from: Stamp) -> [(Stamp, i64); 2] {
    let stage = job.failure.as_ref().map(|failure| failure.stage);
    let is_known = job.submitted != Stamp::NEVER && !matches!(stage, Some(Stage::Item | Stage::Abandoned));
    let items = if is_known { i64::from(job.items) } else { 0 };
    [(job.submitted.max(from), items), (job.begun.max(from), -items)]
}

/// How many jobs waited, of those that wait at the end: at each look no more than at any later one.
fn left_at(recorded: &[(Stamp, i64)], looks: &[(Stamp, u64)]) -> Vec<(Stamp, i64)> {
    let mut least = i64::MAX;
    let mut left = Vec::with_capacity(looks.len());
    for &(at, seen) in looks.iter().rev() {
        let after = recorded.partition_point(|(other, _)| *other <= at);
        let known = after.checked_sub(1).map_or(0, |at| recorded[at].1);
        least = least.min(i64::try_from(seen).unwrap_or(i64::MAX).saturating_sub(known).max(0));
        left.push((at, least));
    }
    left.reverse();
    left
}

/// Two numbers that change in steps, together.
fn sum(one: &[(Stamp, i64)], other: &[(Stamp, i64)]) -> Vec<(Stamp, u64)> {
    let both = one.iter().map(|&(at, n)| (at, 0, n)).chain(other.iter().map(|&(at, n)| (at, 1, n)));
    let mut both: Vec<_> = both.collect();
    both.sort_by_key(|&(at, which, _)| (at, which));
    let (mut parts, mut steps) = ([0, 0], Vec::new());
    for (at, which, n) in both {
        parts[which] = n;
        push(&mut steps, at, parts[0] + parts[1]);
    }
    steps.into_iter().map(|(at, n)| (at, n.max(0).cast_unsigned())).collect()
}

/// Adds a step. Of several at one time the last counts.
fn push<T: Copy + PartialEq>(steps: &mut Vec<(Stamp, T)>, at: Stamp, n: T) {
    match steps.last_mut() {
        Some(last) if last.0 == at => last.1 = n,
        Some(last) if last.1 == n => {}
        _ => steps.push((at, n)),
    }
}

/// Leaves the highest and the last step of each of many stretches of time.
fn thin_out(steps: Vec<(Stamp, u64)>, from: Stamp, to: Stamp) -> Vec<(Stamp, u64)> {
    if steps.len() as u64 <= 2 * STRETCHES {
        return steps;
    }
    let width = (to.since(from).as_nanos() as u64 / STRETCHES).max(1);
    let mut stretches: BTreeMap<u64, [(Stamp, u64); 2]> = BTreeMap::new();
    for step in steps {
        let stretch = step.0.since(from).as_nanos() as u64 / width;
        let [highest, last] = stretches.entry(stretch).or_insert([step; 2]);
        *last = step;
        if step.1 > highest.1 {
            *highest = step;
        }
    }
    let mut thinned = Vec::with_capacity(2 * stretches.len());
    for (at, n) in stretches.into_values().flatten() {
        push(&mut thinned, at, n);
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskId, error::TaskName};

    const fn at(nanos: u64) -> Stamp {
        Stamp::from_nanos(nanos)
    }

    fn job(submitted: u64, begun: u64, items: u32) -> JobRecord {
        JobRecord {
            id: TaskId::from_raw(1),
            name: TaskName::OfFunction("job"),
            submitted: at(submitted),
            begun: at(begun),
            ended: at(begun + 1),
            worker: 0,
            items,
            failure: None,
        }
    }

    fn numbers(steps: &[(Stamp, u64)]) -> Vec<(u64, u64)> {
        steps.iter().map(|&(at, n)| (at.nanos(), n)).collect()
    }

    #[test]
    fn jobs_that_were_recorded_say_themselves_when_they_waited() {
        let jobs = [
            job(110, 120, 1),
            job(110, 130, 1),
            job(115, 140, 7),
            job(0, 150, 1),
            job(50, 160, 1),
            job(165, 165, 1),
        ];
        let found = steps(&jobs, &[], at(100), at(200));
        assert_eq!(numbers(&found), [(100, 1), (110, 3), (115, 10), (120, 9), (130, 8), (140, 1), (160, 0)]);
    }

    #[test]
    fn those_that_wait_at_the_end_are_seen_at_the_looks_and_never_become_fewer() {
        let jobs = [job(110, 120, 1)];
        let looks = [(at(105), 1), (at(112), 3), (at(130), 2), (at(150), 4), (at(200), 4)];
        let found = steps(&jobs, &looks, at(100), at(200));
        assert_eq!(numbers(&found), [(100, 0), (105, 1), (110, 2), (112, 3), (120, 2), (150, 4)]);
        // A look that came in between is put right by a later one.
        let found = steps(&jobs, &[(at(121), 1), (at(200), 0)], at(100), at(200));
        assert_eq!(numbers(&found), [(100, 0), (110, 1), (120, 0)]);
    }

    #[test]
    fn many_steps_are_thinned_out_and_the_highest_stays() {
        let jobs: Vec<_> = (0..100_000)
            .map(|nth| job(10 * nth, 10 * nth + 5, 1))
            .chain([job(500_003, 500_004, 40)])
            .collect();
        let found = steps(&jobs, &[], at(0), at(1_000_000));
        assert!(found.len() as u64 <= 2 * STRETCHES + 2, "{}", found.len());
        assert_eq!(found.iter().map(|(_, n)| *n).max(), Some(41));
        assert!(found.is_sorted());
    }
}
