//! 64 MiB to a job in a process and a number back, beside one copy of 64 MiB into warm memory.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{hint::black_box, time::Instant};

use heavylift::{Payload, ProcessPool};
use support::{Flavour, Goal, PROCSPAWN, PYTHON, Program, Race, Unit, line_peer::LinePeer, python};
use tokio::runtime::Runtime;

const MEMCPY: &str = "floor: memcpy into warm memory";
const BYTES: usize = 64 << 20;

fn main() {
    procspawn::init();
    let mut program = Program::new("payload");
    let python = python();
    let runtime = Flavour::Current.runtime();
    let pool = ProcessPool::builder().max_workers(2).build().unwrap();
    bytes(&mut program, &runtime, &pool, &python);
    floats(&mut program, &runtime, &pool);
    program.finish();
}

fn bytes(program: &mut Program, runtime: &Runtime, pool: &ProcessPool, python: &Result<LinePeer, String>) {
    let trips = program.size(9, 2) as usize;
    let source = vec![7_u8; BYTES];
    let procspawn = procspawn::Pool::new(1).unwrap();
    let mut race = Race::<1>::new();
    race.enter("heavylift processes", || [median(trips, || trip(runtime, pool, source.clone(), length))]);
    let mut copy = Memcpy::of(&source);
    race.enter(MEMCPY, move || [median(trips, || copy.seconds())]);
    race.enter(PROCSPAWN, || {
        let argument = source.clone();
        let begun = Instant::now();
        assert_eq!(procspawn.spawn(argument, length).join().unwrap(), BYTES as u64);
        [begun.elapsed().as_secs_f64()]
    });
    race.ask(PYTHON, python, format!("payload processes {BYTES}"));
    let finish = race.run(program.effort());
    let row = finish.row(0, "payload.bytes", "64 MiB Vec<u8> to a process, its length back", Unit::Seconds);
    let row = row.goal(Goal::AtMost(2.5), &[MEMCPY]);
    program.add_with_note(
        row,
        "Medians of several trips in each round; the vector is made before the clock starts.",
    );
}

fn floats(program: &mut Program, runtime: &Runtime, pool: &ProcessPool) {
    let trips = program.size(9, 2) as usize;
    let source = vec![0.5_f64; BYTES / 8];
    let mut race = Race::<1>::new();
    race.enter("heavylift processes", || [median(trips, || trip(runtime, pool, source.clone(), sum))]);
    let mut copy = Memcpy::of(&source);
    race.enter(MEMCPY, move || [median(trips, || copy.seconds())]);
    race.enter("floor: the sum alone, in warm memory", || {
        [median(trips, || {
            let begun = Instant::now();
            black_box(sum_of(black_box(&source)));
            begun.elapsed().as_secs_f64()
        })]
    });
    let finish = race.run(program.effort());
    let row = finish.row(0, "payload.floats", "64 MiB Vec<f64> to a process, its sum back", Unit::Seconds);
    let row = row.goal(Goal::AtMost(2.5), &[MEMCPY]);
    program.add_with_note(row, "The sum has 8 accumulators, so that it is vectorised.");
}

fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

fn sum(floats: Vec<f64>) -> f64 {
    sum_of(&floats)
}

fn sum_of(floats: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for eight in floats.chunks_exact(8) {
        sums.iter_mut().zip(eight).for_each(|(sum, float)| *sum += float);
    }
    sums.iter().sum()
}

/// Seconds from the call to the result.
fn trip<A: Payload, R: Payload>(
    runtime: &Runtime,
    pool: &ProcessPool,
    argument: A,
    job: impl Fn(A) -> R + Copy + Send + 'static,
) -> f64 {
    let begun = Instant::now();
    black_box(runtime.block_on(pool.run(job, argument)).unwrap());
    begun.elapsed().as_secs_f64()
}

/// A source and a target whose pages are all there.
struct Memcpy<'a, T> {
    from: &'a [T],
    to: Vec<T>,
}

impl<'a, T: Copy> Memcpy<'a, T> {
    fn of(from: &'a [T]) -> Self {
        Self { from, to: from.to_vec() }
    }

    fn seconds(&mut self) -> f64 {
        let begun = Instant::now();
        self.to.copy_from_slice(black_box(self.from));
        black_box(&mut self.to);
        begun.elapsed().as_secs_f64()
    }
}

fn median(times: usize, mut figure: impl FnMut() -> f64) -> f64 {
    support::row::Spread::of(&(0..times).map(|_| figure()).collect::<Vec<_>>()).median
}
