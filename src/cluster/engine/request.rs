//! The ways in which messages are sent: with an answer, without one, and into a stream. All of them are bounded.

use std::{borrow::Cow, future::Future, time::Duration};

use async_nats::{
    HeaderMap, HeaderName, HeaderValue, Message, PublishError, Request, RequestErrorKind, SubscribeError,
    Subscriber, jetstream::message::StreamMessage,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};

use super::{
    Engine, EngineError, Note, Notes, TIME_LIMIT,
    errors::{self, Api, ApiError},
    watch::Complaints,
};
use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    message::Envelope,
};

impl Engine {
    /// Does `work`, which speaks to the server by `subject`: bounded by `limit`, and over as soon as the server says that it does not
    /// permit that subject.
    pub(super) async fn guard<T>(
        &self,
        subject: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.guard_all(self.complaints(subject), subject, limit, work).await
    }

    /// The same with several subjects, of which `what` is told.
    pub(super) async fn guard_all<T>(
        &self,
        mut complaints: Complaints,
        what: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let done = tokio::select! {
            biased;
            text = complaints.next() => return Err(EngineError::Denied(text)),
            done = timeout(limit, work) => done,
        };
        let late = || EngineError::Lost(format!("no answer on `{what}` within {limit:?}"));
        match done.unwrap_or_else(|_| Err(late())) {
            Err(EngineError::Lost(lost)) => match complaints.now() {
                Some(text) => Err(EngineError::Denied(text)),
                None => Err(EngineError::Lost(lost)),
            },
            done => done,
        }
    }

    /// What the server says of a subject from now on.
    pub(super) fn complaints(&self, subject: &str) -> Complaints {
        Complaints::of(&self.shared.watch, vec![format!("\"{subject}\"")])
    }

    /// Sends a message and waits for the answer. That nobody listens means that a server starts or a leader is being elected.
    pub(super) async fn request(&self, subject: &str, message: &Envelope) -> Result<Message, EngineError> {
        let nobody = || {
            EngineError::Lost(format!(
                "nobody answers on `{subject}`: a server starts, or JetStream or the stream is not there"
            ))
        };
        self.ask(subject, message, TIME_LIMIT, nobody).await
    }

    /// Sends a message and waits for the answer; fails with `nobody` if nobody listens.
    pub(super) async fn ask(
        &self,
        subject: &str,
        message: &Envelope,
        limit: Duration,
        nobody: impl FnOnce() -> EngineError,
    ) -> Result<Message, EngineError> {
        let size = self.fits(message)?;
        // `guard` has the time limit.
        let mut request = Request::new().payload(message.body.clone()).timeout(None);
        if !message.headers.is_empty() {
            request = request.headers(errors::headers(message)?);
        }
        let client = self.client();
        let answer = async {
            let answer = client.send_request(subject.to_owned(), request).await;
            answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => nobody(),
                RequestErrorKind::MaxPayloadExceeded => {
                    EngineError::TooLarge { size, limit: self.max_message() }
                }
                RequestErrorKind::InvalidSubject => EngineError::Failed(format!("`{subject}` is no subject")),
                _ => EngineError::Lost(format!("{error} on `{subject}`")),
            })
        };
        self.guard(subject, limit, answer).await
    }

    /// Calls the interface of JetStream.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        body: String,
    ) -> Result<Result<T, ApiError>, EngineError> {
        let message = Envelope { headers: Vec::new(), body: Bytes::from(body) };
        let answer = self.request(&format!("$JS.API.{what}"), &message).await?;
        Api::parse(&answer.payload)
    }

    /// The same, for one to whom every refusal is a failure.
    pub(super) async fn demand<T: DeserializeOwned>(
        &self,
        what: &str,
        body: String,
    ) -> Result<T, EngineError> {
        self.api(what, body).await?.map_err(|error| error.into_engine(self.max_message()))
    }

    /// The same, for what has to be there: else the error says that `missing` is, and what to do.
    pub(super) async fn must_be_there<T: DeserializeOwned>(
        &self,
        what: &str,
        missing: &str,
    ) -> Result<T, ClusterError> {
        match self.api(what, String::new()).await {
            Ok(Ok(info)) => Ok(info),
            Ok(Err(error)) if error.is_missing() => {
                let text =
                    format!("{missing} under prefix `{}`: run `ensure_topology`", self.names().prefix());
                Err(ClusterError::new(ClusterErrorKind::Topology, text))
            }
            Ok(Err(error)) => Err(error.into_engine(self.max_message()).into_cluster(what)),
            Err(error) => Err(error.into_cluster(what)),
        }
    }

    /// Stores a message in the stream that takes its subject.
    pub(super) async fn publish(
        &self,
        subject: &str,
        message_id: &str,
        message: Envelope,
    ) -> Result<errors::Stored, EngineError> {
        let stored = self.try_publish(subject, message_id, message).await?;
        stored.map_err(|error| error.into_engine(self.max_message()))
    }

    /// The same, for one who looks at what the stream says.
    pub(super) async fn try_publish(
        &self,
        subject: &str,
        message_id: &str,
        mut message: Envelope,
    ) -> Result<Result<errors::Stored, ApiError>, EngineError> {
        message.headers.push(("Nats-Msg-Id".into(), message_id.to_owned()));
        let answer = self.request(subject, &message).await?;
        Api::parse(&answer.payload)
    }

    /// Sends a message that nobody answers. Does not wait until it is sent.
    pub(super) async fn tell(&self, subject: &str, body: Bytes) -> Result<(), EngineError> {
        let told = timeout(TIME_LIMIT, self.client().publish(subject.to_owned(), body)).await;
        self::told(subject, told)
    }

    /// Sends a message that nobody answers, with headers. Does not wait until it is sent.
    pub(super) async fn send(&self, subject: &str, message: Envelope) -> Result<(), EngineError> {
        self.fits(&message)?;
        let (client, headers) = (self.client(), errors::headers(&message)?);
        let sent =
            timeout(TIME_LIMIT, client.publish_with_headers(subject.to_owned(), headers, message.body));
        told(subject, sent.await)
    }

    /// Listens, and knows that it is permitted to. With a group, each message comes to one of it.
    pub(super) async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
    ) -> Result<Subscriber, ClusterError> {
        let client = self.client();
        let subscribing = async {
            let (to, lost) =
                (subject.to_owned(), |error: SubscribeError| EngineError::Lost(error.to_string()));
            let subscriber = match group {
                Some(group) => client.queue_subscribe(to, group.to_owned()).await.map_err(lost)?,
                None => client.subscribe(to).await.map_err(lost)?,
            };
            // A round trip: what the server thinks of the subscription comes before this answer.
            let what = format!("STREAM.INFO.{}", self.names().tasks_stream());
            match self.api::<IgnoredAny>(&what, String::new()).await {
                // Whether that stream is there is not asked: calls without a queue need none.
                Ok(_) | Err(EngineError::Lost(_)) => Ok(subscriber),
                Err(error) => Err(error),
            }
        };
        let subscribed = self.guard(subject, TIME_LIMIT, subscribing).await;
        subscribed.map_err(|error| error.into_cluster(&format!("cannot listen on `{subject}`")))
    }

    /// All small messages under a subject, from a task that ends with the receiver or the connection.
    pub(super) async fn notes(&self, subject: &str) -> Result<Notes, ClusterError> {
        let mut messages = self.subscribe(subject, None).await?;
        let (notes, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    () = notes.closed() => return,
                    message = messages.next() => message,
                };
                let Some(Message { subject, payload: body, .. }) = message else { return };
                let about = subject.rsplit('.').next().unwrap_or_default().to_owned();
                let _ = notes.send(Note { about, body });
            }
        });
        Ok(receiver)
    }

    /// Whether a message is small enough; returns its size.
    fn fits(&self, message: &Envelope) -> Result<u64, EngineError> {
        // "NATS/1.0", two line ends, and a colon, a blank and a line end for each header.
        let line = |(name, value): &(Cow<'_, str>, String)| name.len() + value.len() + 4;
        let headers = message.headers.iter().map(line).sum::<usize>();
        let frame = if message.headers.is_empty() { 0 } else { 12 };
        let size = (headers + frame + message.body.len()) as u64;
        let limit = self.max_message();
        if size > limit { Err(EngineError::TooLarge { size, limit }) } else { Ok(size) }
    }
}

/// What became of a message that nobody answers.
fn told(subject: &str, told: Result<Result<(), PublishError>, Elapsed>) -> Result<(), EngineError> {
    match told {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(EngineError::Lost(format!("{error} on `{subject}`"))),
        Err(_) => Err(EngineError::Lost(format!("`{subject}` cannot be sent to within {TIME_LIMIT:?}"))),
    }
}

/// What the engine keeps of a message from the server.
pub(super) fn envelope(message: Message) -> Envelope {
    Envelope { headers: message.headers.as_ref().map(kept).unwrap_or_default(), body: message.payload }
}

/// What it keeps of one that was read from a stream.
pub(super) fn stored(message: StreamMessage) -> Envelope {
    Envelope { headers: kept(&message.headers), body: message.payload }
}

fn kept(headers: &HeaderMap) -> Vec<(Cow<'static, str>, String)> {
    let last = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        values.last().map(|value| (name.to_string().into(), value.to_string()))
    };
    headers.iter().filter_map(last).collect()
}
