//! [`Pieces`]: the shared memory of a worker: what it was sent, and what it sends.

use std::{collections::HashMap, io, os::fd::OwnedFd};

use crate::{
    process::{
        message::Signal,
        names::{self, Name},
        reply::Reply,
        sys::Socket,
    },
    shared_memory::SharedBytes,
    wire::Encoded,
};

/// What a worker knows of shared memory.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// What the program has sent, by its number there; or why it could not be mapped.
    known: HashMap<u64, Result<SharedBytes, String>>,
    /// The number of the next piece that is sent.
    next: u64,
}

impl Pieces {
    /// Maps a piece that the program has sent. A failure is one of the jobs that name it.
    pub(super) fn add(&mut self, id: u64, fd: &OwnedFd) {
        use std::os::fd::AsFd;
        let piece = SharedBytes::map(fd.as_fd());
        self.known.insert(id, piece.map_err(|error| format!("shared memory cannot be mapped: {error}")));
    }

    /// A piece was sent whose descriptor did not arrive.
    pub(super) fn lose(&mut self, id: u64) {
        let why =
            "shared memory cannot be received: the worker's limit of open files (RLIMIT_NOFILE) is reached";
        self.known.insert(id, Err(why.to_owned()));
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.known.remove(&id);
    }

    /// Whether all that an argument names has come and is mapped.
    pub(super) fn has_mapped(&self, names: &[Name]) -> bool {
        names
            .iter()
            .all(|name| matches!(name, Name::Sent(id) if self.known.get(id).is_some_and(Result::is_ok)))
    }

    /// Whether all that an argument names has come.
    pub(super) fn knows(&self, names: &[Name]) -> bool {
        names.iter().all(|name| matches!(name, Name::Sent(id) if self.known.contains_key(id)))
    }

    /// The pieces that an argument names, all of which have come.
    ///
    /// # Errors
    ///
    /// Why one of them could not be mapped. The program is to send it again.
    pub(super) fn find(&self, names: &[Name], socket: &Socket) -> Result<Vec<SharedBytes>, String> {
        let find = |name: &Name| match name {
            Name::Sent(id) => self.known.get(id).map(|piece| (*id, piece)),
            Name::Given(_) => None,
        };
        let found = names.iter().filter_map(find);
        let found = found.map(|(id, piece)| {
            piece.clone().inspect_err(|_| drop(socket.ring(&Signal::NotMapped { id }.to_wire())))
        });
        found.collect()
    }

    /// Sends the shared memory in a result, unless the job was `given` it, and puts the names behind the bytes.
    pub(super) fn send(&mut self, reply: Reply, given: &[SharedBytes], socket: &Socket) -> Reply {
        match reply {
            Reply::Value(value) if !value.pieces().is_empty() => {
                let first = self.next;
                self.send_all(value, given, socket).unwrap_or_else(|why| {
                    self.take_back(first, socket);
                    Reply::ResultNotEncodable(why)
                })
            }
            other => other,
        }
    }

    /// How many pieces were ever sent.
    pub(super) fn sent(&self) -> u64 {
        self.next
    }

    /// The pieces from number `first` on will not be named.
    pub(super) fn take_back(&self, first: u64, socket: &Socket) {
        for id in first..self.next {
            // If nobody is there to be told, nobody keeps them.
            let _ = socket.send(&Signal::ForgetShared { id }.to_wire(), &[]);
        }
    }

    fn send_all(
        &mut self,
        mut value: Encoded,
        given: &[SharedBytes],
        socket: &Socket,
    ) -> Result<Reply, String> {
        let mut list = Vec::with_capacity(value.pieces().len());
        for piece in value.pieces() {
            let name = match given.iter().position(|other| other.is(piece)) {
                Some(place) => Name::Given(place as u64),
                None => self.send_one(piece, socket)?,
            };
            list.push(name);
        }
        names::append(value.bytes_mut(), &list);
        Ok(Reply::Value(value))
    }

    fn send_one(&mut self, piece: &SharedBytes, socket: &Socket) -> Result<Name, String> {
        let fd = piece.descriptor().ok_or(
            "shared memory that an earlier job was given, or that was made before a fork, cannot be returned: copy it",
        )?;
        let id = self.next;
        // Waits for room: the program reads what comes.
        let sent = socket.send(&Signal::Shared { id }.to_wire(), &[fd]);
        sent.map_err(|error: io::Error| format!("shared memory cannot be sent: {error}"))?;
        self.next += 1;
        Ok(Name::Sent(id))
    }
}
