//! Writes the node's state: when it differs from what the API server has, at most once a second.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::debug;
use xdp_crds::{API_VERSION, XdpNodeState, XdpNodeStateStatus};

use crate::source::cluster::{
    Shared, objects,
    objects::{Node, Written},
    problems::Trouble,
    watch,
    write::{Sent, Step, next},
};

/// The field manager of what the agent applies.
const MANAGER: &str = "xdp-agent";
/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// First and longest pause after a write that failed.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Writes for as long as the process runs.
pub(super) async fn write(client: &Client, shared: &Shared) {
    let mut writer = Writer {
        api: watch::any::<XdpNodeState>(client),
        shared,
        answered: None,
        sent: None,
    };
    let mut pause = PAUSE.0;
    loop {
        shared.poke.notified().await;
        while let Some(outcome) = writer.write().await {
            let wait = if outcome.is_ok() { INTERVAL } else { pause };
            pause = if outcome.is_ok() {
                PAUSE.0
            } else {
                (pause * 2).min(PAUSE.1)
            };
            shared.metrics.status_written(outcome.is_ok());
            if shared.cache().wrote(outcome) {
                (shared.wake)();
            }
            sleep(wait).await;
        }
    }
}

struct Writer<'a> {
    api: Api<DynamicObject>,
    shared: &'a Shared,
    /// What the watch said when the API server last answered, and the answer: it counts until the watch says something
    /// else.
    answered: Option<(Option<Written>, Written)>,
    sent: Option<Sent>,
}

impl Writer<'_> {
    /// Writes what is to be written; `None`: nothing.
    async fn write(&mut self) -> Option<Result<(), Trouble>> {
        let (status, node, watched) = self.read()?;
        let written = match &self.answered {
            Some((before, answer)) if *before == watched => Some(answer),
            _ => watched.as_ref(),
        };
        let step = next(status.as_ref(), node.as_ref(), written, self.sent.as_ref());
        let (status, node) = (status?, node?);
        debug!(?step, "node state");
        let answer = match step {
            Step::Nothing => return None,
            Step::Object => match self.apply(&node).await {
                Ok(_) => self.apply_status(&status).await,
                Err(error) => Err(error),
            },
            Step::Status => self.apply_status(&status).await,
        };
        Some(match answer {
            Ok(answer) => {
                let answer = objects::written(answer);
                self.sent = Some(Sent {
                    status,
                    answer: answer.status.clone(),
                });
                self.answered = Some((watched, answer));
                Ok(())
            }
            Err(error) => Err(Trouble::from(&error)),
        })
    }

    /// What is to be said, by whom, and what the watch last said; `None` before it has said anything.
    fn read(&self) -> Option<(Option<XdpNodeStateStatus>, Option<Node>, Option<Written>)> {
        let cache = self.shared.cache();
        cache.written.known().then(|| {
            let watched = cache.written.values().next();
            (cache.status().cloned(), cache.node().cloned(), watched.cloned())
        })
    }

    /// The object goes with its node: that is all that holds it.
    async fn apply(&self, node: &Node) -> kube::Result<DynamicObject> {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": self.shared.node, "uid": node.uid});
        let mut object = self.object();
        object["metadata"]["ownerReferences"] = json!([owner]);
        object["spec"] = json!({});
        self.api
            .patch(&self.shared.node, &params(), &Patch::Apply(object))
            .await
    }

    async fn apply_status(&self, status: &XdpNodeStateStatus) -> kube::Result<DynamicObject> {
        let mut object = self.object();
        object["status"] = json!(status);
        self.api
            .patch_status(&self.shared.node, &params(), &Patch::Apply(object))
            .await
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "XdpNodeState",
            "metadata": {"name": self.shared.node},
        })
    }
}

fn params() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}
