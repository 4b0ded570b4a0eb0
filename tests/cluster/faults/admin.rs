//! What an administrator sees and does at the servers, past heavylift.

use async_nats::{Client, HeaderMap};
use serde_json::Value;

/// A connection of its own, which anybody may have who may do anything.
pub(super) struct Admin(Client);

impl Admin {
    pub(super) async fn at(url: &str) -> Self {
        Self(async_nats::connect(url).await.unwrap())
    }

    /// Calls the interface of JetStream.
    pub(super) async fn api(&self, what: &str, body: &str) -> Value {
        let answer = self.0.request(format!("$JS.API.{what}"), body.to_owned().into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// How many messages a stream holds.
    pub(super) async fn messages(&self, stream: &str) -> u64 {
        let info = self.api(&format!("STREAM.INFO.{stream}"), "").await;
        info["state"]["messages"].as_u64().unwrap_or_else(|| panic!("{info}"))
    }

    /// How many jobs are in all queues together, running ones included.
    pub(super) async fn jobs(&self) -> u64 {
        self.messages("HEAVYLIFT_TASKS").await
    }

    /// How many bytes of payloads are in the bucket, and how many parts they lie in.
    pub(super) async fn payload_parts(&self) -> u64 {
        let parts = r#"{"subjects_filter":"$O.heavylift_payloads.C.>"}"#;
        let info = self.api("STREAM.INFO.OBJ_heavylift_payloads", parts).await;
        let subjects = info["state"]["subjects"].as_object();
        subjects.map_or(0, |subjects| subjects.values().filter_map(Value::as_u64).sum())
    }

    /// The headers of the message with this number.
    pub(super) async fn headers(&self, stream: &str, sequence: u64) -> HeaderMap {
        let what = format!("$JS.API.DIRECT.GET.{stream}");
        let found = self.0.request(what, format!(r#"{{"seq":{sequence}}}"#).into()).await.unwrap();
        found.headers.unwrap_or_default()
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let seen = async {
            while !is_so(self).await {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(super::scene::SOON, seen)
            .await
            .unwrap_or_else(|_| panic!("it does not come: {what}"));
    }
}
