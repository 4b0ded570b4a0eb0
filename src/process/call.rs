//! Names a function across processes, and calls it by that name.
//!
//! 1. A function is named by the distance of its trampoline [`run`] from [`ANCHOR`]. Parent and worker are the same file, so
//!    the distance is the same in both, wherever each has been loaded. The anchor is a `static`: a function would be
//!    duplicated by inlining, and has another address in every crate that uses it.
//! 2. The trampoline checks a hash of the types before it decodes anything, so that a wrong distance between equal
//!    signatures is an error, and never undefined behaviour of the types.
//! 3. Names travel from the parent to its children, and never back.
//! 4. The function is zero-sized (checked at compile time), so there is nothing of it to send: any value of its type is it.
#![expect(
    unsafe_code,
    reason = "calls a function by its address, and makes a zero-sized function out of nothing"
)]

use std::{
    any::TypeId,
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    process::{ExitCode, Termination},
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use super::reply::Reply;
#[cfg(target_os = "linux")]
use super::{
    items::{self, Sheaf, ShortItem},
    reply::VALUE,
};
#[cfg(target_os = "linux")]
use crate::wire::{Appended, CodecError, append, decode_part, to_word};
use crate::{
    error::PanicReport,
    panic::catch,
    wire::{Arrived, Payload, decode, encode},
};

/// Where distances are counted from.
static ANCHOR: u8 = 0;

/// The name of a function, for processes that run the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    pub(super) distance: i64,
    pub(super) type_hash: u64,
}

/// A function with a decoded argument, run and encoded.
type Trampoline = fn(type_hash: u64, argument: Arrived) -> Reply;

/// Names the function that runs a job.
pub(super) fn job<F, A, R>() -> Function
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Payload,
{
    name(run::<F, A, R>, type_hash::<(F, A, R)>())
}

/// Names the function that runs a job of several items.
#[cfg(target_os = "linux")]
pub(super) fn items<F, A, R>() -> Function
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Payload,
{
    name(run_items::<F, A, R>, type_hash::<(F, A, R, Sheaf)>())
}

/// Names the function that runs an initialiser or a preload.
pub(super) fn setup<F, A, R>() -> Function
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Termination + 'static,
{
    name(set_up::<F, A, R>, type_hash::<(F, A, R)>())
}

fn name(trampoline: Trampoline, type_hash: u64) -> Function {
    let distance = (trampoline as usize).wrapping_sub(&raw const ANCHOR as usize);
    Function { distance: distance as isize as i64, type_hash }
}

fn type_hash<T: 'static>() -> u64 {
    let mut bits = Bits(0);
    TypeId::of::<T>().hash(&mut bits);
    bits.finish()
}

/// The bits of what is a hash already, such as a `TypeId`. It is asked for twice a job.
struct Bits(u64);

impl Hasher for Bits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = self.0.rotate_left(32) ^ bits;
    }
}

#[cfg(target_os = "linux")]
/// A number that differs between different builds of a program: for the greeting between its processes.
pub(super) fn fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    // Where the linker put the program's own parts relative to one another, which hardly two builds agree on. Nothing of the C
    // library: a sanitizer or a preloaded library may stand in for some of it, at another distance in each process.
    let code = (fingerprint as fn() -> u64 as usize).wrapping_sub(&raw const ANCHOR as usize);
    let calls =
        (call as unsafe fn(Function, Arrived) -> Reply as usize).wrapping_sub(&raw const ANCHOR as usize);
    (env!("CARGO_PKG_VERSION"), code, calls, &raw const ANCHOR as usize & 0xfff).hash(&mut hasher);
    hasher.finish()
}

#[cfg(target_os = "linux")]
/// Calls a function by its name.
///
/// # Safety
///
/// The name was made by [`job`] or [`setup`] in a process that runs the same file as this one.
pub(super) unsafe fn call(function: Function, argument: Arrived) -> Reply {
    let address = (&raw const ANCHOR as usize).wrapping_add(function.distance as usize);
    // SAFETY: by the caller's promise this is the address of a `run::<..>` or a `set_up::<..>` in this process.
    let trampoline = unsafe { std::mem::transmute::<*const (), Trampoline>(address as *const ()) };
    trampoline(function.type_hash, argument)
}

/// Returns the function of type `F`, one of which whoever named it had.
pub(crate) fn conjure<F: Copy>() -> F {
    // Not `const`: the assertion that users meet stands in the public functions, and is to be the only one they see.
    assert!(size_of::<F>() == 0, "only zero-sized functions are ever named");
    // SAFETY: a zero-sized `F` has no bytes to be wrong, and one exists: whoever named this trampoline had it, and it is
    // `Copy`.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

fn run<F, A, R>(expected: u64, argument: Arrived) -> Reply
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Payload,
{
    if let Err(reply) = check_types::<(F, A, R)>(expected) {
        return reply;
    }
    let stage = Cell::new(Stage::Argument);
    // One for all three: it is a good part of what a small job costs besides.
    let ran = catch(|| {
        let argument = match decode::<A>(argument) {
            Ok(argument) => argument,
            Err(why) => return Reply::ArgumentNotDecodable(why.to_string()),
        };
        stage.set(Stage::Job);
        let value = conjure::<F>()(argument);
        stage.set(Stage::Result);
        encode(value).map_or_else(|why| Reply::ResultNotEncodable(why.to_string()), Reply::Value)
    });
    ran.unwrap_or_else(|report| stage.get().panicked(report))
}

/// How far a job, or an item, has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Argument,
    Job,
    Result,
}

impl Stage {
    /// What there is instead of a value if it panics in this stage.
    fn panicked(self, report: PanicReport) -> Reply {
        match self {
            Self::Argument => Reply::ArgumentNotDecodable(report.into_summary()),
            Self::Job => Reply::panicked(report),
            Self::Result => Reply::ResultNotEncodable(report.into_summary()),
        }
    }
}

/// Where the items of a job publish their results, each before the next one begins.
pub(super) trait PublishItems: Send + Sync {
    /// A job of several items begins.
    fn begin(&self);

    /// `results` are those of all items so far, `items` in number; the last one begins at `from`. Says whether there was room.
    fn publish(&self, items: u32, results: &[u8], from: usize) -> bool;

    /// The same, where the last one is a short one.
    fn publish_short(&self, items: u32, last: ShortItem, from: usize) -> bool;

    /// The largest result of one item.
    fn max_payload(&self) -> u64;
}

/// Set once, in a worker.
static PUBLISHER: OnceLock<Arc<dyn PublishItems>> = OnceLock::new();

/// Says where the items of jobs publish their results in this process.
#[cfg(target_os = "linux")]
pub(super) fn publish_items_by(publisher: Arc<dyn PublishItems>) {
    let _ = PUBLISHER.set(publisher);
}

/// Runs items one after the other: all, or until one whose result cannot be published beside the others.
#[cfg(target_os = "linux")]
fn run_items<F, A, R>(expected: u64, argument: Arrived) -> Reply
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Payload,
{
    let arguments = match take_argument::<(F, A, R, Sheaf), Vec<u8>>(expected, argument) {
        Ok(arguments) => arguments,
        Err(reply) => return reply,
    };
    let publisher = PUBLISHER.get().expect("a worker says where before it runs a job");
    publisher.begin();
    let mut run = ItemRun::new(&arguments, &**publisher);
    // One for all of them, as long as none panics: it is most of what a small item costs besides.
    while let Err(report) = catch(|| run.run_items::<F, A, R>()) {
        if run.end_item(Err(run.stage.panicked(report))) == Next::Nothing {
            break;
        }
    }
    let sheaf = run.sheaf;
    encode(sheaf).map_or_else(|why| Reply::ResultNotEncodable(why.to_string()), Reply::Value)
}

/// The items of a job, one of which runs.
#[cfg(target_os = "linux")]
struct ItemRun<'a> {
    publisher: &'a dyn PublishItems,
    max_payload: u64,
    /// The arguments of those that have not begun.
    rest: &'a [u8],
    /// The results of those that have ended.
    sheaf: Sheaf,
    /// Where the result of the one that runs begins, and how far it has come.
    from: usize,
    stage: Stage,
}

/// What there is of the result of an item that has run.
#[cfg(target_os = "linux")]
enum Ran {
    Short(ShortItem),
    /// It lies behind the other results.
    Written,
}

/// Whether another item begins once one has ended.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Item,
    Nothing,
}

#[cfg(target_os = "linux")]
impl<'a> ItemRun<'a> {
    fn new(arguments: &'a [u8], publisher: &'a dyn PublishItems) -> Self {
        Self {
            publisher,
            max_payload: publisher.max_payload(),
            rest: arguments,
            sheaf: Sheaf { results: Vec::with_capacity(arguments.len()), count: 0, shared: Vec::new() },
            from: 0,
            stage: Stage::Argument,
        }
    }

    /// Runs items until nothing is left to run or one panics.
    fn run_items<F, A, R>(&mut self)
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Payload,
        R: Payload,
    {
        while let Some(argument) = self.take_argument::<A>() {
            let next = match self.run_item::<F, A, R>(argument) {
                Ok(Ran::Short(value)) => self.end_short(value),
                Ok(Ran::Written) => self.end_item(Ok(())),
                Err(reply) => self.end_item(Err(reply)),
            };
            if next == Next::Nothing {
                return;
            }
        }
    }

    /// The argument of the next item, if there is one.
    #[inline]
    fn take_argument<A: Payload>(&mut self) -> Option<Result<A, CodecError>> {
        (self.stage, self.from) = (Stage::Argument, self.sheaf.results.len());
        if let Some(number) = items::take_number(&mut self.rest, 0) {
            return Some(Ok(number));
        }
        let (_, argument) = items::take(&mut self.rest)?;
        Some(decode_part(argument, &[]))
    }

    /// Runs one item and writes its value behind the other results; returns what there is instead of a value.
    #[inline]
    fn run_item<F, A, R>(&mut self, argument: Result<A, CodecError>) -> Result<Ran, Reply>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Payload,
        R: Payload,
    {
        let argument = argument.map_err(|why| Reply::ArgumentNotDecodable(why.to_string()))?;
        self.stage = Stage::Job;
        let value = conjure::<F>()(argument);
        self.stage = Stage::Result;
        if let Some(number) = to_word(&value)
            && number.1 as u64 <= self.max_payload
        {
            return Ok(Ran::Short(ShortItem::new(VALUE, number)));
        }
        items::begin(&mut self.sheaf.results);
        match append(value, &mut self.sheaf.results, usize::MAX) {
            Ok(Appended::Here(shared)) => self.sheaf.shared = shared,
            Ok(Appended::Apart(_)) => unreachable!("nothing is larger than that"),
            Err(why) => return Err(Reply::ResultNotEncodable(why.to_string())),
        }
        match items::len(&self.sheaf.results, self.from) as u64 {
            len if len > self.max_payload => Err(Reply::ResultTooLarge(len)),
            _ => Ok(Ran::Written),
        }
    }

    /// Publishes the result of the item that has run, which is a short one.
    #[inline]
    fn end_short(&mut self, value: ShortItem) -> Next {
        let Sheaf { results, count, .. } = &mut self.sheaf;
        value.put(results);
        *count += 1;
        if self.publisher.publish_short(*count, value, self.from) { Next::Item } else { Next::Nothing }
    }

    /// Publishes the result of the item that has run.
    fn end_item(&mut self, outcome: Result<(), Reply>) -> Next {
        let Sheaf { results, count, shared } = &mut self.sheaf;
        match outcome {
            Ok(()) => items::end(results, VALUE, self.from),
            Err(other) => {
                let (kind, bytes) = other.into_wire();
                results.truncate(self.from);
                items::put(results, kind, bytes.as_bytes());
                shared.clear();
            }
        }
        *count += 1;
        if !shared.is_empty() || !self.publisher.publish(*count, results, self.from) {
            return Next::Nothing;
        }
        Next::Item
    }
}

fn set_up<F, A, R>(expected: u64, argument: Arrived) -> Reply
where
    F: Fn(A) -> R + Copy + 'static,
    A: Payload,
    R: Termination + 'static,
{
    let argument = match take_argument::<(F, A, R), A>(expected, argument) {
        Ok(argument) => argument,
        Err(reply) => return reply,
    };
    // `report` prints the error of an `Err` to standard error, whose last part goes into the message.
    match catch(|| conjure::<F>()(argument).report()) {
        Ok(ExitCode::SUCCESS) => {
            encode(()).map_or_else(|why| Reply::ResultNotEncodable(why.to_string()), Reply::Value)
        }
        Ok(_) => Reply::ResultNotEncodable("it returned an error".to_owned()),
        Err(report) => Reply::panicked(report),
    }
}

fn check_types<Types: 'static>(expected: u64) -> Result<(), Reply> {
    if type_hash::<Types>() == expected {
        return Ok(());
    }
    Err(Reply::ArgumentNotDecodable("parent and worker do not run the same program".to_owned()))
}

fn take_argument<Types: 'static, A: Payload>(expected: u64, argument: Arrived) -> Result<A, Reply> {
    check_types::<Types>(expected)?;
    match catch(|| decode::<A>(argument)) {
        Ok(Ok(argument)) => Ok(argument),
        Ok(Err(why)) => Err(Reply::ArgumentNotDecodable(why.to_string())),
        Err(report) => Err(Reply::ArgumentNotDecodable(report.into_summary())),
    }
}
