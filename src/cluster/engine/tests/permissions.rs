//! What the users of `docs/cluster` may do, and how it is said what they may not.

use std::time::Instant;

use super::*;
use crate::cluster::{
    access::Credentials,
    server::{Binary, binaries},
};

fn for_each_binary(test: &str, body: impl Fn(&Binary)) {
    binaries(test).iter().for_each(body);
}

async fn user(server: &Server, name: &str) -> Engine {
    let mut access = Access::new([server.url()]);
    access.credentials = Credentials::user(name, format!("secret-{name}"));
    Engine::connect(&access, name).await.unwrap()
}

/// A server with users, and what the administrator makes.
async fn prepared(binary: &Binary) -> Server {
    let server = Server::with_users(binary, "");
    let topology = Topology::new([server.url()]).lease(Duration::from_secs(1)).queues(["default", "gpu"]);
    let admin = user(&server, "admin").await;
    assert_eq!(admin.ensure(&topology).await.unwrap().created().len(), 8);
    // Again, with changes.
    let changed = topology.lease(Duration::from_secs(2)).queue_limit(7);
    assert_eq!(admin.ensure(&changed).await.unwrap().changed().len(), 3);
    assert_eq!(admin.complaint(), None);
    server
}

#[test]
fn producers_and_nodes_may_do_all_that_they_do() {
    for_each_binary("producers_and_nodes_may_do_all_that_they_do", |binary| {
        block_on(async {
            let server = prepared(binary).await;
            let (producer, node) = (user(&server, "producer").await, user(&server, "node").await);
            let mut results = producer.results("c").await.unwrap();
            let mut begun = producer.begun("c").await.unwrap();
            node.lease(&["default".to_owned(), "gpu".to_owned()]).await.unwrap();
            let mut cancels = node.cancels().await.unwrap();
            let _given_up = node.given_up().await.unwrap();

            let payload = Bytes::from(vec![7; 3 << 20]);
            producer.store("c-1", payload.clone()).await.unwrap();
            producer.submit(&subject(&producer), "c-1.0", job("4")).await.unwrap();
            let delivery = pulled(&node).await;
            node.tell_begun("c", "c-1", "n").await.unwrap();
            soon(begun.recv()).await;
            delivery.progress().await.unwrap();
            assert_eq!(node.load("c-1", 3 << 20).await.unwrap(), payload);
            node.discard("c-1").await.unwrap();
            node.store("c-1-result", payload.clone()).await.unwrap();
            assert_eq!(node.last_answer("c", "c-1").await, Ok(None));
            node.answer("c", "c-1", "c-1.0", job("5")).await.unwrap();
            node.dead_letter("default", "c-1.0", job("4")).await.unwrap();
            delivery.ack().await.unwrap();
            soon(results.next()).await;
            assert_eq!(producer.load("c-1-result", 3 << 20).await.unwrap(), payload);
            producer.discard("c-1-result").await.unwrap();

            let sequence = producer.submit(&subject(&producer), "c-2.0", job("4")).await.unwrap();
            node.job_at(sequence).await.unwrap().unwrap();
            assert_eq!(node.orphans(&["default".to_owned()]).await, Ok(vec![]));
            assert_eq!(producer.withdraw(sequence).await, Ok(true));
            assert_eq!(node.withdraw(sequence).await, Ok(false));
            producer.cancel("c-2").await.unwrap();
            assert_eq!(soon(cancels.recv()).await.about, "c-2");

            let mut calls = node.calls("default").await.unwrap();
            let answering = async {
                soon(calls.next()).await.reply(job("6")).await.unwrap();
            };
            let (answer, ()) = tokio::join!(producer.call("default", job("4"), SOON), answering);
            assert_eq!(&answer.unwrap().body[..], b"6");
            assert_eq!((producer.complaint(), node.complaint()), (None, None));
        });
    });
}

#[test]
fn what_is_not_permitted_is_said_at_once_and_by_name() {
    for_each_binary("what_is_not_permitted_is_said_at_once_and_by_name", |binary| {
        block_on(async {
            let server = prepared(binary).await;
            let (producer, node) = (user(&server, "producer").await, user(&server, "node").await);
            let begun = Instant::now();
            let denied = |result: Result<(), EngineError>, subject: &str| {
                let Err(EngineError::Denied(text)) = result else { panic!("{subject}: {result:?}") };
                assert!(text.contains(subject), "{subject}: {text}");
            };
            denied(
                node.submit("heavylift.task.default.x", "1", job("4")).await.map(drop),
                "heavylift.task.default.x",
            );
            denied(producer.answer("c", "c-1", "1", job("4")).await.map(drop), "heavylift.result.c.c-1");
            denied(producer.last_answer("c", "c-1").await.map(drop), "STREAM.MSG.GET.HEAVYLIFT_RESULTS");
            denied(node.call("default", job("4"), SOON).await.map(drop), "heavylift.rpc.default");
            // Refused when it is on its way.
            let mut pull = producer.pull("default", 1, SOON).await.unwrap();
            denied(soon(pull.next()).await.map(drop), "MSG.NEXT.HEAVYLIFT_TASKS.pool-default");
            assert!(pull.next().await.is_none());
            // Subscriptions.
            for refused in [producer.cancels().await.err(), node.begun("c").await.err()] {
                let error = refused.expect("it is refused");
                assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
                assert!(error.to_string().contains("Subscription"), "{error}");
            }
            let error = producer.calls("default").await.unwrap_err();
            assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
            let error = producer.lease(&["default".to_owned()]).await.unwrap_err();
            assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            assert!(producer.complaint().is_some_and(|text| text.contains("HEAVYLIFT_DLQ")));
        });
    });
}

#[test]
fn a_user_without_an_inbox_is_told_so() {
    for_each_binary("a_user_without_an_inbox_is_told_so", |binary| {
        block_on(async {
            let users = "authorization { users: [ { user: deaf, password: secret-deaf, permissions: { publish: \">\", \
                         subscribe: \"nothing\" } } ] }";
            let server = Server::with_config(binary, users);
            let deaf = user(&server, "deaf").await;
            for _ in 0..2 {
                let error = deaf.submit(&subject(&deaf), "1", job("4")).await.unwrap_err();
                assert!(matches!(&error, EngineError::Denied(text) if text.contains("_INBOX")), "{error:?}");
            }
        });
    });
}

#[test]
fn a_wrong_password_is_denied() {
    for_each_binary("a_wrong_password_is_denied", |binary| {
        block_on(async {
            let server = Server::with_users(binary, "");
            for credentials in
                [Credentials::default(), Credentials::user("node", "hush"), Credentials::nkey("hush")]
            {
                let mut access = Access::new([server.url()]);
                access.credentials = credentials;
                let begun = Instant::now();
                let error = Engine::connect(&access, "test").await.unwrap_err();
                assert_eq!(error.kind(), ClusterErrorKind::Denied, "{error}");
                assert!(
                    error.to_string().contains(&server.url()) && !error.to_string().contains("hush"),
                    "{error}"
                );
                assert!(begun.elapsed() < Duration::from_secs(1));
            }
        });
    });
}
