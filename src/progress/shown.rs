//! [`Shown`]: the bar of one stream, if it has one.
//!
//! To tell a bar of an item takes some 30 ns, more than a small item of a `map` runs. So items are counted here, and the bar is told of
//! many at a time:
//!
//! 1. Whenever the stream has nothing to yield: then somebody waits, and may look.
//! 2. Where it always has something, after [`PERIOD`]. The clock is read with each item, or, while items come in quick succession, with
//!    up to [`MOST`] of them.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::panic::{catch, drop_shielded, shield};

/// The bar is told no more often, while there is something to yield.
const PERIOD: Duration = Duration::from_millis(20);
/// After so many items at the latest the clock is read.
const MOST: u32 = 64;
/// If this passes between two looks at the clock, the next item is looked at.
const LONG: Duration = Duration::from_millis(1);

/// The bar of a stream of `O`, if it has one.
pub(crate) struct Shown<O> {
    bar: Held,
    judge: Judge<O>,
}

/// The bar, until it panics. It is foreign code, also where it is dropped.
#[derive(Default)]
struct Held(Option<Box<Bar>>);

/// What says which items are failures.
pub(crate) enum Judge<O> {
    Ours(fn(&O) -> bool),
    /// Foreign code.
    Given(fn(&O) -> bool),
}

impl<O> Judge<O> {
    fn is_failure(&self, output: &O) -> bool {
        match self {
            Self::Ours(is_failure) => is_failure(output),
            Self::Given(is_failure) => catch(|| is_failure(output)).unwrap_or(false),
        }
    }
}

impl<O> Default for Shown<O> {
    fn default() -> Self {
        Self { bar: Held::default(), judge: Judge::Ours(|_| false) }
    }
}

impl<O> Shown<O> {
    /// Shows a stream on a bar, of which so many have come by now, and in all.
    pub(crate) fn on(bar: ProgressBar, done: usize, total: Option<usize>, judge: Judge<O>) -> Self {
        let mut bar = Held(Some(Box::new(Bar::new(bar, done))));
        bar.with(|bar| bar.begin(total));
        Self { bar, judge }
    }

    /// The same for a stream of other items.
    pub(crate) fn judged_by<P>(self, is_failure: fn(&P) -> bool) -> Shown<P> {
        Shown { bar: self.bar, judge: Judge::Ours(is_failure) }
    }

    /// One has come. Returns whether to [`look`](Self::look).
    pub(crate) fn came(&mut self, output: &O) -> bool {
        let Some(bar) = &mut self.bar.0 else { return false };
        bar.done += 1;
        bar.failed += u64::from(self.judge.is_failure(output));
        bar.until_look -= 1;
        bar.until_look == 0
    }

    /// So many will not come, and count as failures.
    pub(crate) fn missed(&mut self, outputs: usize) {
        if let Some(bar) = &mut self.bar.0 {
            bar.failed += outputs as u64;
            bar.is_cut_short = true;
        }
    }

    /// Whether there is something to show.
    pub(crate) fn has_news(&self) -> bool {
        self.bar.0.as_ref().is_some_and(|bar| bar.done != bar.shown || bar.is_longer)
    }

    /// There will be more. Returns whether to [`look`](Self::look).
    pub(crate) fn grows(&mut self) -> bool {
        let Some(bar) = &mut self.bar.0 else { return false };
        bar.is_longer = true;
        bar.until_look = bar.until_look.saturating_sub(1).max(1);
        bar.has_ended || bar.until_look == 1
    }

    /// Looks at the clock, and tells the bar if it is time to.
    pub(crate) fn look(&mut self, total: Option<usize>) {
        self.bar.with(|bar| bar.look(total));
    }

    /// Tells the bar.
    pub(crate) fn show(&mut self, total: Option<usize>) {
        self.bar.with(|bar| bar.show(total, Instant::now()));
    }

    /// All have come.
    pub(crate) fn end(&mut self, total: Option<usize>) {
        self.bar.with(|bar| bar.end(total));
    }

    /// No more will come, and not all have.
    pub(crate) fn cut_short(&mut self) {
        self.bar.with(|bar| {
            bar.is_cut_short = true;
            bar.end(None);
        });
    }
}

impl Held {
    /// Calls foreign code, and lets go of it if it panics.
    fn with(&mut self, tell: impl FnOnce(&mut Bar)) {
        let Some(bar) = &mut self.0 else { return };
        let mut is_told = false;
        // Only lent to what may unwind: a bar that is dropped draws itself, and a second panic would be the program's end.
        shield(|| {
            tell(bar);
            is_told = true;
        });
        if !is_told {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        drop_shielded(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.with(|bar| bar.end(None));
        self.let_go();
    }
}

/// A bar, and what is not told yet.
struct Bar {
    bar: ProgressBar,
    /// The message that it had.
    message: String,
    /// The position that it had.
    begin: u64,
    /// How many there are in all, as far as the bar knows.
    total: Option<u64>,
    done: u64,
    failed: u64,
    /// How many the bar knows of.
    shown: u64,
    shown_failed: u64,
    /// Whether there are more than the bar knows of.
    is_longer: bool,
    is_cut_short: bool,
    has_ended: bool,
    /// Items until the clock is read, and how many that were last.
    until_look: u32,
    stride: u32,
    looked: Instant,
    told: Instant,
}

impl Bar {
    fn new(bar: ProgressBar, done: usize) -> Self {
        let now = Instant::now();
        Self {
            bar,
            message: String::new(),
            begin: 0,
            total: None,
            done: done as u64,
            failed: 0,
            shown: 0,
            shown_failed: 0,
            is_longer: false,
            is_cut_short: false,
            has_ended: false,
            until_look: 1,
            stride: 1,
            looked: now,
            told: now,
        }
    }

    fn begin(&mut self, total: Option<usize>) {
        (self.message, self.begin) = (self.bar.message(), self.bar.position());
        self.show(total, self.told);
    }

    fn look(&mut self, total: Option<usize>) {
        let now = Instant::now();
        self.stride = next_stride(self.stride, now.duration_since(self.looked));
        (self.looked, self.until_look) = (now, self.stride);
        if self.has_ended || now.duration_since(self.told) >= PERIOD {
            self.show(total, now);
        }
    }

    fn show(&mut self, total: Option<usize>, now: Instant) {
        (self.told, self.is_longer) = (now, false);
        if self.has_ended {
            self.begin_again();
        }
        let total = total.map(|total| total as u64);
        if total.is_some() && total != self.total {
            self.total = total;
            self.bar.set_length(self.begin + self.total.unwrap_or(0));
        }
        self.bar.inc(self.done - std::mem::replace(&mut self.shown, self.done));
        if self.failed != std::mem::replace(&mut self.shown_failed, self.failed) {
            self.bar.set_message(self.failures());
        }
    }

    fn failures(&self) -> String {
        let space = if self.message.is_empty() { "" } else { " " };
        format!("{}{space}{} failed", self.message, self.failed)
    }

    /// More were added after the end.
    fn begin_again(&mut self) {
        self.has_ended = false;
        self.bar.reset();
        self.bar.set_position(self.begin + self.shown);
    }

    fn end(&mut self, total: Option<usize>) {
        if self.has_ended {
            return;
        }
        self.show(total, Instant::now());
        self.has_ended = true;
        if self.is_cut_short || self.total != Some(self.done) {
            self.bar.abandon();
        } else {
            self.bar.finish_using_style();
        }
    }
}

/// After how many items the clock is to be read next, if so many took so long.
fn next_stride(stride: u32, took: Duration) -> u32 {
    if took < LONG { (2 * stride).min(MOST) } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_seldom_where_items_come_quickly_and_with_each_where_they_do_not() {
        let (quick, slow) = (Duration::from_micros(1), Duration::from_millis(1));
        let table = [(1, quick, 2), (32, quick, 64), (64, quick, 64), (64, slow, 1), (1, slow, 1)];
        for (stride, took, next) in table {
            assert_eq!(next_stride(stride, took), next, "{stride} in {took:?}");
        }
        let mut shown = Shown::on(ProgressBar::hidden(), 0, None, Judge::Ours(|&()| false));
        let looks = (0..10_000).filter(|_| {
            let is_due = shown.came(&());
            if is_due {
                shown.look(None);
            }
            is_due
        });
        let looks = looks.count();
        assert!((10_000 / 64..1000).contains(&looks), "{looks}");
    }

    #[test]
    fn a_stream_that_always_has_something_is_shown_nevertheless() {
        let begin = Instant::now();
        let bar = ProgressBar::hidden();
        let mut shown = Shown::on(bar.clone(), 0, None, Judge::Ours(|&()| false));
        while bar.position() == 0 {
            if shown.came(&()) {
                shown.look(None);
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "it never learns of any");
        }
        assert!(begin.elapsed() >= PERIOD);
    }
}
