//! The example `digest` over a large tree, beside `find | xargs sha256sum` and a plain program of two threads.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use support::{
    Goal, Program, Race, Unit, plain_digest,
    tree::{Size, Tree, tree},
};

const PROCESSES: &str = "digest, processes";
const THREADS: &str = "digest, threads";
const PLAIN: &str = "plain program of two threads with sha2";
/// What the program is called with to be that plain program.
const PLAIN_MODE: &str = "--plain-digest";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mode, root] = &arguments[..]
        && mode == PLAIN_MODE
    {
        plain_digest::run(root.as_ref()).unwrap();
        return;
    }
    let mut program = Program::new("digest");
    let size = Size { files: program.size(40_000, 1_000), bytes: program.size(1_000_000_000, 10_000_000) };
    let found = tree(size).map_err(|error| error.to_string()).and_then(|tree| Ok((tree, example()?)));
    match &found {
        Ok((tree, example)) => measure(&mut program, tree, example),
        Err(why) => {
            let mut race = Race::new();
            race.missing(PROCESSES, why.clone());
            race.missing(THREADS, why.clone());
            report(&mut program, race, &[], why.clone());
        }
    }
    program.finish();
}

fn measure(program: &mut Program, tree: &Tree, example: &Path) {
    let root = &tree.root;
    let xargs: Vec<(String, String)> = [64, 512, 4096]
        .into_iter()
        .map(|n| {
            let script = format!("find \"$0\" -type f -print0 | xargs -0 -P 2 -n {n} sha256sum");
            (format!("find, xargs -P 2 -n {n} sha256sum"), script)
        })
        .collect();
    let mut race = Race::<1>::new();
    let with = |executor| {
        let mut command = Command::new(example);
        command.args(["--executor", executor, "--workers", "2"]).arg(root);
        command
    };
    race.attempt(PROCESSES, || seconds(with("processes")));
    race.attempt(THREADS, || seconds(with("threads")));
    race.attempt(PLAIN, || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(PLAIN_MODE).arg(root);
        seconds(command)
    });
    for (name, script) in &xargs {
        race.attempt(name, move || {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).arg(root);
            seconds(command)
        });
    }
    seconds(with("threads")).unwrap(); // the files come into memory
    let names: Vec<&str> = xargs.iter().map(|(name, _)| name.as_str()).collect();
    let (files, megabytes) = (tree.files, tree.bytes / 1_000_000);
    let note =
        format!("{files} files, {megabytes} MB, in the page cache; whole programs, from start to end.");
    report(program, race, &names, note);
}

fn report(program: &mut Program, race: Race<'_, 1>, xargs: &[&str], note: String) {
    let finish = race.run(program.effort_without_warm_up());
    let row = finish.row(0, "digest", "digest of a tree of 1 GB, wall time", Unit::Seconds);
    let row = row
        .goal_of(PROCESSES, Goal::AtMost(0.6), xargs)
        .goal_of(PROCESSES, Goal::AtMost(1.1), &[PLAIN])
        .goal_of(THREADS, Goal::AtMost(0.6), xargs)
        .goal_of(THREADS, Goal::AtMost(1.1), &[PLAIN]);
    program.add_with_note(row, note);
}

fn seconds(mut command: Command) -> Result<[f64; 1], String> {
    let begun = Instant::now();
    let status =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(|error| error.to_string())?;
    if status.success() { Ok([begun.elapsed().as_secs_f64()]) } else { Err(format!("{command:?}: {status}")) }
}

/// The example, built where this program was built.
fn example() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let release = program.parent().and_then(Path::parent).ok_or("no directory of the build")?;
    let target = release.parent().ok_or("no directory of the build")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet", "--example", "digest", "--target-dir"]).arg(target);
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().is_ok_and(|status| status.success());
    if built { Ok(release.join("examples/digest")) } else { Err("the example could not be built".to_owned()) }
}
