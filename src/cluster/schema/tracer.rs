//! [`Tracer`]: finds out what types look like, by reading values that do not exist.
//!
//! A type says what it is only while a value of it is read. So it is given sample values, again and again, until each variant of each enum
//! was seen once. Types are told apart by their visitors, not by their names, which may be those of other types too.
//!
//! 1. Bounded: [`STEPS`] in all (some ten milliseconds), [`LEVELS`] deep. A collection or an option inside itself is empty, an enum inside itself is a variant that was
//!    read to its end before.
//! 2. What refuses a sample is offered the others ([`samples`](super::samples)); then the innermost collection or option around it stays empty;
//!    then the variant that it is in counts as seen. Where nothing is left to be tried, what was seen until there is all.
//! 3. The order of what is tried depends on the types alone.

use std::{
    any::TypeId,
    collections::{HashMap, HashSet},
};

use serde::Deserialize;

use super::{
    reader::{Reader, Refusal},
    shape::{Kind, Node, Part, Shape, Slot, State},
};
use crate::{
    panic::{catch, drop_shielded},
    shared_memory::{SharedBytes, resolving, take_read_piece},
};

/// How many values are read for one type, parts of others included.
const STEPS: u32 = 200_000;
/// How deep values may lie in one another: less than what a small stack holds.
const LEVELS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Tracer {
    pub(super) nodes: Vec<Node>,
    known: HashMap<(TypeId, Kind, &'static str, usize), usize>,
    /// Which sample a part is given, if not the first.
    choices: HashMap<Slot, usize>,
    /// Collections and options that stay empty.
    empty: HashSet<usize>,
    /// Of each enum, the variant that was read to its end first.
    ends: HashMap<usize, usize>,
    /// How many values were read.
    steps: u32,
    run: Run,
}

/// One value that is read.
#[derive(Debug, Default)]
struct Run {
    /// What is being read, the innermost last; of an enum the variant, too. As it was when reading failed, if it did.
    open: Vec<Slot>,
    /// The part that was given a sample last, and how many there are for it.
    last: Option<(Slot, usize)>,
    /// Whether an enum was found in itself that no variant ends.
    endless: bool,
    /// How many variants are now known.
    progress: usize,
}

impl Tracer {
    /// `parts` types are to be asked about.
    pub(super) fn new(parts: usize) -> Self {
        let mut tracer = Self::default();
        tracer.add(Kind::Root, "", parts, &[]);
        tracer
    }

    /// Looks at `T`, as a part of the root.
    pub(super) fn look_at<T: for<'de> Deserialize<'de>>(&mut self, part: usize) {
        self.steps = 0;
        while self.steps < STEPS {
            self.run = Run::default();
            // Shared memory in it is found by its number, which is a sample.
            let pieces = vec![SharedBytes::nothing(); 2];
            let read = catch(|| {
                resolving(pieces, || {
                    T::deserialize(Reader { tracer: self, slot: (0, part) }).map(drop_shielded)
                })
            });
            self.note_piece();
            let again = match read {
                Ok(Ok(())) => false,
                Ok(Err(Refusal)) => self.try_another(),
                Err(panicked) => {
                    drop(panicked.into_summary());
                    self.try_another()
                }
            };
            if !again && self.run.progress == 0 {
                return;
            }
        }
    }

    /// Counts a value that is to be read.
    fn step(&mut self) -> Result<(), Refusal> {
        self.note_piece();
        self.steps += 1;
        if self.steps < STEPS { Ok(()) } else { Err(Refusal) }
    }

    /// If what was read last was the number of a piece of shared memory, it is that.
    fn note_piece(&mut self) {
        if let (Some((element, size)), Some((slot, _))) = (take_read_piece(), self.run.last) {
            self.nodes[slot.0].parts[slot.1].shape = Shape::Piece(element, size);
        }
    }

    /// Returns a sample for a part that has no parts.
    pub(super) fn plain<S: Clone>(
        &mut self,
        slot: Slot,
        what: &'static str,
        samples: &[S],
    ) -> Result<S, Refusal> {
        self.step()?;
        self.see(slot, Shape::Plain(what));
        self.run.last = Some((slot, samples.len()));
        samples.get(self.choices.get(&slot).copied().unwrap_or(0)).cloned().ok_or(Refusal)
    }

    /// Returns the node of what a visitor of type `V` reads.
    pub(super) fn node<V>(
        &mut self,
        slot: Slot,
        kind: Kind,
        name: &'static str,
        len: usize,
        names: &'static [&'static str],
    ) -> Result<usize, Refusal> {
        self.step()?;
        let key = (typeid::of::<V>(), kind, name, len);
        let node = match self.known.get(&key) {
            Some(&node) => node,
            None => {
                let node = self.add(kind, name, len, names);
                self.known.insert(key, node);
                node
            }
        };
        self.see(slot, Shape::Node(node));
        Ok(node)
    }

    fn add(&mut self, kind: Kind, name: &'static str, len: usize, names: &'static [&'static str]) -> usize {
        let named = |at| names.get(at).copied().unwrap_or("");
        let part = |at| Part { name: named(at), shape: Shape::Unseen, state: State::Fresh, deferred: false };
        // A large array has equal parts.
        let parts = (0..len.min(names.len().max(64))).map(part).collect();
        self.nodes.push(Node { kind, name, len, parts });
        self.nodes.len() - 1
    }

    pub(super) fn see(&mut self, slot: Slot, shape: Shape) {
        let part = &mut self.nodes[slot.0].parts[slot.1];
        if part.shape == Shape::Unseen {
            part.shape = shape;
        }
    }

    /// The slot of a part; of one beyond those that are kept, that of the last.
    pub(super) fn slot(&self, node: usize, part: usize) -> Slot {
        (node, part.min(self.nodes[node].parts.len().saturating_sub(1)))
    }

    fn is_open(&self, node: usize) -> bool {
        self.run.open.iter().any(|open| open.0 == node)
    }

    /// Whether a collection or an option is to be empty.
    pub(super) fn is_empty(&self, node: usize) -> bool {
        self.empty.contains(&node) || self.is_open(node)
    }

    /// Reads something with parts.
    pub(super) fn inside<T>(
        &mut self,
        slot: Slot,
        read: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let level = self.run.open.len();
        if level >= LEVELS {
            return Err(Refusal);
        }
        self.run.open.push(slot);
        let value = read(self)?;
        // Foreign code may have gone on where something inside had failed.
        self.run.open.truncate(level);
        Ok(value)
    }

    /// Returns the variant that an enum is now to be.
    pub(super) fn choose(&mut self, node: usize) -> Result<usize, Refusal> {
        // The first that was read to its end ends without the enum itself, in which none had been read by then.
        let end = self.ends.get(&node).copied();
        if self.is_open(node) {
            self.run.endless |= end.is_none();
            return end.ok_or(Refusal);
        }
        let parts = &self.nodes[node].parts;
        let fresh =
            |deferred| parts.iter().position(|part| part.state == State::Fresh && part.deferred == deferred);
        if let Some(variant) = fresh(false).or_else(|| fresh(true)) {
            self.nodes[node].parts[variant].state = State::Begun;
            return Ok(variant);
        }
        let good = |(variant, part): (usize, &Part)| match part.shape {
            Shape::Node(inner) if part.state == State::Good => Some((variant, inner)),
            _ => None,
        };
        let good: Vec<_> = parts.iter().enumerate().filter_map(good).collect();
        let on = good.into_iter().find(|&(_, inner)| self.leads_on(inner, node)).map(|(variant, _)| variant);
        on.or(end).ok_or(Refusal)
    }

    /// A variant was read to its end.
    pub(super) fn chosen_is_good(&mut self, (node, variant): Slot) {
        self.settle((node, variant), State::Good);
        self.ends.entry(node).or_insert(variant);
    }

    fn settle(&mut self, (node, variant): Slot, state: State) {
        let part = &mut self.nodes[node].parts[variant];
        if part.state == State::Begun {
            part.state = state;
            self.run.progress += 1;
        }
    }

    /// Decides what to do otherwise after a failure. Says whether there is something.
    fn try_another(&mut self) -> bool {
        let variants: Vec<Slot> = self
            .run
            .open
            .iter()
            .rev()
            .copied()
            .filter(|open| self.nodes[open.0].kind == Kind::Enum)
            .collect();
        let changed = if self.run.endless { self.defer(&variants) } else { self.bump() || self.make_empty() };
        if !changed && let Some(&innermost) = variants.first() {
            self.settle(innermost, State::Bad);
        }
        for &(node, variant) in &variants {
            let part = &mut self.nodes[node].parts[variant];
            if part.state == State::Begun {
                part.state = State::Fresh;
            }
        }
        changed
    }

    /// Has the innermost variant that goes on for ever come after the others.
    fn defer(&mut self, variants: &[Slot]) -> bool {
        for &(node, variant) in variants {
            let part = &mut self.nodes[node].parts[variant];
            if part.state == State::Begun && !part.deferred {
                part.deferred = true;
                return true;
            }
        }
        false
    }

    /// Has the part that was given a sample last be given the next one.
    fn bump(&mut self) -> bool {
        let Some((slot, count)) = self.run.last else { return false };
        let choice = self.choices.entry(slot).or_insert(0);
        let more = *choice + 1 < count;
        *choice = if more { *choice + 1 } else { 0 };
        more
    }

    /// Has the innermost collection or option stay empty.
    fn make_empty(&mut self) -> bool {
        let can_be_empty =
            |node: usize| matches!(self.nodes[node].kind, Kind::Option | Kind::Seq | Kind::Map);
        let innermost = self.run.open.iter().rev().map(|open| open.0).find(|&node| can_be_empty(node));
        innermost.is_some_and(|node| self.empty.insert(node))
    }

    /// Whether variants that were not seen are in something, other than in what is being read and in what is in `within`.
    fn leads_on(&mut self, from: usize, within: usize) -> bool {
        let mut visited: HashSet<usize> = self.run.open.iter().map(|open| open.0).collect();
        visited.insert(within);
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            if !visited.insert(at) {
                continue;
            }
            self.steps += 1;
            let node = &self.nodes[at];
            if node.kind == Kind::Enum && node.parts.iter().any(|part| part.state == State::Fresh) {
                return true;
            }
            next.extend(node.parts.iter().filter_map(|part| match part.shape {
                Shape::Node(inner) => Some(inner),
                _ => None,
            }));
        }
        false
    }
}
