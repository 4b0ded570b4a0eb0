//! The ring against a hostile worker, against a model, and under a race. The schedules themselves are checked
//! in `tests/loom`.
mod hostile;
mod items;
mod model;
mod race;
mod reuse;

use std::{sync::Arc, thread};

use super::{Arena, JobHeader, ParentRing, WorkerRing};

type Parent = ParentRing<Arc<Arena>>;
type Worker = WorkerRing<Arc<Arena>>;

fn ring() -> (Arc<Arena>, Parent, Worker) {
    // It lies on the stack more than once before it lies in its place.
    let maker = thread::Builder::new().stack_size(16 << 20).spawn(|| Arc::new(Arena::new()));
    let arena = maker.unwrap().join().unwrap();
    (Arc::clone(&arena), ParentRing::new(Arc::clone(&arena)), WorkerRing::new(arena))
}

/// Returns the header whose every field is made from `number`.
fn header(number: u64) -> JobHeader {
    JobHeader { trampoline: -(number as i64), type_hash: !number, task: number, flags: number as u32 }
}
