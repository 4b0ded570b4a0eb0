//! A burst on a web service: 500 requests within one second, each of which needs 5 blocking jobs on a pool of 50 threads.
//!
//! ```text
//! cargo run --release --example api_burst
//! ```
//!
//! The pool never grows past its limit; what does not fit waits in its queue, and the runtime stays free to answer.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{net::SocketAddr, thread, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use heavylift::{ThreadPool, gather};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};

const REQUESTS: u32 = 500;
const JOBS: u64 = 5;

/// A query to a database whose driver blocks.
fn query(n: u64) -> u64 {
    thread::sleep(Duration::from_millis(20));
    n
}

async fn handle(State(pool): State<ThreadPool>) -> Result<String, StatusCode> {
    let jobs = (1..=JOBS).map(|n| pool.run(move || query(n)));
    let rows = gather(jobs).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("sum {}", rows.iter().sum::<u64>()))
}

/// Sends one request, and says whether it was answered with the right sum.
async fn request(server: SocketAddr) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(server).await?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    Ok(response.starts_with("HTTP/1.1 200") && response.ends_with("sum 15"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = ThreadPool::builder().name("db").max_workers(50).build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let service = Router::new().route("/", get(handle)).with_state(pool.clone());
    tokio::spawn(axum::serve(listener, service).into_future());

    let start = Instant::now();
    let requests = (0..REQUESTS).map(|n| async move {
        sleep_until(start + Duration::from_secs(1) * n / REQUESTS).await;
        request(server).await
    });
    let answers = tokio::spawn(gather(requests.map(tokio::spawn)).into_future());

    let mut peak = 0;
    while !answers.is_finished() {
        peak = peak.max(pool.metrics().workers);
        sleep(Duration::from_millis(1)).await;
    }
    let right = answers.await??.into_iter().filter(|answer| matches!(answer, Ok(true))).count();
    println!("{right} of {REQUESTS} requests answered in {:.1} s", start.elapsed().as_secs_f64());
    println!("{} jobs done by at most {peak} workers", pool.metrics().succeeded);
    Ok(())
}
