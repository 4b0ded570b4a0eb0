//! What an administrator makes, and makes again.

use std::time::Duration;

use heavylift::cluster::{ClusterErrorKind, Topology, ensure_topology};

use crate::server::{Server, for_each_server};

fn ensure(
    topology: &Topology,
) -> Result<heavylift::cluster::TopologyReport, heavylift::cluster::ClusterError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(ensure_topology(topology))
}

fn of(server: &Server) -> Topology {
    Topology::new([server.url()])
}

#[test]
fn it_is_made_once_and_left_then() {
    for_each_server("it_is_made_once_and_left_then", |server| {
        let topology = of(server).queues(["default", "gpu"]);
        let first = ensure(&topology).unwrap();
        assert_eq!(first.created().len(), 8, "{first}");
        assert!(first.created().contains(&"HEAVYLIFT_TASKS/pool-gpu".to_owned()), "{first}");
        let second = ensure(&topology).unwrap();
        assert_eq!(second.left(), first.created(), "{second}");
        assert!(second.created().is_empty() && second.changed().is_empty(), "{second}");
        server.kill();
        server.restart();
        assert_eq!(ensure(&topology).unwrap(), second);
    });
}

#[test]
fn other_settings_are_brought_up_to_date() {
    for_each_server("other_settings_are_brought_up_to_date", |server| {
        ensure(&of(server)).unwrap();
        let other = of(server).lease(Duration::from_secs(77)).queue_limit(5).running_limit(8);
        let report = ensure(&other).unwrap();
        assert_eq!(report.changed(), ["HEAVYLIFT_TASKS", "HEAVYLIFT_TASKS/pool-default"], "{report}");
        assert!(ensure(&other).unwrap().changed().is_empty());
        // A prefix of its own is another cluster.
        assert_eq!(ensure(&of(server).prefix("other-app")).unwrap().created()[0], "OTHER_APP_TASKS");
    });
}

#[test]
fn what_cannot_be_changed_is_refused() {
    for_each_server("what_cannot_be_changed_is_refused", |server| {
        ensure(&of(server)).unwrap();
        let error = ensure(&of(server).in_memory()).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
        let text = error.to_string();
        assert!(text.contains("HEAVYLIFT_TASKS") && text.contains("storage"), "{text}");
        let error = ensure(&of(server).request_limit(9)).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
        let text = error.to_string();
        assert!(text.contains("pool-default") && text.contains("max waiting"), "{text}");
    });
}

#[test]
fn no_server_is_said_within_its_limit() {
    let begun = std::time::Instant::now();
    let topology = Topology::new(["nats://127.0.0.1:1"]).connect_timeout(Duration::from_millis(300));
    let error = ensure(&topology).unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let error = ensure(&Topology::new(["nats://a"]).replicas(2)).unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Setting);
    assert!(error.to_string().contains("`replicas`"), "{error}");
}
