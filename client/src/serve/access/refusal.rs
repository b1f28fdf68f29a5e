//! The answers to requests that may not read the metrics.

use axum::{
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};

use super::METRICS;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::serve) enum Refusal {
    #[error("no bearer token; send that of a service account that may `get` the non-resource URL {METRICS}")]
    NoToken,
    #[error("the API server does not accept the bearer token; send a new one")]
    Unauthenticated,
    #[error("`{0}` may not `get` the non-resource URL {METRICS}; bind it to a ClusterRole that allows it")]
    Forbidden(String),
    #[error("too many unknown bearer tokens; try again in some seconds")]
    TooMany,
    #[error("the API server cannot review the bearer token at present; the log has the reason")]
    NoAnswer,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoToken | Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, format!("{self}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
