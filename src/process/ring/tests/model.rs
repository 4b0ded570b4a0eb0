//! Sequences of a well-behaved parent and worker, against a `VecDeque` that does the same.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::{
    super::{Claim, Copied, Fate, INLINE, Look, Place, Reply, SLOTS, fits_with_note, parent::Full},
    Parent, Worker, header, ring,
};

#[derive(Clone, Debug)]
enum Step {
    Send(Place<Copied>),
    /// Of the n-th position that was ever sent, counted from the youngest.
    TakeBack(u64),
    Claim,
    Publish(u8, Place<Copied>),
    TakeReply,
}

fn place() -> impl Strategy<Value = Place<Copied>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20).prop_map(|bytes| Place::Inline(bytes.into())),
        1 => vec(any::<u8>(), INLINE - 9..=INLINE).prop_map(|bytes| Place::Inline(bytes.into())),
        1 => any::<(u32, u64)>().prop_map(|(id, len)| Place::Segment { id, len }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => place().prop_map(Step::Send),
        1 => (0..40u64).prop_map(Step::TakeBack),
        3 => Just(Step::Claim),
        3 => (any::<u8>(), place()).prop_map(|(kind, place)| Step::Publish(kind, place)),
        3 => Just(Step::TakeReply),
    ]
}

fn borrowed(place: &Place<Copied>) -> Place<&[u8]> {
    match place {
        Place::Inline(bytes) => Place::Inline(bytes.as_bytes()),
        Place::Segment { id, len } => Place::Segment { id: *id, len: *len },
    }
}

#[derive(Debug)]
enum Stage {
    Sent(Place<Copied>),
    Claimed,
    Done(u8, Place<Copied>),
}

/// The simplest thing that behaves like a ring.
#[derive(Default)]
struct Model {
    sent: u64,
    in_flight: VecDeque<(u64, Stage)>,
}

impl Model {
    fn send(&mut self, argument: Place<Copied>) -> Result<u64, Full> {
        let oldest = self.in_flight.front().map_or(self.sent, |(position, _)| *position);
        if self.sent - oldest == SLOTS as u64 {
            return Err(Full);
        }
        self.in_flight.push_back((self.sent, Stage::Sent(argument)));
        self.sent += 1;
        Ok(self.sent - 1)
    }

    fn take_back(&mut self, position: u64) -> bool {
        let before = self.in_flight.len();
        self.in_flight.retain(|(p, stage)| *p != position || !matches!(stage, Stage::Sent(_)));
        self.in_flight.len() < before
    }

    fn claim(&mut self) -> Option<Claim> {
        let (position, stage) =
            self.in_flight.iter_mut().find(|(_, stage)| matches!(stage, Stage::Sent(_)))?;
        let Stage::Sent(argument) = std::mem::replace(stage, Stage::Claimed) else { unreachable!() };
        Some(Claim { position: *position, header: header(*position), argument })
    }

    fn publish(&mut self, kind: u8, result: Place<Copied>) {
        let running = self.in_flight.iter_mut().find(|(_, stage)| matches!(stage, Stage::Claimed));
        running.expect("published only while one runs").1 = Stage::Done(kind, result);
    }

    fn take_reply(&mut self) -> Option<Reply> {
        let (position, stage) = self.in_flight.pop_front_if(|(_, stage)| matches!(stage, Stage::Done(..)))?;
        let Stage::Done(kind, result) = stage else { unreachable!() };
        Some(Reply { position, begun_ns: begun(position), took_ns: took(position), kind, result })
    }
}

fn begun(position: u64) -> u64 {
    1_000 + position
}

fn took(position: u64) -> u32 {
    2_000 + position as u32
}

fn apply(step: Step, parent: &mut Parent, worker: &mut Worker, model: &mut Model) {
    match step {
        Step::Send(argument) => {
            let sent = parent.send(&header(model.sent), borrowed(&argument));
            assert_eq!(sent, model.send(argument));
        }
        Step::TakeBack(back) => {
            let position = model.sent.saturating_sub(back);
            assert_eq!(parent.take_back(position), model.take_back(position));
        }
        Step::Claim if worker.running().is_none() => {
            let idle = worker.may_sleep();
            let expected = model.claim();
            let position = expected.as_ref().map_or(0, |claim| claim.position);
            assert!(!idle || expected.is_none(), "a worker may not sleep while a job waits");
            assert_eq!(worker.claim(|| begun(position)), Ok(expected));
        }
        Step::Publish(kind, result) if worker.running().is_some() => {
            worker.note_took(took(worker.running().unwrap()).into());
            worker.publish(kind, borrowed(&result));
            model.publish(kind, result);
        }
        Step::Claim | Step::Publish(..) => {}
        Step::TakeReply => {
            let idle = parent.may_sleep();
            let expected = model.take_reply();
            assert_eq!(idle, expected.is_none());
            assert_eq!(parent.take_reply(), Ok(expected));
        }
    }
}

fn check_looks(parent: &Parent, model: &Model) {
    assert!(parent.in_flight().eq(model.in_flight.iter().map(|(position, _)| *position)));
    assert_eq!(parent.oldest(), parent.in_flight().next());
    for (position, stage) in &model.in_flight {
        let expected = match stage {
            Stage::Sent(_) => Look::Sent,
            Stage::Claimed => Look::Claimed { begun_ns: begun(*position) },
            Stage::Done(..) => Look::Done,
        };
        assert_eq!(parent.look(*position), expected);
    }
}

fn check_drain(parent: &mut Parent, model: Model) {
    let expected = model.in_flight.into_iter().map(|(position, stage)| {
        let fate = match stage {
            Stage::Sent(_) => Fate::NotBegun,
            Stage::Claimed => Fate::Begun { begun_ns: begun(position) },
            Stage::Done(kind, result) => Fate::Finished(Reply {
                position,
                begun_ns: begun(position),
                took_ns: took(position),
                kind,
                result,
            }),
        };
        (position, fate)
    });
    assert_eq!(parent.drain(), expected.collect::<Vec<_>>());
    assert_eq!(parent.oldest(), None);
}

proptest! {
    #[test]
    fn a_ring_behaves_like_a_queue_of_its_slots(steps in vec(step(), 0..400)) {
        let (_, mut parent, mut worker) = ring();
        let mut model = Model::default();
        for step in steps {
            apply(step, &mut parent, &mut worker, &mut model);
            check_looks(&parent, &model);
        }
        check_drain(&mut parent, model);
    }
}

#[test]
fn a_full_ring_refuses_until_its_oldest_position_is_gone() {
    let (_, mut parent, mut worker) = ring();
    for position in 0..SLOTS as u64 {
        assert_eq!(parent.send(&header(position), Place::Inline(&[])), Ok(position));
    }
    assert!(parent.take_back(5), "a job in the middle can be taken back");
    assert_eq!(parent.send(&header(0), Place::Inline(&[])), Err(Full), "but makes no room");
    worker.claim(|| 0).unwrap().unwrap();
    worker.publish(0, Place::Inline(&[]));
    assert_eq!(parent.send(&header(0), Place::Inline(&[])), Err(Full), "nor does a result that nobody took");
    parent.take_reply().unwrap().unwrap();
    assert_eq!(parent.send(&header(0), Place::Inline(&[])), Ok(SLOTS as u64));
}

#[test]
fn a_worker_passes_whole_laps_of_jobs_that_were_taken_back() {
    let (_, mut parent, mut worker) = ring();
    for position in 0..10 * SLOTS as u64 {
        parent.send(&header(position), Place::Inline(&[])).unwrap();
        assert!(parent.take_back(position));
    }
    let position = parent.send(&header(7), Place::Inline(b"seven")).unwrap();
    let claim = worker.claim(|| 1).unwrap().unwrap();
    assert_eq!(
        claim,
        Claim { position, header: header(7), argument: Place::Inline(b"seven".to_vec().into()) }
    );
}

#[test]
fn a_note_comes_with_its_job_and_leaves_the_argument_alone() {
    let (_, mut parent, mut worker) = ring();
    for len in [1, 7, 8, 9, 25, 537_usize] {
        let note: Vec<u8> = (1..=len).map(|n| n as u8).collect();
        let room = INLINE - note.len().next_multiple_of(8);
        assert!(fits_with_note(room, note.len()) && !fits_with_note(room + 1, note.len()));
        let argument = vec![0xAA; room];
        parent.send_with_note(&header(1), Place::Inline(&argument), &note).unwrap();
        let claim = worker.claim(|| 1).unwrap().unwrap();
        assert_eq!(claim.argument, Place::Inline(argument.into()));
        assert_eq!(worker.note(note.len()).unwrap(), note);
        assert!(worker.note(INLINE + 1).is_err(), "longer than a slot");
        worker.publish(0, Place::Inline(&[]));
        parent.take_reply().unwrap().unwrap();
    }
}

#[test]
fn a_stop_request_reaches_its_own_job_alone() {
    let (arena, mut parent, _) = ring();
    assert!(!arena.stop_requested(0), "an unused arena asks nobody to stop");
    let first = parent.send(&header(0), Place::Inline(&[])).unwrap();
    parent.request_stop(first);
    assert!(arena.stop_requested(first));
    assert!(!arena.stop_requested(first + 1));
}

#[test]
fn a_sleeper_is_rung_once_until_it_sleeps_again() {
    let (_, parent, worker) = ring();
    assert!(!parent.should_ring_worker(), "a worker that is awake is not rung");
    for _ in 0..2 {
        worker.fall_asleep();
        assert!(parent.should_ring_worker());
        assert!(!parent.should_ring_worker());
        worker.wake_up();
    }
    parent.fall_asleep();
    parent.wake_up();
    assert!(!worker.should_ring_parent(), "a parent that woke by itself is not rung");
}
