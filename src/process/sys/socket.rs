//! [`Socket`]: one end of a connected pair of sockets that carry messages and descriptors (SOCK_SEQPACKET).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send,
        sendmsg, socketpair,
        sockopt::{Timeout, set_socket_timeout, socket_domain, socket_peercred, socket_type},
    },
};

/// The most descriptors in one message.
const MAX_FDS: usize = 5;

/// One end of a pair. Messages arrive whole and in order; the other end's death is an end of file.
#[derive(Debug)]
pub(in crate::process) struct Socket(OwnedFd);

/// A message as it was received.
#[derive(Debug)]
pub(in crate::process) struct Received {
    pub(in crate::process) len: usize,
    pub(in crate::process) fds: Vec<OwnedFd>,
}

impl Socket {
    pub(in crate::process) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    pub(in crate::process) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(in crate::process) fn into_fd(self) -> OwnedFd {
        self.0
    }

    pub(in crate::process) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Wakes the other end. Never waits: if the message does not fit, enough are under way.
    ///
    /// # Errors
    ///
    /// When the descriptor is no longer our socket (a job closed it), or the other end is gone. `send`, unlike `write`,
    /// cannot hit a file that has got the number meanwhile.
    pub(in crate::process) fn ring(&self, message: &[u8]) -> io::Result<()> {
        match send(&self.0, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a message with descriptors. Waits for room only if `flags` allow it.
    fn send_with(&self, message: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(
                control.push(SendAncillaryMessage::ScmRights(fds)),
                "a message carries at most {MAX_FDS}"
            );
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(message)], &mut control, flags | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    /// Sends a message, waiting for room if need be.
    pub(in crate::process) fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, fds, SendFlags::empty())
    }

    /// Sends a message without waiting.
    ///
    /// # Errors
    ///
    /// Also when there is no room.
    pub(in crate::process) fn try_send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, fds, SendFlags::DONTWAIT)
    }

    /// Receives a message, waiting for one. An end of file is a message of length 0.
    ///
    /// # Errors
    ///
    /// EMFILE when this process has no descriptor to spare for one in the message. The message itself is in `buffer`, then.
    pub(in crate::process) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive_with(buffer, RecvFlags::empty())
    }

    /// Has [`receive`](Self::receive) wait no longer than that: then it fails with `WouldBlock`.
    pub(in crate::process) fn limit_waits(&self, limit: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, limit)?)
    }

    /// Receives a message if there is one: `None` if not.
    pub(in crate::process) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        match self.receive_with(buffer, RecvFlags::DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    fn receive_with(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(buffer)];
            let message = match recvmsg(&self.0, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
                // The second: the other end died with messages unread. That is said once, and before what it had sent.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                outcome => outcome?,
            };
            let fds = control
                .drain()
                .flat_map(|part| match part {
                    RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
                    _ => Vec::new(),
                })
                .collect();
            if message.flags.contains(ReturnFlags::CTRUNC) {
                // Descriptors came for which there was no room, and no message of ours carries more than the buffer holds.
                return Err(Errno::MFILE.into());
            }
            if message.flags.contains(ReturnFlags::TRUNC) {
                return Err(io::Error::other("a message was longer than any that is sent"));
            }
            return Ok(Received { len: message.bytes, fds });
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A pair of sockets that carry a stream.
#[cfg(feature = "tracing")]
pub(in crate::process) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Sends a few kilobytes on a stream, whole and in one piece, waiting for room if need be.
///
/// # Errors
///
/// As [`Socket::ring`]: `send` cannot hit a file that has got the number meanwhile.
#[cfg(feature = "tracing")]
pub(in crate::process) fn send_on_stream(stream: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    loop {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome.map(drop)?),
        }
    }
}

/// Takes over the standard input if it is a socket that the process `parent` has made.
///
/// # Errors
///
/// A text that says what is wrong.
pub(in crate::process) fn adopt_stdin(parent: u32) -> Result<Socket, String> {
    let stdin = rustix::stdio::stdin();
    let kind = socket_type(stdin).map_err(|error| format!("standard input is no socket: {error}"))?;
    let domain = socket_domain(stdin).map_err(|error| error.to_string())?;
    if kind != SocketType::SEQPACKET || domain != AddressFamily::UNIX {
        return Err("standard input is a socket of another kind".to_owned());
    }
    let peer = socket_peercred(stdin).map_err(|error| error.to_string())?.pid.as_raw_nonzero().get() as u32;
    if peer != parent {
        return Err(format!("the socket was made by process {peer}, not by {parent}"));
    }
    let fd = fcntl_dupfd_cloexec(stdin, 3).map_err(|error| error.to_string())?;
    Ok(Socket(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_end_sent_is_received_although_it_died_with_messages_unread() {
        let (near, far) = Socket::pair().unwrap();
        near.send(b"never read", &[]).unwrap();
        far.send(b"last words", &[]).unwrap();
        drop(far);
        let mut buffer = [0; 16];
        assert_eq!(near.try_receive(&mut buffer).unwrap().unwrap().len, 10);
        assert_eq!(&buffer[..10], b"last words");
        assert_eq!(near.try_receive(&mut buffer).unwrap().unwrap().len, 0);
    }
}
