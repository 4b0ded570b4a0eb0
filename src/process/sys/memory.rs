//! [`Memory`]: anonymous shared memory that cannot shrink (memfd), and [`Mapped`]: a value that lies in it.
//!
//! 1. A mapping is only made of memory whose size is sealed and was checked, so no access to it can fault (SIGBUS), whatever
//!    the other process does.
//! 2. The other process may write at any time: bytes are copied through raw pointers, and no reference to plain data in a
//!    mapping ever exists.
#![expect(unsafe_code, reason = "mmap, and copies from and to memory that another process can write")]

use std::{
    ffi::c_void,
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::process::{progress::Progress, ring::Arena};

/// A mapping of shared memory, readable and writable.
#[derive(Debug)]
pub(in crate::process) struct Memory {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, and bytes in it are only copied.
unsafe impl Send for Memory {}
// SAFETY: as above; concurrent copies are as sound as the other process's.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes new memory of `len` bytes, all zero, sealed against any change of its size.
    pub(in crate::process) fn create(len: usize) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create("heavylift", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Self::map(fd.as_fd(), len)?, fd))
    }

    /// Maps memory that somebody else has made.
    ///
    /// # Errors
    ///
    /// Also when it is not sealed against shrinking, or shorter than `len`.
    pub(in crate::process) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let sealed = fcntl_get_seals(fd)?.contains(SealFlags::SHRINK);
        let size = u64::try_from(fstat(fd)?.st_size).unwrap_or(0);
        if !sealed || size < len as u64 {
            return Err(io::Error::other("shared memory that is too short or may shrink"));
        }
        Self::map(fd, len)
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, 0)
        }?;
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, len })
    }

    /// Copies `bytes` to the start of the memory.
    ///
    /// # Panics
    ///
    /// If they are longer than the memory.
    pub(in crate::process) fn write(&self, bytes: &[u8]) {
        self.write_at(0, bytes);
    }

    /// Copies `bytes` into the memory, from `offset` on.
    ///
    /// # Panics
    ///
    /// If they reach beyond its end.
    pub(super) fn write_at(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: the mapping has so many bytes there and stays while `self` lives; a private slice cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) };
    }

    /// Copies the bytes from `offset` on into all of `target`.
    ///
    /// # Panics
    ///
    /// If they reach beyond the end of the memory.
    pub(super) fn read_at(&self, offset: usize, target: &mut [MaybeUninit<u8>]) {
        let place = self.place(offset, target.len());
        // SAFETY: as in `write_at`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(place.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    }

    /// The address of `len` bytes from `offset` on.
    fn place(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset <= self.len && len <= self.len - offset, "memory is made to be long enough");
        // SAFETY: the mapping is one allocation, and the offset lies within it.
        unsafe { self.start.cast::<u8>().add(offset) }
    }

    /// The `T` that lies at `offset`.
    ///
    /// # Panics
    ///
    /// If it reaches beyond the end of the memory, or does not lie as a `T` must.
    pub(super) fn at<T: Shareable>(&self, offset: usize) -> &T {
        let place = self.place(offset, size_of::<T>()).cast::<T>();
        assert!(place.is_aligned(), "a place for a value is chosen with its alignment");
        // SAFETY: the mapping is long enough, the address aligned, and it stays while `self` lives; every bit pattern is a `T`,
        // and all of it is atomics, so that others may write meanwhile.
        unsafe { place.as_ref() }
    }

    /// Copies the first `len` bytes out of the memory; `None` if it is shorter.
    pub(in crate::process) fn read(&self, len: usize) -> Option<Vec<u8>> {
        if len > self.len {
            return None;
        }
        let mut bytes = Vec::with_capacity(len);
        self.read_at(0, &mut bytes.spare_capacity_mut()[..len]);
        // SAFETY: the copy has set the first `len` bytes.
        unsafe { bytes.set_len(len) };
        Some(bytes)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, and nothing points into it any more.
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}

/// Types that may lie in shared memory: every bit pattern is valid, and every field is an atomic.
///
/// # Safety
///
/// As said above.
pub(in crate::process) unsafe trait Shareable {}

// SAFETY: all its fields are atomics, as its documentation promises.
unsafe impl Shareable for Arena {}
// SAFETY: all it is is an atomic.
unsafe impl Shareable for Progress {}

/// A `T` at the start of shared memory.
#[derive(Debug)]
pub(in crate::process) struct Mapped<T> {
    memory: Memory,
    kind: PhantomData<fn() -> T>,
}

impl<T: Shareable> Mapped<T> {
    /// Makes new memory for a `T` that is all zero.
    pub(in crate::process) fn create() -> io::Result<(Self, OwnedFd)> {
        let (memory, fd) = Memory::create(size_of::<T>())?;
        Ok((Self { memory, kind: PhantomData }, fd))
    }

    /// Maps a `T` that somebody else has made.
    pub(in crate::process) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { memory: Memory::open(fd, size_of::<T>())?, kind: PhantomData })
    }
}

impl<T: Shareable> Deref for Mapped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.memory.at(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let (ours, fd) = Memory::create(8192).unwrap();
        let theirs = Memory::open(fd.as_fd(), 8192).unwrap();
        ours.write(b"hello");
        assert_eq!(theirs.read(5).unwrap(), b"hello");
        assert_eq!(theirs.read(8193), None);
    }

    #[test]
    fn memory_that_may_shrink_or_is_too_short_is_refused() {
        let unsealed = memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 4096).unwrap();
        assert!(Memory::open(unsealed.as_fd(), 4096).is_err());
        let (_ours, sealed) = Memory::create(4096).unwrap();
        assert!(Memory::open(sealed.as_fd(), 4097).is_err());
    }
}
