//! Who asks.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, HeaderMap,
    jetstream::{self, consumer::pull, stream},
};
use futures_util::StreamExt;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, oneshot},
    time::timeout,
};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const CALLS: &str = "raw.call";
pub(crate) const TASKS: &str = "raw.task";
pub(crate) const STREAM: &str = "RAW_TASKS";
pub(crate) const CONSUMER: &str = "raw";
/// Where the answer goes; the reply of a message from a stream is taken.
pub(crate) const REPLY: &str = "Raw-Reply";

const LONG: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Core,
    Stream,
}

impl Mode {
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        [Self::Core, Self::Stream].into_iter().find(|mode| mode.name() == name).ok_or("no such mode".into())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Stream => "stream",
        }
    }
}

/// A connection, and how it asks.
pub(crate) struct Peer {
    runtime: Runtime,
    asker: Arc<Asker>,
}

enum Asker {
    Core(Client),
    Stream(Queue),
}

/// Jobs go into a stream, answers come to an inbox.
struct Queue {
    context: jetstream::Context,
    inbox: String,
    next: AtomicU64,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>,
}

impl Peer {
    pub(crate) fn connect(mode: Mode, url: &str) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let asker = runtime.block_on(async {
            let client = async_nats::connect(url).await?;
            Ok::<_, Error>(match mode {
                Mode::Core => Asker::Core(client),
                Mode::Stream => Asker::Stream(Queue::make(client).await?),
            })
        })?;
        Ok(Self { runtime, asker: Arc::new(asker) })
    }

    /// Until several jobs in a row are answered.
    pub(crate) fn wait_for_workers(&self) -> Result<(), Error> {
        let end = Instant::now() + LONG;
        let mut answered = 0;
        while answered < 100 {
            match self.runtime.block_on(self.asker.ask(0)) {
                Ok(()) => answered += 1,
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        Ok(())
    }

    pub(crate) fn trips(&self, times: usize) -> Result<Vec<f64>, Error> {
        let asker = self.asker.clone();
        let trips = async move {
            let mut all = Vec::with_capacity(times);
            for n in 0..times {
                let begun = Instant::now();
                asker.ask(n as u64).await?;
                all.push(begun.elapsed().as_secs_f64());
            }
            all.sort_by(f64::total_cmp);
            Ok::<_, Error>(vec![all[times / 2], all[times * 99 / 100]])
        };
        self.runtime.block_on(async { tokio::spawn(trips).await? })
    }

    pub(crate) fn rate(&self, in_flight: usize, jobs: u64) -> Result<f64, Error> {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let places = Arc::new(Semaphore::new(in_flight));
            let mut tasks = Vec::with_capacity(jobs as usize);
            for n in 0..jobs {
                let place = places.clone().acquire_owned().await?;
                let asker = self.asker.clone();
                tasks.push(tokio::spawn(async move {
                    let answer = asker.ask(n).await;
                    drop(place);
                    answer
                }));
            }
            for task in tasks {
                task.await??;
            }
            Ok::<_, Error>(())
        })?;
        Ok(jobs as f64 / begun.elapsed().as_secs_f64())
    }
}

impl Asker {
    async fn ask(&self, number: u64) -> Result<(), Error> {
        let body = number.to_le_bytes().to_vec();
        match self {
            Self::Core(client) => {
                let answer = client.request(CALLS, body.clone().into()).await?;
                assert_eq!(answer.payload, body);
                Ok(())
            }
            Self::Stream(queue) => queue.ask(body).await,
        }
    }
}

impl Queue {
    async fn make(client: Client) -> Result<Self, Error> {
        let context = jetstream::new(client.clone());
        let tasks = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![TASKS.to_owned()],
            retention: stream::RetentionPolicy::WorkQueue,
            ..Default::default()
        };
        let consumer = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            max_ack_pending: 20_000,
            max_waiting: 4096,
            ..Default::default()
        };
        context.get_or_create_stream(tasks).await?.create_consumer(consumer).await?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(format!("{inbox}.*")).await?;
        let waiting: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>> = Arc::default();
        let waiters = waiting.clone();
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                if let Some(waiter) = waiters.lock().expect("no panic").remove(answer.subject.as_str()) {
                    let _nobody_waits = waiter.send(());
                }
            }
        });
        Ok(Self { context, inbox, next: AtomicU64::new(0), waiting })
    }

    async fn ask(&self, body: Vec<u8>) -> Result<(), Error> {
        let reply = format!("{}.{}", self.inbox, self.next.fetch_add(1, Relaxed));
        let (waiter, answer) = oneshot::channel();
        self.waiting.lock().expect("no panic").insert(reply.clone(), waiter);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", reply.as_str());
        headers.insert(REPLY, reply.as_str());
        self.context.publish_with_headers(TASKS, headers, body.into()).await?.await?;
        Ok(timeout(LONG, answer).await??)
    }
}
