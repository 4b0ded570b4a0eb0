//! What a copy of the program inherits of its process pools, when it forks without executing anything: no descriptor, and the
//! knowledge that it is a copy.
//!
//! 1. The handler runs in the copy, between `fork` and its return, when locks may be held by threads that the copy lacks. So it
//!    makes nothing but atomic operations and calls of `close`, which are async-signal-safe
//!    ([pthread_atfork(3)](https://man7.org/linux/man-pages/man3/pthread_atfork.3.html)).
//! 2. The list of descriptors only ever grows at its front, and its places are used again, so it can be read at any moment.
//! 3. A descriptor leaves the list before it is closed: what gets its number next is not ours to close.
//!
//! A descriptor that was made just before a fork and is not listed yet stays open in the copy, as everything does where
//! a program makes the bare system call. The copies of pipes and bells do no harm, and a zygote watches not only its socket, but
//! the process of the program as well.
#![expect(unsafe_code, reason = "pthread_atfork, and closing descriptors that nobody in the copy will use")]

use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// How many forks without exec lie between this process and the one that was executed.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The first place of the list.
static FIRST: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());

/// No descriptor.
const NONE: RawFd = -1;

/// Tells this process from those that it was copied from by `fork`, as far as they had pools.
pub(in crate::process) fn generation() -> u32 {
    // ORDERING: Relaxed. Written only before a process has a second thread.
    GENERATION.load(Relaxed)
}

/// A place for one descriptor. Never freed.
struct Place {
    fd: AtomicI32,
    next: Option<&'static Place>,
}

/// Has a descriptor closed in copies of this process, while this lives. To be dropped before the descriptor is closed.
#[derive(Debug)]
pub(in crate::process) struct ClosedInCopies(&'static AtomicI32);

impl ClosedInCopies {
    pub(in crate::process) fn new(fd: &impl AsFd) -> Self {
        watch_forks();
        let fd = fd.as_fd().as_raw_fd();
        let taken = |place: &&Place| {
            // ORDERING: Relaxed. Only the place itself changes hands, and a fork is ordered with what its own thread did.
            place.fd.compare_exchange(NONE, fd, Relaxed, Relaxed).is_ok()
        };
        let place = places().find(taken).unwrap_or_else(|| add_place(fd));
        Self(&place.fd)
    }
}

impl Drop for ClosedInCopies {
    fn drop(&mut self) {
        // ORDERING: Release, so that the descriptor is closed after this also as others see it.
        self.0.store(NONE, Release);
    }
}

fn places() -> impl Iterator<Item = &'static Place> {
    // ORDERING: Acquire pairs with the Release in `add_place`: the place is complete.
    let first = FIRST.load(Acquire);
    // SAFETY: null, or a place that is never freed and never borrowed mutably.
    let first = unsafe { first.as_ref() };
    std::iter::successors(first, |place| place.next)
}

fn add_place(fd: RawFd) -> &'static Place {
    let mut first = FIRST.load(Acquire);
    let place = Box::into_raw(Box::new(Place { fd: AtomicI32::new(fd), next: None }));
    loop {
        // SAFETY: nobody else knows the new place yet; the one before it is as in `places`.
        unsafe { (*place).next = first.as_ref() };
        // ORDERING: Release pairs with the Acquire in `places`; Acquire for the next turn, as there.
        match FIRST.compare_exchange(first, place, AcqRel, Acquire) {
            // SAFETY: from now on it is only read, and never freed.
            Ok(_) => return unsafe { &*place },
            Err(other) => first = other,
        }
    }
}

/// Installs the handler, once. From then on copies know what they are.
pub(crate) fn watch_forks() {
    // Not a `Once`: a copy that was made while it is under way would wait for ever.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    // ORDERING: Relaxed. Nothing but the flag itself is decided by it.
    if !WATCHED.swap(true, Relaxed) {
        // SAFETY: the handler may run in a copy, as said above. The only failure is a lack of memory, and then copies of
        // the program inherit what they would inherit anyway.
        unsafe { libc::pthread_atfork(None, None, Some(in_copy)) };
    }
}

/// In the copy, before anything else.
extern "C" fn in_copy() {
    // ORDERING: Relaxed. The copy has one thread.
    GENERATION.fetch_add(1, Relaxed);
    crate::record::note_copy();
    for place in places() {
        let fd = place.fd.swap(NONE, Relaxed);
        if fd != NONE {
            // SAFETY: an open descriptor of ours; the threads that use it do not exist in the copy, and what its handles
            // could reach of it asks for the generation first.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(fd: RawFd) -> usize {
        places().filter(|place| place.fd.load(Relaxed) == fd).count()
    }

    #[test]
    fn a_descriptor_is_listed_while_its_guard_lives_and_its_place_is_used_again() {
        // Beyond what is open, so that no other test has one of these numbers.
        let files: Vec<_> = (0..8)
            .map(|n| rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 600 + n).expect("a descriptor"))
            .collect();
        let guards: Vec<_> = files.iter().map(ClosedInCopies::new).collect();
        assert!(files.iter().all(|file| listed(file.as_raw_fd()) == 1));
        let before = places().count();
        drop(guards);
        assert!(files.iter().all(|file| listed(file.as_raw_fd()) == 0));
        let again = ClosedInCopies::new(&files[0]);
        assert_eq!(listed(files[0].as_raw_fd()), 1);
        assert!(places().count() <= before + 8, "places of other tests");
        drop(again);
    }
}
