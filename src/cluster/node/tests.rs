//! A node at servers of its own, where the test is the client.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::*;
use crate::{
    ThreadPool,
    cluster::{
        access::Access,
        content,
        engine::{Engine, EngineError, Results},
        message::{Answer, Content, Envelope, Failure, Reply, Request},
        registry,
        server::for_each_server,
        topology::{Topology, ensure_topology},
    },
};

/// Within which time anything here happens.
const SOON: Duration = Duration::from_secs(10);

#[crate::job(name = "node.double")]
fn double(n: u32) -> u32 {
    n * 2
}

/// What a test works with.
struct Client {
    url: String,
    engine: Engine,
    results: Results,
}

impl Client {
    async fn reply(&mut self) -> Reply {
        let message = tokio::time::timeout(SOON, self.results.next()).await.expect("it comes soon").unwrap();
        Reply::from_envelope(&message).unwrap()
    }

    async fn submit(&self, request: &Request) -> u64 {
        self.submit_as(&request.message_id(), request.to_envelope()).await
    }

    async fn submit_as(&self, message_id: &str, envelope: Envelope) -> u64 {
        let subject = self.engine.names().task("default", "node.double");
        self.engine.submit(&subject, message_id, envelope).await.unwrap()
    }

    /// Takes a job, and gives it back at once.
    async fn touch(&self) {
        let mut pull = self.engine.pull("default", 1, SOON).await.unwrap();
        pull.next().await.unwrap().unwrap().give_back(Duration::ZERO).await.unwrap();
    }

    async fn node(&self) -> Node {
        Node::builder().servers([&self.url]).pool(ThreadPool::cpu()).slots(2).start().await.unwrap()
    }

    /// Waits until a job is off its queue.
    async fn is_gone(&self, sequence: u64) {
        let gone = async {
            while self.engine.job_at(sequence).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, gone).await.expect("it is gone soon");
    }
}

fn for_each<F: Future<Output = ()>>(
    test: &str,
    set: impl Fn(Topology) -> Topology,
    body: impl Fn(Client) -> F,
) {
    for_each_server(test, |server| {
        let test = async {
            let url = server.url();
            ensure_topology(&set(Topology::new([&url]))).await.unwrap();
            let engine = Engine::connect(&Access::new([&url]), "test").await.unwrap();
            let results = engine.results("c").await.unwrap();
            body(Client { url, engine, results }).await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(5 * SOON, test).await.expect("it ends in time") });
    });
}

fn request(number: u32) -> Request {
    Request {
        id: format!("c-{number}"),
        resubmission: 0,
        client: "c".to_owned(),
        job: "node.double".to_owned(),
        fingerprint: registry::named("node.double").unwrap().fingerprint(),
        queue: "default".to_owned(),
        deadline: Some(SystemTime::now() + 5 * SOON),
        queue_deadline: None,
        run_timeout: None,
        retries: 0,
        traceparent: None,
        argument: Content::Here(content::pack(number).unwrap()),
    }
}

fn value(reply: &Reply) -> u32 {
    let Answer::Value(Content::Here(bytes)) = &reply.answer else { panic!("{reply:?}") };
    content::unpack(bytes.clone()).unwrap()
}

#[test]
fn what_is_not_here_goes_back_and_is_counted_and_others_are_served() {
    let test = "what_is_not_here_goes_back_and_is_counted_and_others_are_served";
    for_each(
        test,
        |topology| topology,
        |mut client| async move {
            let node = client.node().await;
            for (request, has) in [
                (Request { job: "nowhere".to_owned(), ..request(1) }, "it has no job `nowhere`".to_owned()),
                (
                    Request { fingerprint: 5, ..request(2) },
                    format!(
                        "it has `{}` with fingerprint {:016x}, not 0000000000000005: its types are others",
                        request(2).job,
                        request(2).fingerprint
                    ),
                ),
            ] {
                let sequence = client.submit(&request).await;
                // It may run once at most, and each of these deliveries was none.
                for count in 1..4 {
                    let reply = client.reply().await;
                    assert_eq!(reply.id, request.id);
                    assert_eq!(reply.answer, Answer::Refused { count, has: has.clone() });
                }
                assert_eq!(client.engine.withdraw(sequence).await, Ok(true));
            }
            client.submit(&request(3)).await;
            assert_eq!(value(&client.reply().await), 6);
            let metrics = node.shutdown(Shutdown::Drain).await.metrics;
            assert!(metrics.refused >= 6, "{metrics:?}");
            assert_eq!((metrics.answered, metrics.dead_letters), (1, 0), "{metrics:?}");
        },
    );
}

#[test]
fn a_job_whose_outcome_is_known_is_not_run_again() {
    for_each(
        "a_job_whose_outcome_is_known_is_not_run_again",
        |topology| topology,
        |mut client| async move {
            let request = request(1);
            let sequence = client.submit(&request).await;
            let answer = Answer::Failed(Failure::Cancelled);
            let reply = Reply { id: request.id.clone(), node: "n".into(), attempt: 1, ran: SOON, answer };
            client.engine.answer("c", &request.id, "first", reply.to_envelope()).await.unwrap();
            assert_eq!(client.reply().await, reply);
            client.touch().await;

            let node = client.node().await;
            client.is_gone(sequence).await;
            let metrics = node.shutdown(Shutdown::Drain).await.metrics;
            assert_eq!((metrics.taken, metrics.redelivered, metrics.answered), (1, 1, 0), "{metrics:?}");
        },
    );
}

#[crate::job(name = "node.zeros")]
fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

/// Another node, whose lease was over, was quicker.
#[test]
fn the_object_of_a_second_result_is_removed_and_that_of_the_first_stays() {
    let test = "the_object_of_a_second_result_is_removed_and_that_of_the_first_stays";
    for_each(
        test,
        |topology| topology,
        |mut client| async move {
            let function = registry::named("node.zeros").unwrap();
            let len = 1_usize << 20;
            let large = |number| Request {
                job: function.name().to_owned(),
                fingerprint: function.fingerprint(),
                argument: Content::Here(content::pack(len).unwrap()),
                ..request(number)
            };
            let second = large(1);
            let answer = Answer::Failed(Failure::Cancelled);
            let reply = Reply { id: second.id.clone(), node: "n".into(), attempt: 1, ran: SOON, answer };
            let message_id = format!("{}-result", second.message_id());
            client.engine.answer("c", &second.id, &message_id, reply.to_envelope()).await.unwrap();
            assert_eq!(client.reply().await, reply);
            let sequence = client.submit(&second).await;
            let node = client.node().await;
            client.is_gone(sequence).await;
            let gone = client.engine.load("c-1.0-result-1", len as u64).await;
            assert!(matches!(gone, Err(EngineError::Failed(_))), "{gone:?}");

            client.submit(&large(2)).await;
            let reply = client.reply().await;
            let Answer::Value(Content::Stored { object, .. }) = &reply.answer else { panic!("{reply:?}") };
            assert_eq!(object, "c-2.0-result-1");
            assert!(client.engine.load(object, len as u64).await.is_ok());
            node.shutdown(Shutdown::Drain).await;
        },
    );
}

#[test]
fn a_job_that_is_late_or_has_run_too_often_is_answered_without_a_run() {
    let test = "a_job_that_is_late_or_has_run_too_often_is_answered_without_a_run";
    for_each(
        test,
        |topology| topology,
        |mut client| async move {
            let sequence = client.submit(&request(1)).await;
            client.touch().await;
            let node = client.node().await;
            let reply = client.reply().await;
            let Answer::Failed(Failure::Unavailable { why }) = &reply.answer else { panic!("{reply:?}") };
            assert!(why.starts_with("given up after 1 delivery"), "{why}");
            client.is_gone(sequence).await;

            let late = Request { queue_deadline: Some(SystemTime::UNIX_EPOCH), ..request(2) };
            client.submit(&late).await;
            let reply = client.reply().await;
            let Answer::Failed(Failure::TimedOut { limit, .. }) = &reply.answer else { panic!("{reply:?}") };
            assert_eq!(limit, "queue_timeout");
            let metrics = node.shutdown(Shutdown::Drain).await.metrics;
            assert_eq!((metrics.dead_letters, metrics.answered), (1, 2), "{metrics:?}");
        },
    );
}

/// Of a later version, say: other nodes may be able to.
#[test]
fn what_cannot_be_read_here_is_left_to_others() {
    let test = "what_cannot_be_read_here_is_left_to_others";
    for_each(
        test,
        |topology| topology,
        |mut client| async move {
            let node = client.node().await;
            let request = request(1);
            let mut envelope = request.to_envelope();
            for (name, value) in &mut envelope.headers {
                if name == "Hl-Version" {
                    *value = "7".to_owned();
                }
            }
            let sequence = client.submit_as("of-version-7", envelope).await;
            for number in 1..4 {
                let reply = client.reply().await;
                assert_eq!(reply.id, request.id);
                let Answer::Refused { count, has } = &reply.answer else { panic!("{reply:?}") };
                assert_eq!(*count, number);
                assert!(has.contains("version 7"), "{has}");
            }
            assert_eq!(client.engine.withdraw(sequence).await, Ok(true), "it is still there");
            let metrics = node.shutdown(Shutdown::Drain).await.metrics;
            assert_eq!((metrics.answered, metrics.dead_letters), (0, 0), "{metrics:?}");
        },
    );
}

/// A node whose lease is over has answered while another is about to refuse the job.
#[test]
fn a_refusal_does_not_replace_an_outcome() {
    for_each(
        "a_refusal_does_not_replace_an_outcome",
        |topology| topology,
        |mut client| async move {
            // It is delivered for the first time, so nobody looks before the refusal.
            let request = Request { job: "nowhere".to_owned(), ..request(1) };
            let answer = Answer::Failed(Failure::Cancelled);
            let reply = Reply { id: request.id.clone(), node: "n".into(), attempt: 1, ran: SOON, answer };
            client.engine.answer("c", &request.id, "first", reply.to_envelope()).await.unwrap();
            assert_eq!(client.reply().await, reply);
            let sequence = client.submit(&request).await;
            let node = client.node().await;
            client.is_gone(sequence).await;
            let (_, last) = client.engine.last_answer("c", &request.id).await.unwrap().unwrap();
            assert_eq!(Reply::from_envelope(&last), Ok(reply));
            assert_eq!(node.shutdown(Shutdown::Drain).await.metrics.refused, 1);
        },
    );
}

/// What others have said of a job is in a version that this program cannot read.
#[test]
fn a_job_with_an_answer_that_cannot_be_read_is_left_alone() {
    let once = |topology: Topology| topology.max_deliver(1).lease(Duration::from_secs(1));
    for_each("a_job_with_an_answer_that_cannot_be_read_is_left_alone", once, |client| async move {
        let strange = Envelope { headers: Vec::new(), body: Bytes::from_static(b"well") };
        client.engine.answer("c", "c-1", "first", strange.clone()).await.unwrap();
        let left = client.submit(&request(1)).await;
        client.touch().await;
        // Another one that was given up: its turn comes after the first.
        let second = client.submit(&request(2)).await;
        client.touch().await;
        let node = client.node().await;
        client.is_gone(second).await;
        assert!(client.engine.job_at(left).await.unwrap().is_some());
        let (_, last) = client.engine.last_answer("c", "c-1").await.unwrap().unwrap();
        assert_eq!(last.body, strange.body);
        assert_eq!(node.shutdown(Shutdown::Drain).await.metrics.dead_letters, 1);
    });
}

#[test]
fn what_is_no_job_is_kept_and_the_next_is_served() {
    for_each(
        "what_is_no_job_is_kept_and_the_next_is_served",
        |topology| topology,
        |mut client| async move {
            let nonsense = Envelope { headers: Vec::new(), body: Bytes::from_static(b"nonsense") };
            let sequence = client.submit_as("nonsense", nonsense).await;
            let node = client.node().await;
            client.submit(&request(2)).await;
            assert_eq!(value(&client.reply().await), 4);
            client.is_gone(sequence).await;
            assert_eq!(node.shutdown(Shutdown::Drain).await.metrics.dead_letters, 1);
        },
    );
}

/// Nobody delivers it any more: the janitor of a node answers for it.
#[test]
fn a_job_that_the_server_has_given_up_is_answered_and_kept() {
    let once = |topology: Topology| topology.max_deliver(1).lease(Duration::from_secs(1));
    for_each("a_job_that_the_server_has_given_up_is_answered_and_kept", once, |mut client| async move {
        let sequence = client.submit(&Request { retries: 9, ..request(1) }).await;
        client.touch().await;
        let node = client.node().await;
        let reply = client.reply().await;
        let Answer::Failed(Failure::Unavailable { why }) = &reply.answer else { panic!("{reply:?}") };
        assert!(why.starts_with("given up after 1 delivery"), "{why}");
        client.is_gone(sequence).await;
        let metrics = node.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.dead_letters, metrics.taken), (1, 0), "{metrics:?}");
    });
}

#[crate::job(name = "node.fail_at_length")]
fn fail_at_length(len: usize) {
    std::panic::panic_any("x".repeat(len));
}

#[test]
fn a_call_that_cannot_be_read_or_answered_in_full_is_answered() {
    for_each(
        "a_call_that_cannot_be_read_or_answered_in_full_is_answered",
        |topology| topology,
        |client| async move {
            let node = client.node().await;
            let long = registry::named("node.fail_at_length").unwrap();
            let long = Request {
                job: long.name().to_owned(),
                fingerprint: long.fingerprint(),
                argument: Content::Here(content::pack(2_usize << 20).unwrap()),
                ..request(1)
            };
            let nonsense = Envelope { headers: Vec::new(), body: Bytes::from_static(b"nonsense") };
            for (call, words) in
                [(nonsense, "cannot read the call"), (long.to_envelope(), "the answer takes")]
            {
                let answer = client.engine.call("default", call, SOON).await.unwrap();
                let reply = Reply::from_envelope(&answer).unwrap();
                let Answer::Failed(Failure::Unavailable { why }) = &reply.answer else { panic!("{reply:?}") };
                assert!(why.contains(words), "{why}");
            }
            node.shutdown(Shutdown::Drain).await;
        },
    );
}

#[test]
fn an_end_only_comes_closer() {
    let (stop, seen) = watch::channel(Stop::Serving);
    for (to, is) in [
        (Stop::Draining, Stop::Draining),
        (Stop::GivingBack, Stop::GivingBack),
        (Stop::Draining, Stop::GivingBack),
    ] {
        Stop::raise(&stop, to);
        assert_eq!(*seen.borrow(), is);
    }
}
