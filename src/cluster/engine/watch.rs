//! [`Watch`]: what a connection tells of itself by events: that it is made again, closed, or that something is not permitted.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Event, ServerError};
use tokio::sync::watch;

/// How many complaints are kept.
const COMPLAINTS: usize = 32;

/// For how long it is remembered that something did not work.
const RECENT: Duration = Duration::from_secs(30);

/// What the connection tells of itself, written by its callback.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) connections: watch::Sender<u64>,
    pub(super) closed: watch::Sender<bool>,
    /// How many complaints there were, and the last of them with their numbers.
    complaints: watch::Sender<u64>,
    texts: Mutex<VecDeque<(u64, String)>>,
    /// The last that did not work, and when. Taken alone.
    trouble: Mutex<Option<(Instant, String)>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            connections: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            complaints: watch::Sender::new(0),
            texts: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn on(&self, event: Event) {
        match event {
            Event::Connected => {
                // What is subscribed is subscribed again, and complained of again.
                lock(&self.texts).retain(|(_, text)| !of_inbox(text));
                *lock(&self.trouble) = None;
                self.connections.send_modify(|n| *n += 1);
            }
            Event::Disconnected => self.note_trouble("the connection is lost"),
            Event::ClientError(error) => self.note_trouble(&error.to_string()),
            Event::Closed => self.closed.send_modify(|closed| *closed = true),
            Event::ServerError(ServerError::Other(text)) => self.complain(text),
            Event::ServerError(error) => self.complain(error.to_string()),
            _ => {}
        }
    }

    /// Remembers that something does not work, should somebody ask why nothing happens.
    pub(super) fn note_trouble(&self, what: &str) {
        let trouble = Some((Instant::now(), what.to_owned()));
        *lock(&self.trouble) = trouble;
    }

    /// What did not work a moment ago.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = lock(&self.trouble).clone();
        trouble.filter(|(at, _)| at.elapsed() < RECENT).map(|(_, what)| what)
    }

    fn complain(&self, text: String) {
        let number = *self.complaints.borrow() + 1;
        let mut texts = lock(&self.texts);
        texts.truncate(COMPLAINTS - 1);
        texts.push_front((number, text));
        drop(texts);
        self.complaints.send_modify(|count| *count = number);
    }

    /// The last complaint after the first `since` that names one of these subjects, or the inbox that answers come to.
    fn about(&self, subjects: &[String], since: u64) -> Option<String> {
        let named = |text: &str| subjects.iter().any(|subject| text.contains(subject));
        let texts = lock(&self.texts);
        let found = texts.iter().find(|(number, text)| *number > since && named(text));
        // The subscription of the inbox is made once, long before most requests.
        let inbox = || texts.iter().find(|(_, text)| of_inbox(text));
        found.or_else(inbox).map(|(_, text)| text.clone())
    }

    #[cfg(test)]
    pub(super) fn last(&self) -> Option<String> {
        lock(&self.texts).front().map(|(_, text)| text.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_inbox(text: &str) -> bool {
    text.contains("Subscription to \"_INBOX.")
}

/// What the server says of some subjects from now on.
#[derive(Debug)]
pub(super) struct Complaints {
    watch: Arc<Watch>,
    changes: watch::Receiver<u64>,
    since: u64,
    /// As they stand in complaints: `"a.b"`, or a part of that.
    subjects: Vec<String>,
}

impl Complaints {
    pub(super) fn of(watch: &Arc<Watch>, subjects: Vec<String>) -> Self {
        let mut changes = watch.complaints.subscribe();
        let since = *changes.borrow_and_update();
        Self { watch: Arc::clone(watch), changes, since, subjects }
    }

    /// Waits until it complains: for ever, mostly. Cancel safe.
    pub(super) async fn next(&mut self) -> String {
        while self.changes.changed().await.is_ok() {
            if let Some(text) = self.now() {
                return text;
            }
        }
        std::future::pending().await
    }

    /// What it has complained of by now.
    pub(super) fn now(&self) -> Option<String> {
        self.watch.about(&self.subjects, self.since)
    }
}
