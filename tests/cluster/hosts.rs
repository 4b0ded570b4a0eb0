//! Nodes and clients on several hosts, which are cut off and come back.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    fs::{self, OpenOptions},
    future::Future,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use futures::StreamExt;
use heavylift::{
    ClusterPool, Node, as_completed,
    cluster::{ClusterPoolBuilder, Topology, ensure_topology},
    job,
};

use crate::{
    network::{Copy, Host, Network, end_with_starter},
    server::{Binary, Server, binaries, skipped},
};

/// In which program a copy of this one is a node, as `URL NAME`.
const NODE: &str = "HEAVYLIFT_TEST_HOST_NODE";
/// In which it is a client, as `URL FILE`.
const CLIENT: &str = "HEAVYLIFT_TEST_HOST_CLIENT";
/// For how long a job's node may be silent.
const LEASE: Duration = Duration::from_secs(1);
const SLOTS: usize = 4;
const JOBS: usize = 240;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves a line when it begins: which job, which run, on which host. Waits, and returns the host.
#[heavylift::job(name = "hosts::stay")]
fn stay((file, time): (PathBuf, Duration)) -> String {
    let host = env::var(NODE).unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let line = format!("{} {} {host}\n", job::current().id(), job::current().attempt());
    let opened = OpenOptions::new().create(true).append(true).open(&file);
    opened.and_then(|mut opened| opened.write_all(line.as_bytes())).expect("the file can be written");
    thread::sleep(time);
    host
}

/// A run of a job that has begun.
#[derive(Debug)]
struct Begun {
    id: String,
    run: u32,
    host: String,
}

fn begun(file: &Path) -> Vec<Begun> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Begun { id: words[0].to_owned(), run: words[1].parse().unwrap(), host: words[2].to_owned() }
    };
    text.lines().map(line).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, future).await.expect("in time") })
}

/// Waits for something that comes soon.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a test for each version of the server, with so many hosts; says so if there can be none.
fn for_each_network(test: &str, hosts: usize, body: impl Fn(&Binary, &Network)) {
    for binary in binaries(test) {
        match Network::make(hosts) {
            Ok(network) => body(&binary, &network),
            Err(why) => return skipped(test, &why),
        }
    }
}

/// A server that all hosts of a network reach, with queue and lease.
fn server(binary: &Binary, network: &Network) -> (Server, String) {
    // Of two the last counts.
    let server = Server::with_config(binary, &format!("host: {}", network.address));
    let url = format!("nats://{}:{}", network.address, server.port());
    block_on(ensure_topology(&Topology::new([url.clone()]).lease(LEASE))).unwrap();
    (server, url)
}

/// Starts a node on a host, and waits until it serves.
fn start_node(host: &Host, url: &str, name: &str) -> Copy {
    let mut node = host.start("hosts::this_program_is_a_node", NODE, &format!("{url} {name}"));
    let mut lines = node.lines();
    assert!(lines.any(|line| line.ends_with("serving")), "the node {name} does not start");
    // What it still says goes nowhere, and does not fill its pipe.
    thread::spawn(move || lines.for_each(drop));
    node
}

fn pool(url: &str) -> ClusterPoolBuilder {
    ClusterPool::builder().servers([url]).deadline(PATIENCE)
}

#[test]
fn a_host_is_cut_off_and_healed_and_every_job_is_done() {
    let test = "a_host_is_cut_off_and_healed_and_every_job_is_done";
    for_each_network(test, 3, |binary, network| {
        let (_server, url) = server(binary, network);
        let names = ["one", "two", "three"];
        let nodes = network.hosts.iter().zip(names).map(|(host, name)| start_node(host, &url, name));
        let _nodes: Vec<Copy> = nodes.collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("begun");
        let (cut_off, start) = (&network.hosts[0], Instant::now());
        block_on(async {
            let pool = pool(&url).connect().await.unwrap();
            let tasks = (0..JOBS).map(|_| pool.run(stay, (file.clone(), Duration::from_millis(150))));
            let mut done = as_completed(tasks);
            let mut hosts = Vec::new();
            while hosts.len() < JOBS / 6 || !hosts.contains(&"one".to_owned()) {
                hosts.push(done.next().await.unwrap().1.unwrap());
            }
            cut_off.cut_off();
            let before = begun(&file).len();
            // What it had runs elsewhere once its lease is over. Meanwhile the others go on.
            let is_taken_over =
                || begun(&file).iter().skip(before).any(|begun| begun.run > 1 && begun.host != "one");
            until("another host runs what it had", is_taken_over).await;
            cut_off.heal();
            let healed = begun(&file).len();
            while let Some((_, host)) = done.next().await {
                hosts.push(host.unwrap());
            }
            let took = start.elapsed();
            // And then it takes part again.
            let mut more = 0;
            while !begun(&file).iter().skip(healed).any(|begun| begun.host == "one") {
                assert!(start.elapsed() < PATIENCE, "the healed host takes no jobs");
                pool.run(stay, (file.clone(), Duration::from_millis(20))).await.unwrap();
                more += 1;
            }
            let metrics = pool.metrics();
            assert_eq!((hosts.len(), metrics.running, metrics.queued), (JOBS, 0, 0), "{metrics:?}");
            assert_eq!(metrics.succeeded, (JOBS + more) as u64, "each finishes once: {metrics:?}");
            report(test, binary, &hosts, &begun(&file), took);
        });
    });
}

#[test]
fn a_client_whose_host_is_cut_off_for_two_seconds_has_every_result() {
    let test = "a_client_whose_host_is_cut_off_for_two_seconds_has_every_result";
    for_each_network(test, 3, |binary, network| {
        let (_server, url) = server(binary, network);
        let [client_host, hosts @ ..] = &network.hosts[..] else { panic!("there are three") };
        let names = ["one", "two"];
        let _nodes: Vec<Copy> =
            hosts.iter().zip(names).map(|(host, name)| start_node(host, &url, name)).collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("begun");
        let start = Instant::now();
        let words = format!("{url} {}", file.display());
        let mut client = client_host.start("hosts::this_program_is_a_client", CLIENT, &words);
        let (said, lines) = mpsc::channel();
        let output = client.lines();
        thread::spawn(move || output.for_each(|line| drop(said.send(line))));
        let next = || lines.recv_timeout(PATIENCE).expect("the client goes on");
        let mut done = Vec::new();
        let hear = |done: &mut Vec<(usize, String)>| {
            if let Some(words) = next().strip_prefix("done ") {
                let (number, host) = words.split_once(' ').unwrap();
                done.push((number.parse().unwrap(), host.to_owned()));
            }
        };
        while done.len() < JOBS / 6 {
            hear(&mut done);
        }
        client_host.cut_off();
        thread::sleep(Duration::from_secs(2)); // as long as it is to be away: nothing tells of that
        assert!(begun(&file).len() < JOBS - 32, "what it has not published cannot have begun");
        client_host.heal();
        while done.len() < JOBS {
            hear(&mut done);
        }
        let took = start.elapsed();
        assert_eq!(next(), "end", "nothing is told twice");
        let numbers: HashSet<usize> = done.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), JOBS, "each once: {done:?}");
        let hosts: Vec<String> = done.into_iter().map(|(_, host)| host).collect();
        report(test, binary, &hosts, &begun(&file), took);
    });
}

/// Prints where jobs were done, how many began more than once, and how long it took.
#[allow(clippy::print_stderr, reason = "the figures are for whoever reads what the test says")]
fn report(test: &str, binary: &Binary, hosts: &[String], begun: &[Begun], took: Duration) {
    let mut counts = BTreeMap::new();
    hosts.iter().for_each(|host| *counts.entry(host).or_insert(0) += 1);
    let ids: HashSet<&String> = begun.iter().map(|begun| &begun.id).collect();
    let again: HashSet<&String> = begun.iter().filter(|begun| begun.run > 1).map(|begun| &begun.id).collect();
    eprintln!(
        "{test}: nats-server {}: {} jobs in {took:.1?}: {counts:?}; {} delivered again, {} runs too many",
        binary.version,
        hosts.len(),
        again.len(),
        begun.len() - ids.len(),
    );
    assert!(begun.iter().all(|begun| begun.run <= 3), "{begun:?}");
}

/// Nothing, unless it is to be a node.
#[test]
fn this_program_is_a_node() {
    let Ok(words) = env::var(NODE) else { return };
    let (url, name) = words.split_once(' ').unwrap();
    end_with_starter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = Node::builder().servers([url]).slots(SLOTS).name(name);
    runtime.block_on(node.on_serving(|_| println!("serving")).serve()).unwrap();
}

/// Nothing, unless it is to be a client.
#[test]
fn this_program_is_a_client() {
    let Ok(words) = env::var(CLIENT) else { return };
    let (url, file) = words.split_once(' ').unwrap();
    end_with_starter();
    block_on(async {
        // Few in flight: while it is cut off it has jobs to publish, too.
        let pool = pool(url).in_flight(16).connect().await.unwrap();
        let argument = (PathBuf::from(file), Duration::from_millis(50));
        let mut done = as_completed((0..JOBS).map(|_| pool.run(stay, argument.clone())));
        // The line was begun by the test harness.
        println!();
        while let Some((number, host)) = done.next().await {
            println!("done {number} {}", host.unwrap());
        }
        println!("end");
    });
}
