//! Reads the body of a request within limits of size, time and memory.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;

use crate::{
    budget::{Budget, Buffer},
    failure::Failure,
};

/// How large a picture may be, in bytes.
pub(crate) const LARGEST: usize = 20 << 20;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a body that nobody wants is read and thrown away, so that its sender comes to read the answer.
const COURTESY: usize = 64 << 20;

/// Reads a body that holds a picture. On an error the rest of it is let pass.
pub(crate) async fn read(budget: &Budget, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Failure> {
    let outcome = match declared_length(headers) {
        Some(length) if length > LARGEST as u64 => Err(Failure::too_large()),
        _ => {
            let mut buffer = budget.buffer();
            match timeout(PATIENCE, fill(&mut buffer, &mut body)).await {
                Ok(Ok(())) => Ok(buffer.freeze()),
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::too_slow()),
            }
        }
    };
    if outcome.is_err() {
        let_pass(headers, body).await;
    }
    outcome
}

async fn fill(buffer: &mut Buffer, body: &mut Body) -> Result<(), Failure> {
    let mut chunks = std::mem::take(body).into_data_stream();
    let outcome = loop {
        let Some(chunk) = chunks.next().await else { break Ok(()) };
        let Ok(chunk) = chunk else { break Err(Failure::cut_off()) };
        if buffer.len() + chunk.len() > LARGEST {
            break Err(Failure::too_large());
        }
        if buffer.push(&chunk).is_err() {
            break Err(Failure::busy());
        }
    };
    *body = Body::new(chunks);
    outcome
}

/// Reads the rest of a body and keeps nothing: who is still writing when the connection is closed may never see the answer.
pub(crate) async fn let_pass(headers: &HeaderMap, body: Body) {
    if headers.contains_key(header::EXPECT) {
        return; // its sender waits for our word before it sends anything
    }
    let pass = async {
        let mut chunks = body.into_data_stream();
        let mut passed = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            passed += chunk.len();
            if passed > COURTESY {
                break;
            }
        }
    };
    let _ = timeout(PATIENCE, pass).await;
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
