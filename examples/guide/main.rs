//! Which executor suits which work on this machine, and whether that is true.
//!
//! ```text
//! cargo run --release --example guide
//! cargo run --release --example guide -- --job sha256
//! cargo run --release --example guide -- --list
//! ```
//!
//! Without arguments it measures what hand-offs cost here, prints from where on each executor pays, and draws it. With a job, one of those
//! in `jobs`, it measures that job alone, prints the advice, and then has every executor run it: the last two lines say what was
//! advised and what was fastest.

mod args;
mod chart;
mod decisions;
mod jobs;
mod truth;

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use args::{Command, Effort};
use heavylift::{Machine, Profile, advise};
use jobs::{RealJob, Stage, Yard};
use tokio::runtime::Runtime;
use truth::Truth;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let done = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => say(args::HELP),
        Ok(Command::List) => say(&list()),
        Ok(Command::Table { svg }) => table(&svg),
        Ok(Command::Job { name, effort }) => match jobs::all().into_iter().find(|job| job.name == name) {
            Some(job) => try_out(&job, effort),
            None => return complain(&format!("there is no job {name:?}, but these:\n{}", list()), 2),
        },
        Err(message) => return complain(&format!("{message} (see --help)\n"), 2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error}\n"), 1),
    }
}

fn say(text: &str) -> Outcome<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn complain(message: &str, code: u8) -> ExitCode {
    // There is nobody else to tell.
    let _ = write!(io::stderr(), "guide: {message}");
    code.into()
}

/// The jobs, a family on each line.
fn list() -> String {
    let mut text = String::new();
    for family in jobs::all().chunk_by(|one, other| one.family == other.family) {
        let names: Vec<&str> = family.iter().map(|job| job.name).collect();
        let _ = writeln!(text, "{:12} {}", family[0].family, names.join(" "));
    }
    text
}

/// Calibrates, prints the table of decisions, and draws the chart.
fn table(svg: &Path) -> Outcome<()> {
    let machine = Machine::measure();
    say(&decisions::of(&machine))?;
    if let Some(directory) = svg.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(svg, chart::of(&machine))?;
    say(&format!("\nThe chart is in {}\n", svg.display()))
}

/// Measures a job alone, prints the advice, and then the truth.
fn try_out(job: &RealJob, effort: Effort) -> Outcome<()> {
    let (calls, rounds) = match effort {
        Effort::Quick => (job.calls.div_ceil(100), 1),
        Effort::Full => (job.calls, 5),
    };
    let (yard, runtime) = (Yard::default(), Runtime::new()?);
    let machine = Machine::measure();
    let profile = job.profile(&yard, calls)?;
    say(&format!("{} ({}), {calls} calls\n\n{}\n", job.name, job.family, in_words(&profile)))?;
    let advice = advise(&profile, &machine);
    say(&format!("{advice}\n"))?;

    let stage = Stage { yard: &yard, runtime: &runtime, before: &|_| {} };
    let truth = Truth::of((job, calls), (&profile, &machine, &advice), &stage, rounds)?;
    let truth = truth.ok_or_else(|| format!("nothing here runs {}", advice.executor))?;
    say(&side_by_side(&truth))?;
    let percent = 100.0 * truth.regret();
    say(&format!(
        "\nadvised: {}\nfastest: {} ({percent:.0} % ahead of the advice)\n",
        truth.advised.name(),
        truth.fastest().name()
    ))
}

fn in_words(profile: &Profile) -> String {
    let Profile { run_time, run_time_p99, cpu_share, encode, decode, .. } = profile;
    let scaling = profile.scaling.map_or(String::new(), |times| format!("; {times:.2} × on all cores"));
    format!(
        "measured in {} calls: {run_time:.1?} each, p99 {run_time_p99:.1?}, {:.0} % computing{scaling}\n\
         {} bytes in, {} bytes out, {encode:.1?} to encode and {decode:.1?} to decode them\n",
        profile.measured_calls,
        100.0 * cpu_share,
        profile.arg_bytes,
        profile.result_bytes,
    )
}

fn side_by_side(truth: &Truth) -> String {
    let inline = truth.inline().as_secs_f64();
    let mut text =
        format!("{:10} {:>10} {:>10} {:>10} {:>6}\n", "", "predicted", "all calls", "speed-up", "chunk");
    for candidate in truth.all() {
        let time = candidate.median();
        let _ = writeln!(
            text,
            "{:10} {:>10} {:>10} {:>8.2} × {:>6}",
            candidate.name(),
            format!("{:.1?}", candidate.predicted),
            format!("{time:.1?}"),
            inline / time.as_secs_f64(),
            candidate.travel.chunk_size.unwrap_or(1),
        );
    }
    text
}
