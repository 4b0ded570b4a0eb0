//! [`SharedBytes`]: a buffer that processes share.

use std::{fmt, io, ops::Deref, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{block::Block, passing};

/// Bytes in shared memory: written once, then passed to any number of jobs in any number of processes without a copy.
///
/// An argument or a result of a job in a process pool is copied on its way; a `SharedBytes` in it is not, however large it is
/// and wherever in it it lies. A worker maps the memory when it is first sent a job with it, and keeps it mapped, so that from
/// the second job on the memory costs that worker nothing. A job may return what it was given or what it has made: the memory
/// is then the program's, still without a copy.
///
/// The bytes never change: the memory is sealed by the kernel, so that no process can write to it, neither the program nor a
/// worker that has gone wrong. A write through a raw pointer ends the process that tries.
///
/// Cheap to clone. The memory is freed when the last handle in the program is gone, and no job uses it any more. A worker that is
/// busy then lets go of it when its job ends. Nothing else keeps it: it has no name in any file system, and processes that
/// are killed leave nothing of it behind.
///
/// On a thread pool it is moved like any other value. [`Shared`](crate::Shared) is the same for numbers and other plain old
/// data.
///
/// # Limits
///
/// - It crosses as, or in, the argument or the result of a job of a process pool. Serialising it anywhere else is an error: there
///   is nobody who could read it.
/// - One argument or result holds at most 256 different ones. They do not count towards
///   [`max_payload`](crate::ProcessPoolBuilder::max_payload).
/// - What a job was given it cannot pass on to a process pool of its own, nor return from a later job: the task ends as
///   [not encodable](crate::TaskErrorKind::Encode). What it has made itself it can.
/// - It cannot be in the argument of `preload` or `initializer`.
/// - Each one takes a file descriptor (RLIMIT_NOFILE) of the process that made it, and of the program. A worker keeps up to 64 mapped that
///   it does not use.
/// - Linux. Elsewhere, where there are no process pools, it is ordinary memory.
///
/// # Examples
///
/// One table for all jobs:
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
/// use heavylift::{ProcessPool, SharedBytes};
///
/// fn count((text, byte): (SharedBytes, u8)) -> usize {
///     text.iter().filter(|&&other| other == byte).count()
/// }
///
/// let text = SharedBytes::copy_from_slice(b"to be or not to be")?;
/// let jobs = b"tob".iter().map(|&byte| (text.clone(), byte));
/// let counts: Vec<usize> = ProcessPool::global().map(count, jobs).try_collect().await?;
/// assert_eq!(counts, [3, 4, 2]);
/// # Ok(())
/// # }
/// ```
///
/// A large result, as [`Bytes`] and without a copy:
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bytes::Bytes;
/// use heavylift::{JobError, SharedBytes, fallible, run_in_process_pool};
///
/// fn render(len: usize) -> Result<SharedBytes, std::io::Error> {
///     SharedBytes::create(len, |picture| picture.fill(200))
/// }
///
/// let picture: Result<SharedBytes, JobError> = run_in_process_pool(fallible(render), 1 << 20).await?;
/// let picture = Bytes::from(picture?);
/// assert_eq!(picture[picture.len() - 1], 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedBytes(Arc<Block>);

impl SharedBytes {
    /// Returns shared memory that holds a copy of `bytes`: the only copy there will be.
    ///
    /// # Errors
    ///
    /// When there is no memory left, or no descriptor; the error names the limit.
    pub fn copy_from_slice(bytes: &[u8]) -> io::Result<Self> {
        Block::copy(bytes).map(Self::over)
    }

    /// Returns shared memory of `len` bytes that `fill` has written in place, without any copy. It finds zeros.
    ///
    /// # Errors
    ///
    /// When there is no memory left, or no descriptor; the error names the limit. `fill` has not been called, then, or for
    /// nothing.
    ///
    /// # Panics
    ///
    /// If `fill` does. Nothing is left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::SharedBytes;
    ///
    /// let squares = SharedBytes::create(4, |bytes| {
    ///     for (n, byte) in (0..).zip(bytes) {
    ///         *byte = n * n;
    ///     }
    /// })?;
    /// assert_eq!(squares[..], [0, 1, 4, 9]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        Block::create(len, fill).map(Self::over)
    }

    /// Returns a piece of no length, which takes no descriptor and cannot fail. It cannot be sent.
    #[cfg(feature = "nats")]
    pub(crate) fn nothing() -> Self {
        Self::over(Block::nothing())
    }

    fn over(block: Block) -> Self {
        Self(Arc::new(block))
    }

    /// Whether both are handles of one piece.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What the process pool needs.
#[cfg(target_os = "linux")]
mod crossing {
    use std::{
        io,
        os::fd::{BorrowedFd, OwnedFd},
        sync::{Arc, Weak},
    };

    use super::{Block, SharedBytes};
    use crate::shared_memory::Reader;

    impl SharedBytes {
        /// Takes over a piece of another process, so that it can be sent on.
        ///
        /// # Errors
        ///
        /// `InvalidData` if it is not as every piece is; else what the system lacks.
        pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
            Block::adopt(fd).map(Self::over)
        }

        /// Maps a piece of another process, to be read here and not to be sent on.
        ///
        /// # Errors
        ///
        /// As [`adopt`](Self::adopt).
        pub(crate) fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
            Block::map(fd).map(Self::over)
        }

        /// The number of the piece in this process.
        pub(crate) fn id(&self) -> u64 {
            self.0.id()
        }

        /// What to send; `None` if it came from another process and cannot be sent on.
        pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            self.0.descriptor()
        }

        /// Notes that a process was told of the piece, and is to be told when the last handle has gone.
        pub(crate) fn told(&self, reader: Weak<dyn Reader>) {
            self.0.told(reader);
        }

        /// Whether both are handles of one piece.
        pub(crate) fn is(&self, other: &Self) -> bool {
            self.is_same(other)
        }

        /// Sees whether a handle of the piece lives, and keeps none alive.
        pub(crate) fn watch(&self) -> Watch {
            Watch(Arc::downgrade(&self.0))
        }
    }

    /// Sees whether a piece lives.
    pub(crate) struct Watch(Weak<Block>);

    impl Watch {
        pub(crate) fn is_gone(&self) -> bool {
            self.0.strong_count() == 0
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) use crossing::Watch;

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// No copy: the `Bytes` is one more handle.
impl From<SharedBytes> for Bytes {
    fn from(shared: SharedBytes) -> Self {
        Self::from_owner(shared)
    }
}

/// Compares the bytes.
impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Eq for SharedBytes {}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = passing::number_of(self).map_err(ser::Error::custom)?;
        serializer.serialize_u32(number)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        passing::note_elements::<u8>();
        passing::piece_of(number).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_written_whatever_its_length() {
        for len in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let copied = SharedBytes::copy_from_slice(&bytes).unwrap();
            let created = SharedBytes::create(len, |area| area.copy_from_slice(&bytes)).unwrap();
            assert_eq!(*copied, *bytes);
            assert_eq!(created, copied);
        }
        assert_eq!(*SharedBytes::create(3, |_| ()).unwrap(), [0; 3]);
    }

    #[test]
    fn bytes_over_it_share_its_memory() {
        let shared = SharedBytes::copy_from_slice(b"shared").unwrap();
        let address = shared.as_ptr();
        let bytes = Bytes::from(shared);
        assert_eq!(bytes.as_ptr(), address);
        assert_eq!(&bytes[..], b"shared");
    }

    #[test]
    fn outside_of_a_job_it_is_not_serialised() {
        let shared = SharedBytes::copy_from_slice(b"x").unwrap();
        let error = serde_json::to_string(&shared).unwrap_err().to_string();
        assert_eq!(error, "shared memory crosses only as an argument or result of a process pool job");
        assert!(serde_json::from_str::<SharedBytes>("0").is_err());
    }

    #[test]
    fn it_says_how_long_it_is_and_not_what_is_in_it() {
        let shared = SharedBytes::copy_from_slice(b"secret").unwrap();
        assert_eq!(format!("{shared:?}"), "SharedBytes { len: 6, .. }");
    }
}
