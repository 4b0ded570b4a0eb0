//! A web server on this machine: a thread for each connection, which thinks for as long as it is asked to.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What it answers.
const BODY: usize = 2048;

/// Serves until it is dropped.
pub(crate) struct Server {
    port: u16,
    closes: Arc<AtomicBool>,
    listens: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let closes = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&closes);
        let listens = thread::spawn(move || {
            // ORDERING: nothing else is read; who closes connects once more, and so is heard.
            for guest in listener.incoming().take_while(|_| !told.load(Ordering::Relaxed)).flatten() {
                // A guest who breaks off has what it wants.
                thread::spawn(move || answer(guest).ok());
            }
        });
        Ok(Self { port, closes, listens: Some(listens) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closes.store(true, Ordering::Relaxed);
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            let _ = self.listens.take().map(JoinHandle::join);
        }
    }
}

/// `GET /1500` is answered after 1500 µs.
fn answer(guest: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&guest).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let micros = first.split(['/', ' ']).find_map(|word| word.parse().ok()).unwrap_or(0);
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    thread::sleep(Duration::from_micros(micros));
    let body = "x".repeat(BODY);
    write!(&guest, "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n{body}")
}

/// What the server says after it has thought for so many microseconds, head and all.
pub(crate) fn get(port: u16, micros: u64) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    write!(stream, "GET /{micros} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(response)
}
