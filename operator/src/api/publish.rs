//! Creates Events.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use ring::digest::{SHA256, digest};
use serde_json::json;
use xdp_client::apply::{RequestError, answered};

use crate::{MANAGER, events::EventDraft};

/// The number of remembered Events: more than there are NICs and policies with problems. The API server
/// deletes Events after an hour.
const MAX_REMEMBERED: usize = 10_000;

/// Creates Events. A repetition increases the count of the existing Event, also if another process created
/// that.
pub struct Publisher {
    client: Client,
    identity: String,
    counts: BTreeMap<String, i32>,
}

impl Publisher {
    /// Creates a publisher that reports as `identity`.
    pub fn new(client: Client, identity: impl Into<String>) -> Self {
        Self {
            client,
            identity: identity.into(),
            counts: BTreeMap::new(),
        }
    }

    /// Creates an Event, or increases the count of an existing one.
    pub async fn publish(&mut self, draft: &EventDraft) -> Result<(), RequestError> {
        let namespace = match draft.name.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let now = Timestamp::now();
        let event = event(draft, namespace, &self.identity, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        if let Some(count) = self.counts.get_mut(&name) {
            *count += 1;
            let series = json!({"series": {"count": *count, "lastObservedTime": MicroTime(now)}});
            let params = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            match answered(api.patch(&name, &params, &Patch::Merge(series))).await {
                Err(error) if error.is_status(404) => {}
                answer => return answer.map(drop),
            }
        }
        match answered(api.create(&PostParams::default(), &event)).await {
            // Another process has created the Event.
            Err(error) if error.is_status(409) => {}
            answer => drop(answer?),
        }
        if self.counts.len() >= MAX_REMEMBERED {
            self.counts.clear();
        }
        self.counts.insert(name, 1);
        Ok(())
    }
}

fn event(draft: &EventDraft, namespace: &str, identity: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name(draft)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some(draft.action.to_owned()),
        reason: Some(draft.reason.clone()),
        note: Some(draft.message.clone()),
        type_: Some(if draft.warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(draft.api_version.to_owned()),
            kind: Some(draft.kind.to_owned()),
            name: Some(draft.name.name.clone()),
            namespace: Some(draft.name.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(draft.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("{}/{MANAGER}", xdp_crds::GROUP)),
        reporting_instance: Some(identity.to_owned()),
        ..Event::default()
    }
}

/// Returns a name that identifies the content, so that the API server refuses a second Event with the
/// content.
pub(super) fn name(draft: &EventDraft) -> String {
    let text = [draft.uid.as_str(), &draft.reason, &draft.topic].join("\0");
    let hash = digest(&SHA256, text.as_bytes());
    let hash: String = hash.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let shown: String = draft.name.name.chars().take(200).collect();
    let shown = shown.trim_end_matches(['-', '.']);
    format!("{shown}.{hash}")
}
