//! How the C library deals with bodies, which come and go by the megabyte.
#![allow(unsafe_code, reason = "the C library is set up by a call of its own")]

/// Has everything from this size on return to the system as soon as it is dropped.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 256 << 10;

/// Keeps the memory of the service at what it needs.
///
/// glibc begins like this, but takes a large piece that is dropped as a sign that more of its size will come, and from then on keeps
/// such memory, per thread. After an hour of pictures that is a hundred megabytes for nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back_what_is_large() {
    // SAFETY: changes a number inside the allocator, under the allocator's own lock.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_what_is_large() {}
