//! Writes to the API server by server-side apply.

use std::time::Duration;

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that failed, or whose result is unknown.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server refused the request, or cannot be reached.
    #[error("{0}")]
    Refused(#[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    NoAnswer,
}

impl RequestError {
    /// Returns whether the API server answered with this HTTP status.
    pub fn is_status(&self, code: u16) -> bool {
        match self {
            Self::Refused(error) => crate::is_status(error, code),
            Self::NoAnswer => false,
        }
    }
}

/// Waits for an answer of the API server, for a bounded time.
pub async fn answered<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, RequestError> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| RequestError::Refused(Box::new(error))),
        Err(_) => Err(RequestError::NoAnswer),
    }
}

/// Applies an object as `manager`. Fields that another manager owns are taken over: only this manager should
/// write them.
pub async fn apply(
    api: &Api<DynamicObject>,
    manager: &str,
    name: &str,
    object: &Value,
) -> Result<DynamicObject, RequestError> {
    answered(api.patch(name, &params(manager), &Patch::Apply(object))).await
}

/// Applies the status of an object as `manager`, as [`apply`] does.
pub async fn apply_status(
    api: &Api<DynamicObject>,
    manager: &str,
    name: &str,
    object: &Value,
) -> Result<DynamicObject, RequestError> {
    answered(api.patch_status(name, &params(manager), &Patch::Apply(object))).await
}

fn params(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

/// Writes the status of one object, and only if it differs from the stored one.
#[derive(Debug)]
pub struct StatusWriter<T> {
    manager: &'static str,
    /// The last status written, and what the API server stored for it.
    last: Option<(T, Value)>,
}

impl<T: Serialize + PartialEq> StatusWriter<T> {
    /// Creates a writer for a field manager.
    pub const fn new(manager: &'static str) -> Self {
        Self { manager, last: None }
    }

    /// Returns whether `status` has to be written over `stored`. It has not if the API server stores it in
    /// another form (without a field that its schema lacks, for example): a second write would change
    /// nothing.
    pub fn must_write(&self, status: &T, stored: &Value) -> bool {
        let unchanged = |(written, answer): &(T, Value)| written == status && answer == stored;
        let equal = serde_json::to_value(status).is_ok_and(|status| status == *stored);
        !equal && !self.last.as_ref().is_some_and(unchanged)
    }

    /// Writes `status` to `object`, which has the kind and the name. Returns the object as the API server
    /// stores it.
    pub async fn write(
        &mut self,
        api: &Api<DynamicObject>,
        mut object: Value,
        status: T,
    ) -> Result<DynamicObject, RequestError> {
        object["status"] = json!(status);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let answer = apply_status(api, self.manager, &name, &object).await?;
        let stored = answer.data.get("status").cloned().unwrap_or_default();
        self.last = Some((status, stored));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use super::*;
    use crate::{
        object::untyped,
        testing::{MockServer, mock},
    };

    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Status {
        a: u32,
        b: u32,
    }

    fn node() -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    }

    fn stored(status: &Value) -> Value {
        let mut object = node();
        object["status"] = status.clone();
        object
    }

    #[test]
    fn an_equal_status_is_not_written() {
        let writer = StatusWriter::new("test");
        let status = Status { a: 1, b: 2 };
        assert!(!writer.must_write(&status, &json!({"a": 1, "b": 2})));
        assert!(writer.must_write(&status, &json!({"a": 1})));
        assert!(writer.must_write(&status, &Value::Null));
    }

    async fn answer(mut server: MockServer, status: Value) -> (MockServer, String, Value) {
        let sent = server.answer(200, &stored(&status)).await;
        assert_eq!(sent.method, "PATCH");
        (server, sent.uri, sent.body)
    }

    #[tokio::test]
    async fn a_status_that_the_server_stores_in_another_form_is_written_once() {
        let (client, server) = mock();
        let api = untyped::<Node>(&client, "");
        let mut writer = StatusWriter::new("test");
        let status = Status { a: 1, b: 2 };
        let stored = json!({"a": 1});
        assert!(writer.must_write(&status, &stored));
        let server = tokio::spawn(answer(server, stored.clone()));
        writer.write(&api, node(), status.clone()).await.unwrap();
        let (_server, uri, body) = server.await.unwrap();
        assert!(
            uri.contains("/nodes/node-1/status") && uri.contains("fieldManager=test"),
            "{uri}"
        );
        assert_eq!(body["status"], json!({"a": 1, "b": 2}));

        assert!(!writer.must_write(&status, &stored));
        assert!(writer.must_write(&Status { a: 2, b: 2 }, &stored), "a new status");
        assert!(
            writer.must_write(&status, &json!({"a": 3})),
            "another writer changed it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
        let (client, _server) = mock();
        let api = untyped::<Node>(&client, "");
        let error = apply(&api, "test", "node-1", &node()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 10 s");
        assert!(!error.is_status(404));
    }

    #[tokio::test]
    async fn a_refusal_has_the_status_of_the_answer() {
        let (client, mut server) = mock();
        let api = untyped::<Node>(&client, "");
        let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409,
            "reason": "Conflict", "message": "no"});
        let server = tokio::spawn(async move {
            server.answer(409, &refusal).await;
            server
        });
        let error = apply(&api, "test", "node-1", &node()).await.unwrap_err();
        assert!(error.is_status(409), "{error:?}");
        drop(server.await.unwrap());
    }
}
