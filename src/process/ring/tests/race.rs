//! Two real threads on one ring, for `RACE_SECONDS` (1 by default).

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Place, Reply},
    Parent, Worker, header, ring,
};

/// Argument of the last job: the worker ends.
const STOP: &[u8] = b"stop";

fn race_time() -> Duration {
    let seconds = std::env::var("RACE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// Returns an argument whose length and bytes depend on `number`.
fn argument(number: u64) -> Vec<u8> {
    number.to_ne_bytes().repeat(1 + (number % 7) as usize)
}

fn ring_bell(bell: &SyncSender<()>) {
    // A full channel is a bell that was rung already.
    let _ = bell.try_send(());
}

/// Runs jobs until it is told to stop and returns the numbers of those it ran.
fn work(mut worker: Worker, bell: &Receiver<()>, parent_bell: &SyncSender<()>) -> Vec<u64> {
    let mut run = Vec::new();
    loop {
        let Some(claim) = worker.claim(|| run.len() as u64).unwrap() else {
            worker.fall_asleep();
            if worker.may_sleep() {
                bell.recv().unwrap();
            }
            worker.wake_up();
            continue;
        };
        if claim.argument == Place::Inline(STOP.to_vec().into()) {
            return run;
        }
        let number = claim.header.task;
        assert_eq!(claim.header, header(number));
        assert_eq!(claim.argument, Place::Inline(argument(number).into()));
        run.push(number);
        worker.publish(number as u8, Place::Inline(&argument(number + 1)));
        if worker.should_ring_parent() {
            ring_bell(parent_bell);
        }
    }
}

/// The parent's half: sends numbered jobs, takes some back, and keeps what came of each.
struct Driver {
    parent: Parent,
    worker_bell: SyncSender<()>,
    bell: Receiver<()>,
    sent: u64,
    in_flight: BTreeMap<u64, u64>,
    replied: Vec<u64>,
    taken_back: u64,
}

impl Driver {
    fn send(&mut self) {
        let number = self.sent;
        let position = self.parent.send(&header(number), Place::Inline(&argument(number))).unwrap();
        self.sent += 1;
        self.in_flight.insert(position, number);
    }

    fn ring(&self) {
        if self.parent.should_ring_worker() {
            ring_bell(&self.worker_bell);
        }
    }

    fn take_back(&mut self, position: u64) {
        if self.parent.take_back(position) {
            self.in_flight.remove(&position);
            self.taken_back += 1;
        }
    }

    fn take_replies(&mut self) {
        while let Some(Reply { position, kind, result, .. }) = self.parent.take_reply().unwrap() {
            let number = self.in_flight.remove(&position).expect("a position is finished once");
            assert_eq!((kind, result), (number as u8, Place::Inline(argument(number + 1).into())));
            self.replied.push(number);
        }
    }

    fn wait(&self) {
        self.parent.fall_asleep();
        if self.parent.may_sleep() {
            self.bell.recv_timeout(Duration::from_secs(10)).expect("a result rings a parent that sleeps");
        }
        self.parent.wake_up();
    }

    /// One round: `burst` jobs, of which every `nth` position in flight is taken back.
    fn round(&mut self, burst: u64, nth: usize) {
        for _ in 0..burst {
            if !self.parent.has_room() {
                self.ring();
                self.take_replies();
            }
            if self.parent.has_room() {
                self.send();
            }
        }
        self.ring();
        let positions: Vec<u64> = self.parent.in_flight().step_by(nth).collect();
        positions.into_iter().for_each(|position| self.take_back(position));
        self.take_replies();
        if self.parent.oldest().is_some() {
            self.wait();
        }
    }

    fn finish(&mut self) {
        while self.parent.oldest().is_some() {
            self.take_replies();
            if self.parent.oldest().is_some() {
                self.wait();
            }
        }
        self.parent.send(&header(0), Place::Inline(STOP)).unwrap();
        self.ring();
    }
}

#[test]
fn a_race_runs_every_job_once_or_takes_it_back_once() {
    let (_, parent, worker) = ring();
    let (worker_bell, worker_waits) = sync_channel(1);
    let (parent_bell, bell) = sync_channel(1);
    let runner = thread::spawn(move || work(worker, &worker_waits, &parent_bell));
    let (in_flight, replied) = (BTreeMap::new(), Vec::new());
    let mut driver = Driver { parent, worker_bell, bell, sent: 0, in_flight, replied, taken_back: 0 };
    let end = Instant::now() + race_time();
    for round in 0.. {
        if Instant::now() > end {
            break;
        }
        driver.round(1 + round % 40, 1 + (round % 5) as usize);
    }
    driver.finish();
    let run = runner.join().unwrap();
    assert_eq!(run, driver.replied, "replies come in the order of the runs, and none is lost");
    assert_eq!(run.len() as u64 + driver.taken_back, driver.sent);
    assert!(matches!(driver.bell.try_recv(), Ok(()) | Err(TryRecvError::Disconnected)));
}
