//! Blocking HTTP requests on the thread pool, results in completion order, one address refused.
//!
//! ```text
//! cargo run --release --example load_urls
//! ```
//!
//! The server is part of the example and listens on loopback. The client is a bare [`TcpStream`], in the place of any
//! blocking client that has no async twin.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use futures::StreamExt;
use heavylift::{as_completed, run_in_thread_pool};

/// Fetches a page; blocks until it is there.
fn load(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let (_, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(body.to_owned())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let server = start_server()?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again at once: nobody listens there

    let pages = [(server, "/300"), (server, "/100"), (closed, "/"), (server, "/200")];
    let tasks = pages.map(|(address, path)| run_in_thread_pool(move || load(address, path)).flatten());
    let mut loaded = as_completed(tasks);
    while let Some((position, page)) = loaded.next().await {
        let (address, path) = pages[position];
        match page {
            Ok(body) => println!("http://{address}{path}: {} bytes: {body}", body.len()),
            Err(error) => println!("http://{address}{path} fails: {error}"),
        }
    }
    Ok(())
}

/// Starts a server whose page `/N` takes N milliseconds. It runs for ever, so it has a thread of its own.
fn start_server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer(connection));
        }
    });
    Ok(address)
}

fn answer(mut connection: TcpStream) -> io::Result<()> {
    // All of it is read, as closing a connection that holds unread bytes resets it.
    let request: Vec<String> = BufReader::new(&connection)
        .lines()
        .take_while(|line| !matches!(line.as_deref(), Ok("")))
        .collect::<Result<_, _>>()?;
    let path = request.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let delay = path.trim_start_matches('/').parse().unwrap_or(0);
    thread::sleep(Duration::from_millis(delay));
    write!(connection, "HTTP/1.0 200 OK\r\n\r\nthis took {delay} ms")
}
