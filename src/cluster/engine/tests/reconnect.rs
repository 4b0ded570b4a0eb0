//! Servers that end and come back, and consumers that are gone.

use std::time::Instant;

use super::*;
use crate::cluster::server::{Cluster, binaries};

/// Publishes until it is taken, as clients do.
async fn insist(engine: &Engine, id: &str) -> u64 {
    loop {
        match engine.submit(&subject(engine), id, job("4")).await {
            Ok(sequence) => return sequence,
            Err(EngineError::Lost(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn insist_on_answer(engine: &Engine, id: &str) {
    while let Err(error) = engine.answer("c", id, id, job("5")).await {
        assert!(matches!(error, EngineError::Lost(_)), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Answers a job and acks it, until that is done.
async fn answered(engine: &Engine, delivery: Delivery) -> u64 {
    insist_on_answer(engine, &format!("c-{}", delivery.sequence)).await;
    while delivery.ack().await.is_err() {}
    delivery.sequence
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    for_each_server("a_server_that_comes_back_is_used_again", |server| {
        block_on(async {
            let engine = engine(server).await;
            let mut results = engine.results("c").await.unwrap();
            let mut begun = engine.begun("c").await.unwrap();
            let mut connections = engine.connections();
            let mut pull = engine.pull("default", 1, Duration::from_secs(20)).await.unwrap();
            server.kill();
            let down = Instant::now();
            let lost = engine.submit(&subject(&engine), "c-1.0", job("4")).await;
            assert!(matches!(lost, Err(EngineError::Lost(_))), "{lost:?}");
            assert!(down.elapsed() < TIME_LIMIT + Duration::from_secs(1), "{:?}", down.elapsed());

            server.restart();
            let up = Instant::now();
            connections.changed().await.unwrap();
            assert!(pull.next().await.is_none(), "what was asked for is broken off");
            assert!(up.elapsed() < Duration::from_secs(2), "{:?}", up.elapsed());
            let sequence = insist(&engine, "c-1.0").await;
            let delivery = pulled(&engine).await;
            assert_eq!(delivery.sequence, sequence, "one job, however often it was published");
            engine.tell_begun("c", "c-1", "n").await.unwrap();
            soon(begun.recv()).await;
            insist_on_answer(&engine, "c-1").await;
            delivery.ack().await.unwrap();
            let result = soon(results.next()).await;
            assert_eq!(&result.envelope.body[..], b"5");
            result.ack().await;
            let mut pull = engine.pull("default", 1, Duration::from_millis(1500)).await.unwrap();
            assert!(pull.next().await.is_none(), "nothing is left");
        });
    });
}

#[test]
fn results_are_read_on_by_a_new_consumer_when_theirs_is_gone() {
    for_each_server("results_are_read_on_by_a_new_consumer_when_theirs_is_gone", |server| {
        block_on(async {
            let engine = engine(server).await;
            let mut results = engine.results("c").await.unwrap();
            engine.answer("c", "c-1", "c-1", job("5")).await.unwrap();
            soon(results.next()).await.ack().await;
            let delete = "CONSUMER.DELETE.HEAVYLIFT_RESULTS.res-c";
            let deleting = async {
                engine.api::<serde_json::Value>(delete, String::new()).await.unwrap().unwrap();
                engine.answer("c", "c-2", "c-2", job("6")).await.unwrap();
            };
            let reading = async {
                // The first comes again: the new consumer does not know that it was acked.
                while &soon(results.next()).await.envelope.body[..] != b"6" {}
            };
            tokio::join!(deleting, reading);
        });
    });
}

#[test]
fn the_loss_of_a_leader_loses_nothing() {
    for binary in binaries("the_loss_of_a_leader_loses_nothing") {
        let mut servers = Cluster::start(&binary);
        block_on(async {
            let engine = Engine::connect(&Access::new(servers.urls()), "test").await.unwrap();
            let topology = Topology::new(servers.urls()).replicas(3).lease(Duration::from_secs(2));
            engine.ensure(&topology).await.unwrap();
            let mut results = engine.results("c").await.unwrap();
            let first = insist(&engine, "c-1.0").await;
            let info = engine.api::<serde_json::Value>("STREAM.INFO.HEAVYLIFT_TASKS", String::new()).await;
            let info = info.unwrap().unwrap();
            let leader = servers.named(info["cluster"]["leader"].as_str().unwrap());
            servers.servers[leader].kill();
            let down = Instant::now();
            let second = insist(&engine, "c-2.0").await;
            assert!(second > first);
            eprintln!("{}: a leader is there again after {:?}", binary.version, down.elapsed());
            let mut ids = Vec::new();
            while ids.len() < 2 {
                let Ok(mut pull) = engine.pull("default", 2, Duration::from_secs(1)).await else { continue };
                while let Some(Ok(delivery)) = pull.next().await {
                    ids.push(answered(&engine, delivery).await);
                }
            }
            for _ in 0..2 {
                results.next().await.unwrap().ack().await;
            }
            eprintln!("{}: all is done after {:?}", binary.version, down.elapsed());
        });
    }
}

#[test]
fn who_waits_for_longer_than_any_heartbeat_is_served_at_once() {
    for_each_server("who_waits_for_longer_than_any_heartbeat_is_served_at_once", |server| {
        block_on(async {
            let engine = engine(server).await;
            let mut results = engine.results("c").await.unwrap();
            let mut pull = engine.pull("default", 1, Duration::from_secs(20)).await.unwrap();
            let idle = tokio::time::timeout(Duration::from_secs(6), async {
                tokio::select! {
                    result = results.next() => panic!("{result:?}"),
                    delivery = pull.next() => panic!("{delivery:?}"),
                }
            });
            assert!(idle.await.is_err());
            let begun = Instant::now();
            engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            soon(pull.next()).await.unwrap();
            engine.answer("c", "c-1", "c-1", job("5")).await.unwrap();
            soon(results.next()).await.ack().await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        });
    });
}
