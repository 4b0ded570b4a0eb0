//! Tells the recorder.

use std::time::Duration;

use ::metrics::{
    Label, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use super::{
    books::Statement,
    series::{RUN, SERIES, Series, Sort, WAIT},
};
use crate::metrics::histogram::middle;

/// Tells the recorder of this thread, or else that of the program.
pub(super) fn publish(statements: &[Statement]) {
    describe();
    statements.iter().for_each(publish_one);
}

/// Names, units and texts, each time: the recorder may be a new one.
fn describe() {
    for Series { name, sort, help, .. } in &SERIES {
        match sort {
            Sort::Counter | Sort::Bytes => describe_counter!(*name, sort.unit(), *help),
            Sort::Time | Sort::Level => describe_gauge!(*name, sort.unit(), *help),
        }
    }
    for (name, help) in [WAIT, RUN] {
        describe_histogram!(name, Unit::Seconds, help);
    }
}

fn publish_one(statement: &Statement) {
    let (kind, pool) = &statement.owner;
    let common = [
        Label::new("pool", SharedString::from(pool.clone())),
        Label::from_static_parts("kind", kind.label()),
    ];
    for (series, &figure) in SERIES.iter().zip(&statement.figures).filter(|(series, _)| series.is_of(*kind)) {
        let label = series.label.map(|(key, value)| Label::from_static_parts(key, value));
        let labels: Vec<Label> = common.iter().cloned().chain(label).collect();
        match series.sort {
            Sort::Counter | Sort::Bytes => counter!(series.name, labels).absolute(figure),
            Sort::Level => gauge!(series.name, labels).set(figure as f64),
            Sort::Time => gauge!(series.name, labels).set(Duration::from_nanos(figure)),
        }
    }
    for ((name, _), times) in [WAIT, RUN].iter().zip(&*statement.times) {
        let histogram = histogram!(*name, common.to_vec());
        for (bucket, &count) in times.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.record_many(Duration::from_nanos(middle(bucket)), count as usize);
        }
    }
}
