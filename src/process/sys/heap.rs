//! [`Heap`]: the heap of a worker, kept warm while jobs come, and given back when none has come for a while; [`join_freed`]: that of a
//! keeper, kept in order.
//!
//! Memory that is taken from the kernel afresh costs a fault for each page, four times what it costs to copy into it; glibc gives
//! large pieces back as soon as they are freed. Other C libraries have no such settings, and an allocator of the program's own
//! has settings of its own: there nothing is kept by us.
#![expect(unsafe_code, reason = "the settings of glibc's allocator have no safe interface")]

use std::hint::black_box;

/// What the allocator of this process keeps of what is freed.
#[derive(Debug)]
pub(in crate::process) struct Heap {
    /// The page faults of the process until something was last given back.
    faults: libc::c_long,
}

/// How much must be free for it to be worth giving back.
#[cfg(target_env = "gnu")]
const MUCH: u32 = 1 << 20;

#[cfg(target_env = "gnu")]
impl Heap {
    /// Has the allocator keep what is freed; `None` if it does not.
    pub(in crate::process) fn keep() -> Option<Self> {
        // SAFETY: changes settings of the allocator, under its own lock.
        let set = |name, value| unsafe { libc::mallopt(name, value) } == 1;
        // What is larger belongs to single jobs. Versions before 2.35 allow no more than 32 MiB. Both settings, for each one turns off
        // how glibc adapts the other; this one first, for it may be refused, and nothing is to change then.
        let kept = [1 << 30, 32 << 20].into_iter().any(|size| set(libc::M_MMAP_THRESHOLD, size))
            && set(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        kept.then_some(Self { faults: 0 })
    }

    /// Whether there is much to give back: it is free, and pages have been touched since the last time.
    pub(in crate::process) fn has_spare(&self) -> bool {
        // Not `mallinfo2`, which older versions lack: beyond 4 GiB the number is too small, perhaps.
        // SAFETY: counts what is free, under the allocator's own lock.
        let free = unsafe { libc::mallinfo() }.fordblks.cast_unsigned();
        free >= MUCH && faults() != self.faults
    }

    /// Gives back to the kernel what is free.
    pub(in crate::process) fn give_back(&mut self) {
        // SAFETY: walks what is free, under the allocator's own lock.
        unsafe { libc::malloc_trim(0) };
        self.faults = faults();
    }
}

/// Has the allocator join what other threads have freed of what this thread has allocated, before it allocates much again.
///
/// glibc hangs small pieces that another thread frees into a list, each at its head, and takes them from there one by one: the head goes to
/// and fro between the two processors, and each piece is waited for, as it lies in the other's cache or in none. For a large request it takes
/// the whole list at once and joins neighbours; what is allocated next then lies side by side.
pub(in crate::process) fn join_freed() {
    /// What is a large request to glibc, and too large for what each thread keeps for itself.
    const LARGE: usize = 4096;
    if cfg!(target_env = "gnu") {
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

/// The page faults of this process so far.
#[cfg(target_env = "gnu")]
fn faults() -> libc::c_long {
    // SAFETY: all zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: only writes into `usage`.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    usage.ru_minflt
}

#[cfg(not(target_env = "gnu"))]
impl Heap {
    pub(in crate::process) fn keep() -> Option<Self> {
        None
    }

    pub(in crate::process) fn has_spare(&self) -> bool {
        false
    }

    pub(in crate::process) fn give_back(&mut self) {
        self.faults = 0;
    }
}
