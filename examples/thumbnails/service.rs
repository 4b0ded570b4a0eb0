//! [`Service`]: what is answered to whom.

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use heavylift::dashboard;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    budget::Budget,
    decoder::Decoder,
    failure::Failure,
    stopped,
    store::{Entry, Store, Which},
    upload,
};

/// How many bytes of uploads may be in memory, arriving, waiting or in work.
const UPLOADS: usize = 128 << 20;

const WIDTH: u32 = 256;
const LARGEST_WIDTH: u32 = 2048;

/// How many pictures a page of the list has, and at most.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;

/// A picture is only ever a picture: whatever a browser takes it for, it runs nothing and loads nothing.
const HARMLESS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::CACHE_CONTROL, "no-cache"),
];

const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All that requests share.
#[derive(Clone)]
pub(crate) struct Service {
    decoder: Decoder,
    store: Store,
    uploads: Budget,
}

impl Service {
    pub(crate) fn new(decoder: Decoder, store: Store) -> Self {
        Self { decoder, store, uploads: Budget::new(UPLOADS) }
    }

    /// Returns the paths. `stopping` turns true when the service is to end.
    pub(crate) fn router(self, stopping: watch::Receiver<bool>) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/health", get(health))
            .route("/thumbnail", post(thumbnail))
            .route("/images", get(images))
            .route("/images/{id}", get(original))
            .route("/images/{id}/thumbnail", get(stored_thumbnail))
            // Figures, names and errors of jobs: a service with users has them log in before it, by a layer.
            .nest_service("/dashboard", dashboard::router_until(stopped(stopping)))
            .fallback(async || Failure::not_found())
            .method_not_allowed_fallback(async || Failure::method_not_allowed())
            .with_state(self)
    }
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("page.html")).into_response()
}

async fn health(State(service): State<Service>) -> Response {
    let (running, queued) = service.decoder.busy();
    json_response(&json!({ "status": "ok", "running": running, "queued": queued }))
}

/// Answers with the thumbnail of the picture in the body, and keeps both.
async fn thumbnail(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let width = match parameter(query.as_deref(), "width", WIDTH, 1..=LARGEST_WIDTH) {
        Ok(width) => width,
        Err(failure) => {
            upload::let_pass(&headers, body).await;
            return Err(failure);
        }
    };
    let picture = upload::read(&service.uploads, &headers, body).await?;
    let thumbnail = service.decoder.thumbnail(picture.clone(), width).await?;
    let id = service.store.add(picture, &thumbnail).await?;
    let place = [(header::LOCATION, format!("/images/{id}"))];
    Ok((place, picture_response("image/png", thumbnail.png)).into_response())
}

/// Answers with the list of pictures, newest first.
async fn images(State(service): State<Service>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let limit = parameter(query.as_deref(), "limit", PAGE, 1..=LARGEST_PAGE)?;
    let before = parameter(query.as_deref(), "before", i64::MAX, 1..=i64::MAX)?;
    let entries = service.store.list(before, limit).await?;
    Ok(json_response(&entries.iter().map(entry).collect()))
}

fn entry(entry: &Entry) -> Value {
    let url = format!("/images/{}", entry.id);
    json!({
        "id": entry.id,
        "added": entry.added,
        "content_type": entry.content_type,
        "width": entry.width,
        "height": entry.height,
        "bytes": entry.bytes,
        "url": url,
        "thumbnail": format!("{url}/thumbnail"),
    })
}

async fn original(State(service): State<Service>, Path(id): Path<String>) -> Result<Response, Failure> {
    stored(&service, &id, Which::Original).await
}

async fn stored_thumbnail(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    stored(&service, &id, Which::Thumbnail).await
}

async fn stored(service: &Service, id: &str, which: Which) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Failure::no_such_image())?;
    let (content_type, bytes) = service.store.get(id, which).await?;
    Ok(picture_response(&content_type, bytes))
}

fn picture_response(content_type: &str, bytes: Bytes) -> Response {
    (HARMLESS, [(header::CONTENT_TYPE, content_type.to_owned())], bytes).into_response()
}

fn json_response(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, value.to_string()).into_response()
}

/// Returns a number from the query, or the default if it is not there.
fn parameter<N>(
    query: Option<&str>,
    name: &str,
    default: N,
    allowed: std::ops::RangeInclusive<N>,
) -> Result<N, Failure>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, value)) = pairs.into_iter().find(|(key, _)| *key == name) else { return Ok(default) };
    match value.parse() {
        Ok(number) if allowed.contains(&number) => Ok(number),
        _ => Err(Failure::bad_parameter(format!(
            "{name} is a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        ))),
    }
}
