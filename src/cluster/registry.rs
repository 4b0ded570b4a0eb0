//! [`Registered`]: the functions of this program that have a name, as `#[heavylift::job]` gives them one.
//!
//! The list is made by the linker ([`JOBS`]): it is complete before `main`, in the program and in its workers alike.

use std::{any::TypeId, collections::HashMap, sync::OnceLock, time::Instant};

use bytes::Bytes;
use linkme::distributed_slice;

use super::{content, perform::Performed, schema};
use crate::{Payload, process::conjure};

/// All functions of this program that have a name, in the order in which they were linked.
#[doc(hidden)]
#[distributed_slice]
pub static JOBS: [Registered];

/// A function with its name. Made by `#[heavylift::job]`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered {
    name: &'static str,
    /// `file:line`, for the error about two functions with one name.
    at: &'static str,
    type_id: fn() -> TypeId,
    look: fn() -> u64,
    /// What `look` has found.
    fingerprint: OnceLock<u64>,
    run: fn(Bytes) -> Performed,
}

impl Registered {
    /// Names a function.
    ///
    /// # Panics
    ///
    /// When it is compiled, if `F` is not the type of a plain function.
    pub const fn new<F, A, R>(name: &'static str, _function: F, at: &'static str) -> Self
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        assert!(size_of::<F>() == 0, "only a plain function has a name");
        Self {
            name,
            at,
            type_id: TypeId::of::<F>,
            look: schema::fingerprint::<A, R>,
            fingerprint: OnceLock::new(),
            run: run::<F, A, R>,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What its types look like; computed once.
    pub(super) fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(self.look)
    }

    /// Decodes, runs, encodes. A panic of the function goes through.
    pub(super) fn run(&self, argument: Bytes) -> Performed {
        (self.run)(argument)
    }
}

fn run<F, A, R>(argument: Bytes) -> Performed
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Payload,
{
    let argument = match content::unpack::<A>(argument) {
        Ok(argument) => argument,
        Err(why) => return Performed::ArgumentNotDecodable(why),
    };
    let start = Instant::now();
    let value = conjure::<F>()(argument);
    let ran = start.elapsed();
    match content::pack(value) {
        Ok(bytes) => Performed::Value(bytes, ran),
        Err(why) => Performed::ResultNotEncodable(why),
    }
}

/// The function of type `F`, if it has a name.
pub(super) fn of<F: 'static>() -> Option<&'static Registered> {
    static BY_TYPE: OnceLock<HashMap<TypeId, &'static Registered>> = OnceLock::new();
    let by_type = BY_TYPE.get_or_init(|| all().iter().map(|job| ((job.type_id)(), *job)).collect());
    by_type.get(&TypeId::of::<F>()).copied()
}

/// The function of that name.
pub(super) fn named(name: &str) -> Option<&'static Registered> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Registered>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| all().iter().map(|job| (job.name, *job)).collect());
    by_name.get(name).copied()
}

/// All functions of this program, in the order of their names.
pub(super) fn all() -> &'static [&'static Registered] {
    static ALL: OnceLock<Vec<&'static Registered>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<_> = JOBS.iter().collect();
        all.sort_by_key(|job| (job.name, job.at));
        all
    })
}

/// # Errors
///
/// Two functions have one name: the text names both places.
pub(super) fn check() -> Result<(), String> {
    unique(all())
}

/// Of a list in the order of the names.
fn unique(jobs: &[&Registered]) -> Result<(), String> {
    match jobs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        None => Ok(()),
        Some(pair) => Err(format!(
            "two functions have the name `{}`, one at {} and one at {}: rename one, or give it another \
             name by `#[heavylift::job(name = \"…\")]`",
            pair[0].name, pair[0].at, pair[1].at
        )),
    }
}

#[cfg(test)]
mod tests;
