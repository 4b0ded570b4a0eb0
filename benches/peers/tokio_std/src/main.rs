//! Answers the benches' requests with figures of `spawn_blocking`, in a tokio without `parking_lot`.
#![allow(dead_code, reason = "the benches use more of the files that they share with this program")]

#[path = "../../../support/handoff.rs"]
mod handoff;
#[path = "../../../support/spawn_blocking.rs"]
mod spawn_blocking;
#[path = "../../../support/work.rs"]
mod work;

use spawn_blocking::SpawnBlocking;

fn main() {
    let peer = SpawnBlocking::new();
    for request in std::io::stdin().lines().map_while(Result::ok) {
        match peer.figures(&request) {
            Ok(figures) => {
                let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
                println!("figures {}", figures.join(" "));
            }
            Err(why) => println!("error {why}"),
        }
    }
}
