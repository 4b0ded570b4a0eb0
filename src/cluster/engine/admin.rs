//! Streams and consumers, made or brought up to date.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{self, AckPolicy, IntoConsumerConfig, pull},
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use serde::de::DeserializeOwned;

use super::{Engine, EngineError, errors::ApiError, pull::creating};
use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    topology::{Done, Storage, Topology, TopologyReport},
};

/// How often something is tried while servers start or elect a leader: with [`PAUSE`] and the limit of a request, some 15 s at least.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(400);

/// For how long the servers know what they have taken, to drop copies.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// Makes everything that `topology` names, or brings it up to date.
    pub(in crate::cluster) async fn ensure(
        &self,
        topology: &Topology,
    ) -> Result<TopologyReport, ClusterError> {
        let mut report = TopologyReport::default();
        for stream in self.streams(topology) {
            let done = self.ensure_stream(&stream).await?;
            report.note(stream.name, done);
        }
        for (stream, config) in self.consumers(topology) {
            let name = config.durable_name.clone().unwrap_or_default();
            let done = self.ensure_consumer(&stream, &name, &config).await?;
            report.note(format!("{stream}/{name}"), done);
        }
        Ok(report)
    }

    fn streams(&self, topology: &Topology) -> [stream::Config; 5] {
        let names = self.names();
        let plain = |name: String, subjects: Vec<String>, max_age: Duration| stream::Config {
            name,
            subjects,
            max_age,
            storage: match topology.storage {
                Storage::Files => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            num_replicas: topology.replicas,
            duplicate_window: DUPLICATE_WINDOW.min(max_age),
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            allow_direct: true,
            ..stream::Config::default()
        };
        let tasks = stream::Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: topology.queue_limit.cast_signed(),
            max_bytes: topology.queue_bytes.cast_signed(),
            ..plain(names.tasks_stream(), vec![names.tasks()], topology.max_age)
        };
        let results = stream::Config {
            max_messages_per_subject: 1,
            max_bytes: topology.results_bytes.map_or(-1, u64::cast_signed),
            ..plain(names.results_stream(), vec![names.results()], topology.results_max_age)
        };
        let dead =
            plain(names.dead_letters_stream(), vec![names.dead_letters()], topology.dead_letters_max_age);
        let advisories = plain(names.advisories_stream(), vec![names.advisories()], DAY);
        // Direct reads may come from a server that is behind: an object that was just stored must be found.
        let payloads = stream::Config {
            discard: DiscardPolicy::New,
            allow_rollup: true,
            allow_direct: false,
            ..plain(names.payloads_stream(), names.payloads().to_vec(), topology.max_age)
        };
        [tasks, results, dead, advisories, payloads]
    }

    fn consumers(&self, topology: &Topology) -> Vec<(String, pull::Config)> {
        let names = self.names();
        let queue = |queue: &String| {
            let config = pull::Config {
                durable_name: Some(names.queue_consumer(queue)),
                filter_subject: names.tasks_of(queue),
                ack_policy: AckPolicy::Explicit,
                ack_wait: topology.lease,
                max_deliver: i64::from(topology.max_deliver),
                max_ack_pending: topology.running_limit.cast_signed(),
                max_waiting: topology.request_limit.cast_signed(),
                ..pull::Config::default()
            };
            (names.tasks_stream(), config)
        };
        let janitor = pull::Config {
            durable_name: Some(names.janitor_consumer()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            max_deliver: -1,
            max_ack_pending: 1000,
            max_waiting: topology.request_limit.cast_signed(),
            ..pull::Config::default()
        };
        let queues = topology.queues.iter().map(queue);
        queues.chain([(names.advisories_stream(), janitor)]).collect()
    }

    async fn ensure_stream(&self, want: &stream::Config) -> Result<Done, ClusterError> {
        let name = &want.name;
        let what = format!("stream `{name}`");
        let found = self.insist::<stream::Info>(&format!("STREAM.INFO.{name}"), &what, String::new()).await?;
        let (verb, config, done) = match found {
            Err(error) if error.is_missing() => ("CREATE", want.clone(), Done::Created),
            Err(error) => return Err(refused(&what, error)),
            Ok(info) => match merged(&info.config, want) {
                Err(why) => return Err(unchangeable(&what, &why)),
                Ok(merged) if merged == info.config => return Ok(Done::Left),
                Ok(merged) => ("UPDATE", merged, Done::Changed),
            },
        };
        let body = serde_json::json!(config).to_string();
        let made = self.insist::<stream::Info>(&format!("STREAM.{verb}.{name}"), &what, body).await?;
        made.map(|_| done).map_err(|error| refused(&what, error))
    }

    async fn ensure_consumer(
        &self,
        stream: &str,
        name: &str,
        want: &pull::Config,
    ) -> Result<Done, ClusterError> {
        let what = format!("consumer `{name}` of stream `{stream}`");
        let info = format!("CONSUMER.INFO.{stream}.{name}");
        let want = want.clone().into_consumer_config();
        let (config, done) = match self.insist::<consumer::Info>(&info, &what, String::new()).await? {
            Err(error) if error.is_missing() => (want, Done::Created),
            Err(error) => return Err(refused(&what, error)),
            Ok(info) => match merged_consumer(&info.config, &want) {
                Err(why) => return Err(unchangeable(&what, &why)),
                Ok(merged) if merged == info.config => return Ok(Done::Left),
                Ok(merged) => (merged, Done::Changed),
            },
        };
        let (create, body) = creating(stream, &config);
        let made = self.insist::<consumer::Info>(&create, &what, body).await?;
        made.map(|_| done).map_err(|error| refused(&what, error))
    }

    /// Asks until there is an answer that says something: servers that start, and clusters without a leader, give none.
    async fn insist<T: DeserializeOwned>(
        &self,
        api: &str,
        what: &str,
        body: String,
    ) -> Result<Result<T, ApiError>, ClusterError> {
        let mut tries = 0;
        loop {
            let lost = match self.api(api, body.clone()).await {
                Ok(Err(error)) if error.code == 503 => EngineError::Lost(error.description),
                Err(EngineError::Lost(text)) => EngineError::Lost(text),
                Ok(answer) => return Ok(answer),
                Err(error) => return Err(error.into_cluster(what)),
            };
            tries += 1;
            if tries == TRIES {
                return Err(lost.into_cluster(what));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What is there, with what must be otherwise.
fn merged(have: &stream::Config, want: &stream::Config) -> Result<stream::Config, String> {
    if have.retention != want.retention {
        return Err(format!("its retention is {:?}, and must be {:?}", have.retention, want.retention));
    }
    if have.storage != want.storage {
        return Err(format!("its storage is {:?}, and must be {:?}", have.storage, want.storage));
    }
    let forbidden = [
        (have.deny_delete, "it denies deletes"),
        (have.deny_purge, "it denies purges"),
        (have.sealed, "it is sealed"),
    ];
    if let Some((_, why)) = forbidden.iter().find(|(is, _)| *is) {
        return Err((*why).to_owned());
    }
    if have.subjects != want.subjects {
        let whose = "another prefix has the same names in capitals, with _ for -";
        return Err(format!(
            "its subjects are {:?}, and must be {:?}: {whose}",
            have.subjects, want.subjects
        ));
    }
    let mut merged = have.clone();
    merged.max_age = want.max_age;
    merged.num_replicas = want.num_replicas;
    merged.duplicate_window = want.duplicate_window;
    merged.max_messages = want.max_messages;
    merged.max_bytes = want.max_bytes;
    merged.max_messages_per_subject = want.max_messages_per_subject;
    merged.discard = want.discard;
    merged.discard_new_per_subject = want.discard_new_per_subject;
    merged.allow_direct = want.allow_direct;
    merged.allow_rollup = want.allow_rollup;
    merged.no_ack = want.no_ack;
    Ok(merged)
}

/// The same for a consumer.
fn merged_consumer(have: &consumer::Config, want: &consumer::Config) -> Result<consumer::Config, String> {
    if have.ack_policy != want.ack_policy {
        return Err(format!(
            "its acknowledgement is {:?}, and must be {:?}",
            have.ack_policy, want.ack_policy
        ));
    }
    if have.deliver_subject.is_some() {
        return Err("it pushes, and must be pulled from".to_owned());
    }
    let mut merged = have.clone();
    merged.filter_subject = want.filter_subject.clone();
    merged.ack_wait = want.ack_wait;
    merged.max_deliver = want.max_deliver;
    merged.max_ack_pending = want.max_ack_pending;
    merged.max_waiting = want.max_waiting;
    merged.backoff = want.backoff.clone();
    Ok(merged)
}

fn unchangeable(what: &str, why: &str) -> ClusterError {
    let text = format!(
        "{what} is there and cannot be changed: {why}; delete it, and what it holds, or use another prefix"
    );
    ClusterError::new(ClusterErrorKind::Topology, text)
}

fn refused(what: &str, error: ApiError) -> ClusterError {
    let text = format!("{what} cannot be made: {} (code {})", error.description, error.err_code);
    ClusterError::new(ClusterErrorKind::Topology, text)
}
