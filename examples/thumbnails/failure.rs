//! [`Failure`]: why a request has no answer but an error, as status and JSON.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use heavylift::{TaskError, TaskErrorKind};
use serde_json::json;

use crate::{log::complain, picture::Defect, upload::LARGEST};

/// An error for who asked. What only the operator may know goes to stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    pub(crate) fn no_such_image() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_image", "no image has this number, or it is no longer kept")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
    }

    pub(crate) fn too_large() -> Self {
        let message = format!("a picture may have at most {} MiB", LARGEST >> 20);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the picture took too long to arrive")
    }

    pub(crate) fn cut_off() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "cut_off", "the request ended before the picture did")
    }

    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the service has as much to do as it can: try again",
        )
    }

    pub(crate) fn out_of_time() -> Self {
        let message = "the picture took too long to decode, and was given up";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "out_of_time", message)
    }

    pub(crate) fn crashed() -> Self {
        let message = "the picture broke the decoder, or took more memory than it may";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "crashed", message)
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something is wrong with the service")
    }
}

/// What is wrong with a picture.
impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        let (status, code) = match defect {
            Defect::NotAnImage => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_an_image"),
            Defect::TooManyPixels => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_pixels"),
            Defect::Broken(_) => (StatusCode::UNPROCESSABLE_ENTITY, "broken_image"),
        };
        Self::new(status, code, defect.to_string())
    }
}

/// A job that has no value.
impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let failure = match error.kind() {
            // The pool's queue is full, or the service is about to end. Nobody did anything wrong: no line for these.
            TaskErrorKind::Overloaded | TaskErrorKind::Closed | TaskErrorKind::Cancelled => {
                return Self::busy();
            }
            TaskErrorKind::TimedOut => Self::out_of_time(),
            TaskErrorKind::WorkerDied | TaskErrorKind::Panicked => Self::crashed(),
            TaskErrorKind::TooLarge => Self::too_large(),
            TaskErrorKind::Unavailable => Self::busy(),
            _ => Self::internal(),
        };
        complain(error);
        failure
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        complain(format_args!("database: {error}"));
        Self::internal()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = Response::builder().status(self.status);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header(header::RETRY_AFTER, "1");
        }
        let response = response
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store")
            .body(Body::from(body.to_string()));
        response.expect("all of these are valid headers")
    }
}
