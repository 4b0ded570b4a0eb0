//! Who answers, in a process of its own, until it is killed.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client,
    jetstream::{self, consumer::PullConsumer},
};
use futures_util::StreamExt;
use tokio::{io::AsyncReadExt, sync::Semaphore};

use crate::client::{CALLS, CONSUMER, Error, Mode, REPLY, STREAM};

const SLOTS: usize = 8;
const EXPIRES: Duration = Duration::from_secs(2);

pub(crate) async fn serve(mode: Mode, url: &str) -> Result<(), Error> {
    let client = async_nats::connect(url).await?;
    let serving = async {
        match mode {
            Mode::Core => answer_calls(client).await,
            Mode::Stream => pull_tasks(client).await,
        }
    };
    // The end of its input is that of whoever started it.
    let mut input = [0];
    tokio::select! {
        ended = serving => ended,
        _ = async { tokio::io::stdin().read(&mut input).await } => Ok(()),
    }
}

async fn answer_calls(client: Client) -> Result<(), Error> {
    let mut calls = client.queue_subscribe(CALLS, "workers".to_owned()).await?;
    while let Some(call) = calls.next().await {
        if let Some(reply) = call.reply {
            client.publish(reply, call.payload).await?;
        }
    }
    Ok(())
}

async fn pull_tasks(client: Client) -> Result<(), Error> {
    let context = jetstream::new(client.clone());
    let consumer: PullConsumer = context.get_consumer_from_stream(CONSUMER, STREAM).await?;
    let slots = Arc::new(Semaphore::new(SLOTS));
    loop {
        // As many as are free now.
        drop(slots.acquire().await?);
        let mut batch =
            consumer.batch().max_messages(slots.available_permits()).expires(EXPIRES).messages().await?;
        while let Some(task) = batch.next().await {
            let (task, client) = (task?, client.clone());
            let slot = slots.clone().acquire_owned().await?;
            tokio::spawn(async move {
                drop(slot);
                let reply = task.headers.as_ref().and_then(|headers| headers.get(REPLY));
                if let Some(reply) = reply {
                    client.publish(reply.to_string(), task.payload.clone()).await?;
                }
                task.ack().await
            });
        }
    }
}
