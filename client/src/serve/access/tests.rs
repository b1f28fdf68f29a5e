use std::{net::Ipv4Addr, sync::Arc};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{MockServer, mock};

const SCRAPER: Network = Network::V4(Ipv4Addr::new(10, 0, 0, 1));

fn headers(authorization: &'static str) -> HeaderMap {
    [(AUTHORIZATION, HeaderValue::from_static(authorization))]
        .into_iter()
        .collect()
}

fn start(reviewer: &Arc<Reviewer>, authorization: &'static str) -> JoinHandle<Result<(), Refusal>> {
    let reviewer = Arc::clone(reviewer);
    tokio::spawn(async move { reviewer.authorize(SCRAPER, &headers(authorization)).await })
}

fn reviewer() -> (Arc<Reviewer>, MockServer) {
    let (client, server) = mock();
    (Arc::new(Reviewer::new(client)), server)
}

fn token(authenticated: bool) -> Value {
    let name = "system:serviceaccount:monitoring:prometheus";
    let user = json!({"username": name, "groups": ["system:authenticated"]});
    json!({"spec": {}, "status": {"authenticated": authenticated, "user": user}})
}

fn access(allowed: bool) -> Value {
    json!({"spec": {}, "status": {"allowed": allowed}})
}

#[tokio::test]
async fn a_token_is_reviewed_as_kubernetes_does_and_then_cached() {
    let (reviewer, mut server) = reviewer();
    let scrape = start(&reviewer, "Bearer secret");
    let asked = server.answer(201, &token(true)).await;
    assert_eq!(
        asked.uri.split('?').next(),
        Some("/apis/authentication.k8s.io/v1/tokenreviews")
    );
    assert_eq!(asked.body["spec"], json!({"token": "secret"}));
    let asked = server.answer(201, &access(true)).await;
    assert_eq!(
        asked.uri.split('?').next(),
        Some("/apis/authorization.k8s.io/v1/subjectaccessreviews")
    );
    assert_eq!(
        asked.body["spec"],
        json!({
            "user": "system:serviceaccount:monitoring:prometheus",
            "groups": ["system:authenticated"],
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        })
    );
    assert_eq!(scrape.await.unwrap(), Ok(()));
    // The mock server would not answer.
    assert_eq!(start(&reviewer, "bearer secret").await.unwrap(), Ok(()));
}

#[tokio::test]
async fn without_a_token_the_api_server_is_not_asked() {
    let (reviewer, _server) = reviewer();
    assert_eq!(
        reviewer.authorize(SCRAPER, &HeaderMap::new()).await,
        Err(Refusal::NoToken)
    );
    for other in ["Basic YTpi", "Bearer", "Bearer ", "secret"] {
        assert_eq!(
            start(&reviewer, other).await.unwrap(),
            Err(Refusal::NoToken),
            "{other}"
        );
    }
}

#[tokio::test]
async fn invalid_tokens_are_unauthorized_and_users_without_the_right_are_forbidden() {
    let (reviewer, mut server) = reviewer();
    let scrape = start(&reviewer, "Bearer invalid");
    server.answer(201, &token(false)).await;
    let refusal = scrape.await.unwrap().unwrap_err();
    assert_eq!(refusal, Refusal::Unauthenticated);
    let response = refusal.into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");

    let scrape = start(&reviewer, "Bearer other");
    server.answer(201, &token(true)).await;
    server.answer(201, &access(false)).await;
    let refusal = scrape.await.unwrap().unwrap_err();
    assert!(refusal.to_string().contains("monitoring:prometheus"), "{refusal}");
    assert_eq!(refusal.into_response().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_api_server_that_fails_lets_no_new_token_in() {
    let (reviewer, mut server) = reviewer();
    let scrape = start(&reviewer, "Bearer secret");
    let failure = json!({"status": "Failure", "code": 500, "message": "etcd", "reason": "InternalError"});
    server.answer(500, &failure).await;
    let refusal = scrape.await.unwrap().unwrap_err();
    assert_eq!(refusal, Refusal::NoAnswer);
    assert_eq!(refusal.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn during_an_outage_a_token_that_was_allowed_stays_allowed() {
    let (reviewer, mut server) = reviewer();
    let long_ago = Instant::now().checked_sub(2 * cache::ALLOWED).unwrap();
    let digest = TokenDigest::of("secret");
    reviewer.state().cache.insert(digest, Verdict::Allowed, long_ago);
    let scrape = start(&reviewer, "Bearer secret");
    let failure = json!({"status": "Failure", "code": 500, "message": "etcd", "reason": "InternalError"});
    server.answer(500, &failure).await;
    assert_eq!(scrape.await.unwrap(), Ok(()));
    // The right is gone as soon as the API server says so.
    let scrape = start(&reviewer, "Bearer secret");
    server.answer(201, &token(false)).await;
    assert_eq!(scrape.await.unwrap(), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn a_flood_of_invalid_tokens_does_not_reach_the_api_server() {
    let (reviewer, mut server) = reviewer();
    let allowed = TokenDigest::of("secret");
    reviewer
        .state()
        .cache
        .insert(allowed, Verdict::Allowed, Instant::now());
    for invalid in ["Bearer 1", "Bearer 2", "Bearer 3", "Bearer 4", "Bearer 5"] {
        let scrape = start(&reviewer, invalid);
        server.answer(201, &token(false)).await;
        assert_eq!(scrape.await.unwrap(), Err(Refusal::Unauthenticated), "{invalid}");
    }
    let refusal = start(&reviewer, "Bearer 6").await.unwrap().unwrap_err();
    assert_eq!(
        refusal.clone().into_response().status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(refusal, Refusal::TooMany);
    assert_eq!(start(&reviewer, "Bearer secret").await.unwrap(), Ok(()));
}
