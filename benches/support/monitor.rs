//! What a NATS server counts, asked at its monitoring port.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use serde_json::Value;

/// Has a server monitor itself: to be added to its configuration.
pub(crate) const MONITORED: &str = "http: \"127.0.0.1:-1\"";

/// Messages and bytes that a server has received and sent so far; bytes are those of the messages, without what the protocol adds.
pub(crate) fn traffic(dir: &Path, pid: u32) -> Result<[f64; 2], String> {
    let varz = ask(dir, pid, "/varz")?;
    let count = |names: [&str; 2]| {
        let [received, sent] = names.map(|name| varz[name].as_f64());
        Ok::<_, String>(received.ok_or("nothing received")? + sent.ok_or("nothing sent")?)
    };
    Ok([count(["in_msgs", "out_msgs"])?, count(["in_bytes", "out_bytes"])?])
}

fn ask(dir: &Path, pid: u32, what: &str) -> Result<Value, String> {
    let ports = fs::read(dir.join(format!("nats-server_{pid}.ports"))).map_err(|error| error.to_string())?;
    let ports: Value = serde_json::from_slice(&ports).map_err(|error| error.to_string())?;
    let address = ports["monitoring"][0].as_str().and_then(|url| url.strip_prefix("http://"));
    let answer =
        get(address.ok_or("the server is not monitored")?, what).map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|error| format!("{what}: {error}"))
}

fn get(address: &str, what: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {what} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
