//! [`Block`]: one piece of shared memory in this process, with what it takes to send it on and to have it forgotten.

use std::{
    io,
    mem::ManuallyDrop,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustix::io::Errno;

use super::sealed::Sealed;

/// A process that was told of pieces, by the number that each has in the program.
pub(crate) trait Reader: Send + Sync {
    /// The program has no handle of the piece any more. Never waits.
    fn forget(&self, id: u64);
}

/// One piece, as long as a handle of it lives.
pub(super) struct Block {
    /// Differs from that of every other piece that this process has ever had.
    id: u64,
    sealed: Sealed,
    descriptor: Option<Descriptor>,
    /// The processes that were told of it. Taken alone.
    readers: Mutex<Vec<Weak<dyn Reader>>>,
}

impl Block {
    pub(super) fn create(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        Sealed::create(len, fill).map(Self::new).map_err(explained)
    }

    pub(super) fn copy(bytes: &[u8]) -> io::Result<Self> {
        Sealed::copy(bytes).map(Self::new).map_err(explained)
    }

    /// Takes over a piece of another process, so that it can be sent on.
    pub(super) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let sealed = Sealed::open(fd.as_fd()).map_err(explained)?;
        Ok(Self::new((sealed, fd)))
    }

    /// Maps a piece of another process, to be read here and not to be sent on.
    pub(super) fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::over(Sealed::open(fd).map_err(explained)?, None))
    }

    /// A piece of no length, without a descriptor.
    #[cfg(feature = "nats")]
    pub(super) fn nothing() -> Self {
        Self::over(Sealed::nothing(), None)
    }

    fn new((sealed, fd): (Sealed, OwnedFd)) -> Self {
        Self::over(sealed, Some(Descriptor::new(fd)))
    }

    fn over(sealed: Sealed, descriptor: Option<Descriptor>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // ORDERING: Relaxed. Only that the numbers differ matters.
        Self { id: NEXT.fetch_add(1, Relaxed), sealed, descriptor, readers: Mutex::default() }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What to send; `None` if the piece came from another process, or was made before a fork.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().and_then(Descriptor::get)
    }

    /// Notes that a process was told of this piece.
    pub(super) fn told(&self, reader: Weak<dyn Reader>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&reader));
        readers.push(reader);
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.sealed
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let readers = std::mem::take(self.readers.get_mut().unwrap_or_else(PoisonError::into_inner));
        if readers.is_empty() || self.descriptor().is_none() {
            return;
        }
        for reader in readers.iter().filter_map(Weak::upgrade) {
            reader.forget(self.id);
        }
    }
}

/// A descriptor that is used and closed only by the process that opened it.
struct Descriptor {
    fd: ManuallyDrop<OwnedFd>,
    process: u32,
}

impl Descriptor {
    fn new(fd: OwnedFd) -> Self {
        Self { fd: ManuallyDrop::new(fd), process: std::process::id() }
    }

    fn get(&self) -> Option<BorrowedFd<'_>> {
        (self.process == std::process::id()).then(|| self.fd.as_fd())
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            #[expect(unsafe_code, reason = "the only way to drop early what may have to be leaked")]
            // SAFETY: dropped here only, and not used after.
            unsafe {
                ManuallyDrop::drop(&mut self.fd);
            }
        }
    }
}

/// Names the limit that a failure of the system most likely hit.
fn explained(error: io::Error) -> io::Error {
    let limit = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "the program's limit of open files (RLIMIT_NOFILE) is reached",
        Some(Errno::NFILE) => "the system's limit of open files is reached",
        Some(Errno::NOMEM | Errno::NOSPC) => "there is not so much memory, or address space, left",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {limit}"))
}
