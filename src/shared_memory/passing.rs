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
    static WRITING: Cell<Writing> = const { Cell::new(Writing::Nothing) };
    /// The pieces of the payload that is being written, each once.
    static COLLECTED: RefCell<Vec<SharedBytes>> = const { RefCell::new(Vec::new()) };
    /// The pieces of the payload that is being read.
    static ARRIVED: RefCell<Option<Vec<SharedBytes>>> = const { RefCell::new(None) };
}

type List = std::thread::LocalKey<RefCell<Option<Vec<SharedBytes>>>>;

/// What is being written on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Nothing,
    /// A payload in which no piece has been found: the list is empty.
    Plain,
    /// A payload in which pieces have been found.
    Naming,
}

/// The time in which a payload is written. Puts what was before back when it is dropped, also by a panic.
struct Collecting {
    outer: Writing,
    pieces: Vec<SharedBytes>,
}

impl Collecting {
    fn enter() -> Self {
        let outer = WRITING.replace(Writing::Plain);
        let pieces = if outer == Writing::Naming { COLLECTED.take() } else { Vec::new() };
        Self { outer, pieces }
    }

    /// Returns the list.
    fn leave(self) -> Vec<SharedBytes> {
        match WRITING.replace(Writing::Plain) {
            Writing::Naming => COLLECTED.take(),
            _ => Vec::new(),
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        if WRITING.replace(self.outer) == Writing::Naming || self.outer == Writing::Naming {
            drop(COLLECTED.replace(std::mem::take(&mut self.pieces)));
        }
    }
}

/// Puts a list in place of another, and the other back when it is dropped, also by a panic.
struct Scope {
    list: &'static List,
    outer: Option<Vec<SharedBytes>>,
}

impl Scope {
    fn enter(list: &'static List, pieces: Vec<SharedBytes>) -> Self {
        Self { list, outer: list.replace(Some(pieces)) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.list.set(self.outer.take());
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
    let _scope = Scope::enter(&ARRIVED, pieces);
    read()
}

/// The number of a piece in the payload that is being written.
pub(super) fn number_of(piece: &SharedBytes) -> Result<u32, String> {
    if WRITING.get() == Writing::Nothing {
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
            WRITING.set(Writing::Naming);
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
    ARRIVED.with_borrow(|arrived| {
        let pieces = arrived.as_deref().ok_or("shared memory is read outside of a process pool job")?;
        let piece = pieces.get(number as usize).cloned();
        piece.ok_or_else(|| format!("piece {number} of shared memory, where {} came along", pieces.len()))
    })
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
    fn a_number_that_no_piece_has_is_an_error_that_says_so() {
        let error = resolving(vec![piece("a")], || piece_of(7)).unwrap_err();
        assert_eq!(error, "piece 7 of shared memory, where 1 came along");
    }
}
