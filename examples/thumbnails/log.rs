//! Lines for the operator, on stderr.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

/// How many lines may wait to be written. What is said beyond that is lost.
const WAITING: usize = 1000;

/// Says a line. Never waits: where stderr is a pipe that nobody reads, the service goes on without words.
pub(crate) fn complain(message: impl Display) {
    static LINES: OnceLock<SyncSender<String>> = OnceLock::new();

    let lines = LINES.get_or_init(|| {
        let (sender, lines) = sync_channel::<String>(WAITING);
        let write = move || lines.into_iter().for_each(|line| write(&line));
        // Without the thread nobody listens, and what is said is lost.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(write);
        sender
    });
    let _ = lines.try_send(message.to_string());
}

/// Says a line at once, for a program that is about to end.
pub(crate) fn write(line: &str) {
    let _ = writeln!(io::stderr(), "thumbnails: {line}");
}
