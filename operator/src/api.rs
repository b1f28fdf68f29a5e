//! Writes to the API server, all by server-side apply or with names that make repetition harmless.

mod bodies;
mod publish;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
pub use publish::Publisher;
use serde_json::Value;
use tokio::time;
use xdp_crds::{XdpNodeState, XdpPeerSet, XdpPolicy, XdpPolicyStatus};

use crate::{
    MANAGER,
    peers::{Slice, Step},
    world::{
        Item, Name, PeerSet, PolicyObject, {self},
    },
};

/// A server that takes longer has not answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// A write that was not done, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server refused, or could not be reached.
    #[error("{0}")]
    Refused(#[source] Box<kube::Error>),
    /// No answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The policy.
    pub name: Name,
    /// Its uid: the status of one policy is not that of its successor.
    pub uid: String,
    /// What to write.
    pub status: XdpPolicyStatus,
}

/// Access to objects of one kind in a namespace, whatever they contain.
pub fn objects<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<K>(&());
    if namespace.is_empty() {
        Api::all_with(client.clone(), &kind)
    } else {
        Api::namespaced_with(client.clone(), namespace, &kind)
    }
}

/// All policies.
pub fn policies(client: &Client) -> Api<DynamicObject> {
    objects::<XdpPolicy>(client, "")
}

/// All reports of agents.
pub fn node_states(client: &Client) -> Api<DynamicObject> {
    objects::<XdpNodeState>(client, "")
}

/// All slices.
pub fn peer_sets(client: &Client) -> Api<DynamicObject> {
    objects::<XdpPeerSet>(client, "")
}

/// Writes a status, and returns the policy as it is then.
pub async fn write_status(client: &Client, write: &StatusWrite) -> Result<Item<PolicyObject>, WriteError> {
    let api = objects::<XdpPolicy>(client, &write.name.namespace);
    let patch = Patch::Apply(bodies::status(write));
    let params = params();
    let answer = api.patch_status(&write.name.name, &params, &patch);
    Ok(world::policy(&answered(answer).await?))
}

/// Writes or deletes a slice; returns what is there then.
pub async fn take_step(client: &Client, step: &Step) -> Result<Item<PeerSet>, WriteError> {
    match step {
        Step::Write(slice) => write_slice(client, slice).await,
        Step::Delete(name) => delete_slice(client, name).await,
    }
}

async fn write_slice(client: &Client, slice: &Slice) -> Result<Item<PeerSet>, WriteError> {
    let api = objects::<XdpPeerSet>(client, &slice.name.namespace);
    let patch: Patch<Value> = Patch::Apply(bodies::slice(slice));
    let params = params();
    let answer = api.patch(&slice.name.name, &params, &patch);
    Ok(world::peer_set(&answered(answer).await?))
}

async fn delete_slice(client: &Client, name: &Name) -> Result<Item<PeerSet>, WriteError> {
    let api = objects::<XdpPeerSet>(client, &name.namespace);
    let params = DeleteParams::default();
    match answered(api.delete(&name.name, &params)).await {
        Err(WriteError::Refused(error)) if is_status(&error, 404) => {}
        answer => drop(answer?),
    }
    Ok(Item {
        name: name.clone(),
        version: u64::MAX,
        value: None,
    })
}

/// Waits for an answer, but not for ever.
pub async fn answered<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| WriteError::Refused(Box::new(error))),
        Err(_) => Err(WriteError::Silent),
    }
}

/// Whether the API server answered with this HTTP status.
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

fn params() -> PatchParams {
    // Nobody else writes these fields; should somebody have, the truth is not theirs.
    PatchParams::apply(MANAGER).force()
}
