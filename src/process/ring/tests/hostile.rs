//! A worker that writes anything anywhere, between any two operations of the parent.

use std::{collections::BTreeSet, sync::atomic::Ordering::Relaxed};

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        Arena, Fate, INLINE, Look, Place, Reply, SLOTS,
        slot::Slot,
        violation::Violation,
        word::{State, Word},
    },
    Parent, header, ring,
};

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    TakeBack(u64),
    TakeBackAll,
    Look(u64),
    TakeReply,
    Sleep,
    /// An honest claim and reply, by hand, of the position in flight with this index.
    Reply(usize),
    Scribble {
        slot: u64,
        field: Field,
        value: u64,
    },
    Drain,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Word,
    Begun,
    Trampoline,
    Kind,
    Segment,
    Len,
    Inline(usize),
    ParentAsleep,
    WorkerAsleep,
    Stop,
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        4 => Just(Field::Word),
        1 => Just(Field::Begun),
        1 => Just(Field::Trampoline),
        2 => Just(Field::Kind),
        2 => Just(Field::Segment),
        2 => Just(Field::Len),
        1 => (0..INLINE / 8).prop_map(Field::Inline),
        1 => Just(Field::ParentAsleep),
        1 => Just(Field::WorkerAsleep),
        1 => Just(Field::Stop),
    ]
}

/// Values of all sizes, with a liking for words that are almost right and for lengths around the limit.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..1_000u64,
        (0..100u64, 0..8u64).prop_map(|(position, state)| position << 3 | state),
        INLINE as u64 - 2..INLINE as u64 + 3,
        Just(u64::MAX),
        Just(u64::from(u32::MAX) + 1),
        Just(u64::from(u32::MAX) + 2),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..=INLINE).prop_map(Step::Send),
        1 => (0..100u64).prop_map(Step::TakeBack),
        1 => Just(Step::TakeBackAll),
        2 => (0..100u64).prop_map(Step::Look),
        3 => Just(Step::TakeReply),
        1 => Just(Step::Sleep),
        3 => (0..3usize).prop_map(Step::Reply),
        6 => (0..SLOTS as u64, field(), value()).prop_map(|(slot, field, value)| Step::Scribble { slot, field, value }),
        1 => Just(Step::Drain),
    ]
}

fn scribble(arena: &Arena, slot: &Slot, field: Field, value: u64) {
    match field {
        Field::Word => slot.word.store(value, Relaxed),
        Field::Begun => slot.begun.store(value, Relaxed),
        Field::Trampoline => slot.trampoline.store(value, Relaxed),
        Field::Kind => slot.kind.store(value as u32, Relaxed),
        Field::Segment => slot.segment.store(value, Relaxed),
        Field::Len => slot.len.store(value, Relaxed),
        Field::Inline(index) => slot.inline[index].store(value, Relaxed),
        Field::ParentAsleep => arena.parent_asleep.set(),
        Field::WorkerAsleep => arena.worker_asleep.set(),
        Field::Stop => arena.request_stop(value >> 1),
    }
}

/// The parent, and which positions it was told the end of.
struct Victim {
    parent: Parent,
    sent: u64,
    ended: BTreeSet<u64>,
}

impl Victim {
    fn end(&mut self, position: u64) {
        assert!(position < self.sent, "only what was sent can end");
        assert!(self.ended.insert(position), "position {position} ended twice");
    }

    fn end_with(&mut self, reply: &Reply) {
        self.end(reply.position);
        if let Place::Inline(bytes) = &reply.result {
            assert!(bytes.as_bytes().len() <= INLINE);
        }
    }

    fn drain(&mut self) {
        for (position, fate) in self.parent.drain() {
            match fate {
                Fate::Finished(reply) => {
                    assert_eq!(reply.position, position);
                    self.end_with(&reply);
                }
                Fate::NotBegun | Fate::Begun { .. } | Fate::Unknown(_) => self.end(position),
            }
        }
        assert_eq!(self.parent.oldest(), None);
    }

    fn apply(&mut self, step: Step, arena: &Arena) {
        match step {
            Step::Send(len) => {
                let sent = self.parent.send(&header(self.sent), Place::Inline(&[1; INLINE][..len]));
                self.sent += u64::from(sent.is_ok());
            }
            Step::TakeBack(position) => {
                if self.parent.take_back(position) {
                    self.end(position);
                }
            }
            Step::TakeBackAll => {
                self.parent.take_back_all().into_iter().for_each(|position| self.end(position))
            }
            Step::Look(position) => {
                let is_known = position < self.sent && !self.ended.contains(&position);
                assert_eq!(self.parent.look(position) != Look::Gone, is_known);
            }
            Step::TakeReply => {
                if let Ok(Some(reply)) = self.parent.take_reply() {
                    self.end_with(&reply);
                }
            }
            Step::Sleep => {
                self.parent.fall_asleep();
                let _ = (self.parent.may_sleep(), self.parent.should_ring_worker());
                self.parent.wake_up();
            }
            Step::Reply(index) => {
                let position = self.parent.in_flight().nth(index);
                position.into_iter().for_each(|position| arena.slot(position).publish(position));
            }
            Step::Scribble { slot, field, value } => scribble(arena, arena.slot(slot), field, value),
            Step::Drain => self.drain(),
        }
    }

    fn check_books(&self) {
        let in_flight: BTreeSet<u64> = self.parent.in_flight().collect();
        assert!(in_flight.len() <= SLOTS);
        assert!(in_flight.is_disjoint(&self.ended));
        assert_eq!(in_flight.len() + self.ended.len(), self.sent as usize, "nothing is lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_hostile_worker_gets_nothing_but_violations_and_nonsense(steps in vec(step(), 0..200)) {
        let (arena, parent, _) = ring();
        let mut victim = Victim { parent, sent: 0, ended: BTreeSet::new() };
        for step in steps {
            victim.apply(step, &arena);
            victim.check_books();
        }
        victim.drain();
        prop_assert_eq!(victim.ended.len() as u64, victim.sent);
    }

    #[test]
    fn a_worker_over_a_corrupt_arena_neither_panics_nor_spins(
        steps in vec((0..SLOTS as u64, field(), value()), 0..50),
    ) {
        let (arena, mut parent, mut worker) = ring();
        for number in 0..SLOTS as u64 {
            parent.send(&header(number), Place::Inline(&[])).unwrap();
        }
        for (slot, field, value) in steps {
            scribble(&arena, arena.slot(slot), field, value);
        }
        while let Ok(Some(_)) = worker.claim(|| 0) {
            worker.publish(0, Place::Inline(&[]));
        }
    }
}

type Spoil = Box<dyn FnOnce(&Slot)>;

/// Returns what the parent says to a slot that was published and then spoilt by `spoil`.
fn reply_after(spoil: impl FnOnce(&Slot)) -> Result<Option<Reply>, Violation> {
    let (arena, mut parent, mut worker) = ring();
    parent.send(&header(0), Place::Inline(b"job")).unwrap();
    worker.claim(|| 3).unwrap().unwrap();
    worker.publish(1, Place::Inline(b"result"));
    spoil(arena.slot(0));
    let taken = parent.take_reply();
    assert_eq!(
        parent.oldest().is_none(),
        matches!(taken, Ok(Some(_))),
        "a violation keeps the position in flight"
    );
    taken
}

#[test]
fn every_impossible_value_is_named() {
    let word =
        |position, state| move |slot: &Slot| slot.word.store(Word::new(position, state).bits(), Relaxed);
    let table: [(Spoil, &str); 8] = [
        (Box::new(word(0, State::Taken)), "a position in flight is free"),
        (Box::new(word(0, State::Free)), "a position in flight is free"),
        (Box::new(word(32, State::Done)), "the word of a position in flight is foreign"),
        (Box::new(|slot| slot.word.store(7, Relaxed)), "the word of a position in flight is foreign"),
        (
            Box::new(|slot| slot.len.store(INLINE as u64 + 1, Relaxed)),
            "inline bytes are longer than the slot",
        ),
        (Box::new(|slot| slot.len.store(u64::MAX, Relaxed)), "inline bytes are longer than the slot"),
        (Box::new(|slot| slot.kind.store(256, Relaxed)), "the kind of a result is out of range"),
        (Box::new(|slot| slot.segment.store(1 << 33, Relaxed)), "the id of a segment is out of range"),
    ];
    for (spoil, what) in table {
        assert_eq!(reply_after(spoil).unwrap_err().what(), what);
    }
    assert_eq!(reply_after(|_| {}).unwrap().unwrap().result, Place::Inline(b"result".to_vec().into()));
}
