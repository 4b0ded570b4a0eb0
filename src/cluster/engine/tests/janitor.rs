//! What the servers give up and leave behind, payloads that are stored, calls.

use super::*;

#[test]
fn a_job_that_was_delivered_often_enough_is_given_up() {
    for_each_server("a_job_that_was_delivered_often_enough_is_given_up", |server| {
        block_on(async {
            let engine = engine(server).await;
            let topology = Topology::new([server.url()]).lease(Duration::from_secs(1)).max_deliver(2);
            engine.ensure(&topology).await.unwrap();
            let mut given_up = engine.given_up().await.unwrap();
            let sequence = engine.submit(&subject(&engine), "c-1.0", job("4")).await.unwrap();
            for delivered in 1..=2 {
                let delivery = pulled(&engine).await;
                assert_eq!(delivery.delivered, delivered);
                delivery.give_back(Duration::ZERO).await.unwrap();
            }
            // Whoever asks for more has the server see that it was enough.
            let mut pull = engine.pull("default", 1, Duration::from_secs(2)).await.unwrap();
            let done = tokio::select! {
                job = soon(given_up.next()) => job,
                again = async { while pull.next().await.is_none() {} } => panic!("{again:?}"),
            };
            assert_eq!((done.sequence, done.deliveries), (sequence, 2));
            assert_eq!(&engine.job_at(sequence).await.unwrap().unwrap().body[..], b"4");
            done.ack().await;
            let queues = ["default".to_owned()];
            assert_eq!(engine.orphans(&queues).await, Ok(vec![]));
            // Once a later job is acked the queue is past this one: it is given up and an orphan.
            drop(pull);
            engine.submit(&subject(&engine), "c-2.0", job("4")).await.unwrap();
            pulled(&engine).await.ack().await.unwrap();
            assert_eq!(engine.orphans(&queues).await, Ok(vec![sequence]));
            assert_eq!(engine.withdraw(sequence).await, Ok(true));
            assert_eq!(engine.orphans(&["default".to_owned()]).await, Ok(vec![]));
        });
    });
}

#[test]
fn a_payload_is_stored_loaded_checked_and_discarded() {
    for_each_server("a_payload_is_stored_loaded_checked_and_discarded", |server| {
        block_on(async {
            let engine = engine(server).await;
            for len in [0, 1, 128 << 10, (5 << 20) + 3] {
                let payload: Bytes = (0..len).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
                let object = format!("c-{len}");
                engine.store(&object, payload.clone()).await.unwrap();
                assert_eq!(engine.load(&object, len as u64).await.unwrap(), payload);
                let error = engine.load(&object, len as u64 + 1).await.unwrap_err();
                assert!(
                    matches!(&error, EngineError::Failed(text) if text.contains(&len.to_string())),
                    "{error:?}"
                );
                engine.discard(&object).await.unwrap();
                engine.discard(&object).await.unwrap();
                let error = engine.load(&object, len as u64).await.unwrap_err();
                assert!(
                    matches!(&error, EngineError::Failed(text) if text.contains("not there")),
                    "{error:?}"
                );
            }
            let error = engine.load("never", 1).await.unwrap_err();
            assert!(matches!(&error, EngineError::Failed(_)), "{error:?}");
        });
    });
}

#[test]
fn a_call_is_answered_and_nobody_is_nobody_at_once() {
    for_each_server("a_call_is_answered_and_nobody_is_nobody_at_once", |server| {
        block_on(async {
            let engine = engine(server).await;
            let begun = std::time::Instant::now();
            let nobody = engine.call("default", job("4"), SOON).await;
            assert!(
                matches!(&nobody, Err(EngineError::Failed(text)) if text.contains("default")),
                "{nobody:?}"
            );
            assert!(begun.elapsed() < Duration::from_secs(1));
            let mut calls = engine.calls("default").await.unwrap();
            let answering = async {
                let call = soon(calls.next()).await;
                assert_eq!(call.envelope.header("Hl-Id"), Some("c-1"));
                call.reply(job("5")).await.unwrap();
            };
            let (answer, ()) = tokio::join!(engine.call("default", job("4"), SOON), answering);
            assert_eq!(&answer.unwrap().body[..], b"5");
            let silent = engine.call("default", job("4"), Duration::from_millis(50)).await;
            assert!(matches!(silent, Err(EngineError::Lost(_))), "{silent:?}");
        });
    });
}
