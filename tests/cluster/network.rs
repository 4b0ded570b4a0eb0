//! Hosts for tests: network namespaces with addresses of their own, joined to this one, that can be cut off.
//!
//! ```text
//!  namespace 0: 198.18.x.y+2 on eth0 ── veth ── 198.18.x.y+1 on hlPIDnNh0 ┐
//!  namespace 1: 198.18.x.y+3 on eth0 ── veth ── 198.18.x.y+1 on hlPIDnNh1 ┼ this one: the server
//! ```

use std::{
    env, fs,
    io::BufRead,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// Where namespaces have their names.
const NAMES: &str = "/run/netns";
/// Networks that fit into 198.18.0.0/15, which is there for measuring networks.
const NETWORKS: u32 = 1 << 14;

/// Hosts and the links to them. Dropping removes all of it.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where a server can be reached by all hosts.
    pub(crate) address: String,
    pub(crate) hosts: Vec<Host>,
}

impl Network {
    /// With so many hosts.
    ///
    /// # Errors
    ///
    /// Namespaces cannot be made here: no `ip`, not root, not permitted.
    pub(crate) fn make(hosts: usize) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_left_behind();
        let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Relaxed));
        let base = 0xc612_0000 + (pid.wrapping_mul(4) + number) % NETWORKS * 8;
        let mut network = Self { address: dotted(base + 1), hosts: Vec::new() };
        for n in 0..hosts {
            let name = format!("hl{pid}n{number}h{n}");
            let (own, peer) = (dotted(base + 2 + n as u32), network.address.clone());
            ip(&format!("netns add {name}"))?;
            // From here on the network removes it.
            network.hosts.push(Host { name: name.clone() });
            for command in [
                format!("link add {name} type veth peer name eth0 netns {name}"),
                format!("address add {peer} peer {own} dev {name}"),
                format!("link set {name} up"),
                format!("-n {name} address add {own} peer {peer} dev eth0"),
                format!("-n {name} link set eth0 up"),
                format!("-n {name} link set lo up"),
            ] {
                ip(&command)?;
            }
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Its end of the link goes with it, and with that the other.
            let _ = ip(&format!("netns delete {}", host.name));
        }
    }
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    /// Of the namespace, and of the link's end here.
    name: String,
}

impl Host {
    /// Nothing goes there or comes from there any more; nobody is told.
    pub(crate) fn cut_off(&self) {
        ip(&format!("link set {} down", self.name)).unwrap();
    }

    pub(crate) fn heal(&self) {
        ip(&format!("link set {} up", self.name)).unwrap();
    }

    /// Starts a copy of this program there, which runs one of its tests and lives as long as its input is open: see [`wait_for_end`].
    pub(crate) fn start(&self, test: &str, variable: &str, value: &str) -> Copy {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(variable, value);
        Copy(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

/// A copy of this program. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Copy(Child);

impl Copy {
    /// What it says, line by line.
    pub(crate) fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let output = self.0.stdout.take().expect("they are read once");
        std::io::BufReader::new(output).lines().map_while(Result::ok)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a copy: ends it once whoever started it has gone, however that was.
pub(crate) fn end_with_starter() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("there is no `ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {arguments}` fails: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn dotted(address: u32) -> String {
    std::net::Ipv4Addr::from_bits(address).to_string()
}

/// Removes the namespaces of test programs that were killed.
fn remove_left_behind() {
    for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = name.strip_prefix("hl").and_then(|rest| rest.split_once('n')).map(|(pid, _)| pid);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if pid.is_some_and(|pid| is_number(pid) && !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&format!("netns delete {name}"));
        }
    }
}
