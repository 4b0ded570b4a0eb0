//! The example as a child process, and what is left of it when it has ended.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns the program, which lies beside the tests and benches in the target directory. `cargo test` and `cargo bench` have built it,
/// unless they were asked for one target alone.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let this = env::current_exe().expect("a path");
        let profile = this.ancestors().nth(2).expect("a profile's directory");
        let program = profile.join("examples/thumbnails");
        if !program.exists() {
            build(profile);
        }
        program
    })
}

fn build(profile: &Path) {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        other => other.expect("a profile's name"),
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--all-features", "--example", "thumbnails", "--profile", name]);
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", profile.parent().expect("a target"));
    assert!(cargo.status().expect("cargo runs").success());
}

/// A service that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where it puts what is temporary.
    temporary: TempDir,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_by(Command::new(program()).args(args), Stdio::null())
    }

    /// Starts the service with a pipe for its stderr that nobody reads.
    pub(crate) fn start_unheard(args: &[&str]) -> Self {
        Self::start_by(Command::new(program()).args(args), Stdio::piped())
    }

    /// Starts the service in a process of this many bytes of addresses.
    pub(crate) fn start_within(bytes: u64, args: &[&str]) -> Self {
        let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", bytes / 1024);
        Self::start_by(Command::new("sh").arg("-c").arg(limit).arg(program()).args(args), Stdio::null())
    }

    /// Starts the service where another has been.
    pub(crate) fn start_at(address: SocketAddr, args: &[&str]) -> Self {
        Self::listen_by(Command::new(program()).args(args), Stdio::null(), address)
    }

    fn start_by(command: &mut Command, stderr: Stdio) -> Self {
        Self::listen_by(command, stderr, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn listen_by(command: &mut Command, stderr: Stdio, address: SocketAddr) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        command.args(["--listen", &address.to_string()]).env("TMPDIR", temporary.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the service starts");
        let line = first_line(&mut child);
        let address = line.trim_end().strip_prefix("listening on http://").expect("an address");
        Self { child, address: address.parse().expect("an address"), temporary }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Returns its end, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// The zygote and the workers.
    pub(crate) fn processes(&self) -> Vec<u32> {
        descendants(self.pid())
    }

    pub(crate) fn workers(&self) -> Vec<u32> {
        let mut found = self.processes();
        found.retain(|&pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("decode-") && !name.contains("zygote")
        });
        found
    }

    /// Waits for its end, and returns what it left behind.
    pub(crate) fn end(self) -> End {
        self.end_within(LONG)
    }

    pub(crate) fn end_within(mut self, limit: Duration) -> End {
        let processes = self.processes();
        let status = within(limit, || self.ended());
        within(Duration::from_secs(2), || (!processes.iter().any(|&pid| lives(pid))).then_some(()));
        let mut left: Vec<String> =
            processes.iter().filter(|&&pid| lives(pid)).map(|pid| format!("process {pid}")).collect();
        let files = fs::read_dir(self.temporary.path()).expect("a directory").flatten();
        left.extend(files.map(|file| file.path().display().to_string()));
        End { code: status.and_then(|status| status.code()), left }
    }

    /// Asks it to end, and asserts that it does, and leaves nothing.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.end(), End { code: Some(0), left: Vec::new() });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a service ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Absent if it was killed, or had to be.
    pub(crate) code: Option<i32>,
    /// Processes and files.
    pub(crate) left: Vec<String>,
}

fn first_line(child: &mut Child) -> String {
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        sender.send(line)
    });
    receiver.recv_timeout(LONG).expect("a line")
}

/// What `look` finds within `limit`.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            found => return found,
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(within(LONG, || condition().then_some(())).is_some(), "never: {what}");
}

/// The children of a process, with their children and so on.
fn descendants(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children")));
    let lists: String = lists.map(Result::unwrap_or_default).collect();
    let children = lists.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// Whether a process runs. A dead one that nobody has asked about does not.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A line of `/proc/PID/status`, in KiB.
pub(crate) fn memory_kib(pid: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rest = status.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}
