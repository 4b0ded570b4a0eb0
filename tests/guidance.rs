//! Guidance: what is measured about jobs and about the machine, and where jobs go.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    hint::black_box,
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use heavylift::{
    Advice, Machine, Profile, Workload, advise,
    guidance::{Choice, Confidence, MeasureError, Rule, Tried},
    run,
};

/// Computes, in steps of some nanoseconds.
fn churn(steps: u64) -> u64 {
    (0..steps).fold(1, |x: u64, n| black_box(x.rotate_left(7) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Computes until so much time has passed, whoever else has the processor meanwhile.
fn churn_for(micros: u64) -> u64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {
        churn(100);
    }
    micros
}

fn sleep(micros: u64) {
    thread::sleep(Duration::from_micros(micros));
}

#[test]
fn what_a_job_does_shows_in_its_profile() {
    let both = |micros: u64| (churn_for(2 * micros), sleep(micros));
    let table = [
        (Profile::measure(churn_for, [300]).unwrap(), Workload::CpuBound),
        (Profile::measure(churn, [10, 20, 30]).unwrap(), Workload::Tiny),
        (Profile::measure(sleep, [2_000]).unwrap(), Workload::BlockingIo),
        (Profile::measure(both, [3_000]).unwrap(), Workload::Mixed),
    ];
    for (profile, workload) in table {
        #[cfg(target_os = "linux")]
        assert_eq!(profile.workload(), workload, "{profile:?}");
        #[cfg(not(target_os = "linux"))]
        let _ = workload;
        assert!(profile.measured_calls > 0 && profile.run_time <= profile.run_time_p99 * 2, "{profile:?}");
    }
}

#[test]
fn payloads_are_measured_as_they_would_cross() {
    let profile =
        Profile::measure(|bytes: Vec<u8>| bytes[..100].to_vec(), [vec![1; 1_000], vec![2; 3_000]]).unwrap();
    assert_eq!((profile.arg_bytes, profile.result_bytes), (2_000, 100));
    let words =
        Profile::measure(|words: Vec<String>| words.concat(), [vec!["word".to_owned(); 10_000]]).unwrap();
    assert!(words.encode > Duration::ZERO && words.decode > Duration::ZERO, "{words:?}");
}

#[test]
fn a_job_that_takes_long_is_called_twice_and_no_more() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let slow = |(): ()| {
        CALLS.fetch_add(1, Relaxed);
        thread::sleep(Duration::from_millis(300));
    };
    let profile = Profile::measure(slow, [()]).unwrap();
    assert_eq!((CALLS.load(Relaxed), profile.measured_calls), (2, 1));
}

#[test]
fn every_executor_has_a_try_at_what_computes_and_crosses() {
    let profile = Profile::measure(churn_for, [50]).unwrap();
    let tried = profile.tried;
    assert!(tried.inline.is_some() && tried.threads.is_some() && tried.cpu.is_some(), "{tried:?}");
    assert_eq!(tried.processes.is_some(), cfg!(target_os = "linux"), "{tried:?}");
    assert!(profile.scaling.is_some());

    let most = 50;
    let captures = move |micros: u64| churn_for(micros.min(most));
    let tried = Profile::measure(captures, [50]).unwrap().tried;
    assert!(tried.cpu.is_some() && tried.processes.is_none(), "{tried:?}");

    assert_eq!(Profile::measure_alone(churn_for, [50]).unwrap().tried, Tried::default());
    assert_eq!(
        Profile::measure(sleep, [2_000]).unwrap().tried,
        Tried::default(),
        "threads that wait wait for nobody"
    );
}

/// A program that computes until it is dropped.
struct BusyLoop(Child);

impl BusyLoop {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for BusyLoop {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_measures_beside_busy_programs_is_told() {
    let measure = || Profile::measure(churn, [20_000]).unwrap().calls(1_000);
    let cores = thread::available_parallelism().unwrap().get();
    if rustix::thread::sched_getaffinity(None).unwrap().count() as usize > cores {
        return eprintln!(
            "who_measures_beside_busy_programs_is_told: SKIPPED, what a quota leaves is not ours"
        );
    }
    // Against all threads of a trial, and those of tests beside it, one loop for each core would have little.
    let busy: Vec<BusyLoop> = (0..4 * cores).map(|_| BusyLoop::start()).collect();
    let disturbed = measure();
    drop(busy);
    assert!(disturbed.others.is_some_and(|share| share > 0.15), "{disturbed:?}");
    let advice = advise(&disturbed, &Machine::typical());
    let reason = advice.reasons.iter().find(|reason| reason.rule == Rule::Evidence);
    assert!(reason.is_some() && advice.to_string().contains("other programs had"), "{advice}");
    assert!(advice.confidence < Confidence::High, "{advice}");

    // Nothing is said here of how quiet the machine is.
    assert!(measure().others.is_some_and(|share| (0.0..=1.0).contains(&share)));
    assert_eq!(Profile::measure_alone(churn, [20_000]).unwrap().others, None);
}

#[test]
fn a_job_that_fails_in_another_process_only_is_not_tried_there() {
    static PROGRAM: AtomicU32 = AtomicU32::new(0);
    let dies_elsewhere = |micros: u64| {
        if PROGRAM.load(Relaxed) != std::process::id() {
            std::process::abort();
        }
        churn_for(micros)
    };
    PROGRAM.store(std::process::id(), Relaxed);
    let tried = Profile::measure(dies_elsewhere, [50]).unwrap().tried;
    assert!(tried.cpu.is_some() && tried.processes.is_none(), "{tried:?}");
}

#[test]
fn what_cannot_be_measured_says_why() {
    assert_eq!(Profile::measure(churn, []).unwrap_err(), MeasureError::NoSample);
    let panics = |n: u64| assert_eq!(n, 0, "never {n}");
    let Err(MeasureError::Panicked(message)) = Profile::measure(panics, [7]) else { panic!("it panicked") };
    assert!(message.contains("never 7"), "{message}");

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    let job = |either: Either| match either {
        Either::Number(n) => n,
        Either::Text(text) => text.len() as u64,
    };
    let samples = [Either::Number(1), Either::Text(String::new())];
    let error = Profile::measure(job, samples).unwrap_err();
    assert!(matches!(error, MeasureError::Payload(_)), "{error}");
    assert!(error.to_string().contains("Either"), "{error}");
}

#[test]
fn a_machine_is_measured_and_leaves_nothing() {
    let machine = Machine::measure();
    assert_eq!(machine.cores, thread::available_parallelism().unwrap().get());
    for hand_off in [Some(machine.threads), Some(machine.cpu), machine.processes].into_iter().flatten() {
        assert!(hand_off.per_job > Duration::ZERO && hand_off.per_item > Duration::ZERO, "{machine:?}");
        assert!(hand_off.after_pause >= hand_off.round_trip, "{machine:?}");
    }
    assert_eq!(machine.processes.is_some(), cfg!(target_os = "linux"));
    assert!(machine.memory_bandwidth > 1e8 && machine.process_per_mib > Duration::ZERO, "{machine:?}");
}

#[test]
fn a_measured_job_gets_a_reason_with_its_numbers() {
    let profile = Profile::measure(sleep, [2_000]).unwrap().calls(100);
    let advice: Advice = advise(&profile, &Machine::typical());
    #[cfg(target_os = "linux")]
    {
        assert_eq!((advice.executor, advice.reasons[0].rule), (Choice::Threads, Rule::Waits));
        assert!(advice.speed_up > 5.0, "{advice}");
    }
    assert!(advice.to_string().starts_with(advice.executor.name()));
}

#[test]
fn each_rule_is_explained_to_people() {
    let text = include_str!("../docs/choosing.md");
    for rule in Rule::ALL {
        assert!(text.contains(&format!("| `{rule}` |")), "docs/choosing.md does not explain {rule}");
    }
}

#[tokio::test]
async fn each_workload_runs_where_it_belongs() {
    let place = |(): ()| (std::process::id(), thread::current().name().map(str::to_owned));
    let all = [
        (Workload::AsyncIo, "heavylift"),
        (Workload::BlockingIo, "heavylift"),
        (Workload::Mixed, "heavylift"),
        (Workload::CpuBound, "cpu"),
        (Workload::LongRunning, "each_workload"),
    ];
    for (workload, name) in all {
        let (pid, thread) = run(workload, place, ()).await.unwrap();
        assert_eq!(pid, std::process::id());
        assert!(thread.as_ref().unwrap().contains(name), "{workload:?} ran on {thread:?}");
    }
    let (_, here) = run(Workload::Tiny, place, ()).await.unwrap();
    assert_eq!(here.as_deref(), thread::current().name());
    #[cfg(target_os = "linux")]
    assert_ne!(run(Workload::Isolated, place, ()).await.unwrap().0, std::process::id());
}

#[cfg(feature = "rayon")]
#[tokio::test]
async fn what_is_data_parallel_runs_on_rayon() {
    let sum = |n: u64| {
        use rayon::prelude::*;
        (rayon::current_thread_index().is_some(), (0..n).into_par_iter().sum::<u64>())
    };
    assert_eq!(run(Workload::DataParallel, sum, 1_000).await.unwrap(), (true, 499_500));
}

#[tokio::test]
async fn a_panic_on_a_thread_of_its_own_is_an_error_of_the_task() {
    let error = run(Workload::LongRunning, |(): ()| -> u8 { panic!("out of tape") }, ()).await.unwrap_err();
    assert_eq!(error.panic_message(), Some("out of tape"));
}

#[cfg(feature = "serde")]
#[test]
fn what_is_known_can_be_kept_and_read_back() {
    let mut profile = Profile::new(Duration::from_micros(70)).cpu_share(0.5).calls(9).may_crash();
    profile.others = Some(0.25);
    let advice = advise(&profile, &Machine::typical());
    let text = serde_json::to_string(&(&profile, &Machine::typical(), &advice)).unwrap();
    let (again, machine, same): (Profile, Machine, Advice) = serde_json::from_str(&text).unwrap();
    assert_eq!((again, machine, same), (profile, Machine::typical(), advice));
    assert!(text.contains(r#""executor":"processes""#) && text.contains(r#""rule":"isolate""#), "{text}");
}
