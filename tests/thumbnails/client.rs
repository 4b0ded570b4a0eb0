//! A client of HTTP that blocks, small enough to be seen through.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Far more than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The `code` of an error.
    pub(crate) fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let error = body.get("error")?;
        error.get("message")?.as_str()?;
        Some(error.get("code")?.as_str()?.to_owned())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let (first, rest) = head.split_once("\r\n")?;
        let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let headers = rest.split("\r\n").map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let response =
            Self { status, headers: headers.collect::<Option<_>>()?, body: bytes[end + 4..].to_vec() };
        let length: usize = response.header("content-length")?.parse().ok()?;
        (response.body.len() == length).then_some(response)
    }
}

/// A request that has been sent, at least in part.
pub(crate) struct Pending {
    stream: TcpStream,
}

impl Pending {
    /// Connects, and sends the head of a request.
    pub(crate) fn begin(server: SocketAddr, head: &str) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut pending = Self { stream };
        pending.send(format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        Ok(pending)
    }

    pub(crate) fn post(server: SocketAddr, path: &str, body: &[u8]) -> io::Result<Self> {
        let length = body.len();
        let mut pending = Self::begin(server, &format!("POST {path} HTTP/1.1\r\nContent-Length: {length}"))?;
        pending.send(body)?;
        Ok(pending)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits until the server has begun to read the body of a request that expects `100-continue`.
    pub(crate) fn may_continue(&mut self) -> io::Result<()> {
        let mut word = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        self.stream.read_exact(&mut word)?;
        match word.starts_with(b"HTTP/1.1 100 ") {
            true => Ok(()),
            false => Err(io::Error::other("not told to continue")),
        }
    }

    /// Waits until an answer has begun to arrive.
    pub(crate) fn first_byte(&mut self) -> io::Result<()> {
        self.stream.read_exact(&mut [0])
    }

    /// Whether an answer has begun to arrive. Waits a moment for it.
    pub(crate) fn has_answer(&self) -> bool {
        let moment = || self.stream.set_read_timeout(Some(Duration::from_millis(2)));
        let looked = moment().and_then(|()| self.stream.peek(&mut [0]));
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        looked.is_ok_and(|bytes| bytes > 0)
    }

    /// Waits for the answer.
    pub(crate) fn response(mut self) -> io::Result<Response> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        Response::parse(&bytes).ok_or_else(|| io::Error::other(format!("no whole answer: {:?}", shown())))
    }
}

pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<Response> {
    Pending::begin(server, &format!("GET {path} HTTP/1.1"))?.response()
}

pub(crate) fn post(server: SocketAddr, path: &str, body: &[u8]) -> io::Result<Response> {
    Pending::post(server, path, body)?.response()
}
