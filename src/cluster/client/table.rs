//! [`Table`]: the jobs that a client has, and how far each has come.
//!
//! Pure: no clock, no connection, and no look into a job. Whoever calls does what is returned.
//!
//! Jobs are numbered in the order of their submission, and all have the same time; so the first of them is the first whose time is over.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

/// What the table keeps for `J`: see the states in the README of the cluster.
#[derive(Debug)]
pub(super) struct Table<J> {
    jobs: BTreeMap<u64, Entry<J>>,
    /// How many are not [`Stage::Waiting`].
    in_flight: usize,
    /// Jobs that were refused, and when that has lasted too long, in order. Entries of jobs that have begun or are gone are void.
    refusals: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Entry<J> {
    job: J,
    due: Instant,
    stage: Stage,
    has_begun: bool,
    /// Its task is over; it is to be withdrawn as soon as its sequence is known.
    is_stopped: bool,
    /// What the last node that refused it had to say.
    refusal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Publishing,
    /// Under this number, by which it can be withdrawn; under none if it was called without a queue.
    Sent(Option<u64>),
    /// Its value has come, and is being fetched or decoded.
    Receiving,
}

/// What is to be done about a job that was stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop<J> {
    /// Nothing: it is not there, or was never published.
    Nothing,
    /// It is being published: [`Table::sent`] will say. Or its value is being received: who does that takes it.
    Later,
    /// It was sent: to be withdrawn by its sequence, if it has one, and cancelled. It is gone from the table.
    Now(J, Option<u64>),
}

/// Time that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue<'a, J> {
    /// The deadline.
    Deadline(&'a J),
    /// It was refused for too long, at last with these words.
    Refused(&'a J, String),
}

impl<J> Table<J> {
    pub(super) fn new() -> Self {
        Self { jobs: BTreeMap::new(), in_flight: 0, refusals: VecDeque::new() }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many jobs are published, or about to be, and not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A job waits to be published.
    pub(super) fn wait(&mut self, number: u64, job: J, due: Instant) {
        let entry =
            Entry { job, due, stage: Stage::Waiting, has_begun: false, is_stopped: false, refusal: None };
        self.jobs.insert(number, entry);
    }

    /// A waiting job is about to be published. Returns it, to be given what belongs to it from now on.
    pub(super) fn publish(&mut self, number: u64) -> Option<&mut J> {
        let entry = self.jobs.get_mut(&number).filter(|entry| entry.stage == Stage::Waiting)?;
        entry.stage = Stage::Publishing;
        self.in_flight += 1;
        Some(&mut entry.job)
    }

    /// A job was published under this sequence, or called under none. If it was stopped meanwhile it is gone and returned: to be
    /// withdrawn.
    pub(super) fn sent(&mut self, number: u64, sequence: Option<u64>) -> Option<J> {
        let entry = self.jobs.get_mut(&number).filter(|entry| entry.stage == Stage::Publishing)?;
        if entry.is_stopped {
            return self.take(number);
        }
        entry.stage = Stage::Sent(sequence);
        None
    }

    /// The value of a job has come and takes a while to be received; until then the job stays, with its deadline. Returns it, unless nobody
    /// wants it any more.
    pub(super) fn receive(&mut self, number: u64) -> Option<&mut J> {
        let wanted = |entry: &&mut Entry<J>| {
            !entry.is_stopped && matches!(entry.stage, Stage::Publishing | Stage::Sent(_))
        };
        let entry = self.jobs.get_mut(&number).filter(wanted)?;
        (entry.stage, entry.has_begun, entry.refusal) = (Stage::Receiving, true, None);
        Some(&mut entry.job)
    }

    /// The job, if its value is being received.
    pub(super) fn receiving(&self, number: u64) -> Option<&J> {
        self.jobs.get(&number).filter(|entry| entry.stage == Stage::Receiving).map(|entry| &entry.job)
    }

    /// A task is over although its job is not.
    pub(super) fn stop(&mut self, number: u64) -> Stop<J> {
        let Some(entry) = self.jobs.get_mut(&number) else { return Stop::Nothing };
        match entry.stage {
            Stage::Waiting => {
                self.take(number);
                Stop::Nothing
            }
            Stage::Publishing | Stage::Receiving => {
                entry.is_stopped = true;
                Stop::Later
            }
            Stage::Sent(sequence) => self.take(number).map_or(Stop::Nothing, |job| Stop::Now(job, sequence)),
        }
    }

    /// A node has begun the job. Refusals by others do not matter any more.
    pub(super) fn begun(&mut self, number: u64) -> Option<&J> {
        let entry = self.jobs.get_mut(&number)?;
        entry.has_begun = true;
        entry.refusal = None;
        Some(&entry.job)
    }

    /// A node has refused the job, and another may take it until `limit`.
    pub(super) fn refused(&mut self, number: u64, words: String, limit: Instant) {
        let Some(entry) = self.jobs.get_mut(&number).filter(|entry| !entry.has_begun) else { return };
        if entry.refusal.replace(words).is_none() {
            self.refusals.push_back((limit, number));
        }
    }

    /// Takes a job out, whatever it does: it has its answer, or will not have one.
    pub(super) fn take(&mut self, number: u64) -> Option<J> {
        let entry = self.jobs.remove(&number)?;
        self.in_flight -= usize::from(entry.stage != Stage::Waiting);
        Some(entry.job)
    }

    /// When to call [`overdue`](Self::overdue) next, as far as is known.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let deadline = self.jobs.values().find(|entry| !entry.is_stopped).map(|entry| entry.due);
        let refusal = self.refusals.front().map(|(limit, _)| *limit);
        [deadline, refusal].into_iter().flatten().min()
    }

    /// Whether any job is there that was refused.
    pub(super) fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// The jobs that have begun somewhere.
    pub(super) fn running(&self) -> impl Iterator<Item = &J> {
        self.jobs.values().filter(|entry| entry.has_begun).map(|entry| &entry.job)
    }

    /// Calls `end` for each job whose time is over. It stays until it is stopped, and is not told again.
    ///
    /// A job that was refused waits on if `wait` knows until when.
    pub(super) fn overdue(
        &mut self,
        now: Instant,
        wait: impl Fn(&J) -> Option<Instant>,
        mut end: impl FnMut(Overdue<'_, J>),
    ) {
        let due = self.refusals.partition_point(|(limit, _)| *limit <= now);
        let due: Vec<u64> = self.refusals.drain(..due).map(|(_, number)| number).collect();
        for number in due {
            let refused = self.jobs.get_mut(&number).filter(|entry| !entry.is_stopped);
            let Some(entry) = refused.filter(|entry| entry.refusal.is_some()) else { continue };
            if let Some(until) = wait(&entry.job) {
                self.refusals.push_back((until, number));
            } else if let Some(words) = entry.refusal.take() {
                end(Overdue::Refused(&entry.job, words));
            }
        }
        let running = self.jobs.values_mut().filter(|entry| !entry.is_stopped);
        for entry in running.take_while(|entry| entry.due <= now) {
            end(Overdue::Deadline(&entry.job));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(now: Instant) -> Table<&'static str> {
        let mut table = Table::new();
        for (number, job) in [(1, "one"), (2, "two"), (3, "three")] {
            table.wait(number, job, now + Duration::from_secs(number));
        }
        table
    }

    #[test]
    fn a_job_is_in_flight_from_its_publication_to_its_answer() {
        let mut table = table(Instant::now());
        assert_eq!(table.publish(1), Some(&mut "one"));
        assert!(table.publish(1).is_none() && table.in_flight() == 1);
        assert_eq!(table.sent(1, Some(9)), None);
        assert_eq!(table.begun(1), Some(&"one"));
        assert_eq!((table.in_flight(), table.take(1), table.in_flight()), (1, Some("one"), 0));
        assert!(table.take(1).is_none() && table.begun(1).is_none() && table.sent(1, Some(9)).is_none());
    }

    #[test]
    fn an_answer_may_be_there_before_the_job_is_known_to_be_published() {
        let mut table = table(Instant::now());
        table.publish(2);
        assert_eq!(table.begun(2), Some(&"two"));
        assert_eq!(table.take(2), Some("two"));
        assert_eq!((table.sent(2, Some(5)), table.in_flight()), (None, 0));
    }

    #[test]
    fn what_is_stopped_is_withdrawn_once_its_sequence_is_known() {
        let mut table = table(Instant::now());
        assert_eq!(table.stop(1), Stop::Nothing, "it was never published");
        table.publish(2);
        assert_eq!(table.stop(2), Stop::Later);
        assert_eq!(table.sent(2, Some(7)), Some("two"));
        table.publish(3);
        table.sent(3, Some(8));
        table.begun(3);
        assert_eq!(table.stop(3), Stop::Now("three", Some(8)));
        assert_eq!(table.stop(3), Stop::Nothing);
        assert!(table.is_empty() && table.in_flight() == 0);
    }

    #[test]
    fn a_value_that_is_being_received_keeps_its_job_and_its_deadline() {
        let now = Instant::now();
        let mut table = table(now);
        table.publish(1);
        assert_eq!(table.receive(1), Some(&mut "one"));
        assert!(table.receive(1).is_none(), "a copy");
        assert_eq!((table.receiving(1), table.receiving(2), table.in_flight()), (Some(&"one"), None, 1));
        assert_eq!(table.sent(1, Some(9)), None);
        assert_eq!(table.receiving(1), Some(&"one"), "it has come further than that");
        assert_eq!(overdue(&mut table, now + Duration::from_secs(1)), [r#"Deadline("one")"#]);
        assert_eq!((table.stop(1), table.take(1), table.in_flight()), (Stop::Later, Some("one"), 0));
        table.publish(2);
        table.stop(2);
        assert!(table.receive(2).is_none() && table.receive(3).is_none(), "nobody wants it");
    }

    fn overdue(table: &mut Table<&'static str>, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        table.overdue(now, |_| None, |overdue| told.push(format!("{overdue:?}")));
        told
    }

    #[test]
    fn deadlines_come_in_the_order_of_submission() {
        let now = Instant::now();
        let mut table = table(now);
        let second = Duration::from_secs(1);
        assert_eq!(table.next_due(), Some(now + second));
        assert!(overdue(&mut table, now).is_empty());
        assert_eq!(overdue(&mut table, now + 2 * second), [r#"Deadline("one")"#, r#"Deadline("two")"#]);
        table.stop(1);
        table.publish(2);
        table.stop(2);
        assert_eq!(
            table.next_due(),
            Some(now + 3 * second),
            "what is only to be withdrawn has no time limit"
        );
        assert!(overdue(&mut table, now + 2 * second).is_empty());
    }

    #[test]
    fn a_job_that_nobody_takes_is_told_with_the_last_words_and_once() {
        let now = Instant::now();
        let mut table = table(now + Duration::from_secs(100));
        let limit = now + Duration::from_secs(10);
        table.refused(1, "first".into(), limit);
        table.refused(1, "last".into(), limit + Duration::from_secs(1));
        table.refused(2, "not here".into(), limit);
        table.begun(2);
        table.refused(2, "late".into(), limit);
        table.refused(77, "who?".into(), limit);
        assert_eq!(table.next_due(), Some(limit));
        assert_eq!(overdue(&mut table, limit), [r#"Refused("one", "last")"#]);
        assert!(overdue(&mut table, limit + Duration::from_secs(5)).is_empty());
    }

    #[test]
    fn a_refused_job_waits_on_while_others_like_it_run() {
        let now = Instant::now();
        let mut table = table(now + Duration::from_secs(100));
        let second = Duration::from_secs(1);
        table.refused(1, "no".into(), now);
        table.begun(3);
        assert_eq!((table.has_refusals(), table.running().collect::<Vec<_>>()), (true, vec![&"three"]));
        table.overdue(now, |job| (*job == "one").then_some(now + second), |overdue| panic!("{overdue:?}"));
        assert_eq!(table.next_due(), Some(now + second));
        assert_eq!(overdue(&mut table, now + second), [r#"Refused("one", "no")"#]);
        assert!(!table.has_refusals());
    }
}
