//! The examples of the cluster, as programs: nodes that serve, and a digest that they compute.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::{
    pipe::fcntl_setpipe_size,
    process::{Signal, kill_process},
};
use tempfile::TempDir;

use super::{
    digest, example, expected, in_time, odd_tree, output_of, pid_of, run,
    server::{Server, binaries, for_each_server},
    text, write,
};

/// A node that serves. Dropping kills it.
struct Node(Option<Child>);

impl Node {
    fn start(url: &str, name: &str) -> Self {
        let mut command = Command::new(example("cluster_node"));
        command.args(["--server", url, "--slots", "2", "--name", name]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // One byte at a time: nothing of what comes after the line is taken.
        let mut stdout = child.stdout.take().unwrap();
        let mut this = Self(Some(child));
        let (stdout, line) = in_time(move || {
            let (mut line, mut byte) = (Vec::new(), [0]);
            while line.last() != Some(&b'\n') && stdout.read(&mut byte).unwrap() == 1 {
                line.push(byte[0]);
            }
            (stdout, text(&line))
        });
        assert_eq!(line, format!("serving on {url} as {name}\n"));
        this.0.as_mut().unwrap().stdout = Some(stdout);
        this
    }

    /// Has it end as a supervisor does, and returns how many jobs it has answered.
    fn terminate(mut self) -> u32 {
        let child = self.0.take().unwrap();
        kill_process(pid_of(&child), Signal::TERM).unwrap();
        let output = output_of(child);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.ends_with(" 0 refused, 0 dead letters, 0 left\n"), "{said}");
        super::number_after("has ended: ", &said)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cluster_digest(directory: &Path, server: &Server) -> Command {
    let mut command = Command::new(example("cluster_digest"));
    command.current_dir(directory).args(["--server", &server.url()]);
    command
}

/// Some hundred files of all sizes: small ones, which travel together, and such as travel alone, through the store of the servers.
fn large_tree() -> TempDir {
    let root = odd_tree();
    for n in 0..300 {
        write(root.path().join(format!("a-small/file-{n:03}")), format!("{n}").repeat(n));
    }
    // Two of them are too much for one job.
    let megabytes: Vec<u8> = (0..(2 << 20) + 100).map(|n: u32| (n % 253) as u8).collect();
    for n in 0..10 {
        write(root.path().join(format!("large-{n}")), &megabytes[n..]);
    }
    root
}

#[test]
fn cluster_digest_prints_what_digest_prints() {
    let root = odd_tree();
    let paths = [".", "b", "/proc/self/mem", "no/such/path", "/proc/version"];
    let here = run(digest(root.path()).args(paths));
    let sums = expected(root.path(), ". b /proc/version");
    for_each_server("cluster_digest_prints_what_digest_prints", |server| {
        let node = Node::start(&server.url(), "node");
        let there = run(cluster_digest(root.path(), server).args(paths));
        assert_eq!(text(&there.stdout), text(&here.stdout));
        assert_eq!(text(&there.stdout), text(&sums));
        assert_eq!(there.status.code(), Some(1));
        let said = text(&there.stderr);
        assert!(said.contains("digest: /proc/self/mem: Input/output error"), "{said}");
        assert!(said.contains("digest: no/such/path: No such file or directory"), "{said}");
        assert!(said.ends_with(" on a cluster, 2 failures\n"), "{said}");
        assert!(node.terminate() >= 1);
    });
}

#[test]
fn a_node_joins_a_digest_midway_and_another_leaves() {
    let root = large_tree();
    let sums = expected(root.path(), ".");
    for_each_server("a_node_joins_a_digest_midway_and_another_leaves", |server| {
        let first = Node::start(&server.url(), "first");
        let mut command = cluster_digest(root.path(), server);
        command.args(["--in-flight", "2", "."]);
        let mut digest = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

        // Of a pipe that takes less than what comes first only one line is read: then it waits, with most of its work to be done.
        let stdout = digest.stdout.take().unwrap();
        fcntl_setpipe_size(stdout.as_fd(), 4096).unwrap();
        let (mut stdout, mut lines) = in_time(move || {
            let mut stdout = BufReader::with_capacity(128, stdout);
            let mut lines = Vec::new();
            stdout.read_until(b'\n', &mut lines).unwrap();
            (stdout, lines)
        });

        let second = Node::start(&server.url(), "second");
        assert!(first.terminate() >= 1);
        let lines = in_time(move || {
            stdout.read_to_end(&mut lines).unwrap();
            lines
        });
        let output = output_of(digest);
        assert_eq!(text(&lines), text(&sums));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        // Two jobs were under way, and no more than two with what has come.
        let answered = second.terminate();
        assert!(answered >= 6, "{answered}");
    });
}

#[test]
fn cluster_digest_hashes_here_what_is_too_large_to_travel() {
    let root = tempfile::tempdir().unwrap();
    let sparse = fs::File::create(root.path().join("sparse")).unwrap();
    sparse.set_len((64 << 20) + 1).unwrap();
    write(root.path().join(OsStr::from_bytes(b"small \xff")), "x");
    let sums = expected(root.path(), ".");
    // Any server will do: little goes there, and to hash it takes seconds.
    let Some(binary) = binaries("cluster_digest_hashes_here_what_is_too_large_to_travel").pop() else {
        return;
    };
    let server = Server::start(&binary);
    let node = Node::start(&server.url(), "node");
    let output = run(cluster_digest(root.path(), &server).arg("."));
    assert_eq!(text(&output.stdout), text(&sums));
    let said = text(&output.stderr);
    assert!(said.contains("digest: ./sparse: more than 64 MiB: hashed here\n"), "{said}");
    assert_eq!((output.status.code(), node.terminate()), (Some(0), 1), "{said}");
}

#[test]
fn cluster_digest_says_what_is_missing() {
    for_each_server("cluster_digest_says_what_is_missing", |server| {
        let root = tempfile::tempdir().unwrap();
        let output = run(&mut cluster_digest(root.path(), server));
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.contains("ensure_topology")), (Some(1), true), "{said}");
        for (args, named) in [
            (&["--frob"][..], "--frob"),
            (&["--in-flight", "0"], "--in-flight"),
            (&["--queue", "a.b"], "`queue`"),
        ] {
            let output = run(cluster_digest(root.path(), server).args(args));
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), said.contains(named)), (Some(2), true), "{said}");
        }
    });
}
