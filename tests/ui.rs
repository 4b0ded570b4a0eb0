//! The compile errors that users will meet, word for word.
//!
//! The message about captures comes from an assertion that is evaluated only when code is generated, so one case must pass:
//! then `trybuild` builds instead of checking.

#[test]
fn mistakes_do_not_compile_and_the_message_says_what_to_do() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/a_plain_function.rs");
    cases.compile_fail("tests/ui/a_capture.rs");
    cases.compile_fail("tests/ui/a_fn_pointer.rs");
    cases.compile_fail("tests/ui/no_payload.rs");
}
