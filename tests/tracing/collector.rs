//! A subscriber that notes every span and event.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
    thread::ThreadId,
};

use tracing::{
    Dispatch, Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

pub(crate) type Fields = BTreeMap<&'static str, String>;

/// A span as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct SeenSpan {
    pub(crate) name: &'static str,
    pub(crate) target: String,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    /// How often each field was given.
    pub(crate) given: BTreeMap<&'static str, u32>,
    /// Its place among all spans.
    pub(crate) number: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) entered_by: Vec<ThreadId>,
    pub(crate) closed: u32,
}

impl SeenSpan {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// An event as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct SeenEvent {
    pub(crate) target: String,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    pub(crate) parent: Option<usize>,
}

impl SeenEvent {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<SeenSpan>,
    events: Vec<SeenEvent>,
}

/// The place of a span among all, kept with it: ids are used again.
struct Number(usize);

impl Collector {
    /// The one that the whole program has.
    pub(crate) fn global() -> Self {
        static COLLECTOR: Mutex<Option<Collector>> = Mutex::new(None);
        static ONCE: Once = Once::new();
        let mut collector = COLLECTOR.lock().unwrap_or_else(PoisonError::into_inner);
        let collector = collector.get_or_insert_with(Self::default).clone();
        ONCE.call_once(|| {
            tracing::dispatcher::set_global_default(collector.dispatch()).expect("the only one");
        });
        collector
    }

    pub(crate) fn dispatch(&self) -> Dispatch {
        Dispatch::new(tracing_subscriber::registry().with(self.clone()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn spans(&self) -> Vec<SeenSpan> {
        self.seen().spans.clone()
    }

    /// The spans of the jobs of a pool, in the order of their beginning.
    pub(crate) fn jobs_of(&self, pool: &str) -> Vec<SeenSpan> {
        let spans = self.spans();
        spans
            .into_iter()
            .filter(|span| span.name == "heavylift.job" && span.field("pool") == Some(pool))
            .collect()
    }

    /// The only job of a pool.
    #[track_caller]
    pub(crate) fn job_of(&self, pool: &str) -> SeenSpan {
        let mut jobs = self.jobs_of(pool);
        assert_eq!(jobs.len(), 1, "{jobs:#?}");
        jobs.remove(0)
    }

    pub(crate) fn span_named(&self, name: &str) -> SeenSpan {
        self.spans().into_iter().find(|span| span.name == name).expect("it was opened")
    }

    /// The events that came from the workers of a pool, in their order.
    pub(crate) fn said_in(&self, pool: &str) -> Vec<SeenEvent> {
        let events = self.events().into_iter();
        events
            .filter(|event| event.target == "heavylift::worker" && event.field("pool") == Some(pool))
            .collect()
    }

    pub(crate) fn events(&self) -> Vec<SeenEvent> {
        self.seen().events.clone()
    }
}

struct Visitor<'a>(&'a mut Fields, Option<&'a mut BTreeMap<&'static str, u32>>);

impl Visitor<'_> {
    fn note(&mut self, field: &Field, value: String) {
        self.0.insert(field.name(), value);
        if let Some(given) = &mut self.1 {
            *given.entry(field.name()).or_default() += 1;
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }
}

fn number_of<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> Option<usize> {
    context.span(id)?.extensions().get::<Number>().map(|number| number.0)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it was made just now");
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Number>().map(|n| n.0));
        let mut seen = self.seen();
        let number = seen.spans.len();
        span.extensions_mut().insert(Number(number));
        let metadata = attributes.metadata();
        let (mut fields, mut given) = (Fields::new(), BTreeMap::new());
        attributes.record(&mut Visitor(&mut fields, Some(&mut given)));
        seen.spans.push(SeenSpan {
            name: metadata.name(),
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            fields,
            given,
            number,
            parent,
            entered_by: Vec::new(),
            closed: 0,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(number) = number_of(id, &context) {
            let SeenSpan { fields, given, .. } = &mut self.seen().spans[number];
            values.record(&mut Visitor(fields, Some(given)));
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(number) = number_of(id, &context) {
            self.seen().spans[number].entered_by.push(std::thread::current().id());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let parent =
            context.event_span(event).and_then(|span| span.extensions().get::<Number>().map(|n| n.0));
        let metadata = event.metadata();
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields, None));
        let target = metadata.target().to_owned();
        self.seen().events.push(SeenEvent { target, level: *metadata.level(), fields, parent });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(number) = number_of(&id, &context) {
            self.seen().spans[number].closed += 1;
        }
    }
}
