//! Writes the node's state when it differs from the stored one, at most once per second.

use std::time::Duration;

use kube::{Api, Client, core::DynamicObject};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::debug;
use xdp_client::{
    apply::{RequestError, StatusWriter, apply},
    backoff::{Backoff, jitter},
    object::untyped,
};
use xdp_crds::{API_VERSION, XdpNodeState, XdpNodeStateStatus};

use crate::source::cluster::{
    Shared,
    objects::{Node, Written, written},
    problems::RequestFailure,
    write::{Step, next},
};

/// The field manager of what the agent applies.
const MANAGER: &str = "xdp-agent";
/// Shortest time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pauses after failed writes.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Writes for as long as the process runs.
pub(super) async fn run(client: &Client, shared: &Shared) {
    let mut writer = Writer {
        api: untyped::<XdpNodeState>(client, ""),
        shared,
        answered: None,
        statuses: StatusWriter::new(MANAGER),
    };
    let mut failures = 0;
    loop {
        shared.writer.notified().await;
        while let Some(outcome) = writer.write().await {
            let pause = if outcome.is_ok() {
                failures = 0;
                INTERVAL
            } else {
                failures += 1;
                BACKOFF.delay(failures - 1, jitter())
            };
            shared.metrics.status_written(outcome.is_ok());
            if shared.cache().set_write_outcome(outcome) {
                (shared.wake)();
            }
            sleep(pause).await;
        }
    }
}

struct Writer<'a> {
    api: Api<DynamicObject>,
    shared: &'a Shared,
    /// What the watch had stored when the API server last answered a write, and the answer. The answer is
    /// newer until the watch stores something else.
    answered: Option<(Option<Written>, Written)>,
    statuses: StatusWriter<XdpNodeStateStatus>,
}

/// What the writer reads from the cache.
struct Inputs {
    status: Option<XdpNodeStateStatus>,
    node: Option<Node>,
    watched: Option<Written>,
}

impl Writer<'_> {
    /// Writes what differs. Returns `None` if nothing does.
    async fn write(&mut self) -> Option<Result<(), RequestFailure>> {
        let Inputs {
            status,
            node,
            watched,
        } = self.read()?;
        let stored = match &self.answered {
            Some((before, answer)) if *before == watched => Some(answer),
            _ => watched.as_ref(),
        };
        let step = next(status.as_ref(), node.as_ref(), stored, &self.statuses);
        let (status, node) = (status?, node?);
        debug!(?step, "next write of the node's state");
        let answer = match step {
            Step::Nothing => return None,
            Step::Object => match self.apply_object(&node).await {
                Ok(_) => self.statuses.write(&self.api, self.object(), status).await,
                Err(error) => Err(error),
            },
            Step::Status => self.statuses.write(&self.api, self.object(), status).await,
        };
        Some(match answer {
            Ok(answer) => {
                self.answered = Some((watched, written(answer)));
                Ok(())
            }
            Err(error) => Err(RequestFailure::from(&error)),
        })
    }

    /// Returns `None` until the watch of the node's state is complete.
    fn read(&self) -> Option<Inputs> {
        let cache = self.shared.cache();
        cache.written.is_complete().then(|| Inputs {
            status: cache.status().cloned(),
            node: cache.node().cloned(),
            watched: cache.written.values().next().cloned(),
        })
    }

    /// Applies the object with the node as its owner, so that it is deleted with the node.
    async fn apply_object(&self, node: &Node) -> Result<DynamicObject, RequestError> {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": self.shared.node, "uid": node.uid});
        let mut object = self.object();
        object["metadata"]["ownerReferences"] = json!([owner]);
        object["spec"] = json!({});
        apply(&self.api, MANAGER, &self.shared.node, &object).await
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "XdpNodeState",
            "metadata": {"name": self.shared.node},
        })
    }
}
