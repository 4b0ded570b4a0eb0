//! [`Spans`]: the spans that jobs of a worker have open, for what is said inside them.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tracing::span::Id;

use crate::{process::said::LONGEST_SPANS, text::beginning};

thread_local! {
    /// The spans that this thread is inside, the innermost last.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Open spans.
#[derive(Debug, Default)]
pub(super) struct Spans(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    name: &'static str,
    /// Somewhat more at most than is ever sent.
    fields: String,
    parent: Option<u64>,
    /// How many handles and spans below it there are.
    handles: usize,
}

impl Open {
    /// Adds fields, unless there is more already than is sent. A job may record a field without end.
    fn add(&mut self, fields: &str) {
        if self.fields.len() <= LONGEST_SPANS {
            let space = if self.fields.is_empty() { "" } else { " " };
            self.fields.push_str(space);
            // Enough to be seen to be cut.
            self.fields.push_str(beginning(fields, 2 * LONGEST_SPANS));
        }
    }
}

impl Spans {
    /// Opens a span below `parent`.
    pub(super) fn open(&self, name: &'static str, fields: &str, parent: Option<&Id>) -> Id {
        let mut table = self.lock();
        let parent = parent.map(Id::into_u64).filter(|parent| table.open.contains_key(parent));
        if let Some(parent) = parent.and_then(|parent| table.open.get_mut(&parent)) {
            parent.handles += 1;
        }
        table.last += 1;
        let id = table.last;
        let mut open = Open { name, fields: String::new(), parent, handles: 1 };
        open.add(fields);
        table.open.insert(id, open);
        Id::from_u64(id)
    }

    /// Adds fields to a span.
    pub(super) fn add(&self, span: &Id, fields: &str) {
        if let Some(open) = self.lock().open.get_mut(&span.into_u64()) {
            open.add(fields);
        }
    }

    pub(super) fn add_handle(&self, span: &Id) {
        if let Some(open) = self.lock().open.get_mut(&span.into_u64()) {
            open.handles += 1;
        }
    }

    /// A handle is dropped. Says whether it was the last.
    pub(super) fn drop_handle(&self, span: &Id) -> bool {
        let mut table = self.lock();
        let mut next = Some(span.into_u64());
        let mut is_closed = false;
        while let Some(id) = next {
            let Some(open) = table.open.get_mut(&id) else { break };
            open.handles -= 1;
            if open.handles > 0 {
                break;
            }
            is_closed = true;
            next = table.open.remove(&id).and_then(|open| open.parent);
        }
        is_closed
    }

    pub(super) fn enter(span: &Id) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(span.into_u64()));
    }

    pub(super) fn exit(span: &Id) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|&id| id == span.into_u64()) {
                inside.remove(at);
            }
        });
    }

    /// The span that this thread is inside.
    pub(super) fn here() -> Option<Id> {
        INSIDE.try_with(|inside| inside.borrow().last().copied()).ok().flatten().map(Id::from_u64)
    }

    /// The names and fields of a span and those above it, outermost first: `request{id=3}:decode`. No more than is sent, and a part
    /// of the rest if there is any.
    pub(super) fn path(&self, span: Option<&Id>) -> String {
        let table = self.lock();
        let mut spans = Vec::new();
        let mut next = span.and_then(|span| table.open.get(&span.into_u64()));
        while let Some(open) = next {
            spans.push(open);
            next = open.parent.and_then(|parent| table.open.get(&parent));
        }
        let mut path = String::new();
        for open in spans.iter().rev() {
            if path.len() > LONGEST_SPANS {
                break;
            }
            let colon = if path.is_empty() { "" } else { ":" };
            path.push_str(colon);
            path.push_str(open.name);
            if !open.fields.is_empty() {
                let _ = write!(path, "{{{}}}", open.fields);
            }
        }
        path
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_is_told_the_same_field_without_end_stays_small() {
        let spans = Spans::default();
        let outer = spans.open("import", "file=3", None);
        let inner = spans.open("line", "", Some(&outer));
        assert_eq!(spans.path(Some(&inner)), "import{file=3}:line");
        (0..100_000).for_each(|line| spans.add(&inner, &format!("line={line}")));
        spans.add(&outer, &"x".repeat(1_000_000));
        let path = spans.path(Some(&inner));
        assert!(path.starts_with("import{file=3 xxx"), "{path}");
        assert!((LONGEST_SPANS + 1..4 * LONGEST_SPANS).contains(&path.len()), "{}", path.len());
        let kept: usize = spans.lock().open.values().map(|open| open.fields.capacity()).sum();
        assert!(kept < 16 * LONGEST_SPANS, "{kept}");
    }
}
