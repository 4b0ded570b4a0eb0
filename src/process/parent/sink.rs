//! [`Sink`]: where the output of a process goes. Used by the copier alone, under no lock: what is behind it may block or panic.

use std::io::Write;

use super::copier::Piece;
#[cfg(feature = "tracing")]
use super::{
    copier::Owner,
    lines::{Line, Lines},
    relay::Relay,
};
use crate::process::{Output, config::Config};
#[cfg(feature = "tracing")]
use crate::trace::JobSpan;

/// Which of its streams.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    /// Not what it prints: what its subscriber sends.
    Events,
}

/// The process that prints.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only events say who has printed"))]
pub(super) struct Printer {
    /// The worker's number; none for a zygote.
    pub(super) worker: Option<u32>,
    pub(super) pid: u32,
}

/// Where the output of one process goes.
pub(super) enum Sink {
    /// To the program's standard error.
    Pass,
    /// Nowhere.
    Drop,
    /// To the program's tracing subscriber, line by line.
    #[cfg(feature = "tracing")]
    Tell(Teller),
    /// The same, event by event.
    #[cfg(feature = "tracing")]
    Relay(Relay),
}

impl Sink {
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, reason = "only events say who has printed")
    )]
    pub(super) fn new(config: &Config, printer: Printer, stream: Stream) -> Self {
        match config.output {
            Output::Inherit => Self::Pass,
            Output::Null => Self::Drop,
            #[cfg(feature = "tracing")]
            Output::Tracing => match stream {
                Stream::Stdout => Self::Tell(Teller::new(&config.name, printer, "stdout")),
                Stream::Stderr => Self::Tell(Teller::new(&config.name, printer, "stderr")),
                Stream::Events => Self::Relay(Relay::new(&config.name, printer)),
            },
        }
    }

    /// Hands on what was printed, in its order.
    pub(super) fn take(&mut self, pieces: Vec<Piece>) {
        match self {
            Self::Pass => pieces.into_iter().for_each(pass),
            Self::Drop => {}
            #[cfg(feature = "tracing")]
            Self::Tell(teller) => pieces.into_iter().for_each(|piece| teller.take(piece)),
            #[cfg(feature = "tracing")]
            Self::Relay(relay) => pieces.into_iter().for_each(|piece| relay.take(piece)),
        }
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Pass | Self::Drop => {}
            #[cfg(feature = "tracing")]
            Self::Tell(teller) => teller.finish_line(),
            #[cfg(feature = "tracing")]
            Self::Relay(relay) => relay.finish(),
        }
    }
}

fn pass(piece: Piece) {
    // Standard error that is closed is nobody's fault.
    let _ = match piece {
        Piece::Bytes(bytes) => std::io::stderr().write_all(&bytes),
        Piece::Lost(bytes) => {
            writeln!(std::io::stderr(), "heavylift: {bytes} bytes of a worker's output were lost")
        }
        Piece::Of(_) => Ok(()),
    };
}

/// Makes an event of each line.
#[cfg(feature = "tracing")]
pub(super) struct Teller {
    pool: String,
    printer: Printer,
    stream: &'static str,
    /// Whose output it is.
    owner: Option<Owner>,
    lines: Lines,
}

#[cfg(feature = "tracing")]
impl Teller {
    fn new(pool: &str, printer: Printer, stream: &'static str) -> Self {
        Self { pool: pool.to_owned(), printer, stream, owner: None, lines: Lines::default() }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Bytes(bytes) => {
                let mut lines = std::mem::take(&mut self.lines);
                lines.feed(&bytes, |line| self.tell(&line));
                self.lines = lines;
            }
            Piece::Of(owner) => {
                self.finish_line();
                self.owner = owner;
            }
            Piece::Lost(bytes) => {
                self.finish_line();
                let text = format!("{bytes} bytes of output were lost: nobody took them in time");
                self.tell(&Line { text: text.as_bytes(), cut: false });
            }
        }
    }

    fn finish_line(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.finish(|line| self.tell(&line));
        self.lines = lines;
    }

    fn tell(&self, line: &Line<'_>) {
        let Self { pool, printer: Printer { worker, pid }, stream, owner, .. } = self;
        let (pool, worker, pid, stream) = (pool.as_str(), *worker, *pid, *stream);
        let none = JobSpan::default();
        let span = owner.as_ref().map_or(&none, |owner| &owner.span);
        let label = owner.as_ref().map(|owner| &owner.label);
        let (name, task) = (label.map(|label| label.name.as_str()), label.map(|label| label.id.as_u64()));
        let (text, cut) = (String::from_utf8_lossy(line.text), line.cut);
        span.tell(|parent| {
            tracing::info!(
                target: "heavylift::worker",
                parent: parent,
                pool,
                worker,
                pid,
                task,
                task_name = name,
                stream,
                cut,
                "{text}"
            );
        });
    }
}
