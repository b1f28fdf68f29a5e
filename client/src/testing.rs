//! An API server for tests.

use axum::http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::Value;
use tower_test::mock::Handle;

pub(crate) struct MockServer(Handle<Request<Body>, Response<Body>>);

/// A request that the client sent.
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) body: Value,
}

/// Creates a client, and the server that it talks to.
pub(crate) fn mock() -> (Client, MockServer) {
    let (service, handle) = tower_test::mock::pair();
    (Client::new(service, "default"), MockServer(handle))
}

impl MockServer {
    /// Waits for a request and answers it.
    pub(crate) async fn answer(&mut self, status: u16, body: &Value) -> Sent {
        let (request, response) = self.0.next_request().await.expect("a request");
        let (parts, sent) = request.into_parts();
        let sent = sent.collect_bytes().await.expect("a body");
        let answer = Body::from(format!("{body}\n").into_bytes());
        let answer = Response::builder().status(status).body(answer);
        response.send_response(answer.expect("a valid answer"));
        Sent {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            body: serde_json::from_slice(&sent).unwrap_or_default(),
        }
    }
}
