//! The example `thumbnails` under a crowd of good and hostile uploads, beside the same service on `spawn_blocking` alone.
//!
//! ```text
//! cargo bench --features dashboard --bench thumbnails -- [--seconds N] [--spawn-blocking [--harmless]]
//! ```
//!
//! No race of rounds, as the other benches are, but one long run. It prints what became of every upload. On the process pool a run of a
//! minute or longer ends with a line for each goal, and with code 1 if one was missed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a benchmark reports on standard output and fails loudly; what only tests need is there as well"
)]

#[path = "../tests/thumbnails/client.rs"]
mod client;
#[path = "../tests/thumbnails/load.rs"]
mod load;
#[path = "../tests/thumbnails/pictures.rs"]
mod pictures;
#[path = "../tests/thumbnails/server.rs"]
mod server;

use std::{env, process::ExitCode, time::Duration};

use load::{Place, Plan};

/// From so many seconds on a run is judged.
const LONG: u64 = 60;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let given = |option: &str| args.iter().any(|arg| arg == option);
    let asked = env::var_os("HEAVYLIFT_BENCH_QUICK").is_some_and(|value| value != "0");
    let is_quick = asked || given("--quick") || !given("--bench");
    let seconds = args.iter().skip_while(|arg| *arg != "--seconds").nth(1);
    let seconds = match seconds {
        Some(seconds) => seconds.parse().expect("--seconds takes a number"),
        None if is_quick => 2,
        None => 20,
    };
    let plan = Plan {
        length: Duration::from_secs(seconds),
        clients: 32,
        width: 1200,
        place: if given("--spawn-blocking") { Place::SpawnBlocking } else { Place::Processes },
        deadly: !given("--harmless"),
    };
    let report = load::run(&plan);
    println!("{report}");
    println!("| {:?}, {seconds} s, {} clients | |\n|---|---|", plan.place, plan.clients);
    for (name, figure) in report.figures() {
        println!("| {name} | {figure} |");
    }
    for what in report.unexplained().iter().chain(&report.deaths).take(30) {
        println!("{what}");
    }
    if plan.place != Place::Processes {
        return ExitCode::SUCCESS;
    }
    let verdicts = match seconds {
        LONG.. => report.verdicts(),
        _ => report.verdicts_without_times(),
    };
    println!();
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    if verdicts.iter().all(|verdict| verdict.is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
