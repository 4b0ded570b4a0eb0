//! The length of the queue, and what never began.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    COLUMNS, LEFT, Picture, QUEUE,
    columns::{Colour, Columns},
    paths::skyline,
    words::{Number, about},
};
use crate::timeline::RecordedJob;

/// The queue.
impl Picture<'_> {
    pub(super) fn draw_queue(&mut self) {
        let mut most = vec![0; COLUMNS];
        let mut last = 0;
        let mut filled = 0;
        for &(at, jobs) in &self.timeline.queued {
            let column = self.scale.column(at);
            // Until somebody looked again it was as before.
            most[filled..=column].iter_mut().for_each(|most| *most = (*most).max(last));
            most[column] = most[column].max(jobs);
            (last, filled) = (jobs, column);
        }
        most[filled..].iter_mut().for_each(|most| *most = (*most).max(last));
        let highest = most.iter().copied().max().unwrap_or(0);
        let (base, x) = (self.queue + QUEUE, LEFT - 6);
        let label = base - 3.0;
        self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{label:.0}\">queued</text>"));
        if highest > 0 {
            let steps = |jobs: u64| (jobs as f64 / highest as f64 * QUEUE).ceil() as u32;
            let path = skyline(most.iter().map(|&jobs| steps(jobs)), base, 1.0);
            let (top, number) = (self.queue + 9.0, Number(highest));
            self.line(format_args!(
                "<path class=\"a\" d=\"{path}\"><title>jobs that waited: {number} at most</title></path>"
            ));
            self.line(format_args!("<text class=\"q e\" x=\"{x}\" y=\"{top:.0}\">{number}</text>"));
        }
        self.draw_unbegun();
    }

    /// Tasks that ended without a run.
    fn draw_unbegun(&mut self) {
        let unbegun = self.timeline.jobs.iter().chain(&self.timeline.failed_items);
        let unbegun: Vec<&RecordedJob> = unbegun.filter(|job| job.worker().is_none()).collect();
        let mut columns = Columns::new(COLUMNS);
        let mut counts: BTreeMap<Colour, (u64, &RecordedJob)> = BTreeMap::new();
        for job in unbegun {
            columns.add(&self.scale, job.ended, job.ended, Colour::of(job));
            counts.entry(Colour::of(job)).or_insert((0, job)).0 += u64::from(job.items);
        }
        let top = self.queue - 12.0;
        for (colour, (count, first)) in counts {
            let mut path = String::new();
            for column in (0..COLUMNS).filter(|&column| columns.failures_in(column).any(|it| it == colour)) {
                let above = columns.failures_in(column).take_while(|it| *it != colour).count();
                let each = 9.0 / columns.failures_in(column).count() as f64;
                let _ = write!(path, "M{} {:.1}h2v{each:.1}h-2z", LEFT + column, top + each * above as f64);
            }
            let (class, text, count, first) = (colour.class(), colour.text(), Number(count), about(first));
            self.line(format_args!(
                "<path class=\"{class}\" d=\"{path}\"><title>never began: {count} {text}; the first: {first}</title></path>"
            ));
        }
    }
}
