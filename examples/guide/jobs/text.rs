//! Text of this crate: parsed as JSON, searched, counted.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RealJob, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "text";
    vec![
        RealJob::new(family, "json", 200, parse, |_, nth| document(nth, 500)),
        RealJob::new(family, "json-line", 200_000, parse_record, |_, nth| line(nth)),
        RealJob::new(family, "json-typed", 150, parse_records, |_, nth| document(nth, 1000)),
        RealJob::new(family, "json-write", 250, write, |_, nth| records(nth, 1000)),
        RealJob::new(family, "regex", 200, find_names, |_, nth| prose(nth, 64 << 10)),
        RealJob::new(family, "regex-line", 500_000, find_names, |_, nth| line_of_prose(nth)),
        RealJob::new(family, "words", 150, count_words, |_, nth| prose(nth, 64 << 10)),
    ]
}

/// What this crate says of itself.
const TEXT: &str = concat!(
    include_str!("../../../README.md"),
    include_str!("../../../ARCHITECTURE.md"),
    include_str!("../../../CHANGELOG.md"),
    include_str!("../../../docs/faults.md"),
    include_str!("../../../src/process/README.md"),
    include_str!("../../../src/map/mod.rs"),
    include_str!("../../../src/thread/dispatch.rs"),
    include_str!("../../../src/process/builder.rs"),
);

/// A piece of the text of at least `bytes` bytes, by whole lines, each time from elsewhere on.
pub(crate) fn prose(nth: usize, bytes: usize) -> String {
    let mut piece = String::with_capacity(bytes + 256);
    for line in TEXT.lines().cycle().skip(nth * 37 % TEXT.lines().count()) {
        if piece.len() >= bytes {
            break;
        }
        piece.push_str(line);
        piece.push('\n');
    }
    piece
}

fn line_of_prose(nth: usize) -> String {
    static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| TEXT.lines().collect());
    LINES[nth % LINES.len()].to_owned()
}

/// A record of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    id: u64,
    at: f64,
    user: String,
    words: Vec<String>,
    size: Option<u32>,
}

fn record(n: u64) -> Record {
    let words = line_of_prose(n as usize).split_whitespace().take(8).map(str::to_owned).collect();
    let size = n.is_multiple_of(3).then_some(n as u32);
    Record { id: n, at: n as f64 / 7.0, user: format!("user {}", n % 97), words, size }
}

fn records(nth: usize, count: usize) -> Vec<Record> {
    random(nth as u64).take(count).map(|n| record(n % 1_000_000)).collect()
}

pub(crate) fn document(nth: usize, count: usize) -> String {
    write(records(nth, count))
}

fn line(nth: usize) -> String {
    serde_json::to_string(&record(nth as u64)).expect("a record is JSON")
}

fn write(records: Vec<Record>) -> String {
    serde_json::to_string(&records).expect("records are JSON")
}

/// Parses whatever JSON it is, and adds up what is said to be a size.
pub(crate) fn parse(text: String) -> u64 {
    let value: Value = serde_json::from_str(&text).expect("it is JSON");
    value.as_array().into_iter().flatten().filter_map(|record| record["size"].as_u64()).sum()
}

fn parse_record(text: String) -> u64 {
    let record: Record = serde_json::from_str(&text).expect("it is a record");
    record.id
}

fn parse_records(text: String) -> Vec<Record> {
    serde_json::from_str(&text).expect("they are records")
}

/// Finds the names of types, and returns how many differ.
fn find_names(text: String) -> usize {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b([A-Z][a-z]+)+(::[a-z_]+)?\b").expect("the pattern is right"));
    let mut names: Vec<&str> = NAME.find_iter(&text).map(|name| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// The words and how often each comes.
fn count_words(text: String) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}
