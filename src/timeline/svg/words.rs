//! How numbers, names and what is said on hover are written.

use std::fmt::{self, Write as _};

use super::{LONGEST, axis::Time};
use crate::timeline::{Mark, RecordedJob, RecordedWorker, escape::Xml};

/// In groups of three digits.
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (nth, digit) in digits.chars().enumerate() {
            if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// What is said of a job on hover, escaped.
pub(super) fn about(job: &RecordedJob) -> String {
    let mut text = format!("{}, task {}", said(job.name()), job.id());
    if job.items > 1 {
        let _ = write!(text, " and more: {} items", Number(job.items.into()));
    }
    if job.ran > 0 {
        let _ = write!(text, "\nran {}", Time(job.ran));
    }
    if job.waited != u64::MAX {
        let _ = write!(text, "\nwaited {}", Time(job.waited));
    }
    let _ = write!(text, "\n{}", job.end());
    if let Some(error) = job.error() {
        let _ = write!(text, ": {}", said(error));
    }
    text
}

pub(super) fn about_mark(at: u64, count: u64, mark: Mark, worker: &RecordedWorker) -> String {
    let (number, what) = (worker.number, mark.text());
    let more = if count > 1 { format!(", and {} more", Number(count - 1)) } else { String::new() };
    let pid = worker.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let is_end = matches!(mark, Mark::Killed | Mark::Died);
    let why = worker.why().filter(|_| is_end);
    let why = why.map_or_else(String::new, |why| format!(": {}", said(why)));
    format!("worker {number}{pid} {what} at {}{more}{why}", Time(at))
}

/// The text, cut to so many characters.
pub(super) fn fitted(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Foreign text as it is written, cut to a bearable length.
pub(super) fn said(text: &str) -> String {
    let mut said = String::new();
    for (at, c) in text.char_indices() {
        let before = said.len();
        let _ = write!(said, "{}", Xml(&text[at..at + c.len_utf8()]));
        if said.len() > LONGEST {
            said.truncate(before);
            said.push('…');
            break;
        }
    }
    said
}

/// The last parts of a path of Rust's, as the type of a function has one.
pub(super) fn short_name(name: &str) -> &str {
    let end = name.find(['<', ' ']).unwrap_or(name.len());
    let mut parts = name[..end].rmatch_indices("::").map(|(at, _)| at);
    let Some(last) = parts.next() else { return name };
    let is_closure = name[last..].starts_with("::{{closure}}");
    let at = if is_closure { parts.next() } else { Some(last) };
    at.map_or(name, |at| &name[at + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_to_what_tells_them_apart() {
        let table = [
            ("thumbnail", "thumbnail"),
            ("service::images::thumbnail", "thumbnail"),
            ("service::main::{{closure}}", "main::{{closure}}"),
            ("service::run<alloc::vec::Vec<u8>>", "run<alloc::vec::Vec<u8>>"),
            ("{{closure}}", "{{closure}}"),
            ("a name: with spaces::", "a name: with spaces::"),
        ];
        for (name, short) in table {
            assert_eq!(short_name(name), short);
        }
        assert_eq!(said("<&>"), "&lt;&amp;&gt;");
        assert!(said(&"<".repeat(1_000)).len() <= LONGEST + 3);
        assert_eq!((fitted("größer", 4).as_str(), fitted("groß", 4).as_str()), ("grö…", "groß"));
    }

    #[test]
    fn numbers_are_in_groups_of_three() {
        let table = [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")];
        for (number, text) in table {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
