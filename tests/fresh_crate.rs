//! A fresh crate outside the repository that depends on this one: both free functions work in each kind of program, with no
//! set-up line, in debug and in release with `lto = "fat"`.
//!
//! Builds tokio and this crate in a directory of its own under `target`, twice: a minute at first, seconds later.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const SOURCE: &str = r#"
/// Both free functions, from whichever program.
///
/// ```
/// assert_eq!(fresh::both(), (6, 8));
/// ```
pub fn both() -> (u64, u64) {
    let (thread, process) = tasks();
    (thread.blocking_wait().unwrap(), process.blocking_wait().unwrap())
}

pub fn tasks() -> (heavylift::Task<u64>, heavylift::Task<u64>) {
    (heavylift::run_in_thread_pool(|| 6), heavylift::run_in_process_pool(double, 4))
}

fn double(n: u64) -> u64 {
    n * 2
}
"#;

const IN_A_RUNTIME: &str = r#"
    let (thread, process) = fresh::tasks();
    assert_eq!((thread.await.unwrap(), process.await.unwrap()), (6, 8));
"#;

/// Where the crates of this file live and are built. Kept, so that the next run builds little.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fresh").join(name);
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn write(directory: &Path, file: &str, text: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    // Untouched when nothing has changed, so that nothing is built again.
    if fs::read_to_string(&path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("a writable file");
    }
}

fn manifest(name: &str, dependency: &str, more: &str) -> String {
    let repository = env!("CARGO_MANIFEST_DIR");
    format!(
        r#"
[package]
name = "{name}"
version = "0.0.0"
edition = "2024"

[dependencies]
heavylift = {{ path = "{repository}"{dependency} }}
tokio = {{ version = "1", features = ["macros", "rt-multi-thread"] }}

[profile.release]
lto = "fat"

[workspace]
{more}"#
    )
}

fn cargo(directory: &Path, arguments: &[&str]) -> Output {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    if !directory.join("Cargo.lock").exists() && lock.exists() {
        // The versions that are there already: nothing is fetched.
        fs::copy(lock, directory.join("Cargo.lock")).expect("a lock file");
    }
    Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", directory.parent().expect("a parent").join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs")
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn fresh() -> PathBuf {
    let directory = directory("crate");
    write(&directory, "Cargo.toml", &manifest("fresh", "", "[[bench]]\nname = \"bench\"\nharness = false\n"));
    write(&directory, "src/lib.rs", SOURCE);
    let plain = "fn main() {\n    assert_eq!(fresh::both(), (6, 8));\n    println!(\"fine\");\n}\n";
    let main = |attribute: &str| {
        format!("{attribute}\nasync fn main() {{\n{IN_A_RUNTIME}\n    println!(\"fine\");\n}}\n")
    };
    write(&directory, "src/bin/plain.rs", plain);
    write(&directory, "src/bin/multi.rs", &main("#[tokio::main]"));
    write(&directory, "src/bin/current.rs", &main("#[tokio::main(flavor = \"current_thread\")]"));
    write(&directory, "benches/bench.rs", plain);
    let tests = format!(
        "#[tokio::test]\nasync fn in_a_runtime() {{\n{IN_A_RUNTIME}\n}}\n\n\
         #[test]\nfn in_a_plain_test() {{\n    assert_eq!(fresh::both(), (6, 8));\n}}\n"
    );
    write(&directory, "tests/both.rs", &tests);
    directory
}

#[test]
fn both_functions_work_in_every_kind_of_program_without_a_set_up_line() {
    let directory = fresh();
    let passed = |output: Output| succeeds(&output).matches("test result: ok. ").count();
    assert!(passed(cargo(&directory, &["test"])) >= 3, "unit tests, tests and the doctest");
    succeeds(&cargo(&directory, &["test", "--benches"]));
    for program in ["plain", "multi", "current"] {
        assert_eq!(succeeds(&cargo(&directory, &["run", "--quiet", "--bin", program])), "fine\n");
        let release = cargo(&directory, &["run", "--quiet", "--release", "--bin", program]);
        assert_eq!(succeeds(&release), "fine\n", "release, {program}");
    }
    succeeds(&cargo(&directory, &["bench"]));
}

#[test]
fn without_auto_start_init_is_needed_and_its_absence_is_named() {
    let directory = directory("manual");
    write(&directory, "Cargo.toml", &manifest("manual", ", default-features = false", ""));
    let body = |first: &str| {
        format!(
            "fn main() {{\n    {first}println!(\"main\");\n    \
             let outcome = heavylift::run_in_process_pool(|n: u64| n * 2, 4).blocking_wait();\n    \
             println!(\"{{}}\", outcome.map_or_else(|error| error.to_string(), |n| n.to_string()));\n}}\n"
        )
    };
    write(&directory, "src/bin/without.rs", &body(""));
    write(&directory, "src/bin/with.rs", &body("heavylift::worker::init();\n    "));
    let without = succeeds(&cargo(&directory, &["run", "--quiet", "--bin", "without"]));
    assert!(without.contains("heavylift::worker::init()") && without.contains("auto-start"), "{without}");
    assert_eq!(without.matches("main\n").count(), 1, "{without}");
    assert_eq!(succeeds(&cargo(&directory, &["run", "--quiet", "--bin", "with"])), "main\n8\n");
}

const HOST: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    puts("main");
    fflush(stdout);
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) { puts(dlerror()); return 1; }
    void (*ask)(void) = (void (*)(void))dlsym(library, "ask");
    ask();
    return 0;
}
"#;

#[test]
fn in_a_shared_library_a_process_pool_is_unavailable_and_the_hosts_main_runs_once() {
    if Command::new("gcc").arg("--version").output().is_err() {
        eprintln!("skipped: no gcc to build the host with");
        return;
    }
    let directory = directory("library");
    write(&directory, "Cargo.toml", &manifest("library", "", "\n[lib]\ncrate-type = [\"cdylib\"]\n"));
    write(
        &directory,
        "src/lib.rs",
        "#[unsafe(no_mangle)]\npub extern \"C\" fn ask() {\n    \
         let outcome = heavylift::run_in_process_pool(|n: u64| n * 2, 4).blocking_wait();\n    \
         println!(\"{}\", outcome.map_or_else(|error| error.to_string(), |n| n.to_string()));\n}\n",
    );
    succeeds(&cargo(&directory, &["build"]));
    write(&directory, "host.c", HOST);
    let host = directory.join("host");
    let built = Command::new("gcc").args(["host.c", "-o", "host", "-ldl"]).current_dir(&directory).output();
    succeeds(&built.expect("gcc runs"));
    let library = directory.parent().expect("a parent").join("target/debug/liblibrary.so");
    let said = succeeds(&Command::new(host).arg(library).output().expect("the host runs"));
    assert!(said.contains("part of a shared library"), "{said}");
    assert_eq!(said.matches("main\n").count(), 1, "{said}");
}
