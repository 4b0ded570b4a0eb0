//! How a payload names the shared memory in it: by a number that counts the pieces of that payload.
//!
//! `Serialize` and `Deserialize` know nothing of processes, so the codec says on this thread what it is doing:
//! [`collecting`] while it writes a payload, [`resolving`] while it reads one. In between, a piece becomes a number and a
//! number a piece, however deep it lies, also inside `Json<T>`. The list of the pieces travels beside the bytes.
//!
//! Serialising may itself encode another payload (a `Serialize` that submits a job): the lists nest.

use std::cell::{Cell, RefCell};

use super::{MOST_IN_PAYLOAD, SharedBytes};

thread_local! {
    /// Whether a payload is being written. Looked at for every payload, and so apart from the list, which has a destructor.
    static WRITING: Cell<Passing> = const { Cell::new(Passing::Nothing) };
    /// The pieces of the payload that is being written, each once.
    static COLLECTED: RefCell<Vec<SharedBytes>> = const { RefCell::new(Vec::new()) };
    /// Whether a payload is being read. Apart from the list, as above.
    static READING: Cell<Passing> = const { Cell::new(Passing::Nothing) };
    /// The pieces of the payload that is being read, if that has any.
    static ARRIVED: RefCell<Vec<SharedBytes>> = const { RefCell::new(Vec::new()) };
}

/// What is being written or read on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    Nothing,
    /// A payload in which no piece has been found, or with which none has come: there is no list of it.
    Plain,
    /// A payload with pieces.
    Naming,
}

/// The time in which a payload is written. Puts what was before back when it is dropped, also by a panic.
struct Collecting {
    outer: Passing,
    pieces: Vec<SharedBytes>,
}

impl Collecting {
    fn enter() -> Self {
        let outer = WRITING.replace(Passing::Plain);
        let pieces = if outer == Passing::Naming { COLLECTED.take() } else { Vec::new() };
        Self { outer, pieces }
    }

    /// Returns the list.
    fn leave(self) -> Vec<SharedBytes> {
        match WRITING.replace(Passing::Plain) {
            Passing::Naming => COLLECTED.take(),
            _ => Vec::new(),
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        if WRITING.replace(self.outer) == Passing::Naming || self.outer == Passing::Naming {
            drop(COLLECTED.replace(std::mem::take(&mut self.pieces)));
        }
    }
}

/// The time in which a payload is read. Puts what was before back when it is dropped, also by a panic.
struct Resolving {
    outer: Passing,
    /// The list that this payload's own has taken the place of, if it has one.
    list: Option<Vec<SharedBytes>>,
}

impl Resolving {
    fn enter(pieces: Vec<SharedBytes>) -> Self {
        if pieces.is_empty() {
            return Self { outer: READING.replace(Passing::Plain), list: None };
        }
        Self { outer: READING.replace(Passing::Naming), list: Some(ARRIVED.replace(pieces)) }
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        READING.set(self.outer);
        if let Some(list) = self.list.take() {
            drop(ARRIVED.replace(list));
        }
    }
}

/// Runs `write`, and returns also the pieces that were serialised meanwhile, each once.
pub(crate) fn collecting<R>(write: impl FnOnce() -> R) -> (R, Vec<SharedBytes>) {
    let scope = Collecting::enter();
    let written = write();
    (written, scope.leave())
}

/// Runs `read`, in which the numbers of a payload stand for `pieces`.
pub(crate) fn resolving<R>(pieces: Vec<SharedBytes>, read: impl FnOnce() -> R) -> R {
    let _scope = Resolving::enter(pieces);
    read()
}

/// The number of a piece in the payload that is being written.
pub(super) fn number_of(piece: &SharedBytes) -> Result<u32, String> {
    if WRITING.get() == Passing::Nothing {
        return Err("shared memory crosses only as an argument or result of a process pool job".to_owned());
    }
    COLLECTED.with_borrow_mut(|pieces| {
        let known = pieces.iter().position(|other| other.is_same(piece));
        let number = known.unwrap_or(pieces.len());
        if number >= MOST_IN_PAYLOAD {
            return Err(format!("more than {MOST_IN_PAYLOAD} pieces of shared memory in one payload"));
        }
        if known.is_none() {
            pieces.push(piece.clone());
            WRITING.set(Passing::Naming);
        }
        Ok(number as u32)
    })
}

#[cfg(feature = "nats")]
thread_local! {
    /// Of the piece that was read last: the type of its elements, and their size.
    static READ: Cell<Option<(std::any::TypeId, usize)>> = const { Cell::new(None) };
}

/// Notes for [`take_read_piece`] what elements a piece was read as.
pub(super) fn note_elements<T: 'static>() {
    #[cfg(feature = "nats")]
    READ.set(Some((std::any::TypeId::of::<T>(), size_of::<T>())));
}

/// What the elements are, and how large, if it was a piece that was read last on this thread: who looks at a type by reading
/// it sees no more of a piece than its number.
#[cfg(feature = "nats")]
pub(crate) fn take_read_piece() -> Option<(std::any::TypeId, usize)> {
    READ.take()
}

/// The piece that a number in the payload that is being read stands for.
pub(super) fn piece_of(number: u32) -> Result<SharedBytes, String> {
    let (piece, came_along) = match READING.get() {
        Passing::Nothing => return Err("shared memory is read outside of a process pool job".to_owned()),
        Passing::Plain => (None, 0),
        Passing::Naming => ARRIVED.with_borrow(|pieces| (pieces.get(number as usize).cloned(), pieces.len())),
    };
    piece.ok_or_else(|| format!("piece {number} of shared memory, where {came_along} came along"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> SharedBytes {
        SharedBytes::copy_from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn pieces_are_counted_each_once_and_a_nested_payload_counts_its_own() {
        let (a, b) = (piece("a"), piece("b"));
        let (numbers, pieces) = collecting(|| {
            let first = number_of(&a).unwrap();
            let (inner, _) = collecting(|| number_of(&b).unwrap());
            [first, inner, number_of(&b).unwrap(), number_of(&a.clone()).unwrap()]
        });
        assert_eq!(numbers, [0, 0, 1, 0]);
        assert_eq!(pieces, [a.clone(), b]);
        assert!(number_of(&a).is_err(), "outside of a payload");
    }

    #[test]
    fn a_panic_in_between_leaves_no_list_behind() {
        let a = piece("a");
        let (outer, _) = collecting(|| {
            crate::panic::shield(|| drop(collecting(|| panic!("in Serialize"))));
            number_of(&a)
        });
        assert_eq!(outer, Ok(0));
        crate::panic::shield(|| resolving(vec![a], || panic!("in Deserialize")));
        assert!(piece_of(0).is_err());
    }

    #[test]
    fn a_payload_that_is_read_within_another_has_its_own_pieces_only() {
        let (a, b) = (piece("a"), piece("b"));
        let read = resolving(vec![a.clone()], || {
            let plain = resolving(Vec::new(), || piece_of(0));
            let naming = resolving(vec![b.clone()], || piece_of(0));
            (plain, naming, piece_of(0))
        });
        let none = "piece 0 of shared memory, where 0 came along".to_owned();
        assert_eq!(read, (Err(none), Ok(b), Ok(a)));
        assert!(piece_of(0).is_err(), "outside of a payload");
    }

    #[test]
    fn a_number_that_no_piece_has_is_an_error_that_says_so() {
        let error = resolving(vec![piece("a")], || piece_of(7)).unwrap_err();
        assert_eq!(error, "piece 7 of shared memory, where 1 came along");
    }
}
