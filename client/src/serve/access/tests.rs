use std::{cell::Cell, net::Ipv4Addr, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::IntoResponse as _,
};
use futures::future::join_all;
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

fn failure(code: u16) -> Value {
    json!({"status": "Failure", "code": code, "message": "etcd", "reason": "InternalError"})
}

/// Lets a token be reviewed long ago.
fn allowed_before(reviewer: &Reviewer) {
    let long_ago = Instant::now().checked_sub(2 * cache::ALLOWED).unwrap();
    let digest = TokenDigest::of("secret");
    reviewer.state().cache.insert(digest, Verdict::Allowed, long_ago);
}

#[tokio::test]
async fn during_an_outage_a_token_that_was_allowed_stays_allowed() {
    let (reviewer, mut server) = reviewer();
    allowed_before(&reviewer);
    for code in [500, 503, 429] {
        let scrape = start(&reviewer, "Bearer secret");
        server.answer(code, &failure(code)).await;
        assert_eq!(scrape.await.unwrap(), Ok(()), "{code}");
    }
    // The right is gone as soon as the API server says so.
    let scrape = start(&reviewer, "Bearer secret");
    server.answer(201, &token(false)).await;
    assert_eq!(scrape.await.unwrap(), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn without_a_connection_to_the_api_server_a_token_that_was_allowed_stays_allowed() {
    let (reviewer, server) = reviewer();
    allowed_before(&reviewer);
    drop(server);
    assert_eq!(start(&reviewer, "Bearer secret").await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_api_server_that_refuses_reviews_lets_no_token_in() {
    for code in [400, 401, 403, 404, 422] {
        let (reviewer, mut server) = reviewer();
        allowed_before(&reviewer);
        let scrape = start(&reviewer, "Bearer secret");
        server.answer(code, &failure(code)).await;
        assert_eq!(scrape.await.unwrap(), Err(Refusal::NoAnswer), "{code}");
        // Nor in an outage that follows.
        let scrape = start(&reviewer, "Bearer secret");
        server.answer(500, &failure(500)).await;
        assert_eq!(scrape.await.unwrap(), Err(Refusal::NoAnswer), "{code}");
    }
}

#[tokio::test]
async fn requests_with_the_same_token_share_one_review() {
    let (reviewer, mut server) = reviewer();
    let scrapes = [(); 20].map(|()| start(&reviewer, "Bearer secret"));
    server.answer(201, &token(true)).await;
    server.answer(201, &access(true)).await;
    // The mock server would answer no further request.
    for result in join_all(scrapes).await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    assert!(reviewer.state().flights.is_empty());
}

#[tokio::test]
async fn another_request_has_the_token_reviewed_if_the_first_one_ends_before() {
    let (reviewer, mut server) = reviewer();
    let digest = TokenDigest::of("secret");
    let (Step::Lead(sender), _) = reviewer.step(digest) else {
        panic!("nothing is known of the token")
    };
    let first = Flight {
        reviewer: &reviewer,
        digest,
        sender,
    };
    let scrape = start(&reviewer, "Bearer secret");
    tokio::task::yield_now().await;
    drop(first);
    server.answer(201, &token(true)).await;
    server.answer(201, &access(true)).await;
    assert_eq!(scrape.await.unwrap(), Ok(()));
}

/// Invalid tokens of one network: five are reviewed at once, and then one per second.
#[tokio::test]
async fn a_flood_of_invalid_tokens_does_not_reach_the_api_server() {
    let (reviewer, mut server) = reviewer();
    let (allowed, started) = (TokenDigest::of("secret"), Instant::now());
    reviewer.state().cache.insert(allowed, Verdict::Allowed, started);
    let invalid = |number| {
        let reviewer = Arc::clone(&reviewer);
        async move {
            let token = format!("Bearer invalid-{number}");
            let headers = [(AUTHORIZATION, HeaderValue::from_str(&token).unwrap())];
            let headers = headers.into_iter().collect();
            reviewer.authorize(SCRAPER, &headers).await
        }
    };
    let asked = Cell::new(0);
    let api_server = async {
        loop {
            server.answer(201, &token(false)).await;
            asked.set(asked.get() + 1);
        }
    };
    let results = tokio::select! {
        results = join_all((0..50).map(invalid)) => results,
        () = api_server => panic!("it does not end"),
    };
    let most = 5 + started.elapsed().as_secs() as usize;
    assert!((5..=most).contains(&asked.get()), "{} of {most}", asked.get());
    let refused = results.iter().filter(|result| **result == Err(Refusal::TooMany));
    assert_eq!(refused.count(), 50 - asked.get());
    let status = Refusal::TooMany.into_response().status();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(start(&reviewer, "Bearer secret").await.unwrap(), Ok(()));
}
