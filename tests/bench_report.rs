//! What the benches make of their figures: turns, ratios, goals, and a report that hides nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code; the benches print what they found")]

#[path = "../benches/support/mod.rs"]
mod support;

use std::{cell::RefCell, fs};

use support::{
    Answers, Goal, Race, Unit,
    machine::Machine,
    program::Effort,
    race::Finish,
    report::Report,
    row::{Row, Spread},
};

const FIVE: Effort = Effort { warm_up: 1, rounds: 5 };

/// A race of candidates whose figures per round are known; what comes in the round of warming up does not count.
fn race(candidates: &[(&str, [f64; 5])]) -> Finish<1> {
    let mut race = Race::<1>::new();
    for (name, figures) in candidates {
        let mut figures = [f64::NAN].into_iter().chain(*figures);
        race.enter(name, move || [figures.next().unwrap()]);
    }
    race.run(FIVE)
}

#[test]
fn candidates_take_turns_and_change_who_begins() {
    let order = RefCell::new(String::new());
    let mut race = Race::<1>::new();
    for name in ["a", "b", "c"] {
        let order = &order;
        race.enter(name, move || {
            order.borrow_mut().push_str(name);
            [1.0]
        });
    }
    drop(race.run(FIVE));
    assert_eq!(*order.borrow(), "abcbcacababcbcacab");
}

#[test]
fn the_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() {
    let finish = race(&[("ours", [8.0, 6.0, 4.0, 2.0, 10.0]), ("peer", [2.0, 2.0, 1.0, 2.0, 2.0])]);
    let row = finish.row(0, "id", "claim", Unit::JobsPerSecond).goal(Goal::AtLeast(3.0), &["peer"]).row;
    let Spread { median, least, most } = row.comparisons[0].ratio.unwrap();
    assert_eq!((median, least, most), (3.0, 1.0, 5.0));
    assert_eq!(row.comparisons[0].met, Some(true));
}

#[test]
fn a_goal_is_held_against_the_best_of_the_peers() {
    let candidates = [("ours", [4.0; 5]), ("slow", [1.0; 5]), ("fast", [2.0; 5])];
    let best = |unit, goal| {
        let row = race(&candidates).row(0, "id", "claim", unit).goal(goal, &["slow", "fast", "absent"]).row;
        let comparison = row.comparisons[0].clone();
        (comparison.peer, comparison.met)
    };
    assert_eq!(best(Unit::JobsPerSecond, Goal::AtLeast(2.5)), ("fast".to_owned(), Some(false)));
    assert_eq!(best(Unit::Seconds, Goal::AtMost(4.0)), ("slow".to_owned(), Some(true)));
}

#[test]
fn a_limit_holds_for_the_figure_itself() {
    let met = |figure| {
        let row = race(&[("ours", [figure; 5])]).row(0, "id", "claim", Unit::Ticks).limit(0.0).row;
        row.comparisons[0].met
    };
    assert_eq!((met(0.0), met(1.0)), (Some(true), Some(false)));
}

#[test]
fn a_peer_that_cannot_be_had_is_listed_as_not_found() {
    let absent: Result<support::SpawnBlocking, String> = Err("no such <program>".to_owned());
    assert!(absent.answer("fan_out multi 1 1").is_err());
    let mut race = Race::<1>::new();
    race.enter("ours", || [1.0]);
    race.ask("absent", &absent, "fan_out multi 1 1");
    race.missing("never tried", "no reason");
    let row = race.run(FIVE).row(0, "id", "claim", Unit::Seconds).goal(Goal::AtMost(1.0), &["absent"]).row;
    assert_eq!(row.figures.len(), 1);
    assert_eq!(row.comparisons[0].met, None);

    let written = written(vec![row]);
    assert!(written.contains("| absent: not found | – | ≤ 1 × | not measured |"), "{written}");
    assert!(written.contains("| absent | not found | no such &lt;program> |"), "{written}");
    assert!(written.contains("| never tried | not found | no reason |"), "{written}");
}

#[test]
fn a_missed_goal_stays_in_the_table() {
    let finish = race(&[("ours", [1.0; 5]), ("peer", [2.0; 5])]);
    let row = finish.row(0, "id", "claim", Unit::JobsPerSecond).goal(Goal::AtLeast(4.0), &["peer"]).row;
    let written = written(vec![row]);
    assert!(written.contains("| **0.50 ×** (0.50 × – 0.50 ×) | ≥ 4 × | **no** |"), "{written}");
}

/// The table of a report with these rows.
fn written(rows: Vec<Row>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows.into_iter().map(|row| Row { program: "fan_out".to_owned(), ..row }).collect();
    let mut report = Report::default();
    report.replace("fan_out", rows, Machine::default());
    report.write(directory.path()).unwrap();
    fs::read_to_string(directory.path().join("latest.md")).unwrap()
}

#[test]
fn a_program_replaces_its_own_rows_only() {
    let directory = tempfile::tempdir().unwrap();
    let run = |program: &str, figure: f64| {
        let finish = race(&[("ours", [figure; 5])]);
        let row = finish.row(0, program, &format!("claim of {program}"), Unit::JobsPerSecond).row;
        let mut report = Report::read(directory.path());
        report.replace(program, vec![Row { program: program.to_owned(), ..row }], Machine::default());
        report.write(directory.path()).unwrap();
    };
    run("gather", 1.0);
    run("fan_out", 2.0);
    run("gather", 3.0);
    let table = fs::read_to_string(directory.path().join("latest.md")).unwrap();
    let (fan_out, gather) = (table.find("claim of fan_out").unwrap(), table.find("claim of gather").unwrap());
    assert!(fan_out < gather, "rows are in the order of the programs");
    assert!(table.contains("| ours | 2.00 /s |") && table.contains("| ours | 3.00 /s |"), "{table}");
    assert!(!table.contains("| ours | 1.00 /s |"), "{table}");
    for chart in ["claims.svg", "fan_out.svg", "gather.svg"] {
        assert!(fs::read_to_string(directory.path().join(chart)).unwrap().ends_with("</svg>\n"));
    }
}
