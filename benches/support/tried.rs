//! What became of an advice: for each job what was advised, what was predicted, and what each executor took.
//!
//! The constants of the rules are fitted to one half of the jobs, and what is reported is the other.

use std::{collections::BTreeMap, fmt::Write, fs, io, path::Path};

use heavylift::guidance::{DISTURBED, is_disturbed};
use serde::{Deserialize, Serialize};

use super::{
    machine::Machine,
    row::{Spread, Unit},
};

/// An advice is right if it is no more than this behind the fastest.
const RIGHT: f64 = 0.1;

fn is_right(regret: f64) -> bool {
    regret <= RIGHT
}

/// Which half of the jobs one belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Half {
    /// The rules were tuned on it.
    Tuning,
    /// It was not looked at, and is reported.
    Reported,
}

/// The half of each job, given the families: they alternate within a family.
pub(crate) fn halves<'a>(families: impl IntoIterator<Item = &'a str>) -> Vec<Half> {
    let mut seen = BTreeMap::new();
    let half = |family| {
        let count = seen.entry(family).or_insert(0);
        *count += 1;
        if *count % 2 == 1 { Half::Tuning } else { Half::Reported }
    };
    families.into_iter().map(half).collect()
}

/// What an executor was predicted to take for all calls, and took in each round, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) predicted: f64,
    pub(crate) chunk_size: usize,
    pub(crate) rounds: Vec<f64>,
}

impl Taken {
    pub(crate) fn median(&self) -> f64 {
        Spread::of(&self.rounds).median
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) name: String,
    pub(crate) family: String,
    pub(crate) half: Half,
    pub(crate) calls: usize,
    /// Of a call, as it was measured alone, in seconds.
    pub(crate) run_time: f64,
    pub(crate) cpu_share: f64,
    pub(crate) scaling: Option<f64>,
    pub(crate) arg_bytes: u64,
    pub(crate) result_bytes: u64,
    /// The share of the cores that other programs had while it was measured alone, and while all executors took turns; none where it is not known.
    pub(crate) profile_others: Option<f64>,
    pub(crate) truth_others: Option<f64>,
    /// What was advised, each time that it was measured alone; all other figures are those of the first time.
    pub(crate) advised: Vec<String>,
    pub(crate) taken: BTreeMap<String, Taken>,
}

impl Tried {
    pub(crate) fn fastest(&self) -> &str {
        let by_time = self.taken.iter().min_by(|(_, a), (_, b)| a.median().total_cmp(&b.median()));
        by_time.map_or(&self.advised[0], |(name, _)| name)
    }

    fn advised(&self) -> &Taken {
        &self.taken[&self.advised[0]]
    }

    /// How much longer the executor that was advised took than the fastest, for each time: 0 is as long, 1 twice as long.
    fn regrets(&self) -> Vec<f64> {
        let fastest = self.taken[self.fastest()].median();
        self.advised.iter().map(|advised| self.taken[advised].median() / fastest - 1.0).collect()
    }

    fn mean_regret(&self) -> f64 {
        let regrets = self.regrets();
        regrets.iter().sum::<f64>() / regrets.len() as f64
    }

    /// Whether the advice was right each time.
    fn is_right(&self) -> bool {
        self.regrets().into_iter().all(is_right)
    }

    /// What was advised, each of them if that differs.
    fn advised_in_words(&self) -> String {
        let mut all = self.advised.clone();
        if all.iter().all(|again| *again == all[0]) {
            all.truncate(1);
        }
        all.join(", ")
    }

    /// The larger share of the cores that other programs had, of the two.
    pub(crate) fn others(&self) -> Option<f64> {
        [self.profile_others, self.truth_others].into_iter().flatten().reduce(f64::max)
    }

    pub(crate) fn is_disturbed(&self) -> bool {
        is_disturbed(self.others())
    }

    /// Predicted / measured, of the advised executor.
    pub(crate) fn prediction(&self) -> f64 {
        self.advised().predicted / self.advised().median()
    }
}

/// All jobs of a run, and of runs before it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) machine: Machine,
    pub(crate) jobs: Vec<Tried>,
}

impl Trial {
    pub(crate) fn read(directory: &Path) -> Self {
        match fs::read_to_string(directory.join(FILE)) {
            Ok(text) => serde_json::from_str(&text).expect("advice.json is of this version"),
            Err(_) => Self::default(),
        }
    }

    /// Puts jobs in place of what they were before, in the order of `names`; who has no name there any more is gone.
    pub(crate) fn replace(&mut self, jobs: Vec<Tried>, names: &[&str], machine: Machine) {
        self.jobs.retain(|old| jobs.iter().all(|new| new.name != old.name) && names.contains(&&*old.name));
        self.jobs.extend(jobs);
        self.jobs.sort_by_key(|job| names.iter().position(|name| *name == job.name));
        self.machine = machine;
    }

    /// A line for each job, so that two runs can be compared.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let machine = serde_json::to_string(&self.machine)?;
        let jobs = self.jobs.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        fs::create_dir_all(directory)?;
        let text = format!("{{\"machine\": {machine},\n\"jobs\": [\n{}\n]}}\n", jobs.join(",\n"));
        fs::write(directory.join(FILE), text)
    }

    fn half(&self, half: Half) -> Vec<&Tried> {
        self.jobs.iter().filter(|job| job.half == half).collect()
    }

    pub(crate) fn summary(&self, half: Half) -> Summary {
        Summary::of(&self.half(half), Tried::regrets)
    }

    /// The same of the first advice for each job, of the second, and so on.
    pub(crate) fn each_time(&self, half: Half) -> Vec<Summary> {
        let jobs = self.half(half);
        let times = jobs.iter().map(|job| job.advised.len()).min().unwrap_or(0);
        (0..times).map(|time| Summary::of(&jobs, |job| vec![job.regrets()[time]])).collect()
    }

    /// Which jobs were disturbed, for who has waited for them. They count as all others do.
    pub(crate) fn disturbed_in_words(&self) -> String {
        let disturbed = self.jobs.iter().filter(|job| job.is_disturbed());
        let names: Vec<&str> = disturbed.map(|job| &*job.name).collect();
        let colon = if names.is_empty() { "" } else { ": " };
        format!(
            "{} of {} jobs beside programs with more than {:.0} % of the cores{colon}{}",
            names.len(),
            self.jobs.len(),
            100.0 * DISTURBED,
            names.join(", ")
        )
    }

    /// For docs/choosing.md: both halves in a line each, and then all jobs, misses included.
    pub(crate) fn in_words(&self) -> String {
        let mut text = format!("{}\n{SUMMARY_HEAD}", self.machine.in_words());
        for (name, half) in [("reported", Half::Reported), ("tuned on", Half::Tuning)] {
            text.push_str(&self.summary(half).line(name));
        }
        let _ = write!(text, "\n{HEAD}");
        self.jobs.iter().for_each(|job| text.push_str(&line(job)));
        text
    }
}

const FILE: &str = "advice.json";

/// How good the advice was over several jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) jobs: usize,
    pub(crate) advices: usize,
    pub(crate) right: usize,
    pub(crate) mean_regret: f64,
    pub(crate) worst: f64,
    pub(crate) worst_job: String,
    /// Beside how many others had too much of the cores. They are in all figures.
    pub(crate) disturbed: usize,
    /// How far predictions are off, in the middle: 1.2 is by a fifth, to either side.
    pub(crate) prediction: f64,
}

impl Summary {
    fn of(jobs: &[&Tried], regrets: impl Fn(&Tried) -> Vec<f64>) -> Self {
        let all: Vec<f64> = jobs.iter().flat_map(|job| regrets(job)).collect();
        let worst_of = |job: &Tried| regrets(job).into_iter().fold(0.0, f64::max);
        let worst = jobs.iter().max_by(|a, b| worst_of(a).total_cmp(&worst_of(b)));
        let off: Vec<f64> = jobs.iter().map(|job| job.prediction()).map(|off| off.max(1.0 / off)).collect();
        Self {
            jobs: jobs.len(),
            advices: all.len(),
            right: all.iter().filter(|regret| is_right(**regret)).count(),
            mean_regret: all.iter().sum::<f64>() / all.len().max(1) as f64,
            worst: all.iter().copied().fold(0.0, f64::max),
            worst_job: worst.map(|job| job.name.clone()).unwrap_or_default(),
            disturbed: jobs.iter().filter(|job| job.is_disturbed()).count(),
            prediction: Spread::of(&off).median,
        }
    }

    fn line(&self, name: &str) -> String {
        let Self { jobs, advices, right, mean_regret, worst, worst_job, disturbed, prediction } = self;
        format!(
            "| {name} | {jobs} | {advices} | {right} ({:.0} %) | {:.1} % | {:.2} × (`{worst_job}`) | {prediction:.2} × | {disturbed} |\n",
            100.0 * *right as f64 / (*advices).max(1) as f64,
            100.0 * mean_regret,
            1.0 + worst
        )
    }
}

const SUMMARY_HEAD: &str = "\
| jobs | how many | advices | right, or within 10 % | mean regret | worst | prediction off by | disturbed |
|---|---|---|---|---|---|---|---|
";
const HEAD: &str = "\
| job | run time | computing | in, out | inline | threads | cpu | processes | advised | fastest | regret | predicted / measured | others |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// A job's row. In bold is what was not right, and what others had where it disturbed.
fn line(job: &Tried) -> String {
    let seconds = |executor| {
        job.taken.get(executor).map_or("–".to_owned(), |taken| Unit::Seconds.show(taken.median()))
    };
    let bytes = |bytes: u64| Unit::Bytes.show(bytes as f64);
    let regret = match (job.mean_regret(), job.is_right()) {
        (0.0, _) => "0".to_owned(),
        (regret, true) => format!("{:.0} %", 100.0 * regret),
        (regret, false) => format!("**{:.0} %**", 100.0 * regret),
    };
    let percent = |share: f64| match job.is_disturbed() {
        true => format!("**{:.0} %**", 100.0 * share),
        false => format!("{:.0} %", 100.0 * share),
    };
    let others = job.others().map_or("–".to_owned(), percent);
    let half = if job.half == Half::Tuning { " ᵗ" } else { "" };
    format!(
        "| {}{half} | {} | {:.0} % | {}, {} | {} | {} | {} | {} | {} | {} | {regret} | {:.2} | {others} |\n",
        job.name,
        Unit::Seconds.show(job.run_time),
        100.0 * job.cpu_share,
        bytes(job.arg_bytes),
        bytes(job.result_bytes),
        seconds("inline"),
        seconds("threads"),
        seconds("cpu"),
        seconds("processes"),
        job.advised_in_words(),
        job.fastest(),
        job.prediction(),
    )
}

/// A job as the program prints it while it runs.
pub(crate) fn in_a_line(job: &Tried) -> String {
    let all: Vec<String> = job
        .taken
        .iter()
        .map(|(name, taken)| format!("{name} {:.1} ({:.1})", 1e3 * taken.median(), 1e3 * taken.predicted))
        .collect();
    let verdict = if job.is_right() { "" } else { " MISS" };
    let share =
        |others: Option<f64>| others.map_or("–".to_owned(), |share| format!("{:.0}", 100.0 * share));
    let [alone, truth] = [job.profile_others, job.truth_others].map(share);
    let disturbed = if job.is_disturbed() { " DISTURBED" } else { "" };
    format!(
        "{:15} {:>9} {:3.0} % scaling {:4.2}: {}: {} behind by {:.0} %{verdict}; others {alone}, {truth} %{disturbed}",
        job.name,
        Unit::Seconds.show(job.run_time),
        100.0 * job.cpu_share,
        job.scaling.unwrap_or(f64::NAN),
        all.join(", "),
        job.advised_in_words(),
        100.0 * job.mean_regret(),
    )
}
