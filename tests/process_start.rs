//! How a process finds out that it is a child, and what happens when it cannot be one: `main` never runs twice.
//!
//! The test binary starts itself again, with the variable that makes a process a child.

mod processes;

use std::{
    env,
    process::{Command, Output, Stdio},
};

use processes::*;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

const VARIABLE: &str = "HEAVYLIFT_CHILD";

/// This binary, running the test that stands for `main`.
fn program(variable: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", "main_was_reached", "--nocapture"]);
    command.env(VARIABLE, variable).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Stands for `main` of a program that was started again.
#[test]
fn main_was_reached() {
    println!("main was reached");
}

#[track_caller]
fn assert_refused(output: &Output, reason: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!out.contains("main was reached"), "{out}");
    assert!(!output.status.success());
    assert!(err.contains(reason), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

fn value_for(parent: u32) -> String {
    format!("1:{parent}:{:032x}", 7)
}

#[test]
fn a_variable_of_another_form_is_ignored() {
    for other in ["", "1", "yes", "2:1:0", "1:x:00000000000000000000000000000007"] {
        let output = program(other).stdin(Stdio::null()).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("main was reached"), "{other}");
        assert!(output.status.success());
    }
}

#[test]
fn without_a_socket_the_child_says_so_and_exits() {
    let value = value_for(std::process::id());
    assert_refused(&program(&value).stdin(Stdio::null()).output().unwrap(), "standard input is no socket");
    assert_refused(&program(&value).stdin(Stdio::piped()).output().unwrap(), "standard input is no socket");
}

#[test]
fn a_socket_of_another_kind_or_from_another_process_is_refused() {
    let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let (_ours, theirs) = pair(SocketType::STREAM);
    let value = value_for(std::process::id());
    assert_refused(&program(&value).stdin(theirs).output().unwrap(), "of another kind");
    let (_ours, theirs) = pair(SocketType::SEQPACKET);
    let stranger = value_for(1);
    assert_refused(&program(&stranger).stdin(theirs).output().unwrap(), "was made by process");
}

#[test]
fn a_peer_that_says_nothing_sensible_is_refused() {
    let value = value_for(std::process::id());
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let (ours, theirs) = pair();
    send(&ours, b"garbage", SendFlags::empty()).unwrap();
    assert_refused(&program(&value).stdin(theirs).output().unwrap(), "no hello");
    let (ours, theirs) = pair();
    drop(ours);
    assert_refused(&program(&value).stdin(theirs).output().unwrap(), "no hello");
}

#[test]
fn a_pool_works_in_a_program_started_with_another_ones_variable() {
    // Of another form, so ignored by us, and not handed to our own children either.
    let output = program("someone else's").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let pool = pool(1);
    assert_eq!(pool.run(|()| env::var(VARIABLE).ok(), ()).blocking_wait().unwrap(), None);
}
