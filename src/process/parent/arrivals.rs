//! [`Arrivals`]: shared memory that a worker has sent and that no result of its has named yet.
//!
//! The worker sends a piece before it publishes the result that names it, so that what has been sent is there when it is
//! named, and what is there beyond the replies that have been taken belongs to one result at most. Two results' worth is
//! therefore as much as a worker of ours can make wait; the rest is left in its socket, where it holds up the worker.

use std::{collections::HashMap, io, os::fd::OwnedFd};

use crate::{
    process::names::Name,
    shared_memory::{MOST_IN_PAYLOAD, SharedBytes},
};

/// How many pieces may wait to be named.
const MOST: usize = 2 * MOST_IN_PAYLOAD;

/// What a worker has sent, by its number there; or why it could not be taken in.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pieces: HashMap<u64, Result<SharedBytes, String>>,
}

impl Arrivals {
    pub(super) fn is_full(&self) -> bool {
        self.pieces.len() >= MOST
    }

    /// Whether all that was sent under these names is here.
    pub(super) fn has_all(&self, names: &[Name]) -> bool {
        names.iter().all(|name| match name {
            Name::Sent(number) => self.pieces.contains_key(number),
            Name::Given(_) => true,
        })
    }

    /// Takes in a piece.
    ///
    /// # Errors
    ///
    /// What only a worker that is none of ours can have done.
    pub(super) fn add(&mut self, number: u64, fd: OwnedFd) -> Result<(), &'static str> {
        match SharedBytes::adopt(fd) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err("it sent shared memory that is not sealed")
            }
            outcome => self.put(number, outcome.map_err(|error| error.to_string())),
        }
    }

    /// Notes that a piece was sent and lost on the way.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub(super) fn lose(&mut self, number: u64, why: String) -> Result<(), &'static str> {
        self.put(number, Err(why))
    }

    fn put(&mut self, number: u64, piece: Result<SharedBytes, String>) -> Result<(), &'static str> {
        if self.is_full() || self.pieces.insert(number, piece).is_some() {
            return Err("it sent shared memory that it does not name");
        }
        Ok(())
    }

    /// The worker has thought better of it.
    pub(super) fn forget(&mut self, number: u64) {
        self.pieces.remove(&number);
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }

    /// The pieces that a result names, where `given` are those of the argument. Each that was sent is named once.
    ///
    /// # Errors
    ///
    /// What only a worker that is none of ours can have done. `Ok(Err(..))`: why one of them could not be taken in.
    pub(super) fn claim(
        &mut self,
        names: &[Name],
        given: &[SharedBytes],
    ) -> Result<Result<Vec<SharedBytes>, String>, &'static str> {
        let mut pieces = Vec::new();
        let mut failed = None;
        for name in names {
            let piece = match *name {
                Name::Sent(number) => self.pieces.remove(&number),
                Name::Given(place) => {
                    usize::try_from(place).ok().and_then(|place| given.get(place)).cloned().map(Ok)
                }
            };
            match piece.ok_or("it named shared memory that it had neither sent nor been given")? {
                Ok(piece) => pieces.push(piece),
                Err(why) => failed = Some(why),
            }
        }
        Ok(failed.map_or(Ok(pieces), Err))
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    fn piece(text: &str) -> SharedBytes {
        SharedBytes::copy_from_slice(text.as_bytes()).unwrap()
    }

    fn sent(text: &str) -> OwnedFd {
        piece(text).descriptor().unwrap().try_clone_to_owned().unwrap()
    }

    const STRANGE: Result<Result<Vec<SharedBytes>, String>, &str> =
        Err("it named shared memory that it had neither sent nor been given");

    #[test]
    fn a_result_gets_what_was_sent_for_it_and_what_its_job_was_given() {
        let mut arrivals = Arrivals::default();
        let given = [piece("first"), piece("second")];
        arrivals.add(7, sent("made")).unwrap();
        let names = [Name::Given(1), Name::Sent(7)];
        let pieces = arrivals.claim(&names, &given).unwrap().unwrap();
        assert_eq!(pieces, [piece("second"), piece("made")]);
        assert!(pieces[0].is(&given[1]), "no second mapping");
        assert!(!arrivals.has_all(&[Name::Sent(7)]));
    }

    #[test]
    fn what_a_hostile_worker_names_is_refused() {
        let mut arrivals = Arrivals::default();
        arrivals.add(7, sent("made")).unwrap();
        for name in [Name::Sent(8), Name::Given(1), Name::Given(u64::MAX)] {
            assert_eq!(arrivals.claim(&[name], &[piece("given")]), STRANGE, "{name:?}");
        }
        assert_eq!(arrivals.claim(&[Name::Sent(7), Name::Sent(7)], &[]), STRANGE, "named twice");
    }

    #[test]
    fn what_a_hostile_worker_sends_is_refused() {
        let mut arrivals = Arrivals::default();
        let open = || memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let unsealed = Err("it sent shared memory that is not sealed");
        assert_eq!(arrivals.add(1, open()), unsealed);
        let sparse = open();
        ftruncate(&sparse, 1 << 40).unwrap();
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&sparse, seals).unwrap();
        assert_eq!(arrivals.add(1, sparse), unsealed, "reading its holes would take a terabyte");
        assert_eq!(arrivals.add(1, std::fs::File::open("/dev/zero").unwrap().into()), unsealed);
        arrivals.add(1, sent("x")).unwrap();
        assert!(arrivals.add(1, sent("y")).is_err(), "the same number again");
    }

    #[test]
    fn a_flood_is_refused() {
        let mut arrivals = Arrivals::default();
        (0..MOST as u64).for_each(|number| arrivals.lose(number, "no descriptor".to_owned()).unwrap());
        assert!(arrivals.is_full());
        assert!(arrivals.lose(MOST as u64, String::new()).is_err());
    }

    #[test]
    fn what_could_not_be_taken_in_is_an_error_of_the_result_that_names_it() {
        let mut arrivals = Arrivals::default();
        arrivals.lose(1, "no descriptor".to_owned()).unwrap();
        arrivals.add(2, sent("x")).unwrap();
        let claimed = arrivals.claim(&[Name::Sent(1), Name::Sent(2)], &[]);
        assert_eq!(claimed, Ok(Err("no descriptor".to_owned())));
        assert!(!arrivals.has_all(&[Name::Sent(2)]), "nothing is left behind");
    }
}
