//! The pool at servers of its own, where the test is the node.

use std::{future::Future, time::Duration};

use bytes::Bytes;

use crate::{
    Priority, Shutdown, Task, TaskErrorKind, TaskStatus,
    cluster::{
        ClusterPool, ClusterPoolBuilder,
        access::Access,
        content,
        engine::{Delivery, Engine, EngineError, Notes},
        message::{Answer, Content, Failure, Reply, Request},
        proxy::Proxy,
        server::{Server, for_each_server},
        topology::Topology,
    },
};

/// Within which time anything here happens.
const SOON: Duration = Duration::from_secs(10);

#[crate::job(name = "client.double")]
fn double(n: u32) -> u32 {
    n * 2
}

#[crate::job(name = "client.length")]
fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

#[crate::job(name = "client.zeros")]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(3 * SOON, future).await.expect("it ends in time") })
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it comes soon")
}

/// Waits until something can be seen, which nobody tells of.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let seen = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, seen).await.unwrap_or_else(|_| panic!("{what} in time"));
}

/// A node that does what the test says.
struct Node {
    engine: Engine,
    cancels: Notes,
}

/// A job that it has taken.
struct Taken {
    request: Request,
    delivery: Delivery,
}

impl Node {
    async fn new(server: &Server, topology: impl FnOnce(Topology) -> Topology) -> Self {
        let engine = Engine::connect(&Access::new([server.url()]), "node").await.unwrap();
        engine.ensure(&topology(Topology::new([server.url()]))).await.unwrap();
        let cancels = engine.cancels().await.unwrap();
        Self { engine, cancels }
    }

    async fn take(&self) -> Taken {
        let mut pull = self.engine.pull("default", 1, SOON).await;
        while let Err(EngineError::Lost(_)) = pull {
            // The server is just coming back.
            pull = self.engine.pull("default", 1, SOON).await;
        }
        let delivery = soon(pull.unwrap().next()).await.expect("a job").unwrap();
        Taken { request: Request::from_envelope(&delivery.envelope).unwrap(), delivery }
    }

    async fn begin(&self, taken: &Taken) {
        self.engine.tell_begun(&taken.request.client, &taken.request.id, "n1").await.unwrap();
    }

    async fn say(&self, request: &Request, answer: Answer) {
        self.say_of(&request.id, &request.client, answer).await;
    }

    async fn say_of(&self, id: &str, client: &str, answer: Answer) {
        let ran = Duration::from_millis(3);
        let reply = Reply { id: id.to_owned(), node: "n1".into(), attempt: 1, ran, answer };
        let message_id = format!("message-{}", crate::TaskId::next());
        self.engine.answer(client, "some", &message_id, reply.to_envelope()).await.unwrap();
    }

    async fn answer(&self, taken: Taken, value: impl crate::Payload) {
        let value = Answer::Value(Content::Here(content::pack(value).unwrap()));
        self.say(&taken.request, value).await;
        taken.delivery.ack().await.unwrap();
    }

    /// The next job that is to be stopped.
    async fn cancelled(&mut self) -> String {
        soon(self.cancels.recv()).await.unwrap().about
    }
}

fn builder(server: &Server) -> ClusterPoolBuilder {
    ClusterPool::builder().servers([server.url()])
}

/// Runs a test for each server, with a node and a pool.
fn at_each<T>(
    test: &str,
    setup: impl Fn(ClusterPoolBuilder) -> ClusterPoolBuilder,
    body: impl AsyncFn(Node, ClusterPool) -> T,
) {
    for_each_server(test, |server| {
        block_on(async {
            let node = Node::new(server, |topology| topology).await;
            let pool = setup(builder(server)).connect().await.unwrap();
            body(node, pool).await;
        });
    });
}

async fn becomes<T>(task: &Task<T>, status: TaskStatus) {
    until("the status", async || task.status() == status).await;
}

#[test]
fn a_job_goes_to_a_node_and_its_result_comes_back() {
    at_each(
        "a_job_goes_to_a_node_and_its_result_comes_back",
        |b| b.retries(3),
        async |node, pool| {
            let task = pool.run(double, 4);
            let taken = node.take().await;
            let Request { job, retries, argument, .. } = taken.request.clone();
            assert_eq!((job.as_str(), retries), ("client.double", 3));
            let Content::Here(argument) = argument else { panic!("it is small") };
            assert_eq!(content::unpack::<u32>(argument), Ok(4));
            assert_eq!((task.status(), pool.metrics().queued), (TaskStatus::Queued, 1));
            node.begin(&taken).await;
            becomes(&task, TaskStatus::Running).await;
            assert_eq!((pool.metrics().queued, pool.metrics().running), (0, 1));
            node.answer(taken, 8u32).await;
            assert_eq!(task.await.unwrap(), 8);
            let metrics = pool.metrics();
            assert_eq!((metrics.succeeded, metrics.running, metrics.run_time.count), (1, 0, 1));
            assert!(metrics.run_time.max >= Duration::from_millis(3) && metrics.run_time.max < SOON);
            assert_eq!(pool.shutdown(Shutdown::Drain).await, Default::default());
        },
    );
}

#[test]
fn copies_and_strangers_do_no_harm() {
    at_each(
        "copies_and_strangers_do_no_harm",
        |b| b,
        async |node, pool| {
            let task = pool.run(double, 4);
            let taken = node.take().await;
            let request = taken.request.clone();
            let client = request.client.as_str();
            for id in
                ["nobody-7", client, &format!("{client}-"), &format!("{client}-x"), &format!("{client}-77")]
            {
                node.say_of(id, client, Answer::Failed(Failure::Cancelled)).await;
            }
            node.answer(taken, 8u32).await;
            assert_eq!(task.await.unwrap(), 8);
            node.say(&request, Answer::Value(Content::Here(Bytes::from_static(b"?")))).await;
            let again = pool.run(double, 5);
            let taken = node.take().await;
            node.answer(taken, 10u32).await;
            assert_eq!(again.await.unwrap(), 10);
            assert_eq!((pool.metrics().succeeded, pool.metrics().failed), (2, 0));
        },
    );
}

#[test]
fn what_is_cancelled_in_the_queue_leaves_it() {
    at_each(
        "what_is_cancelled_in_the_queue_leaves_it",
        |b| b,
        async |mut node, pool| {
            let task = pool.run(double, 4);
            // As soon as it is published it can be seen there.
            until("the job in its queue", async || node.engine.job_at(1).await.unwrap().is_some()).await;
            assert!(task.cancel());
            assert!(task.await.unwrap_err().is_cancelled());
            until("an empty queue", async || node.engine.job_at(1).await.unwrap().is_none()).await;
            assert!(node.cancelled().await.ends_with("-1"));
            // Cancelled before anybody knows whether it has been published.
            drop(pool.run(double, 5));
            let next = pool.run(double, 6);
            let mut taken = node.take().await;
            if taken.request.id.ends_with("-2") {
                // The node was quicker than the cancelling, and is told.
                assert_eq!(node.cancelled().await, taken.request.id);
                taken.delivery.ack().await.unwrap();
                taken = node.take().await;
            }
            assert!(taken.request.id.ends_with("-3"));
            node.answer(taken, 12u32).await;
            assert_eq!(next.await.unwrap(), 12);
            assert_eq!(pool.shutdown(Shutdown::Drain).await.cancelled, 0);
            assert_eq!((pool.metrics().cancelled, pool.metrics().queued), (2, 0));
        },
    );
}

#[test]
fn what_is_cancelled_while_it_runs_is_stopped_there() {
    at_each(
        "what_is_cancelled_while_it_runs_is_stopped_there",
        |b| b,
        async |mut node, pool| {
            let task = pool.run(double, 4);
            let taken = node.take().await;
            node.begin(&taken).await;
            becomes(&task, TaskStatus::Running).await;
            drop(task);
            assert_eq!(node.cancelled().await, taken.request.id);
            node.say(&taken.request, Answer::Failed(Failure::Cancelled)).await;
            let metrics = pool.metrics();
            assert_eq!((metrics.cancelled, metrics.running, metrics.queued), (1, 0, 0));
        },
    );
}

#[test]
fn time_limits_end_what_waits() {
    let short = Duration::from_millis(150);
    at_each(
        "time_limits_end_what_waits",
        |b| b.deadline(4 * short),
        async |mut node, pool| {
            let late = pool.job(double, 1).queue_timeout(short).run();
            let taken = node.take().await;
            assert!(taken.request.queue_deadline.is_some());
            let error = late.await.unwrap_err();
            assert!(error.to_string().ends_with("timed out: queue_timeout is 150ms"), "{error}");
            assert_eq!(node.cancelled().await, taken.request.id);
            // What has begun is past the queue, and has the deadline left.
            let task = pool.job(double, 2).queue_timeout(short).run();
            let taken = node.take().await;
            node.begin(&taken).await;
            let error = task.await.unwrap_err();
            assert!(error.to_string().ends_with("timed out: deadline is 600ms"), "{error}");
            assert_eq!(node.cancelled().await, taken.request.id);
            assert_eq!((pool.metrics().timed_out, pool.metrics().queued, pool.metrics().running), (2, 0, 0));
        },
    );
}

#[test]
fn a_job_has_no_longer_than_its_queue_keeps_it() {
    for_each_server("a_job_has_no_longer_than_its_queue_keeps_it", |server| {
        block_on(async {
            let minute = Duration::from_secs(60);
            let node = Node::new(server, |topology| topology.max_age(minute)).await;
            let pool = builder(server).connect().await.unwrap();
            let _task = pool.run(double, 4);
            let deadline = node.take().await.request.deadline.unwrap();
            assert!(deadline <= std::time::SystemTime::now() + minute, "{deadline:?}");
        });
    });
}

#[test]
fn a_deadline_says_what_does_not_work() {
    for_each_server("a_deadline_says_what_does_not_work", |server| {
        block_on(async {
            let _node = Node::new(server, |topology| topology).await;
            let pool = builder(server).deadline(Duration::from_secs(1)).connect().await.unwrap();
            server.terminate();
            let error = pool.run(double, 4).await.unwrap_err();
            let text = error.to_string();
            assert!(error.is_timed_out() && text.contains("timed out: deadline is 1s ("), "{text}");
        });
    });
}

#[test]
fn a_job_that_every_node_refuses_is_unavailable() {
    let short = Duration::from_millis(200);
    at_each(
        "a_job_that_every_node_refuses_is_unavailable",
        |b| b.refusal_timeout(short),
        async |node, pool| {
            let refused = pool.run(double, 4);
            let taken = node.take().await;
            for (count, has) in [(1, "it has nothing"), (2, "it has `client.double` of another version")] {
                node.say(&taken.request, Answer::Refused { count, has: has.into() }).await;
            }
            let error = refused.await.unwrap_err();
            assert_eq!(error.kind(), TaskErrorKind::Unavailable);
            let why = "nodes of queue \"default\" refused it 2 times, and none took it within 200ms (refusal_timeout): it has `client.double` \
                   of another version";
            assert!(error.to_string().ends_with(why), "{error}");
            taken.delivery.ack().await.unwrap();
            // One that another node takes.
            let task = pool.run(double, 5);
            let taken = node.take().await;
            node.say(&taken.request, Answer::Refused { count: 1, has: "nothing".into() }).await;
            node.begin(&taken).await;
            becomes(&task, TaskStatus::Running).await;
            tokio::time::sleep(2 * short).await;
            node.answer(taken, 10u32).await;
            assert_eq!(task.await.unwrap(), 10);
        },
    );
}

#[test]
fn a_failure_is_the_error_of_its_task() {
    at_each(
        "a_failure_is_the_error_of_its_task",
        |b| b,
        async |node, pool| {
            let died = Failure::WorkerDied {
                pid: 7,
                code: None,
                signal: Some(11),
                stderr_tail: "last words".into(),
                note: None,
            };
            let task = pool.job(double, 4).name("crash").run();
            let taken = node.take().await;
            node.say(&taken.request, Answer::Failed(died)).await;
            let error = task.await.unwrap_err();
            assert!(
                error.to_string().ends_with("(\"crash\") lost its worker: pid 7 died of SIGSEGV"),
                "{error}"
            );
            assert_eq!(error.worker().unwrap().stderr_tail(), "last words");
            // A value that is none.
            let task = pool.run(double, 4);
            let taken = node.take().await;
            node.answer(taken, "text".to_owned()).await;
            assert_eq!(task.await.unwrap_err().kind(), TaskErrorKind::Decode);
            let metrics = pool.metrics();
            assert_eq!((metrics.failed, metrics.worker_deaths, metrics.running), (2, 1, 0));
        },
    );
}

#[test]
fn what_is_large_travels_as_an_object_and_is_gone_afterwards() {
    at_each(
        "what_is_large_travels_as_an_object_and_is_gone_afterwards",
        |b| b,
        async |node, pool| {
            let task = pool.run(length, vec![1; 3 << 20]);
            let taken = node.take().await;
            let Content::Stored { object: argument, len } = taken.request.argument.clone() else {
                panic!("it is large")
            };
            assert_eq!(node.engine.load(&argument, len).await.unwrap().len(), 3 << 20);
            node.answer(taken, 5u64).await;
            assert_eq!(task.await.unwrap(), 5);

            let task = pool.run(zeros, 4 << 20);
            let taken = node.take().await;
            let value = content::pack(vec![0u8; 4 << 20]).unwrap();
            let (object, len) = ("result".to_owned(), value.len() as u64);
            node.engine.store(&object, value).await.unwrap();
            node.say(&taken.request, Answer::Value(Content::Stored { object: object.clone(), len })).await;
            assert_eq!(task.await.unwrap().len(), 4 << 20);
            taken.delivery.ack().await.unwrap();

            pool.shutdown(Shutdown::Drain).await;
            for object in [argument, object] {
                let gone = node.engine.load(&object, len).await;
                assert!(matches!(gone, Err(EngineError::Failed(_))), "{:?}", gone.map(|bytes| bytes.len()));
            }

            let metrics = pool.metrics();
            assert_eq!((metrics.payloads.argument_bytes, metrics.payloads.result_bytes), (3 << 20, 4 << 20));
        },
    );
}

#[test]
fn a_copy_of_a_large_value_leaves_the_object_to_who_fetches_it() {
    at_each(
        "a_copy_of_a_large_value_leaves_the_object_to_who_fetches_it",
        |b| b,
        async |node, pool| {
            // More than go at once.
            let tasks: Vec<_> = (0..6).map(|_| pool.run(zeros, 6 << 20)).collect();
            let mut objects = Vec::new();
            for number in 0..tasks.len() {
                let taken = node.take().await;
                let value = content::pack(vec![0u8; 6 << 20]).unwrap();
                let (object, len) = (format!("result-{number}"), value.len() as u64);
                node.engine.store(&object, value).await.unwrap();
                objects.push((object.clone(), len));
                taken.delivery.ack().await.unwrap();
                for _ in 0..3 {
                    let value = Answer::Value(Content::Stored { object: object.clone(), len });
                    node.say(&taken.request, value).await;
                }
            }
            for task in tasks {
                assert_eq!(task.await.unwrap().len(), 6 << 20);
            }
            pool.shutdown(Shutdown::Drain).await;
            for (object, len) in objects {
                let gone = node.engine.load(&object, len).await;
                assert!(matches!(gone, Err(EngineError::Failed(_))), "{:?}", gone.map(|bytes| bytes.len()));
            }
        },
    );
}

#[test]
fn events_in_quick_succession_do_not_hold_up_results_after_a_reconnection() {
    for_each_server("events_in_quick_succession_do_not_hold_up_results_after_a_reconnection", |server| {
        block_on(async {
            let (node, proxy) = (Node::new(server, |topology| topology).await, Proxy::start(server.port()));
            proxy.delay(Duration::from_millis(20));
            let pool = ClusterPool::builder().servers([proxy.url()]).connect().await.unwrap();
            let task = pool.run(double, 4);
            let taken = node.take().await;
            proxy.lose();
            node.answer(taken, 8u32).await;
            until("a loss", async || proxy.lost() > 0).await;
            proxy.cut();
            let mut ticks = tokio::time::interval(Duration::from_millis(3));
            // Much more often than the server answers.
            let events = async {
                loop {
                    ticks.tick().await;
                    drop(pool.run(double, 5));
                }
            };
            let value = tokio::select! {
                value = soon(task) => value.unwrap(),
                () = events => unreachable!("they go on for ever"),
            };
            assert_eq!(value, 8);
        });
    });
}

#[test]
fn what_is_too_large_is_refused_on_either_way() {
    at_each(
        "what_is_too_large_is_refused_on_either_way",
        |b| b.max_payload(1000),
        async |node, pool| {
            let error = pool.run(length, vec![1; 2000]).await.unwrap_err();
            assert!(error.to_string().ends_with("takes 2000 bytes (max_payload is 1000)"), "{error}");
            let task = pool.run(zeros, 2000);
            let taken = node.take().await;
            let stored = Content::Stored { object: "some".into(), len: 2000 };
            node.say(&taken.request, Answer::Value(stored)).await;
            let error = task.await.unwrap_err();
            assert!(error.to_string().contains("the result of") && error.is_too_large(), "{error}");
            assert_eq!(pool.metrics().failed, 2);
        },
    );
}

#[test]
fn a_full_queue_is_overloaded() {
    for_each_server("a_full_queue_is_overloaded", |server| {
        block_on(async {
            let node = Node::new(server, |topology| topology.queue_limit(2)).await;
            let pool = builder(server).connect().await.unwrap();
            let tasks: Vec<_> = (0..3).map(|n| pool.job(double, n).name("job").run()).collect();
            until("a refusal", async || tasks.iter().any(Task::is_finished)).await;
            let (refused, queued): (Vec<_>, Vec<_>) = tasks.into_iter().partition(Task::is_finished);
            let error = refused.into_iter().next().unwrap().await.unwrap_err();
            assert!(error.is_overloaded());
            assert!(error.to_string().contains("queue \"default\" of the cluster is full"), "{error}");
            for task in queued {
                let taken = node.take().await;
                node.answer(taken, 1u32).await;
                assert_eq!(task.await.unwrap(), 1);
            }
        });
    });
}

#[test]
fn what_is_urgent_is_published_first() {
    at_each(
        "what_is_urgent_is_published_first",
        |b| b.in_flight(1),
        async |node, pool| {
            let first = pool.run(double, 0);
            let taken = node.take().await;
            let jobs =
                [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)];
            let tasks = jobs.map(|(n, priority)| pool.job(double, n).priority(priority).run());
            node.answer(taken, 0u32).await;
            assert_eq!(first.await.unwrap(), 0);
            let mut order = Vec::new();
            for _ in &tasks {
                let taken = node.take().await;
                let Content::Here(argument) = taken.request.argument.clone() else { panic!("it is small") };
                order.push(content::unpack::<u32>(argument).unwrap());
                node.answer(taken, 0u32).await;
            }
            assert_eq!(order, [3, 2, 4, 1]);
            crate::gather(tasks).await.unwrap();
        },
    );
}

#[test]
fn a_job_survives_the_servers_absence() {
    for_each_server("a_job_survives_the_servers_absence", |server| {
        block_on(async {
            let node = Node::new(server, |topology| topology).await;
            let pool = builder(server).connect().await.unwrap();
            server.terminate();
            let (task, unwanted) = (pool.run(double, 4), pool.run(double, 5));
            assert!(unwanted.cancel());
            server.restart();
            let mut wanted = None;
            while wanted.is_none() {
                // The other one may have come first, before it was withdrawn.
                let taken = node.take().await;
                if taken.request.id.ends_with("-1") {
                    wanted = Some(taken);
                }
            }
            node.answer(wanted.unwrap(), 8u32).await;
            assert_eq!(task.await.unwrap(), 8);
            assert!(unwanted.await.unwrap_err().is_cancelled());
            assert!(pool.shutdown(Shutdown::Drain).await.is_complete());
        });
    });
}

#[test]
fn a_shutdown_does_as_its_mode_says() {
    for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
        at_each(
            "a_shutdown_does_as_its_mode_says",
            |b| b,
            async |mut node, pool| {
                let begun = pool.run(double, 1);
                let taken = node.take().await;
                node.begin(&taken).await;
                becomes(&begun, TaskStatus::Running).await;
                let queued = pool.run(double, 2);
                until("the job in its queue", async || node.engine.job_at(2).await.unwrap().is_some()).await;
                let closing = pool.shutdown(mode);
                assert!(pool.run(double, 3).await.unwrap_err().is_closed());
                if mode == Shutdown::Drain {
                    let second = node.take().await;
                    node.answer(second, 4u32).await;
                } else {
                    until("an empty queue", async || node.engine.job_at(2).await.unwrap().is_none()).await;
                    assert!(node.cancelled().await.ends_with(if mode == Shutdown::Kill {
                        "-1"
                    } else {
                        "-2"
                    }));
                }
                node.answer(taken, 2u32).await;
                let report = soon(closing).await;
                let expected = match mode {
                    Shutdown::Drain => (2, 0),
                    Shutdown::CancelQueued => (1, 1),
                    Shutdown::Kill => (0, 2),
                };
                assert_eq!(
                    (report.succeeded, report.cancelled, report.abandoned),
                    (expected.0, expected.1, 0)
                );
                assert_eq!(begun.await.is_ok(), mode != Shutdown::Kill);
                assert_eq!(queued.await.is_ok(), mode == Shutdown::Drain);
                assert_eq!(
                    (pool.metrics().workers, pool.metrics().queued, pool.metrics().running),
                    (0, 0, 0)
                );
            },
        );
    }
}

#[test]
fn the_last_handle_gone_what_is_wanted_still_runs() {
    at_each(
        "the_last_handle_gone_what_is_wanted_still_runs",
        |b| b,
        async |node, pool| {
            let (wanted, detached) = (pool.run(double, 1), pool.run(double, 2));
            detached.detach();
            drop(pool);
            for value in [2u32, 4] {
                let taken = node.take().await;
                node.answer(taken, value).await;
            }
            assert_eq!(wanted.await.unwrap(), 2);
        },
    );
}

#[test]
fn a_function_without_a_name_says_what_to_do() {
    fn nameless(n: u32) -> u32 {
        n
    }
    at_each(
        "a_function_without_a_name_says_what_to_do",
        |b| b,
        async |_node, pool| {
            for error in
                [pool.run(nameless, 1).await.unwrap_err(), pool.run(|n: u32| n, 1).await.unwrap_err()]
            {
                assert_eq!(error.kind(), TaskErrorKind::Unavailable);
                assert!(error.to_string().contains("write `#[heavylift::job]` above"), "{error}");
            }
            assert_eq!((pool.metrics().failed, pool.metrics().queued), (2, 0));
        },
    );
}

#[test]
fn without_a_queue_a_call_is_answered_or_lost() {
    use crate::cluster::Delivery::AtMostOnce;
    at_each(
        "without_a_queue_a_call_is_answered_or_lost",
        |b| b.delivery(AtMostOnce),
        async |mut node, pool| {
            let error = pool.run(double, 1).await.unwrap_err();
            assert_eq!(error.kind(), TaskErrorKind::Unavailable, "no node is there: {error}");
            let mut calls = node.engine.calls("default").await.unwrap();
            let task = pool.run(double, 4);
            let call = soon(calls.next()).await.unwrap();
            let Request { id, .. } = Request::from_envelope(&call.envelope).unwrap();
            let value = Answer::Value(Content::Here(content::pack(8u32).unwrap()));
            let reply = Reply { id, node: "n1".into(), attempt: 1, ran: Duration::ZERO, answer: value };
            call.reply(reply.to_envelope()).await.unwrap();
            assert_eq!(task.await.unwrap(), 8);
            let refused = pool.run(double, 6);
            let call = soon(calls.next()).await.unwrap();
            let Request { id, .. } = Request::from_envelope(&call.envelope).unwrap();
            let answer = Answer::Refused { count: 1, has: "it has nothing".into() };
            let reply = Reply { id, node: "n1".into(), attempt: 1, ran: Duration::ZERO, answer };
            call.reply(reply.to_envelope()).await.unwrap();
            // Long before its `refusal_timeout` is over.
            let error = tokio::time::timeout(SOON / 4, refused).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), TaskErrorKind::Unavailable);
            assert!(
                error.to_string().ends_with("a node of queue \"default\" refused it: it has nothing"),
                "{error}"
            );
            let unwanted = pool.run(double, 5);
            let call = soon(calls.next()).await.unwrap();
            drop(unwanted);
            let cancelled = node.cancelled().await;
            assert_eq!(cancelled, Request::from_envelope(&call.envelope).unwrap().id);
            assert!(soon(pool.shutdown(Shutdown::Drain)).await.is_complete());
        },
    );
}
