//! [`Registered`]: the functions of this program that have a name, as `#[heavylift::job]` gives them one.

use bytes::Bytes;

use super::perform::Performed;
use crate::Payload;

/// A function with its name. Made by `#[heavylift::job]`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered {
    name: &'static str,
    /// `file:line`, for the error about two functions with one name.
    at: &'static str,
    type_id: fn() -> std::any::TypeId,
    fingerprint: fn() -> u64,
    run: fn(Bytes) -> Performed,
}

impl Registered {
    pub const fn new<F, A, R>(_name: &'static str, _function: F, _at: &'static str) -> Self
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        todo!()
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What its types look like; computed once.
    pub(super) fn fingerprint(&self) -> u64 {
        todo!()
    }

    /// Decodes, runs, encodes. A panic of the function goes through.
    pub(super) fn run(&self, argument: Bytes) -> Performed {
        (self.run)(argument)
    }
}

/// The function of type `F`, if it has a name.
pub(super) fn of<F: 'static>() -> Option<&'static Registered> {
    todo!()
}

/// The function of that name.
pub(super) fn named(_name: &str) -> Option<&'static Registered> {
    todo!()
}

/// All functions of this program, in the order of their names.
pub(super) fn all() -> &'static [&'static Registered] {
    todo!()
}

/// # Errors
///
/// Two functions have one name: the text names both places.
pub(super) fn check() -> Result<(), String> {
    todo!()
}
