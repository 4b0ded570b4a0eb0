//! Users, passwords and certificates, as a program meets them.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use heavylift::{
    ClusterPool, Node, Shutdown,
    cluster::{ClusterError, ClusterErrorKind, Credentials, Delivery, Tls, Topology, ensure_topology},
};

use crate::{
    certificates, jobs,
    server::{Binary, Server, binaries, skipped},
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(100);

fn ensure(topology: &Topology) -> Result<heavylift::cluster::TopologyReport, ClusterError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(ensure_topology(topology))
}

fn by(server: &Server, user: &str) -> Topology {
    Topology::new([server.url()]).credentials(Credentials::user(user, format!("secret-{user}")))
}

#[test]
fn the_administrator_may_and_others_are_told_that_they_may_not() {
    for binary in binaries("the_administrator_may_and_others_are_told_that_they_may_not") {
        let server = Server::with_users(&binary, "");
        let begun = Instant::now();
        let error = ensure(&by(&server, "producer")).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
        let text = error.to_string();
        assert!(text.contains("STREAM.CREATE.HEAVYLIFT_TASKS"), "{text}");
        assert_eq!(ensure(&by(&server, "admin")).unwrap().created().len(), 7);
        let error = ensure(&by(&server, "stranger")).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// A server that asks for certificates and passwords.
fn strict(binary: &Binary) -> Option<Server> {
    let dir = tempfile::tempdir().unwrap();
    if !certificates::make(dir.path()) {
        skipped("permissions", "there is no openssl");
        return None;
    }
    let tls = "tls { cert_file: \"$DIR/server.pem\", key_file: \"$DIR/server.key\", ca_file: \"$DIR/ca.pem\", verify: true }";
    Some(Server::with_users_in(binary, dir, tls))
}

#[test]
fn with_its_certificate_and_its_password_a_program_is_let_in() {
    for binary in binaries("with_its_certificate_and_its_password_a_program_is_let_in") {
        let Some(server) = strict(&binary) else { return };
        let file = |name: &str| server.dir().join(name);
        let full =
            Tls::new().roots(file("ca.pem")).client_certificate(file("client.pem"), file("client.key"));
        let report = ensure(&by(&server, "admin").tls(full.clone())).unwrap();
        assert_eq!(report.created().len(), 7, "{report}");
        let error = ensure(&by(&server, "stranger").tls(full)).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_as_such_and_at_once() {
    for binary in binaries("what_is_wrong_with_tls_is_said_as_such_and_at_once") {
        let Some(server) = strict(&binary) else { return };
        let file = |name: &str| server.dir().join(name);
        let key = || (file("client.pem"), file("client.key"));
        let wrong = [
            ("no certificate of its own", Tls::new().roots(file("ca.pem"))),
            (
                "another authority",
                Tls::new().roots(file("other-ca.pem")).client_certificate(key().0, key().1),
            ),
            ("the system's authorities", Tls::new()),
            ("no such file", Tls::new().roots(file("nowhere.pem"))),
            ("no certificates in it", Tls::new().roots(file("config"))),
        ];
        for (what, tls) in wrong {
            said_as_tls(&by(&server, "admin").tls(tls), what);
        }
        said_as_tls(&by(&server, "admin"), "nothing is said of TLS");
        let plain = Server::start(&binary);
        let full = Tls::new().roots(file("ca.pem"));
        said_as_tls(&by(&plain, "admin").tls(full), "a server without TLS");
    }
}

fn said_as_tls(topology: &Topology, what: &str) {
    let begun = Instant::now();
    let error = ensure(topology).unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Tls, "{what}: {error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {error}");
    // Which server, or which file.
    let text = error.to_string();
    assert!(text.contains("127.0.0.1") || text.contains("nowhere.pem"), "{what}: {text}");
}

#[test]
fn servers_take_the_configuration_of_the_docs() {
    for binary in binaries("servers_take_the_configuration_of_the_docs") {
        let dir = tempfile::tempdir().unwrap();
        if !certificates::make(dir.path()) {
            return skipped("permissions", "there is no openssl");
        }
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster");
        for file in ["server.conf", "accounts.conf", "producer.conf", "node.conf", "admin.conf"] {
            let text = fs::read_to_string(docs.join(file)).unwrap();
            let text = text.replace("/etc/nats", dir.path().to_str().unwrap());
            fs::write(dir.path().join(file), text).unwrap();
        }
        let mut command = Command::new(&binary.path);
        command.arg("-t").arg("-c").arg(dir.path().join("server.conf")).env("NATS_NAME", "nats-0");
        for user in ["PRODUCER", "NODE", "ADMIN"] {
            command.env(format!("HEAVYLIFT_{user}_PASSWORD"), "open-sesame");
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}: {}", binary.version, String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn a_pool_and_a_node_need_no_more_than_theirs() {
    for binary in binaries("a_pool_and_a_node_need_no_more_than_theirs") {
        let server = Server::with_users(&binary, "");
        let topology = by(&server, "admin").queues(["default", "idle"]).lease(Duration::from_secs(1));
        ensure(&topology).unwrap();
        let who = |user: &str| Credentials::user(user, format!("secret-{user}"));
        let body = async {
            let node = Node::builder().servers([server.url()]).credentials(who("node")).slots(2);
            let node = node.queues(["default", "idle"]).start().await.unwrap();
            let pool = ClusterPool::builder().servers([server.url()]).credentials(who("producer")).retries(1);
            let pool = pool.connect().await.unwrap();
            let large = vec![7; 3 << 20];
            assert_eq!(pool.run(jobs::echo, large.clone()).await.unwrap(), large);
            assert!(pool.run(jobs::crash, ()).await.unwrap_err().is_worker_died());
            let stopped = pool.job(jobs::spin, LONG).run_timeout(Duration::from_millis(1500)).run().await;
            assert!(stopped.unwrap_err().is_timed_out());
            drop(pool.run(jobs::spin, LONG));
            let idle =
                ClusterPool::builder().servers([server.url()]).credentials(who("producer")).queue("idle");
            let idle = idle.delivery(Delivery::AtMostOnce).connect().await.unwrap();
            assert_eq!(idle.run(jobs::echo, vec![1]).await.unwrap(), [1]);
            node.shutdown(Shutdown::Kill).await;
        };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            tokio::time::timeout(Duration::from_secs(30), body).await.unwrap();
        });
        let log = server.log();
        assert!(!log.contains("Violation"), "{log}");
    }
}
