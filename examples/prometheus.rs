//! What all pools do, at `/metrics`, as Prometheus collects it. `docs/grafana.json` is a dashboard for it.
//!
//! ```text
//! cargo run --release --example prometheus --features metrics -- [127.0.0.1:9000]
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{env, thread, time::Duration};

use axum::{Router, routing::get};
use heavylift::{
    ThreadPool,
    metrics::{BUCKETS, report},
    run_in_thread_pool,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::{net::TcpListener, time};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Buckets, so that quantiles of several instances can be told.
    let ours = Matcher::Prefix("heavylift_".to_owned());
    let exporter = PrometheusBuilder::new().set_buckets_for_metric(ours, &BUCKETS)?.install_recorder()?;
    let render = move || {
        report(); // reads all pools, now
        exporter.render()
    };
    let service = Router::new().route("/metrics", get(async move || render()));

    tokio::spawn(work());
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}/metrics", listener.local_addr()?);
    Ok(axum::serve(listener, service).await?)
}

/// Something to be seen: two hundred jobs a second, which wait or compute.
async fn work() {
    let mut ticks = time::interval(Duration::from_millis(10));
    for n in 0.. {
        ticks.tick().await;
        run_in_thread_pool(move || thread::sleep(Duration::from_millis(n % 50))).detach();
        ThreadPool::cpu().run(move || (0..n % 1_000 * 1_000).fold(0, |sum, n| sum ^ n)).detach();
    }
}
