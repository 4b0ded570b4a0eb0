//! Sorting what comes in the argument and goes back in the result.

use super::{RealJob, text::prose, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "sorting";
    vec![
        RealJob::new(family, "sort", 150, sort, |_, nth| numbers(nth, 50_000)),
        RealJob::new(family, "sort-100", 150_000, sort, |_, nth| numbers(nth, 100)),
        RealJob::new(family, "sort-million", 5, sort, |_, nth| numbers(nth, 1_000_000)),
        RealJob::new(family, "sort-words", 80, sort_words, |_, nth| words(nth, 10_000)),
    ]
}

fn numbers(nth: usize, count: usize) -> Vec<u64> {
    random(nth as u64).take(count).collect()
}

fn words(nth: usize, count: usize) -> Vec<String> {
    prose(nth, count * 8).split_whitespace().map(str::to_owned).collect()
}

fn sort(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

fn sort_words(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}
