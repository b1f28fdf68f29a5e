//! Who may read the metrics.
//!
//! As controller-runtime does it: a `TokenReview` asks the API server whose bearer token it is, and
//! a `SubjectAccessReview` whether that user may `get` the non-resource URL `/metrics`.

mod budget;
mod cache;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;
use tracing::warn;

use self::{
    budget::ReviewBudget,
    cache::{Cached, ReviewCache, TokenDigest, Verdict},
};
use crate::{error_chain, serve::places::Network};

/// The path whose readers are reviewed.
pub(super) const METRICS: &str = "/metrics";
/// A scrape must still fit into ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
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

/// Reviews bearer tokens.
pub(super) struct Reviewer {
    client: Client,
    state: Mutex<ReviewState>,
}

struct ReviewState {
    cache: ReviewCache,
    budget: ReviewBudget,
}

impl Reviewer {
    pub(super) fn new(client: Client) -> Self {
        let state = Mutex::new(ReviewState {
            cache: ReviewCache::default(),
            budget: ReviewBudget::new(Instant::now()),
        });
        Self { client, state }
    }

    /// Returns whether the sender of a request may read the metrics.
    pub(super) async fn authorize(&self, network: Network, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let digest = TokenDigest::of(token);
        let cached = self.state().cache.look_up(digest, Instant::now());
        if let Cached::Fresh(verdict) = cached {
            return decide(verdict);
        }
        let was_allowed = cached == Cached::WasAllowed;
        // A token that was allowed is renewed even while others send invalid ones.
        if !was_allowed && !self.state().budget.spend(network, Instant::now()) {
            return Err(Refusal::TooMany);
        }
        match self.review(token).await {
            Ok(verdict) => {
                self.state().cache.insert(digest, verdict.clone(), Instant::now());
                decide(verdict)
            }
            Err(reason) if was_allowed => {
                warn!(
                    reason,
                    "a scraper that was allowed before stays so: no answer to a review"
                );
                Ok(())
            }
            Err(reason) => {
                warn!(reason, "cannot review the bearer token of a scraper");
                Err(Refusal::NoAnswer)
            }
        }
    }

    async fn review(&self, token: &str) -> Result<Verdict, String> {
        let review = async {
            match self.authenticate(token).await? {
                Some(user) => self.may_read(user).await,
                None => Ok(Verdict::Unauthenticated),
            }
        };
        match timeout(PATIENCE, review).await {
            Ok(verdict) => verdict.map_err(|error: kube::Error| error_chain(&error)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn authenticate(&self, token: &str) -> kube::Result<Option<UserInfo>> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status;
        let status = status.filter(|status| status.authenticated == Some(true));
        Ok(status.and_then(|status| status.user))
    }

    async fn may_read(&self, user: UserInfo) -> kube::Result<Verdict> {
        let name = user.username.clone().unwrap_or_default();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some(METRICS.to_owned()),
                    verb: Some("get".to_owned()),
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status;
        let allowed = status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if allowed {
            Verdict::Allowed
        } else {
            Verdict::Forbidden(name)
        })
    }

    fn state(&self) -> MutexGuard<'_, ReviewState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decide(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::Forbidden(user) => Err(Refusal::Forbidden(user)),
        Verdict::Unauthenticated => Err(Refusal::Unauthenticated),
    }
}

/// Returns the bearer token of a request. The name of the scheme has no case (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
