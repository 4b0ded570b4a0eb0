//! The compile errors that users will meet, word for word.
//!
//! The message about captures comes from an assertion that is evaluated only when code is generated, so one case must pass:
//! then `trybuild` builds instead of checking.

use std::process::Command;

/// The compiler whose words the `.stderr` files record; every release phrases and indents some of them anew.
const RECORDED_WITH: &str = "rustc 1.95.";

#[test]
fn mistakes_do_not_compile_and_the_message_says_what_to_do() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/a_plain_function.rs");
    if cfg!(feature = "nats") {
        cases.pass("tests/ui/a_job.rs");
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("cargo has just run this compiler");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with(RECORDED_WITH) {
        println!("SKIPPED: the messages were recorded with {RECORDED_WITH}x, and this is {version}");
        return;
    }
    cases.compile_fail("tests/ui/a_capture.rs");
    cases.compile_fail("tests/ui/a_fn_pointer.rs");
    cases.compile_fail("tests/ui/no_payload.rs");
    if cfg!(feature = "nats") {
        cases.compile_fail("tests/ui/no_job.rs");
        cases.compile_fail("tests/ui/no_job_payload.rs");
    }
}
