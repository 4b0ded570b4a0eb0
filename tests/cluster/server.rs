//! NATS servers for tests: started on free ports of the loopback with a store of their own, killed, started again, three of them as a cluster.
//!
//! Each test runs for every version that is there: Debian's, and the one that `HEAVYLIFT_NATS_SERVER_NEW` names. One that is missing is skipped
//! with a line on standard error, uncaptured, and another in `target/tmp/cluster-skipped`, which the tests inside the library cannot name.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each of the test programs that share this file uses a part of it"
)]

use std::{
    env, fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server's program.
#[derive(Debug, Clone)]
pub struct Binary {
    pub path: PathBuf,
    /// As it says itself: `2.9.10`.
    pub version: String,
}

impl Binary {
    fn at(path: &Path) -> Option<Self> {
        let said = Command::new(path).arg("--version").output().ok()?;
        let said = String::from_utf8(said.stdout).ok()?;
        let version = said.trim().rsplit(['v', ' ']).next()?.to_owned();
        Some(Self { path: path.to_owned(), version })
    }

    /// Whether it is older than that minor version of 2.
    pub fn is_before(&self, minor: u32) -> bool {
        self.version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok())
            .is_some_and(|own: u32| own < minor)
    }
}

/// What is installed.
fn installed() -> Option<Binary> {
    let in_path =
        || env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let dirs = in_path().chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/bin")]);
    dirs.map(|dir| dir.join("nats-server")).find_map(|path| Binary::at(&path))
}

fn named() -> Option<Binary> {
    env::var_os("HEAVYLIFT_NATS_SERVER_NEW").and_then(|path| Binary::at(Path::new(&path)))
}

/// The newest that is there, for a test that is not about servers.
pub fn newest() -> Option<Binary> {
    named().or_else(installed)
}

/// All that are there; says which are not.
pub fn binaries(test: &str) -> Vec<Binary> {
    let (system, new) = (installed(), named());
    if system.is_none() {
        skipped(test, "no nats-server is installed");
    }
    if new.is_none() {
        skipped(test, "HEAVYLIFT_NATS_SERVER_NEW names no server of a newer version");
    }
    system.into_iter().chain(new).collect()
}

/// Says that a test, or a part of it, does not run: on standard error, which tests do not capture this way, and in a file.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED: cluster: {test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    let Some(dir) = option_env!("CARGO_TARGET_TMPDIR") else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(Path::new(dir).join("cluster-skipped"));
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// Runs a test for each version that is there, with a server of its own.
pub fn for_each_server(test: &str, body: impl Fn(&mut Server)) {
    for binary in binaries(test) {
        eprintln!("{test}: nats-server {}", binary.version);
        body(&mut Server::start(&binary));
    }
}

/// A server with a store in a directory of its own. Dropping kills it.
#[derive(Debug)]
pub struct Server {
    pub binary: Binary,
    dir: TempDir,
    config: String,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Anybody may do anything.
    pub fn start(binary: &Binary) -> Self {
        Self::with_config(binary, "")
    }

    /// With more lines of configuration: users, TLS, limits. `$DIR` stands for the server's directory.
    pub fn with_config(binary: &Binary, config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the server");
        Self::in_dir(binary, dir, config)
    }

    /// With the users `producer`, `node` and `admin` of `docs/cluster`, whose passwords are `secret-` and their names, and with more
    /// lines of configuration.
    pub fn with_users(binary: &Binary, config: &str) -> Self {
        Self::with_users_in(binary, tempfile::tempdir().expect("a directory for the server"), config)
    }

    /// The same in a directory that was made before, with certificates in it, say.
    pub fn with_users_in(binary: &Binary, dir: TempDir, config: &str) -> Self {
        for file in ["accounts.conf", "producer.conf", "node.conf", "admin.conf"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster").join(file);
            fs::copy(from, dir.path().join(file)).expect("the file with permissions");
        }
        Self::in_dir(binary, dir, &format!("include \"accounts.conf\"\n{config}"))
    }

    /// In a directory that was made before.
    pub fn in_dir(binary: &Binary, dir: TempDir, config: &str) -> Self {
        let config = config.replace("$DIR", &dir.path().display().to_string());
        let mut server = Self { binary: binary.clone(), dir, config, port: 0, child: None };
        server.restart();
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Starts it again, on the same port and store, and waits until it takes connections.
    pub fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server runs");
        let dir = self.dir.path();
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        let config = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\" }}\n{}\n",
            dir.join("js").display(),
            self.config
        );
        fs::write(dir.join("config"), config).expect("the server's configuration");
        let mut command = Command::new(&self.binary.path);
        command
            .arg("-c")
            .arg(dir.join("config"))
            .arg("--ports_file_dir")
            .arg(dir)
            .arg("-l")
            .arg(dir.join("log"));
        for user in ["producer", "node", "admin"] {
            command.env(format!("HEAVYLIFT_{}_PASSWORD", user.to_uppercase()), format!("secret-{user}"));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("the server starts"));
    }

    fn wait_until_ready(&mut self) {
        let ports = self.dir.path().join(format!("nats-server_{}.ports", self.pid()));
        let end = Instant::now() + PATIENCE;
        loop {
            // It is there once the server takes connections; it may be half written.
            let text = fs::read_to_string(&ports).unwrap_or_default();
            if let Some(port) = port_in(&text) {
                self.port = port;
                return;
            }
            let ended = self.child.as_mut().expect("the server runs").try_wait().expect("its state");
            assert!(ended.is_none(), "the server has ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < end, "the server does not start\n{}", self.log());
            sleep(Duration::from_millis(2));
        }
    }

    /// Has it end in order, and waits for that.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.reap();
    }

    /// Ends it at once, and waits for that.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Sends it any signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the server takes signals");
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("the server's end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first port that clients may connect to: `{"nats":["nats://127.0.0.1:35819"],…}`.
fn port_in(text: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(text).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// Three servers that keep everything three times.
#[derive(Debug)]
pub struct Cluster {
    pub servers: Vec<Server>,
}

impl Cluster {
    pub fn start(binary: &Binary) -> Self {
        let routes = free_ports(3);
        let all: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let one = |(number, port): (usize, &u16)| {
            let config = format!(
                "server_name: s{number}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                all.join(", ")
            );
            let dir = tempfile::tempdir().expect("a directory for the server");
            Server { binary: binary.clone(), dir, config, port: 0, child: None }
        };
        let mut servers: Vec<_> = routes.iter().enumerate().map(one).collect();
        // All at once: each waits for the others before it takes requests.
        servers.iter_mut().for_each(Server::spawn);
        servers.iter_mut().for_each(Server::wait_until_ready);
        Self { servers }
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// The index of the server with that name, `s0` to `s2`.
    pub fn named(&self, name: &str) -> usize {
        name.trim_start_matches('s').parse().expect("a server's name")
    }
}

/// Ports that nobody listens on at the moment.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|held| held.local_addr().expect("its address").port()).collect()
}
