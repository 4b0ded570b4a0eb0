//! Catches the panics of jobs and of other foreign code, with message, place and backtrace.
//!
//! 1. Foreign code (jobs, wakers, callbacks, `Drop`, `Serialize`, `Deserialize`) never unwinds into ours: it is called
//!    through [`catch`] or [`shield`].
//! 2. The hook is installed once, on first use, and calls the hook that it found, so panics are still reported as the
//!    program wants it. It notes place and backtrace.
//! 3. If the program replaces the hook later, only place and backtrace are lost.
//! 4. A note belongs to a panic only if it has its message: what unwinds may have been thrown without the hook, by `resume_unwind`. A
//!    job's helpers pass on their panics in that way, so what is not found in this thread's note is looked for among the latest
//!    notes of all threads.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::{Mutex, Once, PoisonError},
};

use crate::error::PanicReport;

thread_local! {
    /// How many `catch` frames are on this thread's stack.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// The latest panic inside `catch` on this thread.
    static NOTED: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

/// The latest panics of all threads, the last one last. Taken alone; no foreign code runs under it.
static LATEST: Mutex<VecDeque<Noted>> = Mutex::new(VecDeque::new());
/// How many of them are kept.
const KEPT: usize = 16;

#[derive(Clone)]
struct Noted {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

/// Calls `f`, and returns its panic, if any, as a value.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, PanicReport> {
    install_hook();
    CATCHING.set(CATCHING.get() + 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(CATCHING.get() - 1);
    outcome.map_err(report)
}

/// Calls foreign code whose panic nobody asks about. The panic hook has reported it.
pub(crate) fn shield(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        discard(payload);
    }
}

/// Drops a foreign value; a panic in its `Drop` stops here.
pub(crate) fn drop_shielded<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        shield(move || drop(value));
    }
}

fn report(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = message_of(&*payload);
    let noted = NOTED.take().filter(|noted| noted.message == message).or_else(|| take_latest(&message));
    let (location, backtrace) = noted.map_or((None, None), |noted| (noted.location, noted.backtrace));
    PanicReport { message, location, backtrace, payload: Some(payload) }
}

/// Takes the latest note with this message, whichever thread it is from.
fn take_latest(message: &str) -> Option<Noted> {
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let at = latest.iter().rposition(|noted| noted.message == message)?;
    latest.remove(at)
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "Box<dyn Any>".to_owned(),
    }
}

/// Drops a panic payload whose own `Drop` may panic in turn; after that it is leaked, so that this ends.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}

/// Installs the hook, unless it is already there.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // `set_hook` panics on a panicking thread, where `catch` runs only inside some `Drop`: do without.
        if std::thread::panicking() {
            return;
        }
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            previous(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    // `capture` reads RUST_BACKTRACE itself, and costs nothing when it does not ask for one.
    let backtrace = Backtrace::capture();
    let noted = Noted {
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    };
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if latest.len() == KEPT {
        latest.pop_front();
    }
    latest.push_back(noted.clone());
    drop(latest);
    if CATCHING.try_with(Cell::get).unwrap_or(0) > 0 {
        // A second panic while the first unwinds finds the cell free: it is never borrowed across foreign code.
        let _ = NOTED.try_with(|cell| cell.replace(Some(noted)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_report_with_message_and_place() {
        let report = catch(|| -> () { panic!("lost {}", 3) }).unwrap_err();
        assert_eq!(report.message, "lost 3");
        assert!(report.location.is_some_and(|at| at.contains("panic.rs")));
        assert!(report.payload.is_some());
    }

    #[test]
    fn a_panic_that_a_helper_passes_on_has_the_place_where_it_began() {
        let helper = std::thread::spawn(|| catch(|| panic!("lost by a helper")).is_ok().then_some(()));
        assert!(
            helper.join().is_ok_and(|outcome| outcome.is_none()),
            "one that is caught there is none of ours"
        );
        let line = line!() + 1;
        let helper = std::thread::spawn(|| panic!("passed on by a helper"));
        let report = catch(|| panic::resume_unwind(helper.join().unwrap_err())).unwrap_err();
        assert!(report.location.is_some_and(|at| at.contains(&format!("panic.rs:{line}"))));
    }

    #[test]
    fn a_panic_without_a_note_has_no_place_and_never_that_of_another() {
        let report = catch(|| -> () {
            let _ = panic::catch_unwind(|| panic!("what the job catches itself"));
            panic::resume_unwind(Box::new("what it passes on"))
        });
        let report = report.unwrap_err();
        assert_eq!((report.message.as_str(), report.location), ("what it passes on", None));
    }

    #[test]
    fn a_panic_in_the_drop_of_a_payload_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        shield(|| panic::panic_any(Bomb));
        drop_shielded(Bomb);
    }
}
