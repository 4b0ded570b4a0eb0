//! A network that fails: a proxy on the loopback that delays, loses and cuts.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each of the test programs that share this file uses a part of it"
)]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// Takes connections and passes them on to a server. Dropping cuts them.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    server: u16,
    /// What comes from the server is lost.
    loses: AtomicBool,
    /// How much was lost, in bytes.
    lost: AtomicU64,
    /// How late everything comes, in milliseconds.
    delay: AtomicU64,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State { server, ..State::default() });
        let serving = state.clone();
        thread::spawn(move || serving.serve(&listener));
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Has everything come that much later.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, SeqCst);
    }

    /// From now on what the server sends is lost, until the connections are [`cut`](Self::cut).
    pub fn lose(&self) {
        self.state.lost.store(0, SeqCst);
        self.state.loses.store(true, SeqCst);
    }

    /// How many bytes were lost since that.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(SeqCst)
    }

    /// Ends all connections; new ones lose nothing.
    pub fn cut(&self) {
        self.state.cut();
        self.state.loses.store(false, SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        self.state.cut();
        // It waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.is_over.load(SeqCst) {
                return;
            }
            // The server is away: so the client finds out.
            let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { continue };
            let twice = |stream: &TcpStream| stream.try_clone().expect("a second handle of a socket");
            let (up, down) = ((twice(&client), twice(&server)), (twice(&server), twice(&client)));
            self.open.lock().expect("no panic under it").extend([client, server]);
            let (upwards, downwards) = (self.clone(), self.clone());
            thread::spawn(move || upwards.pass(up, &AtomicBool::new(false)));
            thread::spawn(move || downwards.pass(down, &downwards.loses));
        }
    }

    fn pass(&self, (mut from, mut to): (TcpStream, TcpStream), loses: &AtomicBool) {
        let mut bytes = [0; 1 << 16];
        let mut has_lost = false;
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            thread::sleep(Duration::from_millis(self.delay.load(SeqCst)));
            // What has lost a part is of no use any more.
            has_lost |= loses.load(SeqCst);
            if has_lost {
                self.lost.fetch_add(count as u64, SeqCst);
            } else if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("no panic under it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
