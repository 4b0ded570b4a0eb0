//! Where a process finds out whether it is a child: before `main`, or in [`check_in`] from `worker::init()`.
//!
//! **`main` never runs twice.** A variable in the environment says that this process was started as a child. If it is not of
//! our form it is somebody else's, and ignored. If it is, then `main` is not reached any more: either every guard holds and
//! the zygote runs, or one line goes to standard error and the process exits. The guards: the process has no more rights than
//! who started it, standard input is a socket, the socket was made by the expected parent, and the first message on it
//! repeats the variable's nonce.
#![expect(unsafe_code, reason = "runs before main, and runs the initialisers that come after its own")]

use std::{
    env,
    ffi::c_char,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{exit_with, zygote};
use crate::process::sys;

/// The variable that makes a process a child.
pub(in crate::process) const VARIABLE: &str = "HEAVYLIFT_CHILD";

/// What a child is told by the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct Guard {
    pub(in crate::process) parent: u32,
    pub(in crate::process) nonce: u128,
}

impl Guard {
    pub(in crate::process) fn to_value(self) -> String {
        format!("1:{}:{:032x}", self.parent, self.nonce)
    }

    /// Reads the variable; `None` if it is not of our form.
    fn from_value(value: &str) -> Option<Self> {
        let (parent, nonce) = value.strip_prefix("1:")?.split_once(':')?;
        let nonce = if nonce.len() == 32 { u128::from_str_radix(nonce, 16).ok()? } else { return None };
        Some(Self { parent: parent.parse().ok()?, nonce })
    }
}

/// Whether this process can tell that it is a child, so that it may start some of its own.
///
/// ORDERING: Relaxed. Set before the process has a second thread.
static CHECKED: AtomicBool = AtomicBool::new(false);

/// Whether the check has been made in this process.
pub(in crate::process) fn is_in_place() -> bool {
    CHECKED.load(Relaxed)
}

/// Where the code of the check lies.
pub(in crate::process) fn address() -> usize {
    check_in as fn() as usize
}

/// Finds out whether this process is a child; if so, it never returns.
pub(in crate::process) fn check_in() {
    check(std::ptr::null(), || ());
}

/// The check, with what must be done before anything else if this is a child.
fn check(argv: *const *const c_char, prepare: impl FnOnce()) {
    CHECKED.store(true, Relaxed);
    let Some(value) = env::var_os(VARIABLE) else { return };
    let Some(guard) = value.to_str().and_then(Guard::from_value) else { return };
    // SAFETY: before `main` there is one thread; `worker::init()` asks for the same.
    unsafe { env::remove_var(VARIABLE) };
    if sys::is_privileged() {
        exit_with("refused to start as a child: the program runs with more rights than its caller");
    }
    prepare();
    zygote::run(guard, argv)
}

/// The entry proper: the C library calls it before `main`, with the program's arguments.
#[cfg(all(feature = "auto-start", target_env = "gnu"))]
mod auto_start {
    use super::check;
    use std::ffi::{c_char, c_int};

    type Initialiser = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTRY: Initialiser = entry;

    extern "C" fn entry(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        check(argv, || run_later_initialisers(argc, argv, envp));
    }

    // Weak, because a shared library has no such symbols of its own and would not load.
    std::arch::global_asm!(".weak __init_array_start", ".weak __init_array_end");
    unsafe extern "C" {
        static __init_array_start: [Option<Initialiser>; 0];
        static __init_array_end: [Option<Initialiser>; 0];
    }

    /// Runs the initialisers behind ours, which the C library would run next: the statics of C++ libraries are made there.
    fn run_later_initialisers(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        let (start, end) = (&raw const __init_array_start, &raw const __init_array_end);
        let (mut next, end) = (start.cast::<Option<Initialiser>>(), end.cast::<Option<Initialiser>>());
        let mut ours_seen = false;
        while next < end {
            // SAFETY: the linker lays the program's initialisers out between the two symbols.
            let initialiser = unsafe { *next };
            // SAFETY: at most one behind the last.
            next = unsafe { next.add(1) };
            match initialiser {
                Some(ours) if std::ptr::fn_addr_eq(ours, entry as Initialiser) => ours_seen = true,
                Some(later) if ours_seen => later(argc, argv, envp),
                _ => {}
            }
        }
    }
}

#[cfg(all(feature = "auto-start", not(target_env = "gnu")))]
mod auto_start {
    use super::check;

    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTRY: extern "C" fn() = entry;

    /// Other C libraries than glibc pass no arguments.
    extern "C" fn entry() {
        check(std::ptr::null(), || ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_survives_and_any_other_form_is_ignored() {
        let guard = Guard { parent: 1234, nonce: 0xfeed };
        assert_eq!(Guard::from_value(&guard.to_value()), Some(guard));
        for other in ["", "1", "1:2", "1:2:3", "2:1:00000000000000000000000000000001", "yes", "1:x:0"] {
            assert_eq!(Guard::from_value(other), None, "{other}");
        }
    }
}
