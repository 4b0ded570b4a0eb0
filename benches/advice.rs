//! Advice against the truth: real jobs, measured alone, and then run by every executor.
//!
//! ```text
//! cargo bench --bench advice                     # all jobs, in some four minutes; longer beside other programs
//! cargo bench --bench advice -- sha256 gzip      # those whose name holds one of the words; the others keep their figures
//! cargo bench --bench advice -- --list           # their names
//! cargo bench --bench advice -- --docs           # puts the table into docs/choosing.md
//! ```
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

#[path = "../examples/guide/jobs/mod.rs"]
mod jobs;
mod support;
#[allow(dead_code, reason = "the example prints more")]
#[path = "../examples/guide/truth.rs"]
mod truth;

use std::{cell::RefCell, collections::BTreeMap, convert::Infallible, env, iter, path::Path};

use heavylift::{
    Machine, Profile, advise,
    guidance::{Others, least_disturbed},
};
use jobs::{Place, RealJob, Stage, Yard};
use support::{
    Goal, Program, Race, Unit, machine, os,
    program::Effort,
    report::write_between,
    tried::{Half, Summary, Taken, Trial, Tried, halves, in_a_line},
};
use tokio::runtime::Runtime;
use truth::{Candidate, Truth};

const BEGIN: &str = "<!-- advice: written by `cargo bench --bench advice -- --docs` -->";
const END: &str = "<!-- end of advice -->";
/// So often a job is measured alone, and an advice taken.
const ADVICES: u64 = 3;
const ADVICE: &str = "the advised executor";
const IDEAL: &str = "the fastest executor";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let program = Program::new("advice");
    let all = jobs::all();
    if arguments.iter().any(|argument| argument == "--list") {
        all.iter().for_each(|job| println!("{:12} {}", job.family, job.name));
    } else if arguments.iter().any(|argument| argument == "--docs") {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/choosing.md");
        write_between([BEGIN, END], &docs, &Trial::read(&program.directory()).in_words()).unwrap();
    } else {
        measure(program, all, &arguments);
    }
}

fn measure(mut program: Program, all: Vec<RealJob>, arguments: &[String]) {
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(&**word));
    let names: Vec<&str> = all.iter().map(|job| job.name).collect();
    let halves = halves(all.iter().map(|job| job.family));
    os::give_each_thread_a_heap();
    let (yard, runtime) = (Yard::default(), Runtime::new().unwrap());
    let stage = Stage { yard: &yard, runtime: &runtime, before: &|_| os::tidy_heap() };
    let machine = Machine::measure();
    println!("{machine:?}\n");

    let wanted = all.into_iter().zip(halves).filter(|(job, _)| is_wanted(job.name));
    let tried = wanted.map(|(job, half)| {
        let tried = least_disturbed(Tried::others, || {
            let tried = try_out(&program, &job, half, &machine, &stage);
            println!("{}", in_a_line(&tried));
            Ok::<_, Infallible>(tried)
        });
        tried.unwrap()
    });
    let tried: Vec<Tried> = tried.collect();
    let mut trial = Trial::read(&program.directory());
    trial.replace(tried, &names, machine::Machine::look());
    trial.write(&program.directory()).unwrap();
    println!("\n{}", trial.disturbed_in_words());
    claim(&mut program, &trial);
    program.finish();
}

/// Measures one job alone, takes the advice, and has every executor run it.
fn try_out(program: &Program, job: &RealJob, half: Half, machine: &Machine, stage: &Stage<'_>) -> Tried {
    let calls = if program.is_quick() { job.calls.div_ceil(100) } else { job.calls };
    let rounds = program.size(7, 1) as usize;
    let measure = || {
        let profile = job.profile(stage.yard, calls).unwrap();
        (advise(&profile, machine), profile)
    };
    let (advice, profile) = measure();
    let again = (1..program.size(ADVICES, 1)).map(|_| measure().0);
    let advised =
        iter::once(advice.clone()).chain(again).map(|advice| advice.executor.name().to_owned()).collect();
    let others = RefCell::new(Others::look());
    let before = |place: Place| {
        (stage.before)(place);
        others.borrow_mut().before(place.choice());
    };
    let stage = Stage { before: &before, ..*stage };
    let truth = Truth::of((job, calls), (&profile, machine, &advice), &stage, rounds).unwrap();
    let truth_others = others.into_inner().share();
    let truth = truth.unwrap_or_else(|| panic!("{} for {}", advice.executor, job.name));
    let Profile { run_time, cpu_share, scaling, arg_bytes, result_bytes, others, .. } = profile;
    Tried {
        name: job.name.to_owned(),
        family: job.family.to_owned(),
        half,
        calls,
        run_time: run_time.as_secs_f64(),
        cpu_share,
        scaling,
        arg_bytes,
        result_bytes,
        profile_others: others,
        truth_others,
        advised,
        taken: taken(&truth),
    }
}

fn taken(truth: &Truth) -> BTreeMap<String, Taken> {
    let taken = |candidate: &Candidate| Taken {
        predicted: candidate.predicted.as_secs_f64(),
        chunk_size: candidate.travel.chunk_size.unwrap_or(1),
        rounds: candidate.rounds.iter().map(|time| time.as_secs_f64()).collect(),
    };
    truth.all().map(|candidate| (candidate.name().to_owned(), taken(candidate))).collect()
}

/// What is claimed of the half whose figures the rules' constants were not fitted to.
fn claim(program: &mut Program, trial: &Trial) {
    let reported = trial.summary(Half::Reported);
    if reported.jobs == 0 {
        return;
    }
    let claims = [
        (
            "right",
            "jobs for which the advice is the fastest executor or within 10 % of it",
            Unit::Jobs,
            Goal::AtLeast(0.9),
        ),
        (
            "mean",
            "time of the advised executor against the fastest, mean over the jobs",
            Unit::Times,
            Goal::AtMost(1.05),
        ),
        (
            "worst",
            "time of the advised executor against the fastest, worst of the jobs",
            Unit::Times,
            Goal::AtMost(1.5),
        ),
    ];
    let times = trial.each_time(Half::Reported);
    let figures: [fn(&Summary) -> f64; 3] =
        [|of| of.right as f64, |of| 1.0 + of.mean_regret, |of| 1.0 + of.worst];
    for ((id, claim, unit, goal), figure) in claims.into_iter().zip(figures) {
        let ideal = if unit == Unit::Jobs { reported.jobs as f64 } else { 1.0 };
        let mut race = Race::<1>::new();
        let mut each_time = times.iter().map(figure);
        race.enter(ADVICE, move || [each_time.next().unwrap()]);
        race.enter(IDEAL, || [ideal]);
        let finish = race.run(Effort { warm_up: 0, rounds: times.len() });
        let row = finish.row(0, &format!("advice_{id}"), claim, unit).goal(goal, &[IDEAL]);
        let note = format!(
            "{} jobs, to which no constant of the rules was fitted, {} of them beside other programs, each measured alone and advised {} times; worst: {}. Each job: advice.json.",
            reported.jobs,
            reported.disturbed,
            times.len(),
            reported.worst_job
        );
        program.add_with_note(row, note);
    }
}
