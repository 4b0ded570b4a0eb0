//! The engine at servers of its own.

use std::{future::Future, time::Duration};

mod janitor;
mod permissions;
mod reconnect;

use super::*;
use crate::cluster::{
    access::Access,
    error::ClusterErrorKind,
    message::Envelope,
    server::{Server, for_each_server},
    topology::Topology,
};

const SOON: Duration = Duration::from_secs(5);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), future).await.unwrap() })
}

/// An engine and its queue, with a lease of a second.
async fn engine(server: &Server) -> Engine {
    let engine = Engine::connect(&Access::new([server.url()]), "test").await.unwrap();
    let topology = Topology::new([server.url()]).lease(Duration::from_secs(1)).queue_limit(10);
    engine.ensure(&topology).await.unwrap();
    engine
}

fn job(body: &'static str) -> Envelope {
    Envelope { headers: vec![("Hl-Id".into(), "c-1".to_owned())], body: Bytes::from_static(body.as_bytes()) }
}

fn subject(engine: &Engine) -> String {
    engine.names().task("default", "app::job")
}

async fn soon<T>(future: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it comes soon").expect("there is one")
}

async fn pulled(engine: &Engine) -> Delivery {
    let mut pull = engine.pull("default", 1, SOON).await.unwrap();
    soon(pull.next()).await.unwrap()
}

#[test]
fn a_job_goes_there_and_its_result_comes_back() {
    for_each_server("a_job_goes_there_and_its_result_comes_back", |server| {
        block_on(async {
            let engine = engine(server).await;
            assert_eq!(engine.lease(&["default".to_owned()]).await.unwrap(), Duration::from_secs(1));
            assert_eq!(engine.max_message(), 1 << 20);
            let mut results = engine.results("c").await.unwrap();
            let mut begun = engine.begun("c").await.unwrap();
            let sequence = engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            // A copy is dropped.
            assert_eq!(engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap(), sequence);

            let mut pull = engine.pull("default", 2, Duration::from_millis(300)).await.unwrap();
            let delivery = soon(pull.next()).await.unwrap();
            assert_eq!((delivery.sequence, delivery.delivered), (sequence, 1));
            assert_eq!(delivery.envelope.header("Hl-Id"), Some("c-1"));
            assert_eq!(&delivery.envelope.body[..], b"4");
            assert!(pull.next().await.is_none());
            assert!(pull.next().await.is_none(), "over is over");

            engine.tell_begun("c", "c-1", "n").await.unwrap();
            assert_eq!(&soon(begun.recv()).await.body[..], b"c-1 n");
            assert_eq!(engine.last_answer("c", "c-1").await, Ok(None));
            engine.answer("c", "c-1", "c-1.0", job("5")).await.unwrap();
            delivery.ack().await.unwrap();
            let result = soon(results.next()).await;
            assert_eq!(&result.body[..], b"5");
            let (_, last) = engine.last_answer("c", "c-1").await.unwrap().unwrap();
            assert_eq!((&last.body[..], last.header("Hl-Id")), (&b"5"[..], Some("c-1")));
            assert_eq!(engine.job_at(sequence).await, Ok(None), "it was acked");
            assert_eq!(engine.withdraw(sequence).await, Ok(false), "it was acked");
            engine.close().await;
            assert!(results.next().await.is_none());
            assert!(begun.recv().await.is_none());
        });
    });
}

#[test]
fn an_answer_is_not_overwritten_by_one_who_has_not_seen_it() {
    for_each_server("an_answer_is_not_overwritten_by_one_who_has_not_seen_it", |server| {
        block_on(async {
            let engine = engine(server).await;
            let after = |seen, message_id: &'static str, body| {
                let engine = &engine;
                async move { engine.answer_after(seen, "c", "c-1", message_id, job(body)).await.unwrap() }
            };
            let last = || async { engine.last_answer("c", "c-1").await.unwrap().unwrap() };
            assert_eq!(after(0, "1", "first").await, Published::Stored);
            assert_eq!(after(0, "2", "second").await, Published::Overtaken);
            let (seen, first) = last().await;
            assert_eq!(&first.body[..], b"first");
            assert_eq!(after(seen, "2", "second").await, Published::Stored);
            let (seen, second) = last().await;
            assert_eq!(&second.body[..], b"second");
            // Whichever it is: it is not there twice.
            let again = after(0, "2", "second").await;
            assert!(matches!(again, Published::Copy | Published::Overtaken), "{again:?}");
            // Whoever has an outcome does not ask.
            assert_eq!(engine.answer("c", "c-1", "3", job("third")).await, Ok(Published::Stored));
            assert_eq!(engine.answer("c", "c-1", "3", job("third")).await, Ok(Published::Copy));
            assert_eq!(after(seen, "4", "fourth").await, Published::Overtaken);
            assert_eq!(&last().await.1.body[..], b"third");
        });
    });
}

#[test]
fn a_queued_job_is_withdrawn_and_a_running_one_cancelled() {
    for_each_server("a_queued_job_is_withdrawn_and_a_running_one_cancelled", |server| {
        block_on(async {
            let engine = engine(server).await;
            let sequence = engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            assert_eq!(&engine.job_at(sequence).await.unwrap().unwrap().body[..], b"4");
            assert_eq!(engine.withdraw(sequence).await, Ok(true));
            assert_eq!(engine.withdraw(sequence).await, Ok(false));
            assert_eq!(engine.withdraw(999).await, Ok(false));
            let mut cancels = engine.cancels().await.unwrap();
            engine.cancel("c-7").await.unwrap();
            assert_eq!(soon(cancels.recv()).await.about, "c-7");
        });
    });
}

#[test]
fn what_is_given_back_or_not_renewed_comes_again() {
    for_each_server("what_is_given_back_or_not_renewed_comes_again", |server| {
        block_on(async {
            let engine = engine(server).await;
            engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            pulled(&engine).await.give_back(Duration::from_millis(50)).await.unwrap();
            let second = pulled(&engine).await;
            assert_eq!(second.delivered, 2);
            // Its lease is a second.
            for _ in 0..3 {
                let mut pull = engine.pull("default", 1, Duration::from_millis(500)).await.unwrap();
                assert!(pull.next().await.is_none(), "a renewed lease is kept");
                second.progress().await.unwrap();
            }
            let third = pulled(&engine).await;
            assert_eq!(third.delivered, 3);
            third.terminate().await.unwrap();
            assert_eq!(engine.job_at(third.sequence).await, Ok(None));
        });
    });
}

#[test]
fn a_full_queue_and_a_large_message_are_refused() {
    for_each_server("a_full_queue_and_a_large_message_are_refused", |server| {
        block_on(async {
            let engine = engine(server).await;
            for number in 0..10 {
                engine.submit(&subject(&engine), &format!("c-{number}.0"), job("4")).await.unwrap();
            }
            let full = engine.submit(&subject(&engine), "c-10.0", job("4")).await;
            assert!(matches!(&full, Err(EngineError::Full(text)) if text.contains("maximum")), "{full:?}");
            let large = Envelope { headers: Vec::new(), body: vec![0; 1 << 20].into() };
            let refused = engine.submit(&subject(&engine), "c-11.0", large).await;
            let Err(EngineError::TooLarge { size, limit }) = refused else { panic!("{refused:?}") };
            assert_eq!(limit, 1 << 20);
            assert!(size > limit && size < limit + 50, "{size}");
        });
    });
}

#[test]
fn a_server_without_topology_says_what_to_do() {
    for_each_server("a_server_without_topology_says_what_to_do", |server| {
        block_on(async {
            let engine = Engine::connect(&Access::new([server.url()]), "test").await.unwrap();
            let queues = ["default".to_owned()];
            let errors = [
                engine.lease(&queues).await.unwrap_err(),
                engine.results("c").await.unwrap_err(),
                engine.find_queue("default").await.unwrap_err(),
                engine.given_up().await.unwrap_err(),
            ];
            engine.ensure(&Topology::new([server.url()])).await.unwrap();
            let other = engine.lease(&["gpu".to_owned()]).await.unwrap_err();
            assert!(other.to_string().contains("`gpu`"), "{other}");
            for error in errors.into_iter().chain([other]) {
                assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
                assert!(error.to_string().contains("run `ensure_topology`"), "{error}");
            }
            // None is none.
            engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            assert!(engine.pull("default", 0, SOON).await.unwrap().next().await.is_none());
            assert_eq!(pulled(&engine).await.delivered, 1);
        });
    });
}

#[test]
fn a_queue_that_is_gone_is_known_to_be() {
    for_each_server("a_queue_that_is_gone_is_known_to_be", |server| {
        block_on(async {
            let engine = engine(server).await;
            assert_eq!(engine.lacks_queues().await, None);
            assert_eq!(engine.max_age().await, Some(Duration::from_secs(86_400)));
            let delete = "STREAM.DELETE.HEAVYLIFT_TASKS";
            engine.api::<serde_json::Value>(delete, String::new()).await.unwrap().unwrap();
            let lost = engine.submit(&subject(&engine), "c-1.0", job("4")).await;
            assert!(matches!(lost, Err(EngineError::Lost(_))), "{lost:?}");
            let Some(EngineError::Failed(why)) = engine.lacks_queues().await else { panic!("it is gone") };
            assert!(why.contains("`HEAVYLIFT_TASKS` is not there") && why.contains("run `ensure_topology`"));
            assert_eq!(engine.max_age().await, None);
        });
    });
}

#[test]
fn a_prefix_that_has_the_streams_of_another_is_refused() {
    for_each_server("a_prefix_that_has_the_streams_of_another_is_refused", |server| {
        block_on(async {
            let engine_of = async |prefix: &str| {
                let access = Access { prefix: prefix.to_owned(), ..Access::new([server.url()]) };
                Engine::connect(&access, "test").await.unwrap()
            };
            let topology = Topology::new([server.url()]).results_bytes(5 << 20);
            let first = engine_of("my-app").await;
            first.ensure(&topology).await.unwrap();
            let info = first.api::<serde_json::Value>("STREAM.INFO.MY_APP_RESULTS", String::new()).await;
            assert_eq!(info.unwrap().unwrap()["config"]["max_bytes"], 5 << 20);
            let error = engine_of("my_app").await.ensure(&topology).await.unwrap_err();
            assert_eq!(error.kind(), ClusterErrorKind::Topology);
            assert!(error.to_string().contains("its subjects are [\"my-app.task.>\"]"), "{error}");
            assert!(first.ensure(&topology).await.unwrap().changed().is_empty());
        });
    });
}

#[test]
fn nothing_is_asked_of_a_queue_while_the_connection_is_lost() {
    for_each_server("nothing_is_asked_of_a_queue_while_the_connection_is_lost", |server| {
        block_on(async {
            let engine = engine(server).await;
            assert!(engine.pull("default", 0, SOON).await.is_ok());
            server.terminate();
            while engine.trouble().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let lost = engine.pull("default", 1, SOON).await.map(drop);
            assert!(matches!(lost, Err(EngineError::Lost(_))), "{lost:?}");
        });
    });
}
