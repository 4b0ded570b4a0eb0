//! Programs that may not, and connections that are not safe.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use heavylift::{
    ClusterPool, Node, TaskErrorKind,
    cluster::{ClusterError, ClusterErrorKind, Credentials, Tls, Topology, ensure_topology},
};

use super::{jobs::visit, scene::block_on};
use crate::{
    certificates,
    server::{Server, binaries, skipped},
};

/// Whoever may not, or is not trusted, knows it after that.
const AT_ONCE: Duration = Duration::from_secs(2);

fn user(name: &str) -> Credentials {
    Credentials::user(name, format!("secret-{name}"))
}

/// What it says that fails at once.
async fn at_once<T: std::fmt::Debug>(what: impl Future<Output = Result<T, ClusterError>>) -> ClusterError {
    let begun = Instant::now();
    let error = what.await.unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{error} after {:?}", begun.elapsed());
    error
}

#[test]
fn who_may_not_is_told_what_at_once() {
    let test = "who_may_not_is_told_what_at_once";
    for binary in binaries(test) {
        let server = Server::with_users(&binary, "");
        block_on(async {
            let topology = Topology::new([server.url()]).credentials(user("admin"));
            ensure_topology(&topology).await.unwrap();
            let pool =
                |name| ClusterPool::builder().servers([server.url()]).credentials(user(name)).connect();
            let node =
                |name| Node::builder().servers([server.url()]).credentials(user(name)).slots(1).start();
            for (what, error, named) in [
                ("a node's user in a producer", at_once(pool("node")).await, "CONSUMER.CREATE"),
                ("a producer's user in a node", at_once(node("producer")).await, "STREAM.INFO"),
                ("a stranger in a producer", at_once(pool("stranger")).await, "credentials"),
                ("a stranger in a node", at_once(node("stranger")).await, "credentials"),
            ] {
                eprintln!("{test}: {what}: {error}");
                assert_eq!(error.kind(), ClusterErrorKind::Denied, "{what}: {error}");
                assert!(error.to_string().contains(named), "{what}: {error}");
            }
        });
    }
}

/// A user that may all but put jobs into the queue.
const NO_JOBS: &str = "authorization { users: [
    { user: admin, password: secret-admin }
    { user: reader, password: secret-reader, permissions: { publish: { deny: \"heavylift.task.>\" }, subscribe: \">\" } }
] }";

#[test]
fn a_job_that_may_not_be_submitted_fails_at_once_and_names_what_is_not_permitted() {
    let test = "a_job_that_may_not_be_submitted_fails_at_once_and_names_what_is_not_permitted";
    for binary in binaries(test) {
        let server = Server::with_config(&binary, NO_JOBS);
        block_on(async {
            let topology = Topology::new([server.url()]).credentials(user("admin"));
            ensure_topology(&topology).await.unwrap();
            let pool = ClusterPool::builder().servers([server.url()]).credentials(user("reader"));
            let pool = pool.connect().await.unwrap();
            let begun = Instant::now();
            let tasks = [(); 5].map(|()| pool.run(visit, ("nowhere".into(), None)));
            for task in tasks {
                let error = task.await.unwrap_err();
                assert_eq!(error.kind(), TaskErrorKind::Unavailable, "{error}");
                let text = error.to_string();
                assert!(text.contains("not permit") && text.contains("heavylift.task.default"), "{text}");
            }
            assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
            eprintln!("{test}: five were refused within {:?}", begun.elapsed());
        });
    }
}

#[test]
fn a_connection_that_is_not_safe_is_not_made() {
    let test = "a_connection_that_is_not_safe_is_not_made";
    for binary in binaries(test) {
        let dir = tempfile::tempdir().unwrap();
        if !certificates::make(dir.path()) {
            return skipped(test, "there is no openssl");
        }
        let safe = "tls { cert_file: \"$DIR/server.pem\", key_file: \"$DIR/server.key\" }";
        let (safe, plain) = (Server::in_dir(&binary, dir, safe), Server::start(&binary));
        let roots = |file: &str| Tls::new().roots(safe.dir().join(file));
        block_on(async {
            ensure_topology(&Topology::new([safe.url()]).tls(roots("ca.pem"))).await.unwrap();
            let pool =
                |server: &Server, tls| ClusterPool::builder().servers([server.url()]).tls(tls).connect();
            let node =
                |server: &Server, tls| Node::builder().servers([server.url()]).tls(tls).slots(1).start();
            // Without any setting it is encrypted, and trusts the system's authorities, which do not know this one.
            let unset = ClusterPool::builder().servers([safe.url()]).connect();
            for (what, error) in [
                ("a plain pool", at_once(unset).await),
                ("a plain node", at_once(Node::builder().servers([safe.url()]).slots(1).start()).await),
                ("a pool with the wrong authority", at_once(pool(&safe, roots("other-ca.pem"))).await),
                ("a node with the wrong authority", at_once(node(&safe, roots("other-ca.pem"))).await),
                ("a pool at a plain server", at_once(pool(&plain, roots("ca.pem"))).await),
                ("a node at a plain server", at_once(node(&plain, roots("ca.pem"))).await),
            ] {
                eprintln!("{test}: {what}: {error}");
                assert_eq!(error.kind(), ClusterErrorKind::Tls, "{what}: {error}");
                assert!(error.to_string().contains("127.0.0.1"), "{what}: {error}");
            }
            pool(&safe, roots("ca.pem")).await.unwrap();
        });
    }
}
