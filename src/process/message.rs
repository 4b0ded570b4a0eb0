//! The messages between a program, its zygote and its workers.
//!
//! Control messages (program and zygote) are postcard, in one message of a socket each. Worker messages (program and
//! worker) are a tag and two numbers.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    call::{self, Function},
    child::entry::Guard,
    sys::Memory,
};

/// The version of everything below and of the ring. Both sides come from one file, so this only catches a mix-up.
pub(super) const PROTOCOL: u32 = 1;

/// The longest control message.
pub(super) const MAX_CONTROL: usize = 4096;

/// First message of the program to its zygote; the settings follow in shared memory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) fingerprint: u64,
    pub(super) nonce: u128,
    pub(super) settings_len: u64,
}

impl Hello {
    /// The hello for a child with these settings, and the memory in which they lie.
    pub(super) fn new(guard: Guard, settings: &Settings) -> io::Result<(Self, OwnedFd)> {
        let settings = to_bytes(settings);
        let (memory, fd) = Memory::create(settings.len())?;
        memory.write(&settings);
        let hello = Self {
            protocol: PROTOCOL,
            fingerprint: call::fingerprint(),
            nonce: guard.nonce,
            settings_len: settings.len() as u64,
        };
        Ok((hello, fd))
    }

    /// The settings, if this hello is for the process with `guard` and comes from the same program.
    pub(super) fn settings(&self, guard: Guard, memory: BorrowedFd<'_>) -> Result<Settings, String> {
        if self.nonce != guard.nonce {
            return Err("the hello is not for this process".to_owned());
        }
        if self.protocol != PROTOCOL || self.fingerprint != call::fingerprint() {
            return Err("the hello comes from another build of this program".to_owned());
        }
        let len = usize::try_from(self.settings_len).map_err(|error| error.to_string())?;
        let memory = Memory::open(memory, len).map_err(|error| error.to_string())?;
        let settings = memory.read(len).and_then(|bytes| from_bytes(&bytes));
        settings.ok_or_else(|| "the settings cannot be read".to_owned())
    }
}

/// What a process that was started as a child is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Its hello comes with a socket that ends with the program.
    Zygote,
    /// A worker of a zygote that cannot fork. Its hello is followed by the order that a zygote would have forked it for.
    Worker,
}

/// What a zygote and its workers need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) role: Role,
    pub(super) pool: String,
    pub(super) depth: u32,
    pub(super) stack_size: u64,
    pub(super) address_space_limit: Option<u64>,
    /// What the paths of the workers' cgroups begin with, if they have some.
    pub(super) leaves: Option<Vec<u8>>,
    pub(super) max_payload: u64,
    /// Whether workers keep what jobs have freed for those that follow.
    pub(super) keeps_heap: bool,
    pub(super) preload: Option<SetupCall>,
    pub(super) initializer: Option<SetupCall>,
}

/// An initialiser or a preload with its argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SetupCall {
    pub(super) function: Function,
    pub(super) argument: Vec<u8>,
}

/// Program to zygote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Fork a worker. Comes with its socket, its arena and its standard error; where what it says is told, also with its standard
    /// output and a stream for its events.
    Fork { ticket: u64, number: u32 },
}

/// Zygote to program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notice {
    /// The preload is done; orders are welcome.
    Ready,
    /// The zygote ends: a short reason. Details are on its standard error.
    Failed(String),
    /// Comes with the worker's pidfd.
    Forked {
        ticket: u64,
        pid: u32,
    },
    NotForked {
        ticket: u64,
        why: String,
    },
    Exited {
        ticket: u64,
        cause: Exit,
    },
}

/// How a worker exited, as the zygote saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
    Unknown,
}

pub(super) fn to_bytes<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages consist of numbers and strings, which postcard encodes")
}

/// Reads a message; `None` if it is none of ours.
pub(super) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// Flag of a job in the ring: names of shared memory stand behind its argument.
pub(super) const HAS_NAMES: u32 = 1;
/// Flag of a job in the ring: the worker should look at its socket first, which it otherwise does when it has nothing to do.
pub(super) const LISTEN: u32 = 2;

/// Where in the flags of a job stands how long its note is, in bytes.
const NOTE: u32 = 16;

/// The flags for a note.
pub(super) fn note_flag(note: &[u8]) -> u32 {
    debug_assert!(note.len() <= usize::from(u16::MAX));
    (note.len() as u32) << NOTE
}

/// How long the note of a job is.
#[cfg(feature = "opentelemetry")]
pub(super) fn note_len(flags: u32) -> usize {
    (flags >> NOTE) as usize
}

/// Where in the flags of a job stands up to which level the program wants the worker's events; 0 is none.
#[cfg(feature = "tracing")]
const WANTED_LEVEL: u32 = 4;

/// Up to which level a job's flags want events: its number.
#[cfg(feature = "tracing")]
pub(super) fn wanted_level(flags: u32) -> u8 {
    (flags >> WANTED_LEVEL & 7) as u8
}

/// The flags for what the program's own subscribers want at this moment.
#[cfg(feature = "tracing")]
pub(super) fn want_events() -> u32 {
    let level = tracing::level_filters::LevelFilter::current().into_level();
    level.map_or(0, |level| u32::from(level_number(level)) << WANTED_LEVEL)
}

/// A level as it travels: from 1 for errors to 5 for traces.
#[cfg(feature = "tracing")]
pub(super) fn level_number(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::ERROR => 1,
        tracing::Level::WARN => 2,
        tracing::Level::INFO => 3,
        tracing::Level::DEBUG => 4,
        tracing::Level::TRACE => 5,
    }
}

/// Program to worker, or worker to program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Look at the ring.
    Doorbell,
    /// A segment of shared memory; its descriptor comes with the message.
    Segment { id: u32, len: u64 },
    /// The sender no longer uses a segment that it has made: unmap it.
    Forget { id: u32 },
    /// A result has been read out of the worker's segment, which may be used again.
    Release { id: u32 },
    /// The worker's initialiser is done; jobs are welcome.
    Ready,
    /// The worker's initialiser failed; it exits.
    NotReady,
    /// A piece of shared memory that payloads may name from now on; its descriptor comes with the message.
    Shared { id: u64 },
    /// No payload will name a piece of shared memory any more.
    ForgetShared { id: u64 },
    /// The worker could not map a piece of shared memory that it was sent: it must be sent again.
    NotMapped { id: u64 },
}

/// The length of a [`Signal`] on the wire.
pub(super) const SIGNAL_LEN: usize = 13;

impl Signal {
    pub(super) fn to_wire(self) -> [u8; SIGNAL_LEN] {
        let (tag, id, len) = match self {
            Self::Doorbell => (1, 0, 0),
            Self::Segment { id, len } => (2, id, len),
            Self::Forget { id } => (3, id, 0),
            Self::Release { id } => (4, id, 0),
            Self::Ready => (5, 0, 0),
            Self::NotReady => (6, 0, 0),
            Self::Shared { id } => (7, 0, id),
            Self::ForgetShared { id } => (8, 0, id),
            Self::NotMapped { id } => (9, 0, id),
        };
        let mut bytes = [0; SIGNAL_LEN];
        bytes[0] = tag;
        bytes[1..5].copy_from_slice(&u32::to_le_bytes(id));
        bytes[5..].copy_from_slice(&u64::to_le_bytes(len));
        bytes
    }

    /// Reads a signal; `None` if it is none.
    pub(super) fn from_wire(bytes: &[u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        let (id, len) = rest.split_at_checked(4)?;
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let len = u64::from_le_bytes(len.try_into().ok()?);
        Some(match tag {
            1 => Self::Doorbell,
            2 => Self::Segment { id, len },
            3 => Self::Forget { id },
            4 => Self::Release { id },
            5 => Self::Ready,
            6 => Self::NotReady,
            7 => Self::Shared { id: len },
            8 => Self::ForgetShared { id: len },
            9 => Self::NotMapped { id: len },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_survive_the_wire_and_garbage_is_none() {
        let signals = [
            Signal::Doorbell,
            Signal::Segment { id: 7, len: 1 << 40 },
            Signal::Forget { id: u32::MAX },
            Signal::Release { id: 1 },
            Signal::Ready,
            Signal::NotReady,
            Signal::Shared { id: u64::MAX },
            Signal::ForgetShared { id: 1 << 40 },
            Signal::NotMapped { id: 3 },
        ];
        for signal in signals {
            assert_eq!(Signal::from_wire(&signal.to_wire()), Some(signal));
        }
        assert_eq!(Signal::from_wire(&[]), None);
        assert_eq!(Signal::from_wire(&[1, 2]), None);
        assert_eq!(Signal::from_wire(&[99; SIGNAL_LEN]), None);
    }

    #[test]
    fn control_messages_reject_trailing_bytes() {
        let mut bytes = to_bytes(&Notice::Forked { ticket: 3, pid: 4 });
        assert_eq!(from_bytes(&bytes), Some(Notice::Forked { ticket: 3, pid: 4 }));
        bytes.push(0);
        assert_eq!(from_bytes::<Notice>(&bytes), None);
    }
}
