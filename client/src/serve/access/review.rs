//! Asks the API server about a token.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

use super::{METRICS, cache::Verdict};
use crate::error_chain;

/// A scrape must still fit into ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// A token was not reviewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReviewError {
    /// The API server did not answer, or cannot at present.
    #[error("{0}")]
    Outage(String),
    /// The API server refused the review.
    #[error("{0}")]
    Refused(String),
}

impl From<kube::Error> for ReviewError {
    fn from(error: kube::Error) -> Self {
        let reason = error_chain(&error);
        match error {
            kube::Error::HyperError(_) | kube::Error::Service(_) => Self::Outage(reason),
            kube::Error::Api(status) if status.code >= 500 || status.code == 429 => Self::Outage(reason),
            _ => Self::Refused(reason),
        }
    }
}

/// Reviews a token.
pub(super) async fn review(client: &Client, token: &str) -> Result<Verdict, ReviewError> {
    let review = async {
        match authenticate(client, token).await? {
            Some(user) => may_read(client, user).await,
            None => Ok(Verdict::Unauthenticated),
        }
    };
    match timeout(PATIENCE, review).await {
        Ok(verdict) => Ok(verdict?),
        Err(_) => Err(ReviewError::Outage(format!(
            "no answer within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

async fn authenticate(client: &Client, token: &str) -> kube::Result<Option<UserInfo>> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status;
    let status = status.filter(|status| status.authenticated == Some(true));
    Ok(status.and_then(|status| status.user))
}

async fn may_read(client: &Client, user: UserInfo) -> kube::Result<Verdict> {
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
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status;
    let allowed = status.is_some_and(|status| status.allowed && status.denied != Some(true));
    Ok(if allowed {
        Verdict::Allowed
    } else {
        Verdict::Forbidden(name)
    })
}
