//! What the workers of a pool did, as a picture and as a trace: jobs that return, one that panics, one that takes too long and is
//! killed, one that takes its worker down, and a worker that is replaced on schedule.
//!
//! ```text
//! cargo run --release --example timeline -- [DIRECTORY]
//! ```
//!
//! Writes `timeline.svg`, for any browser, and `trace.json`, for <https://ui.perfetto.dev>, into the directory; without one into
//! the temporary directory.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{env, error::Error, path::PathBuf, time::Duration};

use heavylift::{JobEnd, ProcessPool, Task, TaskError};

/// Computes for about so many milliseconds.
fn work(millis: u64) -> u64 {
    let begun = std::time::Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < Duration::from_millis(millis) {
        rounds += 1;
    }
    rounds
}

fn panic(millis: u64) -> u64 {
    work(millis);
    panic!("a picture with no pixels")
}

/// As a segmentation fault or a lack of memory would.
fn crash(millis: u64) -> u64 {
    work(millis);
    std::process::abort()
}

fn hang(_: u64) -> u64 {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).map_or_else(env::temp_dir, PathBuf::from);
    let pool = ProcessPool::builder().name("pictures").max_workers(3).max_tasks_per_worker(5).build()?;
    let recording = pool.record();

    let mut tasks: Vec<Task<u64>> = Vec::new();
    for nth in 0..30 {
        tasks.push(pool.job(work, 4 + 5 * (nth % 4)).name(format!("png {nth}")).run());
        match nth {
            6 => tasks.push(pool.job(panic, 6).name("empty").run()),
            11 => tasks.push(pool.job(crash, 9).name("corrupt").run()),
            16 => {
                tasks.push(pool.job(hang, 0).name("bomb").run_timeout(Duration::from_millis(45)).run());
            }
            _ => {}
        }
    }
    let mut outcomes: Vec<Result<u64, TaskError>> = Vec::new();
    for task in tasks {
        outcomes.push(task.await);
    }

    let timeline = recording.stop();
    let count = |end| timeline.jobs().iter().filter(|job| job.end() == end).count();
    println!(
        "{} jobs ran, {} of them to a value, in {:?}",
        timeline.jobs().len(),
        count(JobEnd::Value),
        timeline.duration()
    );
    for job in timeline.failures() {
        println!("{} after {:?}: {}", job.end(), job.ran(), job.error().unwrap_or_default());
    }
    let [picture, trace] = ["timeline.svg", "trace.json"].map(|file| directory.join(file));
    timeline.save_svg(&picture)?;
    timeline.save_trace(&trace)?;
    println!("wrote {} and {}", picture.display(), trace.display());
    Ok(())
}
