//! A worker node: runs the functions of `cluster/jobs.rs` for cluster pools, until it is asked to end.
//!
//! ```text
//! nats-server -js &
//! cargo run --release --example cluster_node --features nats -- [--server URL] [--slots N] [--queue NAME]… [--threads]
//! ```
//!
//! SIGTERM or Ctrl-C has it finish what runs, and end with status 0. Start as many as you like, on any machines.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells who started it")]

#[path = "cluster/jobs.rs"]
mod jobs;

use std::{env, process::ExitCode};

use heavylift::{
    Node, ThreadPool,
    cluster::{ClusterError, NodeBuilder, Topology, ensure_topology},
};

const HELP: &str = "\
usage: cluster_node [--server URL]… [--prefix NAME] [--slots N] [--queue NAME]… [--name NAME] [--threads]

  --server URL   default: nats://127.0.0.1:4222
  --prefix NAME  before the names of all streams (default: heavylift)
  --slots N      how many jobs at a time (default: one per CPU)
  --queue NAME   a queue to serve (default: default)
  --name NAME    what it is called (default: host name and process id)
  --threads      run jobs on threads, not in processes
";

#[derive(Debug, Default)]
struct Args {
    servers: Vec<String>,
    prefix: Option<String>,
    slots: Option<usize>,
    queues: Vec<String>,
    name: Option<String>,
    threads: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match parse(env::args().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprint!("{wrong}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster_node: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), ClusterError> {
    // Nodes that start together may all do this. In production an administrator does, once, and nodes need no right to.
    ensure_topology(&topology(&args)).await?;
    let report = node(&args)?.serve().await?;
    println!("{} has ended: {report}", report.name);
    Ok(())
}

fn topology(args: &Args) -> Topology {
    let topology = Topology::new(args.servers.clone()).queues(args.queues.clone());
    match &args.prefix {
        Some(prefix) => topology.prefix(prefix),
        None => topology,
    }
}

fn node(args: &Args) -> Result<NodeBuilder, ClusterError> {
    let url = args.servers.join(", ");
    let mut node = Node::builder().servers(args.servers.clone()).queues(args.queues.clone());
    node = node.on_serving(move |name| println!("serving on {url} as {name}"));
    if let Some(prefix) = &args.prefix {
        node = node.prefix(prefix);
    }
    if let Some(slots) = args.slots {
        node = node.slots(slots);
    }
    if let Some(name) = &args.name {
        node = node.name(name);
    }
    Ok(if args.threads { node.pool(ThreadPool::cpu()) } else { node })
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args::default();
    while let Some(option) = words.next() {
        let mut value = || words.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--server" => args.servers.push(value()?),
            "--prefix" => args.prefix = Some(value()?),
            "--slots" => args.slots = Some(value()?.parse().map_err(|why| format!("--slots: {why}"))?),
            "--queue" => args.queues.push(value()?),
            "--name" => args.name = Some(value()?),
            "--threads" => args.threads = true,
            _ => return Err(format!("unknown argument {option:?}")),
        }
    }
    if args.servers.is_empty() {
        args.servers.push("nats://127.0.0.1:4222".to_owned());
    }
    if args.queues.is_empty() {
        args.queues.push("default".to_owned());
    }
    Ok(args)
}
