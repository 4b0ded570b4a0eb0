//! A request as a tree of spans: one job on a thread, one in a process, and what the latter says and prints.
//!
//! ```text
//! cargo run --release --example tracing --features tracing
//! ```

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use heavylift::{Output, ProcessPool, Shutdown, ThreadPool};
use tracing::{
    Event, Instrument, Subscriber,
    field::{Field, Visit},
    info_span,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// Runs in a child process, which needs no line for its events to come back.
fn thumbnail(width: u32) -> u32 {
    tracing::info!(width, "scaling");
    println!("plain output comes, too");
    width * width * 3
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Tree::default()))?;
    let threads = ThreadPool::builder().name("disk").build()?;
    let processes =
        ProcessPool::builder().name("images").max_workers(1).capture_output(Output::Tracing).build()?;

    let request = async {
        let size = threads.job(|| std::fs::metadata("Cargo.toml").map(|file| file.len())).name("read").run();
        let bytes = processes.job(thumbnail, 160).name("scale").run();
        let failed = threads.job(|| -> u32 { panic!("the disk is full") }).name("store").run();
        anyhow::Ok((size.await??, bytes.await?, failed.await.is_err()))
    };
    request.instrument(info_span!("request", path = "/thumbnail")).await?;
    // All that workers have said has come when this resolves, and the last span is closed.
    processes.shutdown(Shutdown::Drain).await;
    Ok(())
}

/// Prints each span that has no parent, with all that was below it, when it closes.
#[derive(Default)]
struct Tree(Mutex<()>);

/// What is printed of a span.
struct Branch {
    line: String,
    below: Vec<String>,
}

/// Collects fields that are worth a look.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0 = format!(" {value:?}{}", self.0),
            "pool" | "kind" | "name" | "outcome" | "error" | "path" | "stream" | "fields" => {
                self.0 += &format!(" {field}={value:?}");
            }
            _ => {}
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tree {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let Some(span) = context.span(id) else { return };
        let line = format!("{}{}", span.name(), fields.0);
        span.extensions_mut().insert(Branch { line, below: Vec::new() });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(branch) = span.extensions_mut().get_mut::<Branch>()
        {
            branch.line += &fields.0;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let line = format!("{}{}", event.metadata().level(), fields.0);
        if let Some(span) = context.event_span(event)
            && let Some(branch) = span.extensions_mut().get_mut::<Branch>()
        {
            branch.below.push(line);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Branch { line, below }) = span.extensions_mut().remove() else { return };
        let lines = std::iter::once(line).chain(below.into_iter().map(|line| format!("  {line}")));
        match span.parent() {
            Some(parent) => {
                if let Some(branch) = parent.extensions_mut().get_mut::<Branch>() {
                    branch.below.extend(lines);
                }
            }
            None => {
                let _one_at_a_time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                lines.for_each(|line| println!("{line}"));
            }
        }
    }
}
