//! [`bar`]: a bar for who has no wishes.

use std::{fmt, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressFinish, ProgressState, ProgressStyle};

/// Returns a bar on stderr: how long it has taken, how many of how many, how many per second, how long it will take, how many failed.
///
/// Silent where stderr is no terminal. It moves also while nothing comes, and stays when all have come. It is one of
/// indicatif's own: change it as you like, for instance by `bar().with_prefix("thumbnails")`.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{gather, progress::bar, run_in_thread_pool};
///
/// let tasks = (0..100u64).map(|n| run_in_thread_pool(move || n));
/// assert_eq!(gather(tasks).progress(bar()).await?.len(), 100);
/// # Ok(())
/// # }
/// ```
pub fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style()).with_finish(ProgressFinish::AndLeave);
    if !bar.is_hidden() {
        // On a thread of the bar's own.
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

fn style() -> ProgressStyle {
    let template =
        "{spinner} {prefix}[{elapsed}] {wide_bar} {human_pos}/{human_len} {rate}, {eta} left {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // indicatif's own has four decimals. A bar that cannot be drawn is nobody's business.
        let rate = state.per_sec();
        let _ = if rate < 10.0 {
            write!(out, "{rate:.1}/s")
        } else {
            write!(out, "{}/s", HumanCount(rate as u64))
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_all_that_is_of_interest() {
        let term = indicatif::InMemoryTerm::new(2, 100);
        let bar = bar();
        bar.set_draw_target(indicatif::ProgressDrawTarget::term_like(Box::new(term.clone())));
        bar.set_length(2000);
        bar.set_message("3 failed");
        bar.set_prefix("things ");
        bar.inc(1000);
        bar.force_draw();
        let contents = term.contents();
        assert!(contents.contains("things [") && contents.contains("1,000/2,000"), "{contents}");
        assert!(contents.contains("/s, ") && contents.ends_with("left 3 failed"), "{contents}");
    }
}
