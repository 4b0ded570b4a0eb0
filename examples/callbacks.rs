//! A callback on each result, whether or not anybody awaits it: Python's `add_done_callback`.
//!
//! ```text
//! cargo run --release --example callbacks
//! ```
//!
//! A callback runs on the thread that finishes the task, so it must not block. This one sends on a channel.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::mpsc;

use heavylift::{ThreadPool, run_in_process_pool};

/// Adds up the digits. Panics at `x`.
fn digit_sum(text: String) -> u32 {
    text.chars().map(|c| c.to_digit(10).expect("only digits")).sum()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel();

    for text in ["123", "4x5", "999"] {
        let task = run_in_process_pool(digit_sum, text.to_owned());
        let sender = sender.clone();
        task.on_done(move |outcome| {
            let line = match outcome {
                Ok(sum) => format!("{text}: {sum}"),
                Err(error) => format!("{text}: {}", error.panic_message().unwrap_or("no result")),
            };
            let _ = sender.send(line);
        });
        task.detach(); // dropping it instead would cancel it
    }
    drop(sender);

    // The channel ends when the last callback has run. Receiving blocks, so it is a job, too.
    let mut lines: Vec<String> = ThreadPool::global().run(move || receiver.iter().collect()).await?;
    lines.sort();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
