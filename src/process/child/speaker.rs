//! [`Speaker`]: the subscriber of a worker whose initializer sets none. Sends each event to the program.

use std::{
    borrow::Cow,
    fmt::{Debug, Write},
    os::fd::OwnedFd,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use super::spans::Spans;
use crate::process::{
    message::{level_number, wanted_level},
    said::Said,
    sys::send_on_stream,
};

/// Up to which level the program wants events: its number, 0 for none.
///
/// ORDERING: Relaxed. Advice, which publishes nothing.
static WANTED: AtomicU8 = AtomicU8::new(0);

pub(super) struct Speaker {
    to_program: OwnedFd,
    spans: Spans,
}

impl Speaker {
    /// Makes it the subscriber of this process, unless there is one.
    pub(super) fn install(to_program: OwnedFd) {
        // An error means that the initializer or the preload has set another, which is as it should be.
        let _ = tracing::subscriber::set_global_default(Self { to_program, spans: Spans::default() });
    }

    /// Takes note of what the program wants, which the flags of a job say.
    pub(super) fn listen_to(flags: u32) {
        let wanted = wanted_level(flags);
        if WANTED.load(Relaxed) != wanted {
            WANTED.store(wanted, Relaxed);
            tracing::callsite::rebuild_interest_cache();
        }
    }
}

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    // Those of jobs are told by the program.
    let is_ours = metadata.is_span() && metadata.target() == "heavylift";
    !is_ours && level_number(*metadata.level()) <= WANTED.load(Relaxed)
}

impl Subscriber for Speaker {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match WANTED.load(Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let here = if event.is_contextual() { Spans::here() } else { event.parent().cloned() };
        let metadata = event.metadata();
        let said = Said {
            level: level_number(*metadata.level()),
            cut: false,
            target: Cow::from(metadata.target()),
            message: Cow::from(text.message),
            fields: Cow::from(text.fields),
            spans: Cow::from(self.spans.path(here.as_ref())),
        };
        // A job may have closed the descriptor, and the program may be gone.
        let _ = send_on_stream(&self.to_program, &said.to_bytes());
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text::default();
        attributes.record(&mut text);
        let parent = if attributes.is_contextual() { Spans::here() } else { attributes.parent().cloned() };
        self.spans.open(attributes.metadata().name(), &text.fields, parent.as_ref())
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        self.spans.add(span, &text.fields);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, span: &span::Id) {
        Spans::enter(span);
    }

    fn exit(&self, span: &span::Id) {
        Spans::exit(span);
    }

    fn clone_span(&self, span: &span::Id) -> span::Id {
        self.spans.add_handle(span);
        span.clone()
    }

    fn try_close(&self, span: span::Id) -> bool {
        self.spans.drop_handle(&span)
    }
}

/// The fields of an event or a span, as text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let (text, name) = match field.name() {
            "message" => (&mut self.message, None),
            name => (&mut self.fields, Some(name)),
        };
        if let Some(name) = name {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{name}=");
        }
        // Foreign code that gives up, which leaves what there is.
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }
}
