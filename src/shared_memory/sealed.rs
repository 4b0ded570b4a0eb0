//! [`Sealed`]: memory that nobody can change any more, mapped for reading (memfd, seals, mmap).
#![expect(unsafe_code, reason = "mmap, and slices of what it returns")]

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs,
        ftruncate, memfd_create, sendfile,
    },
    io::{Errno, write},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};

/// What no process can undo.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE).union(SealFlags::SEAL);

/// The file system of a memfd, as `fstatfs` names it. Memory of huge pages has another and is not accepted.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A mapping for reading, of memory that is sealed.
#[derive(Debug)]
pub(super) struct Sealed(Mapping);

impl Sealed {
    /// Makes memory of `len` bytes, all zero, has it filled, and seals it.
    ///
    /// # Errors
    ///
    /// What the system says when there is not so much memory, or no descriptor.
    pub(super) fn create(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<(Self, OwnedFd)> {
        let fd = memory()?;
        if len > 0 {
            refuse_the_impossible(len)?;
            ftruncate(&fd, len as u64)?;
            // Now, so that a lack of memory is an error here, and not a signal wherever the memory is touched.
            fallocate(&fd, FallocateFlags::empty(), 0, len as u64)?;
        }
        let mut area = Mapping::new(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        fill(area.bytes_mut());
        // The seal against writing cannot be set while a mapping could write.
        drop(area);
        match fcntl_add_seals(&fd, SEALS) {
            Ok(()) => Ok((Self::open(fd.as_fd())?, fd)),
            // The program was forked meanwhile, and the copy still has the mapping.
            Err(Errno::BUSY) => Self::copy_of(&fd, len),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes memory that holds a copy of what another has, and seals it.
    fn copy_of(fd: &OwnedFd, len: usize) -> io::Result<(Self, OwnedFd)> {
        let (copy, mut offset) = (memory()?, 0);
        while offset < len as u64 {
            let left = len - offset as usize;
            // By the kernel: somebody may write to it.
            match sendfile(&copy, fd, Some(&mut offset), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::finish(copy)
    }

    /// Makes memory that holds a copy of `bytes`, and seals it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub(super) fn copy(bytes: &[u8]) -> io::Result<(Self, OwnedFd)> {
        let fd = memory()?;
        // Cheaper than through a mapping: no page is cleared before it is written, and none faults.
        let mut left = bytes;
        while !left.is_empty() {
            match write(&fd, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::finish(fd)
    }

    /// No memory at all, and so nothing that could change.
    #[cfg(feature = "nats")]
    pub(super) fn nothing() -> Self {
        Self(Mapping { start: NonNull::<Page>::dangling().cast(), len: 0 })
    }

    fn finish(fd: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        fcntl_add_seals(&fd, SEALS)?;
        Ok((Self::open(fd.as_fd())?, fd))
    }

    /// Maps memory that somebody has made, perhaps another process that is not to be trusted.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) if it is not sealed, or not all there; else what the system says.
    pub(super) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let foreign = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let seals = fcntl_get_seals(fd).map_err(|_| foreign("it is no memory that can be sealed"))?;
        if !seals.contains(SEALS) {
            return Err(foreign("it is not sealed"));
        }
        // From here on neither its size nor its contents can change.
        if fstatfs(fd)?.f_type as u64 != TMPFS_MAGIC {
            return Err(foreign("it consists of huge pages"));
        }
        let stat = fstat(fd)?;
        let (size, blocks) =
            (u64::try_from(stat.st_size).unwrap_or(0), u64::try_from(stat.st_blocks).unwrap_or(0));
        if blocks.saturating_mul(512) < size {
            return Err(foreign("it has holes"));
        }
        let len = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Mapping::new(fd, len, ProtFlags::READ, MapFlags::PRIVATE).map(Self)
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Mapping { start, len } = &self.0;
        // SAFETY: the mapping is `len` bytes long and stays while `self` lives. Nobody writes to it: `open` has seen the seals,
        // and this process maps it for reading only.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), *len) }
    }
}

fn memory() -> io::Result<OwnedFd> {
    Ok(memfd_create("heavylift-shared", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

/// Fails where `len` bytes are more than the machine could ever have free.
///
/// The kernel asks that for private memory only, and would rather end processes than let `fallocate` fail.
fn refuse_the_impossible(len: usize) -> io::Result<()> {
    // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe {
        mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // SAFETY: the mapping was made above, and nothing points into it.
    Ok(unsafe { munmap(start, len) }?)
}

/// A mapping of a whole file, or nothing if that is empty.
#[derive(Debug)]
struct Mapping {
    /// Aligned to a page, also if there is nothing.
    start: NonNull<u8>,
    len: usize,
}

/// As small as pages are anywhere.
#[repr(align(4096))]
struct Page;

// SAFETY: the mapping belongs to this value alone; what is behind it is shared for reading, or borrowed from it mutably.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: usize, protection: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self { start: NonNull::<Page>::dangling().cast(), len });
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, len })
    }

    /// The memory, while it is being filled: it must have been mapped for writing.
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `len` bytes long, initialised by the kernel, and borrowed mutably; the descriptor has not left
        // this module yet, so nobody else maps or writes it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the mapping was made by `new`, and nothing points into it any more.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

    use super::*;

    fn unsealed(len: u64) -> OwnedFd {
        let fd = memory().unwrap();
        ftruncate(&fd, len).unwrap();
        fallocate(&fd, FallocateFlags::empty(), 0, len).unwrap();
        fd
    }

    fn refused(fd: impl AsFd) -> String {
        let error = Sealed::open(fd.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        error.to_string()
    }

    #[test]
    fn a_fork_that_keeps_the_memory_writable_does_not_keep_it_from_being_made() {
        let mut copy = None;
        let bytes: Vec<u8> = (0..100_000).map(|n| n as u8).collect();
        let made = Sealed::create(bytes.len(), |area| {
            area.copy_from_slice(&bytes);
            // SAFETY: the copy only waits for its end.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                loop {
                    // SAFETY: takes nothing and returns after a signal.
                    unsafe { libc::pause() };
                }
            }
            copy = Pid::from_raw(pid);
        });
        let copy = copy.expect("forked");
        kill_process(copy, Signal::KILL).unwrap();
        waitpid(Some(copy), WaitOptions::empty()).unwrap();
        let (sealed, fd) = made.unwrap();
        assert_eq!(*sealed, *bytes);
        assert!(fcntl_get_seals(&fd).unwrap().contains(SEALS));
    }

    #[test]
    fn each_seal_must_be_there() {
        for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE, SealFlags::SEAL] {
            let fd = unsealed(4096);
            fcntl_add_seals(&fd, SEALS.difference(missing)).unwrap();
            assert_eq!(refused(&fd), "it is not sealed", "{missing:?}");
        }
        // It would let the mapping that its maker has go on writing.
        let fd = unsealed(4096);
        fcntl_add_seals(&fd, SEALS.difference(SealFlags::WRITE).union(SealFlags::FUTURE_WRITE)).unwrap();
        assert_eq!(refused(&fd), "it is not sealed");
        let fd = unsealed(4096);
        fcntl_add_seals(&fd, SEALS).unwrap();
        assert!(Sealed::open(fd.as_fd()).is_ok());
    }

    #[test]
    fn what_is_no_memory_or_has_holes_is_refused() {
        assert_eq!(refused(std::fs::File::open("/dev/null").unwrap()), "it is no memory that can be sealed");
        let holes = memory().unwrap();
        ftruncate(&holes, 1 << 30).unwrap();
        fcntl_add_seals(&holes, SEALS).unwrap();
        assert_eq!(refused(&holes), "it has holes");
    }

    #[test]
    fn nothing_can_write_to_it_or_change_its_size() {
        let (sealed, fd) = Sealed::copy(b"fixed").unwrap();
        assert_eq!(ftruncate(&fd, 1), Err(Errno::PERM));
        assert_eq!(ftruncate(&fd, 100_000), Err(Errno::PERM));
        assert_eq!(rustix::io::pwrite(&fd, b"x", 0), Err(Errno::PERM));
        let writable = Mapping::new(fd.as_fd(), 5, ProtFlags::WRITE, MapFlags::SHARED);
        assert_eq!(writable.unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
        assert_eq!(*sealed, *b"fixed");
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(Sealed::create(usize::MAX, |_| ()).is_err());
        assert!(Sealed::create(1 << 62, |_| ()).is_err());
    }
}
