//! Jobs through a cluster: one at a time, many at once, and how nodes of different sizes share them. Server, nodes, pool and peers are
//! all on this machine.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

#[path = "../tests/cluster/server.rs"]
mod server;
mod support;

use std::{collections::BTreeMap, process, thread, time::Duration};

use heavylift::{
    ClusterPool, Node, Shutdown, ThreadPool,
    cluster::{Delivery, Topology, ensure_topology},
    gather,
};
use server::Server;
use support::{
    Flavour, Program, Race, Unit,
    copies::{self, Copy},
    fan_out,
    line_peer::LinePeer,
    monitor::{self, MONITORED},
    nats_raw,
    race::Finish,
    round_trips,
};
use tokio::runtime::Runtime;

const THREADS: &str = "heavylift cluster";
const PROCESSES: &str = "heavylift cluster, nodes with processes";
const AT_MOST_ONCE: &str = "heavylift cluster, at most once";
const RAW: &str = "async-nats, request and reply";
const RAW_STREAM: &str = "async-nats, stream, answer to an inbox";

/// As when NATS was chosen, so that figures can be compared.
const NODES: usize = 3;
const SLOTS: usize = 8;
/// Of nodes that share by their size.
const SIZES: [usize; 3] = [1, 4, 12];
/// How long each of their jobs takes.
const LENGTH: Duration = Duration::from_millis(40);

#[heavylift::job(name = "bench::echo")]
fn echo(number: u64) -> u64 {
    number
}

/// Waits, and tells where.
#[heavylift::job(name = "bench::wait")]
fn wait(time: Duration) -> u32 {
    thread::sleep(time);
    process::id()
}

fn main() {
    if let Some(role) = copies::role() {
        return serve(&role);
    }
    let mut program = Program::new("cluster");
    let runtime = Flavour::Multi.runtime();
    let site = Site::make(&runtime);
    trips(&mut program, &runtime, &site);
    rates(&mut program, &runtime, &site);
    shares(&mut program, &runtime, &site);
    traffic(&mut program, &runtime, &site);
    program.finish();
}

/// Serves a queue, as a copy of this program: `URL QUEUE SLOTS`.
fn serve(role: &str) {
    let words: Vec<&str> = role.split(' ').collect();
    let [url, queue, slots] = words[..] else { panic!("no role of a node: {role}") };
    let slots = slots.parse().unwrap();
    let node = Node::builder().servers([url]).queues([queue]);
    let threads = |count| ThreadPool::builder().max_workers(count).build().unwrap();
    let node = match queue {
        "processes" => node.slots(slots),
        // Calls do not look for free slots; so there must be one.
        "calls" => node.pool(threads(SLOTS)).slots(slots),
        _ => node.pool(threads(slots)).slots(slots),
    };
    let runtime = Flavour::Current.runtime();
    let node = runtime.block_on(node.start()).unwrap();
    copies::ready().unwrap();
    runtime.block_on(node.shutdown(Shutdown::Drain));
}

/// All that takes part. What cannot be had is an error, and then a row without figures.
struct Site {
    /// The nodes, then the peer, then the server: in that order they end.
    _nodes: Vec<Copy>,
    raw: Result<LinePeer, String>,
    server: Result<Server, String>,
}

impl Site {
    fn make(runtime: &Runtime) -> Self {
        let server = server::newest().ok_or("no nats-server is installed".to_owned());
        let server = server.map(|binary| Server::with_config(&binary, MONITORED));
        let (nodes, server) = match server {
            Ok(server) => match start_nodes(runtime, &server.url()) {
                Ok(nodes) => (nodes, Ok(server)),
                Err(why) => (Vec::new(), Err(why)),
            },
            Err(why) => (Vec::new(), Err(why)),
        };
        let raw = server.as_ref().map_err(Clone::clone).and_then(|_| nats_raw());
        Self { _nodes: nodes, raw, server }
    }

    fn url(&self) -> Result<String, String> {
        self.server.as_ref().map(Server::url).map_err(Clone::clone)
    }

    /// A pool for a queue.
    fn pool(&self, runtime: &Runtime, queue: &str, in_flight: usize) -> Result<ClusterPool, String> {
        let delivery = if queue == "calls" { Delivery::AtMostOnce } else { Delivery::AtLeastOnce };
        let pool = ClusterPool::builder().servers([self.url()?]).queue(queue).delivery(delivery);
        runtime.block_on(pool.in_flight(in_flight).connect()).map_err(|error| error.to_string())
    }

    /// Enters a pool for a queue, which is connected for the race.
    fn enter<'a, const N: usize>(
        &self,
        race: &mut Race<'a, N>,
        (name, queue, in_flight): (&str, &str, usize),
        runtime: &'a Runtime,
        turn: impl Fn(&ClusterPool) -> [f64; N] + 'a,
    ) {
        match self.pool(runtime, queue, in_flight) {
            Ok(pool) => race.enter(name, move || turn(&pool)),
            Err(why) => race.missing(name, why),
        }
    }

    fn ask<'a, const N: usize>(
        &'a self,
        race: &mut Race<'a, N>,
        name: &str,
        request: impl Fn(&str) -> String,
    ) {
        match self.url() {
            Ok(url) => race.ask(name, &self.raw, request(&url)),
            Err(why) => race.missing(name, why),
        }
    }
}

fn start_nodes(runtime: &Runtime, url: &str) -> Result<Vec<Copy>, String> {
    let topology = Topology::new([url]).queues(["threads", "processes", "calls", "shares"]);
    runtime.block_on(ensure_topology(&topology)).map_err(|error| error.to_string())?;
    let equal = ["threads", "processes", "calls"].into_iter().flat_map(|queue| {
        let slots = if queue == "calls" { 1024 } else { SLOTS };
        [(queue, slots); NODES]
    });
    let nodes = equal.chain(SIZES.map(|slots| ("shares", slots)));
    nodes.map(|(queue, slots)| Copy::start(&format!("{url} {queue} {slots}"))).collect()
}

fn trips(program: &mut Program, runtime: &Runtime, site: &Site) {
    let times = program.size(1_000, 100) as usize;
    let mut race = Race::<2>::new();
    for (name, queue) in [(THREADS, "threads"), (PROCESSES, "processes"), (AT_MOST_ONCE, "calls")] {
        site.enter(&mut race, (name, queue, 1), runtime, move |pool| {
            let pool = pool.clone();
            round_trips(runtime, Flavour::Multi, times, move || pool.run(echo, 7))
        });
    }
    for (name, mode) in [(RAW_STREAM, "stream"), (RAW, "core")] {
        site.ask(&mut race, name, |url| format!("trips {mode} {url} {times}"));
    }
    let finish = race.run(program.effort_of(5));
    let row = |nth, figure| {
        let claim = format!("cluster: round trip, {figure}");
        finish.row(nth, &format!("cluster.trips.{nth}"), &claim, Unit::Seconds)
    };
    let note = "When NATS was chosen, the same delivery written by hand took 0.39 and 0.83 ms.";
    program.add_with_note(row(0, "median").limit(0.6e-3), note);
    program.add_with_note(row(1, "99th percentile"), note);
}

fn rates(program: &mut Program, runtime: &Runtime, site: &Site) {
    let by_hand =
        |rate| format!("When NATS was chosen, the same delivery written by hand did {rate} jobs per second.");
    let finish = rate(program, runtime, site, 16);
    program.add_with_note(rate_row(&finish, 16), by_hand("9800"));
    let finish = rate(program, runtime, site, 256);
    program.add_with_note(rate_row(&finish, 256).floor(10_000.0), by_hand("11 800"));
}

fn rate(program: &Program, runtime: &Runtime, site: &Site, in_flight: usize) -> Finish<1> {
    let jobs = program.size(8_000, 500);
    let mut race = Race::<1>::new();
    for (name, queue) in [(THREADS, "threads"), (PROCESSES, "processes"), (AT_MOST_ONCE, "calls")] {
        site.enter(&mut race, (name, queue, in_flight), runtime, move |pool| {
            let pool = pool.clone();
            [fan_out(runtime, jobs, 1, move |n| pool.run(echo, n), |value| value.unwrap())]
        });
    }
    for (name, mode) in [(RAW_STREAM, "stream"), (RAW, "core")] {
        site.ask(&mut race, name, |url| format!("rate {mode} {url} {in_flight} {jobs}"));
    }
    race.run(program.effort_of(5))
}

fn rate_row(finish: &Finish<1>, in_flight: usize) -> support::race::Claim {
    let claim = format!("cluster: jobs per second, {in_flight} in flight");
    finish.row(0, &format!("cluster.rate.{in_flight}"), &claim, Unit::JobsPerSecond)
}

fn shares(program: &mut Program, runtime: &Runtime, site: &Site) {
    let jobs = program.size(850, 85);
    let mut race = Race::<2>::new();
    site.enter(&mut race, (THREADS, "shares", 1024), runtime, move |pool| {
        let begun = std::time::Instant::now();
        let nodes =
            runtime.block_on(gather((0..jobs).map(|_| pool.run(wait, LENGTH))).into_future()).unwrap();
        let ideal = LENGTH.mul_f64(jobs as f64 / SIZES.iter().sum::<usize>() as f64);
        [off_by(&nodes), begun.elapsed().as_secs_f64() / ideal.as_secs_f64()]
    });
    let finish = race.run(program.effort_of(5));
    let claim = "cluster: shares of nodes with 1, 4 and 12 slots, most that one is off";
    let row = finish.row(0, "cluster.shares", claim, Unit::Share).limit(0.05);
    program.add_with_note(row, "850 jobs of 40 ms. By hand, when NATS was chosen: exactly in proportion.");
    let claim = "cluster: the same jobs, beside no loss of time at all";
    let row = finish.row(1, "cluster.shares.time", claim, Unit::Times);
    program.add_with_note(row, "By hand, when NATS was chosen: 1.05 ×.");
}

/// What goes through the server for each job, its pulls and acknowledgements included.
fn traffic(program: &mut Program, runtime: &Runtime, site: &Site) {
    let jobs = program.size(10_000, 500);
    let counted = || {
        let server = site.server.as_ref().expect("there is a pool, so there is a server");
        monitor::traffic(server.dir(), server.pid()).unwrap()
    };
    let mut race = Race::<2>::new();
    for (name, queue) in [(THREADS, "threads"), (AT_MOST_ONCE, "calls")] {
        site.enter(&mut race, (name, queue, 256), runtime, move |pool| {
            let (pool, before) = (pool.clone(), counted());
            fan_out(runtime, jobs, 1, move |n| pool.run(echo, n), |value| value.unwrap());
            let after = counted();
            [0, 1].map(|nth: usize| (after[nth] - before[nth]) / jobs as f64)
        });
    }
    let finish = race.run(program.effort_of(5));
    let note = "Received and sent, as the server counts them; 256 in flight, an argument and a result of a byte or two.";
    let row = |nth, what, unit| {
        finish.row(nth, &format!("cluster.traffic.{nth}"), &format!("cluster: {what} per job"), unit)
    };
    program.add_with_note(row(0, "messages", Unit::Messages), note);
    program.add_with_note(row(1, "bytes", Unit::Bytes), note);
}

/// How far the node that is farthest off is from its share, as a part of that.
fn off_by(nodes: &[u32]) -> f64 {
    let mut counts = BTreeMap::new();
    nodes.iter().for_each(|node| *counts.entry(node).or_insert(0_usize) += 1);
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.resize(SIZES.len(), 0);
    counts.sort_unstable();
    let all = SIZES.iter().sum::<usize>() as f64;
    let share = |slots: usize| nodes.len() as f64 * slots as f64 / all;
    let off = counts.iter().zip(SIZES).map(|(&count, slots)| (count as f64 / share(slots) - 1.0).abs());
    off.fold(0.0, f64::max)
}
