//! A server with its topology, nodes that are programs of their own, and what the tests wait for.

use std::{
    env, fs,
    future::Future,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use heavylift::{
    ClusterPool, Node, ThreadPool,
    cluster::{ClusterPoolBuilder, NodeBuilder, Topology, ensure_topology},
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    admin::Admin,
    jobs::{NAME, Visit, visits},
};
use crate::server::{Server, for_each_server};

/// Anything that is waited for comes in that time.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// A test takes no longer.
const AT_MOST: Duration = Duration::from_secs(120);
/// What a copy of this program is to be: a [`Role`] as JSON.
const ROLE: &str = "HEAVYLIFT_FAULTS_ROLE";

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(AT_MOST, future).await.expect("it ends in time") })
}

/// Waits until it is so. Returns how long that took.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

/// What a test is about, and a directory for it.
pub(super) struct Scene<'a> {
    pub(super) server: &'a mut Server,
    pub(super) dir: TempDir,
}

/// Runs a test for each server, with a lease of a second.
pub(super) fn at_each(test: &str, body: impl AsyncFn(&mut Scene<'_>)) {
    at_each_with(test, |topology| topology, body);
}

/// The same with what else `set` makes of the topology.
pub(super) fn at_each_with(
    test: &str,
    set: impl Fn(Topology) -> Topology,
    body: impl AsyncFn(&mut Scene<'_>),
) {
    for_each_server(test, |server| {
        let mut scene = Scene { server, dir: tempfile::tempdir().unwrap() };
        block_on(async {
            let topology = Topology::new([scene.server.url()]).lease(Duration::from_secs(1));
            ensure_topology(&set(topology)).await.unwrap();
            body(&mut scene).await;
        });
    });
}

impl Scene<'_> {
    pub(super) fn pool(&self) -> ClusterPoolBuilder {
        ClusterPool::builder().servers([self.server.url()]).deadline(Duration::from_secs(100))
    }

    /// A node in this program.
    pub(super) fn node(&self, slots: usize) -> NodeBuilder {
        Node::builder().servers([self.server.url()]).slots(slots)
    }

    /// A node that is a program of its own.
    pub(super) async fn program(&self, name: &str, slots: usize) -> Serving {
        self.role(name, slots).start(self.dir.path()).await
    }

    pub(super) fn role(&self, name: &str, slots: usize) -> Role {
        Role::new(vec![self.server.url()], name, slots)
    }

    pub(super) async fn admin(&self) -> Admin {
        Admin::at(&self.server.url()).await
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of all runs of `visit`.
    pub(super) fn lines(&self) -> PathBuf {
        self.file("lines")
    }

    pub(super) fn visits(&self) -> Vec<Visit> {
        visits(&self.lines())
    }

    /// What `visit` waits for.
    pub(super) fn gate(&self) -> PathBuf {
        self.file("gate")
    }

    pub(super) fn open_gate(&self) {
        fs::write(self.gate(), "").unwrap();
    }
}

/// What a copy of this program is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    servers: Vec<String>,
    name: String,
    slots: usize,
    threads: bool,
    /// Is there once it serves.
    ready: PathBuf,
}

impl Role {
    pub(super) fn new(servers: Vec<String>, name: &str, slots: usize) -> Self {
        Self { servers, name: name.to_owned(), slots, threads: false, ready: PathBuf::new() }
    }

    /// Jobs run in the node's own process.
    pub(super) fn on_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// Starts it, and waits until it serves.
    pub(super) async fn start(self, dir: &Path) -> Serving {
        self.start_with(dir, &[]).await
    }

    /// The same with more in its environment.
    pub(super) async fn start_with(mut self, dir: &Path, environment: &[(&str, &str)]) -> Serving {
        self.ready = dir.join(format!("{}-serves", self.name));
        let role = serde_json::to_string(&self).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "faults::scene::this_program_serves", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, &role).env(NAME, &self.name).envs(environment.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        until("the node serves", || self.ready.exists()).await;
        Serving { child, role }
    }

    fn node(&self) -> NodeBuilder {
        let ready = self.ready.clone();
        let node = Node::builder().servers(self.servers.clone()).name(&self.name).slots(self.slots);
        let node = node.on_serving(move |_| fs::write(ready, "").unwrap());
        if !self.threads {
            return node;
        }
        node.pool(ThreadPool::builder().max_workers(self.slots).build().unwrap())
    }
}

/// Nothing, unless it is to be a node.
#[test]
fn this_program_serves() {
    let Ok(role) = env::var(ROLE) else { return };
    let role: Role = serde_json::from_str(&role).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(role.node().serve()).unwrap();
    eprintln!("{}: {report}", report.name);
}

/// A node that is a program of its own. Killed when it is dropped.
pub(super) struct Serving {
    child: Child,
    /// No other program has this in its environment.
    role: String,
}

impl Serving {
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it. Not all of its threads are stopped at once.
    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
        let id = WaitId::Pid(Pid::from_child(&self.child));
        waitid(id, WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT).unwrap();
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Has it end, and says whether it does so well.
    pub(super) fn ends_well(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().success()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The processes that belong to it, itself included.
    pub(super) fn processes(&self) -> Vec<String> {
        let belongs = |pid: &String| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&self.role)
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| pid.parse::<u32>().is_ok()).filter(belongs).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
