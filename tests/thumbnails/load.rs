//! A crowd at the door: good and hostile uploads, as many at a time as the service takes, and what becomes of each.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    fs,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use image::ImageFormat;
use rustix::process::Signal;

use crate::{
    client::{Pending, Response, get},
    pictures::{bomb, noise, png_size},
    server::{Server, memory_kib},
};

/// How wide thumbnails are to be.
const WIDTH: u32 = 64;

/// How long a client whom the service sends away waits: less than it is asked to, so that the queue stays full.
const PAUSE: Duration = Duration::from_millis(50);

/// How long somebody stays who leaves before the answer.
const HASTE: Duration = Duration::from_millis(30);

/// How long a decode may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(3);

/// Each check of the health is to take less.
const PROMPT: Duration = Duration::from_millis(50);

/// How much more memory the server may have in the last third of a run than in the first one.
const GROWTH: f64 = 1.25;

/// How long a service may take to end. Its own limit is lower.
const END: Duration = Duration::from_secs(20);

/// What is sent, and by how many in a hundred.
const CROWD: [(Kind, u32); 12] = [
    (Kind::Png, 18),
    (Kind::Jpeg, 18),
    (Kind::Gif, 18),
    (Kind::WebP, 18),
    (Kind::Truncated, 6),
    (Kind::Bomb, 4),
    (Kind::NoPicture, 6),
    (Kind::FiftyMegabytes, 1),
    (Kind::Leaves, 4),
    (Kind::Segfault, 4),
    (Kind::Hog, 2),
    (Kind::Endless, 1),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    Gif,
    WebP,
    Truncated,
    Bomb,
    NoPicture,
    FiftyMegabytes,
    /// Sends something endless, and goes away.
    Leaves,
    Segfault,
    Hog,
    Endless,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = {
        let mut all = [Self::Png; 12];
        let mut n = 0;
        while n < 12 {
            all[n] = CROWD[n].0;
            n += 1;
        }
        all
    };

    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Gif | Self::WebP)
    }

    /// Whether it ends a process that decodes it.
    fn is_deadly(self) -> bool {
        matches!(self, Self::Segfault | Self::Hog)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Truncated => "truncated JPEG",
            Self::Bomb => "decompression bomb",
            Self::NoPicture => "no picture",
            Self::FiftyMegabytes => "50 MB",
            Self::Leaves => "endless, and its sender leaves",
            Self::Segfault => "segfault",
            Self::Hog => "eats memory",
            Self::Endless => "endless",
        }
    }

    /// The answer that explains itself. To be sent away does so, too, except for what is never let in.
    fn expected(self) -> (u16, &'static str) {
        match self {
            Self::Png | Self::Jpeg | Self::Gif | Self::WebP => (200, ""),
            Self::Truncated => (422, "broken_image"),
            Self::Bomb => (422, "too_many_pixels"),
            Self::NoPicture => (415, "not_an_image"),
            Self::FiftyMegabytes => (413, "too_large"),
            Self::Leaves => (0, ""),
            Self::Segfault | Self::Hog => (500, "crashed"),
            Self::Endless => (504, "out_of_time"),
        }
    }
}

/// What a run is to be.
pub(crate) struct Plan {
    pub(crate) length: Duration,
    pub(crate) clients: u32,
    /// Width of the good pictures; they are three quarters as high.
    pub(crate) width: u32,
    pub(crate) place: Place,
    /// Whether some send what ends the process that decodes it.
    pub(crate) deadly: bool,
}

/// Where the service decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Processes,
    SpawnBlocking,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The right answer.
    Answered,
    /// Busy, and when to come again.
    SentAway,
    /// The client left, as it wanted to.
    Left,
    /// The connection ended without an answer.
    Lost,
    /// An answer that should not be.
    Unexplained(String),
}

/// What was seen.
pub(crate) struct Report {
    pub(crate) outcomes: BTreeMap<(Kind, Outcome), u64>,
    good: Vec<Duration>,
    health: Vec<Duration>,
    health_lost: u64,
    memory: Vec<Memory>,
    length: Duration,
    /// How the service died, each time that it did.
    pub(crate) deaths: Vec<String>,
    /// How many processors were at work after the last answer.
    busy_afterwards: f64,
    /// How long the service took to end by itself when it was asked to.
    pub(crate) end: Result<Duration, &'static str>,
    pub(crate) left: Vec<String>,
}

/// Memory at a moment, in KiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    server: u64,
    workers: u64,
    threads: u64,
}

/// What the clients send.
struct Bodies(BTreeMap<Kind, Vec<u8>>);

impl Bodies {
    fn new(width: u32) -> Self {
        let of = |kind| match kind {
            Kind::Png => noise(ImageFormat::Png, width, width * 3 / 4),
            Kind::Jpeg => noise(ImageFormat::Jpeg, width, width * 3 / 4),
            Kind::Gif => noise(ImageFormat::Gif, width / 2, width * 3 / 8),
            Kind::WebP => noise(ImageFormat::WebP, width, width * 3 / 4),
            Kind::Truncated => {
                let mut whole = noise(ImageFormat::Jpeg, width, width * 3 / 4);
                whole.truncate(whole.len() / 2);
                whole
            }
            Kind::Bomb => bomb(),
            Kind::NoPicture => b"GET rich quick".to_vec(),
            Kind::FiftyMegabytes => vec![0; 50_000_000],
            Kind::Segfault => b"CRASH!SEGV".to_vec(),
            Kind::Hog => b"CRASH!HOG".to_vec(),
            Kind::Endless | Kind::Leaves => b"CRASH!LOOP".to_vec(),
        };
        Self(Kind::ALL.into_iter().map(|kind| (kind, of(kind))).collect())
    }
}

/// The service that runs at the moment, for all who look for it.
struct Target {
    address: Mutex<SocketAddr>,
    is_over: AtomicBool,
}

impl Target {
    fn address(&self) -> SocketAddr {
        *self.address.lock().expect("nobody panics with it")
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }
}

fn start(plan: &Plan) -> Server {
    match plan.place {
        Place::Processes => Server::start(&["--run-timeout", &RUN_TIMEOUT.as_secs().to_string()]),
        // One that takes all the memory of the machine would end more than itself.
        Place::SpawnBlocking => Server::start_within(4 << 30, &["--spawn-blocking"]),
    }
}

/// Lets the crowd in, for as long as the plan says, and looks what happens.
pub(crate) fn run(plan: &Plan) -> Report {
    let bodies = Bodies::new(plan.width);
    let mut server = start(plan);
    let target = Target { address: Mutex::new(server.address), is_over: AtomicBool::new(false) };
    let mut report = Report::new();
    let (sender, seen) = mpsc::channel();
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..plan.clients {
            let (sender, bodies, target) = (sender.clone(), &bodies, &target);
            scope.spawn(move || be_client(client, plan, bodies, target, |seen| drop(sender.send(seen))));
        }
        drop(sender);
        let health = scope.spawn(|| look_after_health(&target));
        while begun.elapsed() < plan.length {
            if let Some(status) = server.ended() {
                report.deaths.push(status.to_string());
                server = start(plan);
                *target.address.lock().expect("nobody panics with it") = server.address;
            }
            report.memory.push(look_at_memory(&server));
            thread::sleep(Duration::from_millis(50));
        }
        target.is_over.store(true, Relaxed);
        report.length = begun.elapsed();
        // The clients wait for the answers to what they have sent.
        for (kind, outcome, time) in seen {
            if kind.is_good() && outcome == Outcome::Answered {
                report.good.push(time);
            }
            *report.outcomes.entry((kind, outcome)).or_default() += 1;
        }
        (report.health, report.health_lost) = health.join().expect("no panic");
    });
    report.good.sort_unstable();
    report.health.sort_unstable();
    report.busy_afterwards = busy_processors(&server);
    let was_dead = server.ended().is_some();
    if !was_dead {
        server.signal(Signal::TERM);
    }
    let asked = Instant::now();
    let end = server.end_within(END);
    report.end = match end.code {
        _ if was_dead => Err("it was dead by then"),
        Some(0) => Ok(asked.elapsed()),
        Some(_) => Err("another code than 0"),
        None => Err("had to be killed"),
    };
    report.left = end.left;
    report
}

fn be_client(
    client: u32,
    plan: &Plan,
    bodies: &Bodies,
    target: &Target,
    tell: impl Fn((Kind, Outcome, Duration)),
) {
    let mut random = u64::from(client) + 1;
    // It begins with a kind of its own, until that is let in: so none is missing.
    let mut own = Some(Kind::ALL[client as usize % Kind::ALL.len()]);
    while !target.is_over() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kind = own.unwrap_or_else(|| pick((random >> 33) as u32 % 100));
        if kind.is_deadly() && !plan.deadly {
            own = None;
            continue;
        }
        let begun = Instant::now();
        let outcome = attempt(kind, &bodies.0[&kind], target.address());
        let took = begun.elapsed();
        own = own.filter(|_| outcome == Outcome::SentAway);
        if matches!(outcome, Outcome::SentAway | Outcome::Lost) {
            thread::sleep(PAUSE);
        }
        tell((kind, outcome, took));
    }
}

fn pick(mut number: u32) -> Kind {
    for (kind, share) in CROWD {
        match number.checked_sub(share) {
            Some(rest) => number = rest,
            None => return kind,
        }
    }
    unreachable!("the shares add up to a hundred")
}

fn attempt(kind: Kind, body: &[u8], server: SocketAddr) -> Outcome {
    let Ok(pending) = Pending::post(server, &format!("/thumbnail?width={WIDTH}"), body) else {
        return Outcome::Lost;
    };
    if kind == Kind::Leaves {
        thread::sleep(HASTE);
        return Outcome::Left;
    }
    match pending.response() {
        Ok(response) => judge(kind, &response),
        Err(_) => Outcome::Lost,
    }
}

fn judge(kind: Kind, response: &Response) -> Outcome {
    let code = response.code().unwrap_or_default();
    let got = (response.status, &*code);
    let right = match kind.is_good() {
        true => png_size(&response.body) == Some((WIDTH, WIDTH * 3 / 4)),
        false => true,
    };
    // On a busy machine its time is over before it has had its memory.
    let right = right && got == kind.expected() || kind == Kind::Hog && got == Kind::Endless.expected();
    let sent_away = got == (503, "busy") && response.header("retry-after").is_some();
    match () {
        () if right => Outcome::Answered,
        () if sent_away && kind != Kind::FiftyMegabytes => Outcome::SentAway,
        () => Outcome::Unexplained(format!("{} {code}", response.status)),
    }
}

fn look_after_health(target: &Target) -> (Vec<Duration>, u64) {
    let (mut times, mut lost) = (Vec::new(), 0);
    while !target.is_over() {
        let begun = Instant::now();
        match get(target.address(), "/health") {
            Ok(response) if response.status == 200 => times.push(begun.elapsed()),
            _ => lost += 1,
        }
        thread::sleep(Duration::from_millis(10));
    }
    (times, lost)
}

fn look_at_memory(server: &Server) -> Memory {
    let workers = server.workers().into_iter().filter_map(|pid| memory_kib(pid, "RssAnon")).sum();
    Memory {
        server: memory_kib(server.pid(), "VmRSS").unwrap_or_default(),
        workers,
        threads: memory_kib(server.pid(), "Threads").unwrap_or_default(),
    }
}

/// How many processors the service and its workers use now that nobody asks anything of them.
fn busy_processors(server: &Server) -> f64 {
    let ticks = || -> u64 { server.processes().into_iter().chain([server.pid()]).map(cpu_ticks).sum() };
    let before = ticks();
    thread::sleep(Duration::from_secs(1));
    // A hundred ticks are a second, on every Linux.
    ticks().saturating_sub(before) as f64 / 100.0
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

impl Report {
    fn new() -> Self {
        Self {
            outcomes: BTreeMap::new(),
            good: Vec::new(),
            health: Vec::new(),
            health_lost: 0,
            memory: Vec::new(),
            length: Duration::ZERO,
            deaths: Vec::new(),
            busy_afterwards: 0.0,
            end: Err("never asked"),
            left: Vec::new(),
        }
    }

    /// How many requests ended so.
    pub(crate) fn count(&self, wanted: impl Fn(Kind, &Outcome) -> bool) -> u64 {
        self.outcomes.iter().filter(|((kind, outcome), _)| wanted(*kind, outcome)).map(|(_, n)| n).sum()
    }

    /// What nobody can explain.
    pub(crate) fn unexplained(&self) -> Vec<String> {
        let mut found = Vec::new();
        for ((kind, outcome), n) in &self.outcomes {
            match outcome {
                Outcome::Unexplained(what) => found.push(format!("{n} × {}: {what}", kind.name())),
                Outcome::Lost => found.push(format!("{n} × {}: no answer", kind.name())),
                _ => {}
            }
        }
        found
    }

    /// The server's memory in a third of the run, the median in MiB.
    fn server_memory(&self, third: usize) -> f64 {
        let part = self.memory.len() / 3;
        median(self.memory[part * third..][..part].iter().map(|memory| memory.server)) / 1024.0
    }

    fn most(&self, of: impl Fn(&Memory) -> u64) -> u64 {
        self.memory.iter().map(of).max().unwrap_or_default()
    }

    /// What one wants to know, as the cells of a column.
    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let good = |outcome: Outcome| self.count(|kind, found| kind.is_good() && *found == outcome);
        let all = self.count(|_, _| true);
        let seconds = self.length.as_secs_f64();
        let ended = |after: Duration| format!("code 0 within {}, {}", Millis(Some(after)), self.leftovers());
        vec![
            ("uploads, and per second", format!("{all}, {:.0}/s", all as f64 / seconds)),
            ("of them unexplained: a wrong answer, or none", self.unexplained_count().to_string()),
            ("the service died", format!("{} times", self.deaths.len())),
            ("good ones with their thumbnail", good(Outcome::Answered).to_string()),
            ("good ones sent away (503, `Retry-After`)", good(Outcome::SentAway).to_string()),
            ("good ones lost", self.count(|kind, found| kind.is_good() && is_bad(found)).to_string()),
            ("good ones, median", Millis(quantile(&self.good, 0.5)).to_string()),
            ("good ones, 99th percentile", Millis(quantile(&self.good, 0.99)).to_string()),
            ("health checks, and those without an answer", {
                format!("{}, {}", self.health.len() as u64 + self.health_lost, self.health_lost)
            }),
            ("health check, 99th percentile", Millis(quantile(&self.health, 0.99)).to_string()),
            ("health check, longest", Millis(quantile(&self.health, 1.0)).to_string()),
            ("server's memory, first and last third", {
                format!("{:.0} and {:.0} MiB", self.server_memory(0), self.server_memory(2))
            }),
            ("server's memory, most", format!("{} MiB", self.most(|memory| memory.server) / 1024)),
            ("workers' memory, most, all together", {
                format!("{} MiB", self.most(|memory| memory.workers) / 1024)
            }),
            ("server's threads, most", self.most(|memory| memory.threads).to_string()),
            ("processors at work after the last answer", format!("{:.1}", self.busy_afterwards)),
            ("after SIGTERM", self.end.map_or_else(str::to_owned, ended)),
        ]
    }

    /// What holds of a run of any length.
    pub(crate) fn verdicts_without_times(&self) -> Vec<Verdict> {
        let unexplained = self.unexplained_count();
        let end = match (self.end, self.deaths.len()) {
            (Ok(_), 0) => self.leftovers(),
            (Ok(_), deaths) => format!("it died {deaths} times"),
            (Err(why), _) => why.to_owned(),
        };
        vec![
            Verdict::new(
                "every upload is explained",
                format!("{unexplained} are not, of {}", self.count(|_, _| true)),
                unexplained == 0 && !self.outcomes.is_empty(),
            ),
            Verdict::new(
                "the service lives, ends by itself and leaves nothing",
                end,
                self.deaths.is_empty() && self.left.is_empty() && self.end.is_ok(),
            ),
        ]
    }

    /// What is to hold of a long run.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let (good, health) = (quantile(&self.good, 0.99), quantile(&self.health, 1.0));
        let [first, last] = [0, 2].map(|third| self.server_memory(third));
        let mut verdicts = self.verdicts_without_times();
        verdicts.extend([
            Verdict::new(
                "the 99th percentile of good ones is below the limit of a decode",
                format!("{} of {}", Millis(good), Millis(Some(RUN_TIMEOUT))),
                good.is_some_and(|good| good < RUN_TIMEOUT),
            ),
            Verdict::new(
                "every health check is answered within 50 ms",
                format!("{} at most, {} without an answer", Millis(health), self.health_lost),
                self.health_lost == 0 && health.is_some_and(|longest| longest < PROMPT),
            ),
            Verdict::new(
                "the server's memory stays",
                format!("{first:.0} MiB in the first third, {last:.0} in the last"),
                first > 0.0 && last <= GROWTH * first,
            ),
        ]);
        verdicts
    }

    fn unexplained_count(&self) -> u64 {
        self.count(|_, outcome| is_bad(outcome))
    }

    fn leftovers(&self) -> String {
        match &self.left[..] {
            [] => "nothing left".to_owned(),
            left => format!("left: {}", left.join(", ")),
        }
    }
}

/// A goal, and what was seen of it.
pub(crate) struct Verdict {
    goal: &'static str,
    seen: String,
    pub(crate) is_met: bool,
}

impl Verdict {
    fn new(goal: &'static str, seen: String, is_met: bool) -> Self {
        Self { goal, seen, is_met }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met { "met" } else { "MISSED" };
        write!(f, "{word}: {}: {}", self.goal, self.seen)
    }
}

/// The outcomes by kind, as a table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| sent | answered | as | sent away | lost or unexplained |\n|---|---|---|---|---|\n")?;
        for kind in Kind::ALL {
            let of = |wanted: &dyn Fn(&Outcome) -> bool| {
                self.count(|found, outcome| found == kind && wanted(outcome))
            };
            if of(&|_| true) == 0 {
                continue;
            }
            let right = of(&|outcome| matches!(outcome, Outcome::Answered | Outcome::Left));
            let (status, code) = kind.expected();
            let mut expected = String::new();
            match status {
                0 => expected.push('–'),
                _ => write!(expected, "{status} {code}")?,
            }
            let away = of(&|outcome| *outcome == Outcome::SentAway);
            let bad = of(&is_bad);
            writeln!(f, "| {} | {right} | {} | {away} | {bad} |", kind.name(), expected.trim_end())?;
        }
        Ok(())
    }
}

fn is_bad(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::Unexplained(_))
}

fn median(values: impl Iterator<Item = u64>) -> f64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default() as f64
}

fn quantile(sorted: &[Duration], part: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

/// A time as one reads it.
struct Millis(Option<Duration>);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|time| time.as_secs_f64() * 1000.0) {
            None => f.write_str("–"),
            Some(millis) if millis < 10.0 => write!(f, "{millis:.1} ms"),
            Some(millis) => write!(f, "{millis:.0} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has reached every goal.
    fn report() -> Report {
        let memory = |server| Memory { server, ..Memory::default() };
        Report {
            outcomes: BTreeMap::from([((Kind::Png, Outcome::Answered), 100)]),
            good: vec![Duration::from_secs(1); 100],
            health: vec![Duration::from_millis(49)],
            memory: [100, 900, 125].map(memory).to_vec(),
            end: Ok(Duration::ZERO),
            ..Report::new()
        }
    }

    #[test]
    fn a_goal_that_is_missed_is_told_and_no_other() {
        type Change = fn(&mut Report);
        let cases: [(Change, &[&str]); 10] = [
            (|_| (), &[]),
            (|it| _ = it.outcomes.insert((Kind::Png, Outcome::Lost), 1), &["every upload"]),
            (
                |it| _ = it.outcomes.insert((Kind::Gif, Outcome::Unexplained(String::new())), 1),
                &["every upload"],
            ),
            (|it| it.good[98..].fill(RUN_TIMEOUT), &["the 99th percentile"]),
            (|it| it.health.push(PROMPT), &["every health check"]),
            (|it| it.health_lost = 1, &["every health check"]),
            (|it| it.memory[2].server = 126, &["the server's memory"]),
            (|it| it.left.push("a worker".to_owned()), &["the service lives"]),
            (|it| it.end = Err("had to be killed"), &["the service lives"]),
            (
                |it| *it = Report::new(),
                &[
                    "every upload",
                    "the service lives",
                    "the 99th percentile",
                    "every health check",
                    "the server's memory",
                ],
            ),
        ];
        for (change, missed) in cases {
            let mut report = report();
            change(&mut report);
            let verdicts = report.verdicts();
            let told: Vec<String> = verdicts.iter().map(Verdict::to_string).collect();
            let found: Vec<&String> = told.iter().filter(|line| line.starts_with("MISSED: ")).collect();
            let is_told = |(line, goal): (&&String, &&str)| line["MISSED: ".len()..].starts_with(*goal);
            assert!(found.len() == missed.len() && found.iter().zip(missed).all(is_told), "{told:?}");
        }
    }
}
