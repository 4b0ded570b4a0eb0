//! A machine's table of decisions: from which run time on, and up to which payload, an executor pays. Pure.

use std::{fmt::Write, time::Duration};

use heavylift::{
    Machine, Profile, advise,
    guidance::{Choice, HandOff, predict},
};

/// So many calls at once.
pub(crate) const CALLS: u64 = 1_000;
/// Bytes of an argument, and how they are called.
pub(crate) const PAYLOADS: [(u64, &str); 5] =
    [(8, "8 B"), (4 << 10, "4 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB"), (16 << 20, "16 MiB")];
/// Less is not worth another executor.
const PAYS: f64 = 1.1;

/// What costs what, what is advised, and where the borders are.
pub(crate) fn of(machine: &Machine) -> String {
    [costs(machine), advised(machine), run_times(machine), payloads(machine)].join("\n")
}

fn costs(machine: &Machine) -> String {
    let mut text = format!(
        "{} cores. What a hand-off costs:\n\n{:10} {:>12} {:>13} {:>12} {:>12}\n",
        machine.cores, "", "round trip", "after a pause", "one of many", "in a chunk"
    );
    let all =
        [("threads", Some(machine.threads)), ("cpu", Some(machine.cpu)), ("processes", machine.processes)];
    for (name, hand_off) in all {
        let Some(HandOff { round_trip, after_pause, per_job, per_item, .. }) = hand_off else { continue };
        let [round_trip, after_pause, per_job, per_item] =
            [round_trip, after_pause, per_job, per_item].map(short);
        let _ = writeln!(text, "{name:10} {round_trip:>12} {after_pause:>13} {per_job:>12} {per_item:>12}");
    }
    let _ = writeln!(text, "{:10} {} more for each MiB", "", short(machine.process_per_mib));
    text
}

/// What is advised, by run time.
fn advised(machine: &Machine) -> String {
    let run_times =
        [0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5].map(|micros| Duration::from_secs_f64(micros / 1e6));
    let many = Profile::new(Duration::ZERO).calls(CALLS);
    let kinds = [
        ("computes, one call", many.clone().calls(1)),
        ("computes, 1000 calls", many.clone()),
        ("half waiting, 1000 calls", many.clone().cpu_share(0.5)),
        ("waits, 1000 calls", many.clone().cpu_share(0.02)),
        ("must be killable, 1000 calls", many.killable()),
    ];
    let mut text = format!("{:29}", "What is advised, if a call");
    run_times.iter().for_each(|time| text.push_str(&format!("{:>10}", short(*time))));
    text.push('\n');
    for (name, mut profile) in kinds {
        let _ = write!(text, "{name:29}");
        for time in run_times {
            profile.run_time = time;
            let _ = write!(text, "{:>10}", advise(&profile, machine).executor);
        }
        text.push('\n');
    }
    text
}

/// From which run time on an executor is faster than a plain loop, by payload.
fn run_times(machine: &Machine) -> String {
    let mut text = format!("{:29}", "1000 calls gain from");
    PAYLOADS.iter().for_each(|(_, name)| text.push_str(&format!("{name:>10}")));
    text.push('\n');
    for executor in [Choice::Cpu, Choice::Processes] {
        let _ = write!(text, "{:29}", format!("  {executor}, if a call takes"));
        for (bytes, _) in PAYLOADS {
            let from = grid().find(|time| pays(executor, *time, bytes, machine));
            let _ = write!(text, "{:>10}", from.map_or("never".to_owned(), short));
        }
        text.push('\n');
    }
    text
}

/// Up to which payload processes are faster than a plain loop, by run time.
fn payloads(machine: &Machine) -> String {
    let run_times = [10, 100, 1_000, 10_000, 100_000].map(Duration::from_micros);
    let mut text = format!("{:29}", "1000 calls of");
    run_times.iter().for_each(|time| text.push_str(&format!("{:>10}", short(*time))));
    let _ = write!(text, "\n{:29}", "  gain from processes up to");
    for time in run_times {
        let most =
            (0..=36).rev().map(|step| 1 << step).find(|bytes| pays(Choice::Processes, time, *bytes, machine));
        let _ = write!(text, "{:>10}", most.map_or("never".to_owned(), size));
    }
    text.push('\n');
    text
}

fn pays(executor: Choice, run_time: Duration, bytes: u64, machine: &Machine) -> bool {
    speed_up(executor, run_time, bytes, machine).is_some_and(|times| times >= PAYS)
}

/// How many times faster than a plain loop an executor is; `None` where this machine does not have it.
pub(crate) fn speed_up(executor: Choice, run_time: Duration, bytes: u64, machine: &Machine) -> Option<f64> {
    let profile = Profile::new(run_time).calls(CALLS).arg_bytes(bytes);
    let plan = predict(executor, &profile, machine)?;
    Some(CALLS as f64 * run_time.as_secs_f64() / plan.seconds)
}

/// Run times from 10 ns to 10 s, twenty in each decade.
pub(crate) fn grid() -> impl Iterator<Item = Duration> {
    (0..=180).map(|step| Duration::from_secs_f64(1e-8 * 10f64.powf(f64::from(step) / 20.0)))
}

fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (unit, name) = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]
        .into_iter()
        .find(|(unit, _)| seconds >= *unit * 0.995)
        .unwrap_or((1e-9, "ns"));
    let digits = if seconds / unit < 9.95 { 1 } else { 0 };
    format!("{:.digits$} {name}", seconds / unit)
}

fn size(bytes: u64) -> String {
    let (unit, name) = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}
