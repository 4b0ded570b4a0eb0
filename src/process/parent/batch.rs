//! [`ItemBatch`]: items of a map that are one job of the pool at a time.
//!
//! ```text
//!            start                 reply: the first k items          map
//!  items ───────────▶ job ─────┬──────────────────────────▶ finished ─────▶
//!                      ▲       │ death: those published; the next one is lost
//!                      └───────┘
//!               the others are a job again, in the old place
//! ```
//!
//! 1. To the queue, the keepers and the ring the items are one job like others, whose function runs them one by one and publishes
//!    each result before it begins the next (`ring/progress.rs`). So cancel, drop and shutdown need nothing of their own.
//! 2. The job ends with a reply that holds the results of the first items, or with its worker. In either case it is known which items
//!    have begun. Those behind them have not, and become a job again that keeps the rank.
//! 3. Items are finished in their order: `next` is the first that is not.
//! 4. The job counts all its items as finished in one way; that is put right for each when its outcome is known, before anybody can
//!    see it.
//! 5. What a worker published is not trusted: it is copied, then taken apart and decoded.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    vec,
};

use super::{
    queue::Rank,
    seat::{Call, ProcessJob, ProcessSeat},
    shared::{INHERITED, Shared},
};
use crate::{
    TaskError, TaskId,
    clock::Stamp,
    counted::{Counted, Weak, unsize},
    error::{Operand, TaskLabel},
    map::{Batch, Finished, Outcome},
    panic::{catch, drop_shielded, shield},
    pool::{Place, Places, registry::Kind},
    process::{
        call::Function,
        items::{self, Sheaf, ShortItem},
        reply::{Reply, VALUE},
    },
    record::{JobRecord, UNKNOWN},
    shared_memory::SharedBytes,
    task::{AnyTask, Cell, Options, Task},
    trace::{JobSpan, SpanSlot},
    wire::{Appended, Encoded, Payload, append, decode_part, encode, to_word},
};

type Job = Cell<ProcessSeat<Sheaf>>;

/// Items that are one job. See the module's documentation.
pub(in crate::process) struct ItemBatch<R> {
    shared: Arc<Shared>,
    function: Function,
    options: Options,
    /// The label of the first item; those of the others differ by the id.
    label: TaskLabel,
    len: u32,
    /// Of all items, whichever jobs they are.
    span: SpanSlot,
    /// Taken before a shelf of `record`, and no other.
    state: Mutex<State<R>>,
}

struct State<R> {
    /// The arguments of all items.
    arguments: Vec<u8>,
    /// The places in the pool of the items that have not finished.
    places: Places,
    /// The first item that has not finished, and the first of the job's.
    next: u32,
    first: u32,
    finished: Vec<Finished<R>>,
    waiter: Option<Waker>,
    job: Option<Weak<Job>>,
    rank: Option<Rank>,
    is_cancelled: bool,
}

impl<R> State<R> {
    /// The job that the items travel in, unless it is over.
    fn job(&self) -> Option<Counted<Job>> {
        self.job.as_ref()?.upgrade()
    }
}

/// Items that are to travel together, encoded.
#[derive(Default)]
pub(in crate::process) struct Items {
    arguments: Vec<u8>,
    len: usize,
}

/// What comes after the items that were added.
pub(in crate::process) enum Then {
    /// There are no more inputs.
    Nothing,
    /// There is no room for more: the first of the items that come next.
    Full(Items),
    /// An item that is to travel alone, with its argument.
    Apart(Result<Encoded, String>),
}

impl Items {
    /// Adds inputs while there is room for them, which is for `most` bytes, up to one that is to travel alone: which cannot be encoded,
    /// takes more than `large` bytes or names shared memory.
    pub(in crate::process) fn fill<A: Payload>(
        &mut self,
        inputs: &mut vec::IntoIter<A>,
        large: usize,
        most: usize,
    ) -> Then {
        // Small ones hardly take more than they do in memory.
        self.arguments.reserve((inputs.len() * (size_of::<A>() + 1)).min(most + large));
        let mut at = 0;
        // One for all of them, as long as none panics.
        let added = catch(|| {
            for argument in inputs {
                at = self.arguments.len();
                if let Some(number) = to_word(&argument) {
                    ShortItem::new(0, number).put(&mut self.arguments);
                } else if let Some(apart) = self.append(argument, at, large) {
                    self.arguments.truncate(at);
                    return Then::Apart(apart);
                }
                if self.arguments.len() > most {
                    return Then::Full(Self { arguments: self.arguments.split_off(at), len: 1 });
                }
                self.len += 1;
            }
            Then::Nothing
        });
        added.unwrap_or_else(|report| {
            self.arguments.truncate(at);
            Then::Apart(Err(report.into_summary()))
        })
    }

    /// Appends the argument of the item that begins there, or returns it where the item is to travel alone.
    #[inline]
    fn append<A: Payload>(
        &mut self,
        argument: A,
        at: usize,
        large: usize,
    ) -> Option<Result<Encoded, String>> {
        items::begin(&mut self.arguments);
        Some(match append(argument, &mut self.arguments, large) {
            Ok(Appended::Apart(encoded)) => Ok(encoded),
            Ok(Appended::Here(pieces)) if pieces.is_empty() && items::len(&self.arguments, at) <= large => {
                items::end(&mut self.arguments, 0, at);
                return None;
            }
            Ok(Appended::Here(pieces)) => Ok(Encoded::naming(self.arguments.split_off(at + 1), pieces)),
            Err(why) => Err(why.to_string()),
        })
    }

    pub(in crate::process) fn len(&self) -> usize {
        self.len
    }
}

impl<R: Payload> ItemBatch<R> {
    /// Starts the job of items. There is at least one.
    pub(in crate::process) fn start(
        shared: &Arc<Shared>,
        function: Function,
        label: impl FnOnce(TaskId) -> TaskLabel,
        options: Options,
        items: Items,
        places: Places,
    ) -> Arc<Self> {
        let len = u32::try_from(items.len).expect("they fit into a slot");
        let label = label(TaskId::next_of_many(len));
        let span = JobSpan::of_items(Kind::Processes.label(), &shared.config().name, &label, len);
        let batch = Arc::new(Self {
            shared: shared.clone(),
            function,
            options,
            label,
            len,
            span: SpanSlot::new(span),
            state: Mutex::new(State {
                arguments: items.arguments,
                places,
                next: 0,
                first: 0,
                finished: Vec::new(),
                waiter: None,
                job: None,
                rank: None,
                is_cancelled: false,
            }),
        });
        shared.counters().submitted_together(len.into());
        batch.launch();
        batch
    }

    fn label_of(&self, item: u32) -> TaskLabel {
        TaskLabel { id: self.label.id.plus(item), ..self.label.clone() }
    }

    /// Makes a job of all items that have not finished.
    fn launch(self: &Arc<Self>) {
        let span = self.span.get();
        let note = span.note();
        let mut state = self.lock();
        let first = state.next;
        let arguments = items::skip(&state.arguments, first).to_vec();
        let encoded = encode(arguments).expect("bytes are always encoded");
        let call =
            Call::new(self.function, encoded, Place::default(), note).expect("no shared memory is named");
        let seat = ProcessSeat::new(self.shared.clone(), &self.options, &call)
            .of_items(self.len - first, state.rank);
        let before = state.rank.replace(seat.rank());
        let job = Cell::new(self.label_of(first), &self.options, seat, call, span);
        let task = Task::new(job.clone());
        let batch = self.clone();
        task.on_done(move |outcome| batch.done(outcome));
        state.first = first;
        state.job = Some(job.downgrade());
        let is_cancelled = state.is_cancelled;
        drop(state);
        if before.is_none() {
            self.shared.push(unsize!(job => dyn ProcessJob));
        } else {
            self.shared.counters().waits_again((self.len - first).into());
            if is_cancelled {
                AnyTask::cancel(&*job);
            } else if let Some(call) = Cell::claim(&job) {
                self.shared.put_back_calls(vec![(unsize!(job => dyn ProcessJob), call)]);
            }
        }
        task.detach();
    }

    /// The job has come to its end.
    fn done(self: &Arc<Self>, outcome: &Result<Sheaf, TaskError>) {
        let state = self.lock();
        let (first, len) = (state.first, self.len);
        drop(state);
        let mut outcomes = match outcome {
            Ok(Sheaf { results, shared, .. }) => self.decode_all(first, results, shared),
            Err(error) => match error.worker().and_then(|exit| exit.items()) {
                Some(published) => self.decode_all(first, published, &[]),
                None => Vec::new(),
            },
        };
        let known = first + outcomes.len() as u32;
        // The job was recorded as a whole, with the error that it has ended with.
        let failures = self.failures_of(&outcomes);
        match outcome {
            Ok(_) if known > first => {}
            Ok(_) => {
                let why = "the worker published no result";
                outcomes.extend((known..len).map(|item| (item, Err(self.unreadable(item, why)))));
            }
            Err(error) if error.is_worker_died() => {
                outcomes.extend((known < len).then(|| (known, Err(error.for_task(self.label_of(known))))));
            }
            Err(error) => {
                outcomes.extend((known..len).map(|item| (item, Err(error.for_task(self.label_of(item))))))
            }
        }
        self.shared.counters().not_finished(outcome, (len - first).into());
        self.tell_span(&outcomes);
        if self.deliver(outcomes, failures) < len {
            self.launch();
        }
    }

    /// Takes the results of items from `first` on apart. What cannot be read ends them.
    fn decode_all(&self, first: u32, mut results: &[u8], shared: &[SharedBytes]) -> Vec<Finished<R>> {
        let mut outcomes = Vec::with_capacity((self.len - first) as usize);
        let mut item = first;
        loop {
            // One for all of them, as long as none panics.
            let all = catch(|| {
                while item < self.len
                    && let Some(outcome) = self.decode_next(&mut item, &mut results, shared)
                {
                    outcomes.push((item - 1, outcome));
                }
            });
            let Err(report) = all else { return outcomes };
            outcomes.push((item - 1, Err(self.unreadable(item - 1, report.into_summary()))));
        }
    }

    /// Takes the result of `item` off and decodes it; counts that item before, as decoding may panic. `None` if there is nothing more.
    #[inline]
    fn decode_next(&self, item: &mut u32, results: &mut &[u8], shared: &[SharedBytes]) -> Option<Outcome<R>> {
        if let Some(number) = items::take_number(results, VALUE) {
            *item += 1;
            return Some(Ok(number));
        }
        let (kind, bytes) = items::take(results)?;
        *item += 1;
        Some(self.decode(*item - 1, kind, bytes, of_the_last(shared, results)))
    }

    /// Takes note of items that fail, and of the last one, before anybody can see it.
    fn tell_span(&self, outcomes: &[Finished<R>]) {
        if !self.span.is_used() {
            return;
        }
        if let Some(error) = outcomes.iter().find_map(|(_, outcome)| outcome.as_ref().err()) {
            self.span.get().fails(error);
        }
        if outcomes.last().is_some_and(|(item, _)| *item + 1 == self.len) {
            self.span.end_items();
        }
    }

    #[cold]
    fn unreadable(&self, item: u32, why: impl Into<Box<dyn Error + Send + Sync>>) -> TaskError {
        TaskError::decode(self.label_of(item), Operand::Result, why)
    }

    #[inline]
    fn decode(&self, item: u32, kind: u8, bytes: &[u8], pieces: &[SharedBytes]) -> Outcome<R> {
        if kind == VALUE {
            return decode_part::<R>(bytes, pieces).map_err(|why| self.unreadable(item, why));
        }
        self.decode_other(item, kind, bytes)
    }

    #[cold]
    fn decode_other(&self, item: u32, kind: u8, bytes: &[u8]) -> Outcome<R> {
        let limit = self.shared.config().max_payload;
        Err(match Reply::from_wire(kind, bytes.to_vec().into(), &self.label_of(item), limit) {
            Ok(_) => self.unreadable(item, "it came in an unknown form"),
            Err(Ok(error)) => error,
            Err(Err(what)) => self.unreadable(item, what),
        })
    }

    /// Hands over outcomes, and records failures, as far as that has not been done. Returns the first item that has not finished.
    fn deliver(&self, mut outcomes: Vec<Finished<R>>, failures: Vec<(u32, JobRecord)>) -> u32 {
        let mut state = self.lock();
        let (failures, late_failures): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(|(item, _)| *item >= state.next);
        let recorders = self.shared.counters().recorders();
        failures.into_iter().for_each(|(_, failure)| recorders.note(failure));
        // Somebody may have looked meanwhile.
        let late = outcomes.partition_point(|(item, _)| *item < state.next);
        let late: Vec<_> = outcomes.drain(..late).collect();
        state.next += outcomes.len() as u32;
        self.count(&outcomes);
        if state.finished.is_empty() {
            state.finished = outcomes;
        } else {
            state.finished.append(&mut outcomes);
        }
        let next = state.next;
        let given_back = state.places.len() - (self.len - next) as usize;
        let places = state.places.split_off(given_back);
        let waker = if state.finished.is_empty() { None } else { state.waiter.take() };
        drop(state);
        self.give_back(places);
        drop(late_failures);
        drop_shielded(late);
        if let Some(waker) = waker {
            shield(|| waker.wake());
        }
        next
    }

    /// The records of single items that failed: made before it is known which of them are new, as that is so under a lock.
    fn failures_of(&self, outcomes: &[Finished<R>]) -> Vec<(u32, JobRecord)> {
        let recorders = self.shared.counters().recorders();
        let errors = outcomes.iter().filter_map(|(item, outcome)| Some((*item, outcome.as_ref().err()?)));
        errors
            .filter_map(|(item, error)| Some((item, recorders.failed_item(UNKNOWN, Stamp::NEVER, error)?)))
            .collect()
    }

    fn count(&self, outcomes: &[Finished<R>]) {
        let counters = self.shared.counters();
        let mut succeeded = outcomes.len() as u64;
        for (_, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.is_err()) {
            succeeded -= 1;
            counters.finished_many(outcome, 1);
        }
        counters.finished_many(&Ok::<(), _>(()), succeeded);
    }

    /// Delivers what the worker has published of the running job, up to the last item: with that comes the end of the job, which is to
    /// be counted before anybody can see it.
    fn look(&self) {
        let state = self.lock();
        let (first, job) = (state.first, state.job());
        drop(state);
        let Some(published) = job.and_then(|job| job.seat().published(job.label().id)) else { return };
        let mut outcomes = self.decode_all(first, &published, &[]);
        drop_shielded(outcomes.pop_if(|(item, _)| *item + 1 == self.len));
        self.tell_span(&outcomes);
        let failures = self.failures_of(&outcomes);
        self.deliver(outcomes, failures);
    }
}

impl<R> ItemBatch<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges `outcomes` for what has finished; says whether that is something.
    fn take(&self, outcomes: &mut Vec<Finished<R>>) -> bool {
        std::mem::swap(&mut self.lock().finished, outcomes);
        !outcomes.is_empty()
    }

    fn give_back(&self, places: Places) {
        if self.shared.is_inherited() {
            // A copy of the pool, whose locks may be taken for good.
            std::mem::forget(places);
        } else {
            drop_shielded(places);
        }
    }
}

impl<R: Payload> Batch<R> for ItemBatch<R> {
    fn len(&self) -> usize {
        self.len as usize
    }

    fn poll_take(&self, outcomes: &mut Vec<Finished<R>>, cx: &mut Context<'_>) -> Poll<()> {
        if self.take(outcomes) {
            return Poll::Ready(());
        }
        if self.shared.is_inherited() {
            let next = self.lock().next;
            let lost = |item| (item, Err(TaskError::unavailable(self.label_of(item), INHERITED)));
            self.deliver((next..self.len).map(lost).collect(), Vec::new());
        }
        // Cloned outside the lock, and left before the look.
        let waker = cx.waker().clone();
        let before = self.lock().waiter.replace(waker);
        drop(before);
        if self.take(outcomes) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn hurry(self: Arc<Self>) {
        if !self.shared.is_inherited() {
            self.look();
        }
    }

    fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        let job = state.job();
        drop(state);
        if let Some(job) = job {
            AnyTask::cancel(&*job);
        }
        let finished = std::mem::take(&mut self.lock().finished);
        drop_shielded(finished);
    }
}

impl<R> Drop for ItemBatch<R> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (places, finished) = (std::mem::take(&mut state.places), std::mem::take(&mut state.finished));
        self.give_back(places);
        drop_shielded(finished);
    }
}

/// The shared memory that the last result names; nothing if others are left.
fn of_the_last<'a>(shared: &'a [SharedBytes], left: &[u8]) -> &'a [SharedBytes] {
    if left.is_empty() { shared } else { &[] }
}
