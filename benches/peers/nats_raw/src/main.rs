//! Answers the benches' requests with figures of async-nats, used by hand: an echo of eight bytes, by three workers of eight slots.
//!
//! | request | figures |
//! |---|---|
//! | `trips MODE URL TIMES` | median and 99th percentile of one at a time, in seconds |
//! | `rate MODE URL IN_FLIGHT JOBS` | jobs per second |
//!
//! `core` is request and reply of a queue group: nothing is kept anywhere. `stream` is a queue that is kept on disk, from which workers
//! pull as many as they have slots, and answer to an inbox before they acknowledge: jobs are durable, results are not.

mod client;
mod worker;

use std::{
    collections::HashMap,
    io,
    process::{Child, Command, Stdio},
};

use client::{Error, Mode, Peer};

const WORKERS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, url] = &arguments[..] {
        let mode = Mode::named(mode).expect("a mode");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(worker::serve(mode, url)).expect("a worker serves until it is killed");
    }
    let mut site = Site::default();
    for request in io::stdin().lines().map_while(Result::ok) {
        match site.figures(&request) {
            Ok(figures) => {
                let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
                println!("figures {}", figures.join(" "));
            }
            Err(why) => println!("error {why}"),
        }
    }
}

/// The workers and clients that were asked for.
#[derive(Default)]
struct Site {
    peers: HashMap<Mode, Peer>,
    workers: Vec<Child>,
}

impl Site {
    fn figures(&mut self, request: &str) -> Result<Vec<f64>, Error> {
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["trips", mode, url, times] => self.peer(mode, url)?.trips(times.parse()?),
            ["rate", mode, url, in_flight, jobs] => {
                Ok(vec![self.peer(mode, url)?.rate(in_flight.parse()?, jobs.parse()?)?])
            }
            _ => Err(format!("not a request: {request}").into()),
        }
    }

    fn peer(&mut self, mode: &str, url: &str) -> Result<&Peer, Error> {
        let mode = Mode::named(mode)?;
        if !self.peers.contains_key(&mode) {
            let peer = Peer::connect(mode, url)?;
            for _ in 0..WORKERS {
                let mut worker = Command::new(std::env::current_exe()?);
                worker.args([mode.name(), url]).stdin(Stdio::piped()).stdout(Stdio::null());
                self.workers.push(worker.spawn()?);
            }
            peer.wait_for_workers()?;
            self.peers.insert(mode, peer);
        }
        Ok(&self.peers[&mode])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _gone = worker.kill();
            let _reaped = worker.wait();
        }
    }
}
