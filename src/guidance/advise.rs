//! [`advise`]: from a profile and a machine to an executor. Pure.
//!
//! Needs decide first, because no speed makes up for what an executor cannot do; then predicted time ([`predict`]) does,
//! among the executors that are there. Where two are about as fast, the simpler one wins.

use std::time::Duration;

use super::{
    Advice, Choice, Confidence, Machine, Needs, Profile, Reason, Rule, RunnerUp, Tried,
    elsewhere::{Elsewhere, elsewhere},
    others::is_disturbed,
    predict::{Crossing, Plan, in_flight, predict},
    profile::{COMPUTES, TINY, WAITS},
};

/// A job that takes longer does not run on a thread that drives async tasks. tokio's authors ask for 10 to 100 µs between two
/// awaits ([Ryhl 2020](https://ryhl.io/blog/async-what-is-blocking/)).
const HOLDS_RUNTIME: Duration = Duration::from_micros(100);
/// A job that takes longer is never advised to run there, whatever else it costs.
const STOPS_RUNTIME: Duration = Duration::from_millis(1);
/// Where a call holds up the runtime, other executors may be slower by this without being the worse choice.
const INLINE_MARGIN: f64 = 1.5;
/// The same where both were tried: a prediction may be off by more than that.
const INLINE_MARGIN_AS_TRIED: f64 = 1.2;
/// Who is slower by less than this is about as fast: where it is predicted, and where it was tried.
const ABOUT: f64 = 1.1;
const ABOUT_AS_TRIED: f64 = 1.05;
/// A process is chosen for its speed only where it is faster by so much: it is the greater change.
const PROCESS_MARGIN: f64 = 1.3;
/// Whose crossing costs more than this part of the run time is told so.
const CROSSING: f64 = 0.25;
/// Says which executor suits a job on a machine, and why.
///
/// Pure: the same profile and machine give the same advice. Both can be measured ([`Profile::measure`], [`Machine::measure`]) or
/// assumed ([`Profile::new`], [`Machine::typical`]). `docs/choosing.md` explains the rules.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use heavylift::{Machine, Profile, advise, guidance::Choice};
///
/// let machine = Machine::typical();
/// let lookup = Profile::new(Duration::from_micros(3));
/// assert_eq!(advise(&lookup, &machine).executor, Choice::Inline);
///
/// let query = Profile::new(Duration::from_millis(5)).cpu_share(0.38).calls(1_000);
/// assert_eq!(advise(&query, &machine).executor, Choice::Threads);
///
/// let plugin = query.killable();
/// let advice = advise(&plugin, &machine);
/// assert_eq!(advice.executor, Choice::Processes);
/// assert!(advice.to_string().contains("must be killable"));
/// ```
pub fn advise(profile: &Profile, machine: &Machine) -> Advice {
    let plans = plans(profile, machine);
    let here = match by_need(profile) {
        Some(executor) => plan(executor, profile, machine),
        None => by_time(profile, &plans),
    };
    let next_here = next(&here, &plans);
    let mut advice = advice(&here, next_here.as_ref(), profile, machine);
    advice.reasons = reasons(&here, &advice, &plans, profile, machine);
    match elsewhere(&here, profile, machine) {
        None => {}
        Some(Elsewhere::Nowhere(why)) => advice.reasons.push(why),
        Some(Elsewhere::Cluster(there, why)) => {
            let on_this_machine = advice.reasons;
            advice = self::advice(&there, Some(&here), profile, machine);
            advice.reasons = [vec![why], on_this_machine].concat();
        }
    }
    advice
}

/// The advice of a plan, without its reasons.
fn advice(chosen: &Plan, next: Option<&Plan>, profile: &Profile, machine: &Machine) -> Advice {
    Advice {
        executor: chosen.executor,
        workers: chosen.workers,
        chunk_size: chosen.chunk_size,
        in_flight: in_flight(chosen, profile),
        predicted: duration(chosen.seconds),
        inline: duration(inline(profile, machine)),
        speed_up: inline(profile, machine).max(1e-9) / chosen.seconds.max(1e-9),
        reasons: Vec::new(),
        confidence: confidence(chosen, next, profile, machine),
        runner_up: next.map(|next| RunnerUp {
            executor: next.executor,
            predicted: duration(next.seconds),
            wins: wins(chosen, next, profile, machine),
        }),
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn inline(profile: &Profile, machine: &Machine) -> f64 {
    predict(Choice::Inline, profile, machine).map_or(f64::INFINITY, |plan| plan.seconds)
}

/// What could run it, the simplest first: in the thread, on threads, in processes.
fn plans(profile: &Profile, machine: &Machine) -> Vec<Plan> {
    // What computes has nothing of more threads than cores, unless it was tried and calls that meet at a lock do better so.
    let on_threads = match profile.cpu_share > COMPUTES {
        true if profile.tried.threads.is_some() => &[Choice::Cpu, Choice::Threads][..],
        true => &[Choice::Cpu],
        false => &[Choice::Threads, Choice::Cpu],
    };
    // One call in a hundred is enough to hold up a runtime. A plain loop that was tried is the better witness: the memory of its results is
    // warm.
    let longest = profile.tried.inline.unwrap_or(profile.run_time.max(profile.run_time_p99));
    let in_program = match profile.run_time {
        _ if longest > STOPS_RUNTIME => on_threads.to_vec(),
        time if time < TINY => [&[Choice::Inline], on_threads].concat(),
        _ => [on_threads, &[Choice::Inline]].concat(),
    };
    let processes = (!profile.needs.shared_state).then_some(Choice::Processes);
    let all = in_program.into_iter().chain(processes);
    all.filter_map(|executor| predict(executor, profile, machine)).collect()
}

/// The plan for an executor that the job needs, wherever it is.
fn plan(executor: Choice, profile: &Profile, machine: &Machine) -> Plan {
    let elsewhere = || predict(Choice::Cpu, profile, machine).expect("there are always threads");
    predict(executor, profile, machine).unwrap_or_else(|| Plan { executor, ..elsewhere() })
}

fn by_need(profile: &Profile) -> Option<Choice> {
    match profile.needs {
        needs if needs.is_awaited() => Some(Choice::Await),
        needs if !needs.isolation().is_empty() => Some(Choice::Processes),
        Needs { runs_forever: true, .. } => Some(Choice::Thread),
        Needs { already_parallel: true, .. } => Some(Choice::Cpu),
        // To split less costs more than it gains.
        Needs { data_parallel: true, .. } if profile.run_time > HOLDS_RUNTIME => Some(Choice::Rayon),
        _ => None,
    }
}

/// The first that is about as fast as the fastest.
fn by_time(profile: &Profile, plans: &[Plan]) -> Plan {
    let margin = |plan: &Plan| match plan.executor {
        Choice::Processes => PROCESS_MARGIN,
        Choice::Inline => match profile.tried.inline {
            Some(tried) => inline_margin(tried, INLINE_MARGIN_AS_TRIED),
            None => inline_margin(profile.run_time, INLINE_MARGIN),
        },
        _ => 1.0,
    };
    let cost = |plan: &Plan| plan.seconds * margin(plan);
    let best = plans.iter().map(cost).fold(f64::INFINITY, f64::min);
    let about = if profile.tried.cpu.is_some() { ABOUT_AS_TRIED } else { ABOUT };
    let found = plans.iter().find(|plan| cost(plan) <= best * about);
    *found.expect("there are always threads")
}

/// From nothing for a tiny job up to `most` for one that holds up the runtime.
fn inline_margin(run_time: Duration, most: f64) -> f64 {
    let (shortest, longest) = (TINY.as_secs_f64(), HOLDS_RUNTIME.as_secs_f64());
    let part = (run_time.as_secs_f64() / shortest).ln() / (longest / shortest).ln();
    1.0 + (most - 1.0) * part.clamp(0.0, 1.0)
}

fn next(chosen: &Plan, plans: &[Plan]) -> Option<Plan> {
    let others = plans.iter().filter(|plan| plan.executor != chosen.executor);
    others.copied().min_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

fn confidence(chosen: &Plan, next: Option<&Plan>, profile: &Profile, machine: &Machine) -> Confidence {
    if chosen.executor == Choice::Processes && machine.processes.is_none() {
        return Confidence::Low;
    }
    // What the network and the other machines are like is assumed.
    if chosen.executor == Choice::Cluster {
        return Confidence::Low;
    }
    if by_need(profile).is_some() {
        return Confidence::High;
    }
    let margin = next.map_or(f64::INFINITY, |next| next.seconds / chosen.seconds);
    let is_disturbed = is_disturbed(profile.others);
    let doubts = [
        margin < 1.25,
        // Others can take that much from one executor and leave it to another, but hardly so much that it wins by far.
        is_disturbed,
        is_disturbed && margin < 3.0,
        margin < 3.0 && !machine.is_measured,
        margin < 3.0 && profile.measured_calls == 0,
        profile.spread > 0.5 || (1..3).contains(&profile.measured_calls),
    ];
    match doubts.into_iter().filter(|doubt| *doubt).count() {
        0 => Confidence::High,
        1 => Confidence::Medium,
        _ => Confidence::Low,
    }
}

/// When the next would be better.
fn wins(chosen: &Plan, next: &Plan, profile: &Profile, machine: &Machine) -> String {
    let times = next.seconds / chosen.seconds;
    match (chosen.executor, next.executor) {
        (Choice::Cluster, _) => "if it may take that long".to_owned(),
        (Choice::Await, _) => "if there were no async library".to_owned(),
        (Choice::Thread, _) => "if it came to an end".to_owned(),
        (Choice::Rayon, _) => "for many calls at once, each too small to be split".to_owned(),
        (Choice::Processes, _) if by_need(profile).is_some() => {
            "if it needed no process of its own".to_owned()
        }
        (_, Choice::Processes) => {
            format!("if it had to be killable or kept apart, at {times:.1} × the time")
        }
        (Choice::Cpu, Choice::Threads) => {
            "if it waited, or its calls met at a lock or in the allocator".to_owned()
        }
        (Choice::Threads, Choice::Cpu) if profile.cpu_share > COMPUTES => {
            "if its calls did not meet at a lock or in the allocator".to_owned()
        }
        (Choice::Threads, Choice::Cpu) => "if it computed more than 80 % of its time".to_owned(),
        _ if times <= 1.0 => "by less than a tenth already here".to_owned(),
        _ => match crossover(chosen.executor, next.executor, profile, machine) {
            Some(time) if time < profile.run_time => format!("below {time:.1?} per call"),
            Some(time) => format!("from {time:.1?} per call on"),
            None => "nowhere near this run time".to_owned(),
        },
    }
}

/// The run time, the nearest to that of `profile`, from which on `other` is faster.
fn crossover(chosen: Choice, other: Choice, profile: &Profile, machine: &Machine) -> Option<Duration> {
    let is_faster = |seconds: f64| {
        // What was tried holds for the run time that it was tried with.
        let profile = Profile { run_time: duration(seconds), tried: Tried::default(), ..profile.clone() };
        let seconds =
            |executor| predict(executor, &profile, machine).map_or(f64::INFINITY, |plan| plan.seconds);
        seconds(other) < seconds(chosen)
    };
    let here = profile.run_time.as_secs_f64().max(1e-9);
    let (mut far, mut near) = (1..=60).find_map(|step| {
        let factor = 10f64.powf(f64::from(step) / 10.0);
        [here / factor, here * factor].into_iter().find(|&far| is_faster(far)).map(|far| (far, here))
    })?;
    for _ in 0..20 {
        let middle = (far * near).sqrt();
        if is_faster(middle) { far = middle } else { near = middle }
    }
    Some(duration(far))
}

fn reasons(
    chosen: &Plan,
    advice: &Advice,
    plans: &[Plan],
    profile: &Profile,
    machine: &Machine,
) -> Vec<Reason> {
    let mut reasons = vec![match by_need(profile) {
        Some(_) => needed(chosen, plans, profile),
        None => timed(chosen, profile, machine),
    }];
    reasons.extend(shared_state(profile));
    reasons.extend(holds_runtime(advice, profile));
    reasons.extend(chunks(advice, profile, machine));
    reasons.extend(payload(chosen, profile, machine));
    reasons.extend(scaling(profile, machine));
    reasons.extend(evidence(chosen, profile, machine));
    reasons.extend(disturbed(profile));
    reasons
}

fn needed(chosen: &Plan, plans: &[Plan], profile: &Profile) -> Reason {
    match chosen.executor {
        Choice::Await => Reason::new(Rule::AsyncLibrary, "an async library needs no hand-off: await it", []),
        Choice::Thread => {
            Reason::new(Rule::RunsForever, "it never ends, and would occupy a worker of a pool for good", [])
        }
        Choice::Cpu => Reason::new(
            Rule::AlreadyParallel,
            "it is already parallel: call it once, from one job, and do not split what it splits",
            [],
        ),
        Choice::Rayon => {
            Reason::new(Rule::DataParallel, "its data can be split: work stealing keeps all cores busy", [])
        }
        _ => isolated(chosen, plans, profile),
    }
}

fn isolated(chosen: &Plan, plans: &[Plan], profile: &Profile) -> Reason {
    let needs = profile.needs.isolation();
    let what = match needs[0] {
        "killable" => "must be killable",
        "memory_cap" => "must be limited in memory",
        "may_crash" => "may crash",
        "untrusted_input" => "reads untrusted input",
        "not_thread_safe" => "is not thread-safe",
        _ => "leaks",
    };
    let pools = plans.iter().filter(|plan| matches!(plan.executor, Choice::Threads | Choice::Cpu));
    let others = pools.map(|plan| plan.seconds);
    let times = chosen.seconds / others.fold(f64::INFINITY, f64::min);
    let of_its_own = if profile.needs.runs_forever { ", one worker of a pool of its own," } else { "," };
    let text = format!("it {what}: processes{of_its_own} at {times:.1} × the time of a pool in the program");
    Reason::new(Rule::Isolate, text, [("times", times), ("needs", needs.len() as f64)])
}

fn timed(chosen: &Plan, profile: &Profile, machine: &Machine) -> Reason {
    let waiting = 100.0 * (1.0 - profile.cpu_share.clamp(0.0, 1.0));
    let Plan { executor, workers, .. } = *chosen;
    let run_time = profile.run_time;
    let cores = machine.cores;
    let numbers = [
        ("run_time", run_time.as_secs_f64()),
        ("cpu_share", profile.cpu_share),
        ("workers", workers as f64),
        ("cores", cores as f64),
    ];
    let plural = if cores == 1 { "" } else { "s" };
    match executor {
        Choice::Inline if profile.run_time >= TINY && profile.calls > 1 => {
            let text = format!(
                "{run_time:.1?} per call: the calls hinder one another, or what they carry ({} KiB) takes longer to change threads than another core gains; run it inline",
                profile.bytes() >> 10
            );
            Reason::new(Rule::Scaling, text, numbers)
        }
        Choice::Inline => tiny(profile, machine),
        Choice::Threads if profile.cpu_share < WAITS => {
            let text = format!("{waiting:.0} % waiting: {workers} threads for {cores} core{plural}");
            Reason::new(Rule::Waits, text, numbers)
        }
        Choice::Threads if profile.cpu_share > COMPUTES => {
            let text = format!(
                "{run_time:.1?} per call, computing, and yet tried to be faster on {workers} threads than on {cores}: the calls meet at a lock or in the allocator"
            );
            Reason::new(Rule::Scaling, text, numbers)
        }
        Choice::Threads => {
            let text = format!(
                "{waiting:.0} % waiting, the rest computing: {workers} threads for {cores} core{plural}"
            );
            Reason::new(Rule::Mixed, text, numbers)
        }
        Choice::Processes => {
            let text = format!("{run_time:.1?} per call: predicted to be that much faster in processes");
            Reason::new(Rule::Scaling, text, numbers)
        }
        _ => {
            let text =
                format!("{run_time:.1?} per call, computing: a thread for each of {cores} core{plural}");
            Reason::new(Rule::Computes, text, numbers)
        }
    }
}

fn tiny(profile: &Profile, machine: &Machine) -> Reason {
    let run_time = profile.run_time;
    let hand_off = if profile.calls == 1 { machine.cpu.after_pause } else { machine.cpu.per_job };
    let mut many = profile.clone().calls(1_000_000);
    many.needs = Needs::default();
    let text = match predict(Choice::Cpu, &many, machine) {
        Some(plan) if plan.seconds * ABOUT < inline(&many, machine) && plan.chunk_size > 1 => format!(
            "{run_time:.1?} per call: a hand-off costs {hand_off:.1?}; run it inline, or many of them by `map` with chunks of {}",
            plan.chunk_size
        ),
        _ => format!("{run_time:.1?} per call: a hand-off costs {hand_off:.1?}; run it inline"),
    };
    let numbers = [("run_time", run_time.as_secs_f64()), ("hand_off", hand_off.as_secs_f64())];
    Reason::new(Rule::Tiny, text, numbers)
}

fn shared_state(profile: &Profile) -> Option<Reason> {
    let isolated = !profile.needs.isolation().is_empty();
    profile.needs.shared_state.then(|| {
        let text = match isolated {
            true => "data of the program does not cross by itself: send it as argument, or as `Shared`",
            false => "data of the program stays in it: no processes",
        };
        Reason::new(Rule::SharedState, text, [])
    })
}

fn holds_runtime(advice: &Advice, profile: &Profile) -> Option<Reason> {
    let at_once = [("inline", advice.inline.as_secs_f64())];
    match advice.executor {
        Choice::Inline if advice.inline > HOLDS_RUNTIME => {
            let some = (HOLDS_RUNTIME.as_secs_f64() / profile.run_time.as_secs_f64().max(1e-9)) as u64;
            let text = format!(
                "{:.1?} at once hold up the runtime: yield after every {}",
                advice.inline,
                some.max(1)
            );
            Some(Reason::new(Rule::HoldsRuntime, text, at_once))
        }
        Choice::Cpu | Choice::Threads if profile.run_time > HOLDS_RUNTIME && advice.speed_up < ABOUT => {
            let text = format!("inline it would hold up the runtime for {:.1?}", profile.run_time);
            Some(Reason::new(Rule::HoldsRuntime, text, at_once))
        }
        _ => None,
    }
}

fn chunks(advice: &Advice, profile: &Profile, machine: &Machine) -> Option<Reason> {
    let hand_off = match advice.executor {
        Choice::Processes => machine.processes?,
        _ => machine.cpu,
    };
    (advice.chunk_size > 1).then(|| {
        let Advice { chunk_size, .. } = advice;
        let (per_job, per_item) = (hand_off.per_job, hand_off.per_item);
        let text = format!(
            "{:.1?} per call: alone each costs {per_job:.1?} more, in chunks of {chunk_size} {per_item:.1?}",
            profile.run_time
        );
        let numbers = [("per_job", per_job.as_secs_f64()), ("per_item", per_item.as_secs_f64())];
        Reason::new(Rule::Chunks, text, numbers)
    })
}

fn payload(chosen: &Plan, profile: &Profile, machine: &Machine) -> Option<Reason> {
    let crossing = Crossing::of(chosen.executor, profile, machine).total();
    let share = crossing / profile.run_time.as_secs_f64().max(1e-9);
    (share > CROSSING && profile.bytes() > 4 << 10).then(|| {
        let crossing_time = duration(crossing);
        let text = format!(
            "{} KiB cross for each call, {crossing_time:.1?}: what several jobs read travels as `Shared`, without a copy",
            profile.bytes() >> 10
        );
        Reason::new(Rule::Payload, text, [("crossing", crossing), ("bytes", profile.bytes() as f64)])
    })
}

fn scaling(profile: &Profile, machine: &Machine) -> Option<Reason> {
    let found = profile.scaling?;
    let cores = machine.cores;
    (cores > 1 && found < 0.75 * cores as f64).then(|| {
        let text = format!(
            "{found:.1} × on {cores} cores is all that the calls gain: they share memory bandwidth, a lock or the allocator"
        );
        Reason::new(Rule::Scaling, text, [("scaling", found), ("cores", cores as f64)])
    })
}

fn evidence(chosen: &Plan, profile: &Profile, machine: &Machine) -> Option<Reason> {
    if chosen.executor == Choice::Processes && machine.processes.is_none() {
        return Some(Reason::new(Rule::Evidence, "this machine has no process pools", []));
    }
    (profile.spread > 0.5).then(|| {
        let text = format!(
            "calls differ: half of them are {:.0} % apart, one in a hundred takes {:.1?} or more",
            100.0 * profile.spread,
            profile.run_time_p99
        );
        let numbers = [("spread", profile.spread), ("run_time_p99", profile.run_time_p99.as_secs_f64())];
        Reason::new(Rule::Evidence, text, numbers)
    })
}

fn disturbed(profile: &Profile) -> Option<Reason> {
    let others = profile.others.filter(|_| is_disturbed(profile.others))?;
    let text = format!(
        "other programs had {:.0} % of the cores while this was measured: measure again when they are done",
        100.0 * others
    );
    Some(Reason::new(Rule::Evidence, text, [("others", others)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cores() -> Machine {
        Machine { cores: 2, max_threads: 32, ..Machine::typical() }
    }

    fn micros(run_time: u64) -> Profile {
        Profile::new(Duration::from_micros(run_time))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn each_kind_of_work_goes_where_it_belongs() {
        let ms = micros(1_000);
        let table = [
            ("a look into a map", micros(1), Choice::Inline),
            ("many of them", Profile::new(Duration::from_nanos(20)).calls(1_000_000), Choice::Inline),
            ("worth a chunk", micros(3).calls(10_000), Choice::Cpu),
            ("one short request", micros(60), Choice::Inline),
            ("large results of little work", micros(300).calls(100).result_bytes(16 << 20), Choice::Inline),
            ("large arguments of some work", micros(300).calls(100).arg_bytes(1 << 20), Choice::Cpu),
            ("one long request", micros(20_000), Choice::Cpu),
            ("a batch", ms.clone().calls(100), Choice::Cpu),
            ("a query", ms.clone().cpu_share(0.05).calls(100), Choice::Threads),
            ("a single query", ms.clone().cpu_share(0.05), Choice::Threads),
            ("read and hash", ms.clone().cpu_share(0.4).calls(100), Choice::Threads),
            ("a decoder", ms.clone().untrusted_input().calls(100), Choice::Processes),
            ("a small plug-in", micros(1).may_crash(), Choice::Processes),
            ("on an Arc", ms.clone().shared_state().calls(100), Choice::Cpu),
            ("polars", ms.clone().already_parallel().calls(10), Choice::Cpu),
            ("sort one vector", ms.clone().data_parallel(), Choice::Rayon),
            ("a consumer", ms.clone().runs_forever(), Choice::Thread),
            ("reqwest", ms.cpu_share(0.0).async_library().calls(1_000), Choice::Await),
        ];
        for (name, profile, executor) in table {
            let advice = advise(&profile, &two_cores());
            assert_eq!(advice.executor, executor, "{name}: {advice}");
            assert!(!advice.reasons.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_was_tried_decides_with_less_favour_to_the_simpler() {
        let tried = |[inline, threads, cpu, processes]: [u64; 4]| {
            let mut profile = micros(400).calls(100);
            let some = |micros| Some(Duration::from_micros(micros));
            let (inline, threads, cpu) = (some(inline), some(threads), some(cpu));
            profile.tried = Tried { inline, threads, cpu, processes: some(processes) };
            profile.measured_cores = 2;
            profile
        };
        let table = [
            ([400, 210, 200, 200], Choice::Cpu),
            ([400, 300, 310, 400], Choice::Cpu),
            ([400, 270, 350, 400], Choice::Threads),
            ([400, 600, 500, 220], Choice::Processes),
            ([400, 420, 410, 330], Choice::Cpu),
            ([200, 420, 410, 390], Choice::Inline),
            ([200, 300, 260, 400], Choice::Inline),
            ([200, 300, 220, 400], Choice::Cpu),
        ];
        for (micros, executor) in table {
            let advice = advise(&tried(micros), &two_cores());
            assert_eq!(advice.executor, executor, "{micros:?}: {advice}");
        }
        let advice = advise(&tried([400, 270, 350, 400]), &two_cores());
        assert!(advice.to_string().contains("tried to be faster on 32 threads than on 2"), "{advice}");
        assert!(
            advice.to_string().contains("if its calls did not meet at a lock or in the allocator"),
            "{advice}"
        );
        assert_eq!(advice.workers, 32);
    }

    #[test]
    fn what_others_disturbed_is_less_sure_and_says_so() {
        let measured = Machine { is_measured: true, ..two_cores() };
        let tried = |alone, together| {
            let some = |micros| Some(Duration::from_micros(micros));
            let (inline, threads, cpu) = (some(alone), some(2 * alone + together), some(together));
            let mut profile = micros(alone).calls(100);
            profile.tried = Tried { inline, threads, cpu, processes: threads };
            (profile.measured_cores, profile.measured_calls) = (2, 100);
            profile
        };
        let table = [
            ("nobody there", tried(400, 200), Some(0.02), Confidence::High, None),
            ("not known", tried(400, 200), None, Confidence::High, None),
            ("a daemon", tried(400, 200), Some(0.15), Confidence::High, None),
            ("a compiler", tried(400, 200), Some(0.45), Confidence::Low, Some("45 %")),
            ("but it wins by far", tried(1, 9), Some(0.45), Confidence::Medium, Some("45 %")),
            ("and needs decide", tried(400, 200).killable(), Some(0.3), Confidence::High, Some("30 %")),
        ];
        for (name, profile, others, confidence, said) in table {
            let advice = advise(&Profile { others, ..profile }, &measured);
            assert_eq!(advice.confidence, confidence, "{name}: {advice}");
            let reason = advice.reasons.iter().find(|reason| reason.rule == Rule::Evidence);
            let numbers = reason.map(|reason| reason.numbers.clone());
            assert_eq!(numbers, said.and(others).map(|others| vec![("others".to_owned(), others)]), "{name}");
            let said = said.map_or(String::new(), |share| format!("other programs had {share} of the cores"));
            assert!(advice.to_string().contains(&said), "{name}: {advice}");
        }
    }

    #[test]
    fn huge_results_are_taken_one_by_one() {
        let advice = advise(&micros(300).calls(1_000).result_bytes(16 << 20).killable(), &two_cores());
        assert_eq!(advice.in_flight, 2);
    }

    #[test]
    fn reasons_say_it_with_numbers() {
        let table = [
            (
                micros(3),
                "3.0µs per call: a hand-off costs 45.0µs; run it inline, or many of them by `map` with chunks of 83",
            ),
            (
                micros(5_000).cpu_share(0.38).calls(100),
                "62 % waiting, the rest computing: 8 threads for 2 cores",
            ),
            (micros(5_000).already_parallel(), "it is already parallel: call it once"),
            (
                micros(5_000).killable(),
                "it must be killable: processes, at 1.0 × the time of a pool in the program",
            ),
        ];
        for (profile, expected) in table {
            let text = advise(&profile, &two_cores()).to_string();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_runner_up_wins_where_it_is_said_to() {
        let machine = two_cores();
        let profile = micros(3).calls(10_000);
        let advice = advise(&profile, &machine);
        assert_eq!(
            (advice.executor, advice.runner_up.as_ref().unwrap().executor),
            (Choice::Cpu, Choice::Processes)
        );
        let time = crossover(Choice::Cpu, Choice::Inline, &profile, &machine).unwrap();
        assert!(time < profile.run_time);
        let below = Profile { run_time: time.mul_f64(0.9), ..profile.clone() };
        let above = Profile { run_time: time.mul_f64(1.1), ..profile };
        let inline = |profile: &Profile| {
            let seconds = |executor| predict(executor, profile, &machine).unwrap().seconds;
            seconds(Choice::Inline) < seconds(Choice::Cpu)
        };
        assert!(inline(&below) && !inline(&above));
    }

    #[test]
    fn large_arguments_bound_what_is_in_flight() {
        let advice = advise(&micros(10_000).arg_bytes(64 << 20).calls(1_000).killable(), &two_cores());
        assert_eq!(advice.in_flight, 3);
        assert!(advice.reasons.iter().any(|reason| reason.rule == Rule::Payload));
    }

    #[test]
    fn on_one_core_computing_gains_nothing_and_still_leaves_the_runtime() {
        let machine = Machine { cores: 1, ..two_cores() };
        let advice = advise(&micros(20_000).calls(10), &machine);
        assert_eq!(advice.executor, Choice::Cpu);
        assert!(advice.reasons.iter().any(|reason| reason.rule == Rule::HoldsRuntime), "{advice}");
        assert_eq!(advise(&micros(3).calls(10_000), &machine).executor, Choice::Inline);
    }
}
