//! Events.

use std::{collections::BTreeMap, hash::Hasher};

use fnv::FnvHasher;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use xdp_client::apply::{RequestError, answered};

use crate::{MANAGER, announce::Note};

/// As many Events are remembered as there can be NICs and policies with problems at once; the API server forgets them
/// after an hour anyway.
const REMEMBERED: usize = 10_000;

/// Makes Events. One with the same content is counted, not made again, also when another process made it.
pub struct Publisher {
    client: Client,
    me: String,
    counts: BTreeMap<String, i32>,
}

impl Publisher {
    /// Reports in the name of a process.
    pub fn new(client: Client, me: impl Into<String>) -> Self {
        Self {
            client,
            me: me.into(),
            counts: BTreeMap::new(),
        }
    }

    /// Makes an Event, or counts it once more.
    pub async fn publish(&mut self, note: &Note) -> Result<(), RequestError> {
        let namespace = match note.name.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let now = Timestamp::now();
        let event = event(note, namespace, &self.me, now);
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
            // Another process has made it before.
            Err(error) if error.is_status(409) => {}
            answer => drop(answer?),
        }
        if self.counts.len() >= REMEMBERED {
            self.counts.clear();
        }
        self.counts.insert(name, 1);
        Ok(())
    }
}

fn event(note: &Note, namespace: &str, me: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name(note)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some(note.action.to_owned()),
        reason: Some(note.reason.clone()),
        note: Some(note.text.clone()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(note.api_version.to_owned()),
            kind: Some(note.kind.to_owned()),
            name: Some(note.name.name.clone()),
            namespace: Some(note.name.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(note.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("{}/{MANAGER}", xdp_crds::GROUP)),
        reporting_instance: Some(me.to_owned()),
        ..Event::default()
    }
}

/// A name that says what it is about: who makes the same again is told that it exists.
pub(super) fn name(note: &Note) -> String {
    let mut hasher = FnvHasher::default();
    for part in [&note.uid, &note.reason, &note.topic] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    let shown: String = note.name.name.chars().take(200).collect();
    let shown = shown.trim_end_matches(['-', '.']);
    format!("{shown}.{:016x}", hasher.finish())
}
