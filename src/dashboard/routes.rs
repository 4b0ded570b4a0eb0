//! What is asked for, and what is answered.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;

use super::audience::{Audience, NoSeat, Viewer};

const PAGE: &str = include_str!("page.html");

/// The page may run its own script, look as it says itself, and read from where it came from. The hashes are those of what is in
/// `page.html` between the tags: a test tells the new ones when they have changed.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-lxjvU8+kth0LlnVscWKbDKwMRmvVAIuH4TNoDE+rDSg='; \
    style-src 'sha256-lqyTKYO9v4FGWH/vwPN7cOMPv+0WaBXLi5/kM5cNf90='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(super) fn router(audience: Arc<Audience>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/api/pools", get(pools))
        .route("/api/stream", get(stream_of_pools))
        .layer(middleware::map_response(with_headers))
        .with_state(audience)
}

/// What holds for every answer: it is not kept, not guessed at, and tells nobody where it came from.
async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let common: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers.extend(common.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

async fn page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)], PAGE)
}

async fn pools(State(audience): State<Arc<Audience>>) -> Response {
    // Pools have locks, which are held for microseconds; still, not on a thread that drives tasks.
    match tokio::task::spawn_blocking(move || audience.look_once()).await {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn stream_of_pools(State(audience): State<Arc<Audience>>) -> Response {
    audience.await_end();
    match audience.join() {
        Ok(viewer) => {
            let events = Body::from_stream(stream::unfold(viewer, next_event));
            // For proxies that would collect what should be seen at once.
            let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
            ([(CONTENT_TYPE, "text/event-stream"), unbuffered], events).into_response()
        }
        Err(NoSeat::Full) => unavailable("as many pages as there may be are open"),
        Err(NoSeat::Closed) => unavailable("the dashboard is closed"),
        Err(NoSeat::NoThread(error)) => unavailable(&format!("no thread to look at the pools: {error}")),
    }
}

async fn next_event(mut viewer: Viewer) -> Option<(Result<Bytes, Infallible>, Viewer)> {
    let json = viewer.next().await?;
    Some((Ok(event(&json)), viewer))
}

/// JSON has no line breaks outside of texts, and escapes them there: it is one line.
fn event(json: &[u8]) -> Bytes {
    [b"data: ".as_slice(), json, b"\n\n"].concat().into()
}

fn unavailable(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], format!("{reason}\n")).into_response()
}
