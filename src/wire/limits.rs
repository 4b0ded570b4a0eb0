//! [`Limits`]: what one payload may ask for beyond its own length, counted alike on both sides.

use super::CodecError;

/// How deep options, sequences, maps, structs, tuples and enums may nest; wrappers such as `Box` do not count. Without
/// a limit, hostile bytes for a recursive type would overflow the stack, which takes the program down.
const LEVELS: u32 = 256;

/// How many elements of sequences and maps may take no bytes, such as those of `Vec<()>`. Without a limit, three hostile
/// bytes could claim billions of them.
const EMPTY_ELEMENTS: usize = 65_536;

/// What is left of the limits of one payload.
#[derive(Debug)]
pub(super) struct Limits {
    levels: u32,
    empty_elements: usize,
}

impl Limits {
    #[inline]
    pub(super) fn new() -> Self {
        Self { levels: LEVELS, empty_elements: EMPTY_ELEMENTS }
    }

    /// Goes one level down.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), CodecError> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return Err(CodecError::new(format!("the value is nested deeper than {LEVELS} levels")));
        };
        self.levels = levels;
        Ok(())
    }

    /// Comes back up.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.levels += 1;
    }

    /// Counts one element that took no bytes.
    #[inline]
    pub(super) fn empty_element(&mut self) -> Result<(), CodecError> {
        let Some(left) = self.empty_elements.checked_sub(1) else {
            return Err(CodecError::new(format!(
                "more than {EMPTY_ELEMENTS} elements take no bytes, as `()` does: send their number instead"
            )));
        };
        self.empty_elements = left;
        Ok(())
    }
}
