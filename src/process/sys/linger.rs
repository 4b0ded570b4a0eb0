//! [`linger`]: looks a few more times before a wait.

/// How often. Each look lets other threads run first, so it takes about a microsecond.
const LOOKS: u8 = 4;

/// Lets other threads run and looks again, a few times; says whether `found` was ever true.
///
/// Where processors are few the other side often needs just this one's time slice to come up with more, and then neither
/// side has to be woken. Only after there was something to do: who has nothing to do does not look.
pub(in crate::process) fn linger(mut found: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::thread::yield_now();
        found()
    })
}
