//! The standard output of C, which libraries in C print to, and which is not Rust's.
#![expect(unsafe_code, reason = "a stream of C has no safe interface")]

unsafe extern "C" {
    #[link_name = "stdout"]
    static STDOUT: *mut libc::FILE;
}

/// Hands what C has buffered to the kernel. Not all streams: another one may be locked for good by a thread that reads it.
pub(in crate::process) fn flush_c_stdout() {
    // SAFETY: the C library has set the stream before `main`, and whoever replaces it owes the same.
    let stream = unsafe { STDOUT };
    if !stream.is_null() {
        // SAFETY: an open stream; it has its own lock.
        unsafe { libc::fflush(stream) };
    }
}
