//! The one place where failures become statuses and texts.
//!
//! Contract: HTTP API, section "Error mapping": plain text, no newline at the end, never JSON.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use shared::go::DecodeError;

use super::respond;
use crate::{local, rpc};

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    text: String,
    /// Reads tell about the index even when they fail.
    read: bool,
}

impl Error {
    /// Any status with its text.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), read: false }
    }

    /// Status 400.
    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// Status 404; without text the body stays empty.
    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// Status 500.
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// A body over its limit. `option` is the setting that raises it.
    pub(super) fn too_large(size: u64, limit: u64, option: &str) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "Request body({size} bytes) too large, max size: {limit} bytes. \
                 See https://www.consul.io/docs/agent/options.html#{option}."
            ),
        )
    }

    /// The same failure of a read that carries index headers.
    pub(super) fn of_read(mut self) -> Self {
        self.read = true;
        self
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What the client gets.
    pub(super) fn into_response(self) -> Response {
        let empty = self.text.is_empty();
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        if !empty {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        if self.read {
            respond::set_meta(response.headers_mut(), &shared::query::QueryMeta::default());
        }
        response
    }
}

impl From<rpc::Error> for Error {
    fn from(error: rpc::Error) -> Self {
        let status = match &error {
            rpc::Error::PermissionDenied => StatusCode::FORBIDDEN,
            rpc::Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            rpc::Error::NotFound(_) => StatusCode::NOT_FOUND,
            rpc::Error::Unreachable(_) => StatusCode::BAD_GATEWAY,
            rpc::Error::RateLimited | rpc::Error::RetryElsewhere => StatusCode::TOO_MANY_REQUESTS,
            rpc::Error::RetryLater => StatusCode::SERVICE_UNAVAILABLE,
            rpc::Error::NoLeader
            | rpc::Error::NoServers
            | rpc::Error::NoPathToDatacenter
            | rpc::Error::Refused(_)
            | rpc::Error::Timeout
            | rpc::Error::Stopping
            | rpc::Error::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<local::Error> for Error {
    fn from(error: local::Error) -> Self {
        let status = match &error {
            local::Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            local::Error::NotFound(_) => StatusCode::NOT_FOUND,
            local::Error::Refused(_) => StatusCode::INTERNAL_SERVER_ERROR,
            local::Error::PermissionDenied => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string())
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(format!("Request decode failed: {error}"))
    }
}
