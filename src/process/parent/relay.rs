//! [`Relay`]: makes events of the program of what its workers' subscribers send. Used by the copier alone, under no lock.

use super::{copier::Owner, copier::Piece, sink::Printer};
use crate::{
    process::said::{Found, Said, find},
    trace::JobSpan,
};

/// Events of one worker.
pub(super) struct Relay {
    pool: String,
    printer: Printer,
    /// Whose events they are.
    owner: Option<Owner>,
    /// The beginning of an event whose end has not come.
    begun: Vec<u8>,
    /// How much of what came since the last job began or ended could not be read. From there on nothing is.
    unreadable: u64,
}

impl Relay {
    pub(super) fn new(pool: &str, printer: Printer) -> Self {
        Self { pool: pool.to_owned(), printer, owner: None, begun: Vec::new(), unreadable: 0 }
    }

    pub(super) fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Bytes(bytes) => self.read(bytes),
            Piece::Of(owner) => {
                self.finish();
                self.owner = owner;
            }
            // What follows begins somewhere inside an event.
            Piece::Lost(bytes) => self.unreadable += bytes,
        }
    }

    /// What has come is to be whole events.
    pub(super) fn finish(&mut self) {
        let lost = std::mem::take(&mut self.unreadable) + std::mem::take(&mut self.begun).len() as u64;
        if lost > 0 {
            let message = format!("{lost} bytes of events were lost: they came too fast, or were none");
            let (level, cut) = (2, false);
            let (target, fields, spans) = ("heavylift::worker".into(), "".into(), "".into());
            self.tell(&Said { level, cut, target, message: message.into(), fields, spans });
        }
    }

    fn read(&mut self, bytes: Vec<u8>) {
        if self.unreadable > 0 {
            self.unreadable += bytes.len() as u64;
            return;
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend(bytes);
        let mut rest = all.as_slice();
        loop {
            match find(rest) {
                Found::Event(said, len) => {
                    self.tell(&said);
                    rest = &rest[len..];
                }
                // Less than an event is long.
                Found::Part => return self.begun = rest.to_vec(),
                Found::Garbage => return self.unreadable = rest.len() as u64,
            }
        }
    }

    fn tell(&self, said: &Said<'_>) {
        let none = JobSpan::default();
        let span = self.owner.as_ref().map_or(&none, |owner| &owner.span);
        let label = self.owner.as_ref().map(|owner| &owner.label);
        let (pool, Printer { worker, pid }) = (self.pool.as_str(), self.printer);
        let (name, task) = (label.map(|label| label.name.as_str()), label.map(|label| label.id.as_u64()));
        let Said { level, cut, target, message, fields, spans } = said;
        let (target, fields, spans) = (&**target, some_text(fields), some_text(spans));
        /// One callsite per level: a callsite's is fixed.
        macro_rules! tell {
            ($level:ident, $parent:ident) => {
                tracing::event!(
                    target: "heavylift::worker",
                    parent: $parent,
                    tracing::Level::$level,
                    pool,
                    worker,
                    pid,
                    task,
                    task_name = name,
                    worker.target = target,
                    worker.spans = spans,
                    fields,
                    cut = cut,
                    "{message}"
                )
            };
        }
        span.tell(|parent| match level {
            1 => tell!(ERROR, parent),
            2 => tell!(WARN, parent),
            3 => tell!(INFO, parent),
            4 => tell!(DEBUG, parent),
            _ => tell!(TRACE, parent),
        });
    }
}

fn some_text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
