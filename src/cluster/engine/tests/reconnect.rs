//! Servers that end and come back, and consumers that are gone.

use std::time::Instant;

use super::*;
use crate::cluster::{
    proxy::Proxy,
    server::{Cluster, binaries},
};

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
            assert_eq!(&result.body[..], b"5");
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
            soon(results.next()).await;
            let delete = "CONSUMER.DELETE.HEAVYLIFT_RESULTS.res-c-1";
            engine.api::<serde_json::Value>(delete, String::new()).await.unwrap().unwrap();
            engine.answer("c", "c-2", "c-2", job("6")).await.unwrap();
            assert_eq!(&soon(results.next()).await.body[..], b"6", "the first does not come again");
        });
    });
}

/// Takes results until there were as many as that, and says which in their order.
async fn bodies(results: &mut Results, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let result = tokio::time::timeout(3 * SOON, results.next()).await;
        let result = result.unwrap_or_else(|_| panic!("a result after {bodies:?}")).unwrap();
        bodies.push(String::from_utf8(result.body.to_vec()).unwrap());
    }
    bodies
}

async fn publish(engine: &Engine, number: usize) {
    let (id, body) = (format!("c-{number}"), Bytes::from(number.to_string()));
    let envelope = Envelope { headers: Vec::new(), body };
    while let Err(error) = engine.answer("c", &id, &id, envelope.clone()).await {
        assert!(matches!(error, EngineError::Lost(_)), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes results that are sent and never arrive, cuts the connection, and publishes as many more.
async fn publish_with_a_loss(node: &Engine, proxy: &Proxy, numbers: std::ops::Range<usize>) {
    let middle = usize::midpoint(numbers.start, numbers.end);
    proxy.lose();
    for number in numbers.start..middle {
        publish(node, number).await;
    }
    while proxy.lost() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    proxy.cut();
    for number in middle..numbers.end {
        publish(node, number).await;
    }
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[test]
fn results_that_are_lost_with_a_connection_come_by_the_next_one_and_once() {
    for_each_server("results_that_are_lost_with_a_connection_come_by_the_next_one_and_once", |server| {
        block_on(async {
            let (node, proxy) = (engine(server).await, Proxy::start(server.port()));
            let client = Engine::connect(&Access::new([proxy.url()]), "test").await.unwrap();
            let mut results = client.results("c").await.unwrap();
            for round in 0..10 {
                let numbers = round * 20..(round + 1) * 20;
                let publishing = publish_with_a_loss(&node, &proxy, numbers.clone());
                let (read, ()) = tokio::join!(bodies(&mut results, 20), publishing);
                assert_eq!(read, texts(numbers));
            }
            let more = tokio::time::timeout(Duration::from_millis(200), results.next()).await;
            assert!(more.is_err(), "one comes twice: {more:?}");
        });
    });
}

/// Publishes results, and kills the server now and then, without a pause: some are on their way.
async fn publish_with_deaths(node: &Engine, server: &mut Server, numbers: std::ops::Range<usize>) {
    for number in numbers {
        publish(node, number).await;
        if number % 200 == 100 {
            server.kill();
            server.restart();
        }
    }
}

#[test]
fn results_that_are_lost_with_a_server_come_when_it_is_back_and_once() {
    for_each_server("results_that_are_lost_with_a_server_come_when_it_is_back_and_once", |server| {
        block_on(async {
            let node = engine(server).await;
            let client = Engine::connect(&Access::new([server.url()]), "test").await.unwrap();
            let mut results = client.results("c").await.unwrap();
            let publishing = publish_with_deaths(&node, server, 0..600);
            let (read, ()) = tokio::join!(bodies(&mut results, 600), publishing);
            assert_eq!(read, texts(0..600));
        });
    });
}

#[test]
fn results_of_a_stream_that_was_made_anew_are_read() {
    for_each_server("results_of_a_stream_that_was_made_anew_are_read", |server| {
        block_on(async {
            let engine = engine(server).await;
            let mut results = engine.results("c").await.unwrap();
            for number in 0..5 {
                publish(&engine, number).await;
            }
            assert_eq!(bodies(&mut results, 5).await.len(), 5);
            let delete = "STREAM.DELETE.HEAVYLIFT_RESULTS";
            engine.api::<serde_json::Value>(delete, String::new()).await.unwrap().unwrap();
            engine.ensure(&Topology::new([server.url()])).await.unwrap();
            // Its numbers begin anew, too.
            publish(&engine, 5).await;
            assert_eq!(bodies(&mut results, 1).await, ["5"]);
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
                results.next().await.unwrap();
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
            soon(results.next()).await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        });
    });
}
