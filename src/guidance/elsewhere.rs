//! [`elsewhere`]: whether other machines can do in time what this one cannot. Pure.
//!
//! ```text
//! a job, there = argument over the network + run time + result over the network
//! all jobs     = round trip + max(calls × hand-off here, rounds of a job)   with as few slots as keep to what is allowed
//! ```

use super::{Choice, Machine, Plan, Profile, Reason, Rule};

/// A job is to run longer than its payload travels, by this factor: else the network decides, and it is shared by all.
const RUN_OVER_TRAVEL: f64 = 1.0;

/// What is to be said where a job is limited in time and this machine takes longer.
pub(super) enum Elsewhere {
    /// With so many slots in the cluster it is done in time.
    Cluster(Plan, Reason),
    /// It is not, and this is why the cluster does not help.
    Nowhere(Reason),
}

/// Looks whether `here`, the best plan on this machine, keeps to what the caller allows. `None` if it does, or nothing was said.
pub(super) fn elsewhere(here: &Plan, profile: &Profile, machine: &Machine) -> Option<Elsewhere> {
    let allowed = profile.within?.as_secs_f64();
    if here.seconds <= allowed {
        return None;
    }
    let takes = format!("{:.1?} on this machine, {:.1?} allowed", seconds(here.seconds), seconds(allowed));
    let numbers = [("here", here.seconds), ("allowed", allowed)];
    let nowhere = |why: &str| {
        Some(Elsewhere::Nowhere(Reason::new(Rule::Elsewhere, format!("{takes}: {why}"), numbers)))
    };
    let needs = &profile.needs;
    if needs.shared_state || needs.runs_forever || matches!(here.executor, Choice::Await | Choice::Rayon) {
        return nowhere("and it cannot leave this program");
    }
    let Some(hand_off) = machine.cluster else {
        return nowhere("a `ClusterPool` has more machines (feature `nats`)");
    };
    let calls = profile.calls.max(1) as f64;
    let (per_job, round_trip) = (hand_off.per_job.as_secs_f64(), hand_off.round_trip.as_secs_f64());
    let travel = profile.bytes() as f64 / f64::from(1 << 20) * machine.cluster_per_mib.as_secs_f64();
    let run_time = profile.run_time.as_secs_f64();
    if travel > RUN_OVER_TRAVEL * run_time {
        let why = format!(
            "{} KiB of a call would travel for {:.1?}, longer than it runs",
            profile.bytes() >> 10,
            seconds(travel)
        );
        return nowhere(&why);
    }
    let left = allowed - round_trip;
    let job = run_time + travel;
    let handed = calls * (per_job + travel);
    // One after the other in a slot, in the time that is left.
    let rounds = (left / job).floor();
    if rounds < 1.0 {
        return nowhere("a single call takes longer");
    }
    if handed > left {
        let why = format!("to hand over all calls alone takes {:.1?}: send many in one", seconds(handed));
        return nowhere(&why);
    }
    let slots = (calls / rounds).ceil();
    let plan = Plan {
        executor: Choice::Cluster,
        workers: slots as usize,
        chunk_size: 1,
        seconds: round_trip + handed.max((calls / slots).ceil() * job),
    };
    let text = format!(
        "{takes}: {slots} slots on other machines, with {:.1?} to hand over a job and {:.1?} for its payload, as assumed",
        hand_off.per_job,
        seconds(travel)
    );
    let [here, allowed] = numbers;
    let numbers = [here, allowed, ("slots", slots), ("per_job", per_job), ("payload", travel)];
    Some(Elsewhere::Cluster(plan, Reason::new(Rule::Elsewhere, text, numbers)))
}

/// For printing.
fn seconds(seconds: f64) -> std::time::Duration {
    std::time::Duration::try_from_secs_f64(seconds).unwrap_or(std::time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{advise, guidance::HandOff};

    fn machine() -> Machine {
        let cluster = Some(HandOff::from_nanos(500_000, 500_000, 100_000, 100_000));
        Machine { cores: 2, cluster, cluster_per_mib: Duration::from_millis(10), ..Machine::typical() }
    }

    fn batch() -> Profile {
        Profile::new(Duration::from_secs(1)).calls(1_000).within(Duration::from_secs(60))
    }

    #[test]
    fn the_cluster_is_named_where_this_machine_takes_longer_than_allowed() {
        let advice = advise(&batch(), &machine());
        assert_eq!((advice.executor, advice.workers), (Choice::Cluster, 17), "{advice}");
        assert!(advice.predicted <= Duration::from_secs(60), "{advice}");
        assert_eq!(advice.reasons[0].rule, Rule::Elsewhere);
        let text = advice.to_string();
        assert!(text.contains("500.0s on this machine, 60.0s allowed: 17 slots"), "{text}");
        assert!(text.contains("100.0µs to hand over a job"), "{text}");
        assert!(text.contains("next cpu"), "{text}");
    }

    #[test]
    fn it_is_not_where_that_does_not_help() {
        let table = [
            ("in time here", batch().within(Duration::from_secs(600)), None),
            ("nothing said", Profile { within: None, ..batch() }, None),
            ("data of the program", batch().shared_state(), Some("cannot leave this program")),
            ("large", batch().arg_bytes(200 << 20), Some("would travel for 2.0s, longer than it runs")),
            (
                "one call too long",
                batch().within(Duration::from_millis(900)),
                Some("a single call takes longer"),
            ),
            (
                "too many",
                Profile::new(Duration::from_micros(200)).calls(1_000_000).within(Duration::from_secs(10)),
                Some("to hand over all calls alone takes 100."),
            ),
        ];
        for (name, profile, why) in table {
            let advice = advise(&profile, &machine());
            assert_ne!(advice.executor, Choice::Cluster, "{name}: {advice}");
            let found = advice.reasons.iter().find(|reason| reason.rule == Rule::Elsewhere);
            assert_eq!(found.is_some(), why.is_some(), "{name}: {advice}");
            let text = found.map_or("", |reason| &reason.text);
            assert!(text.contains(why.unwrap_or("")), "{name}: {text}");
        }
        let none = Machine { cluster: None, ..machine() };
        assert!(advise(&batch(), &none).to_string().contains("a `ClusterPool` has more machines"));
    }

    #[test]
    fn what_must_be_kept_apart_may_go_there_too() {
        let advice = advise(&batch().may_crash(), &machine());
        assert_eq!(advice.executor, Choice::Cluster, "{advice}");
        assert!(advice.reasons.iter().any(|reason| reason.rule == Rule::Isolate), "{advice}");
    }
}
