//! Writes to the API server, all by server-side apply or with names that make repetition harmless.

mod bodies;
mod publish;
#[cfg(test)]
pub(crate) mod tests;

use kube::{Client, api::DeleteParams};
pub use publish::Publisher;
use xdp_client::{
    apply::{RequestError, answered, apply, apply_status},
    object::{ObjectName, Versioned, untyped},
};
use xdp_crds::{XdpPeerSet, XdpPolicy, XdpPolicyStatus};

use crate::{
    MANAGER,
    peers::{Slice, Step},
    world::{
        PeerSet, PolicyObject, {self},
    },
};

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The policy.
    pub name: ObjectName,
    /// Its uid: the status of one policy is not that of its successor.
    pub uid: String,
    /// What to write.
    pub status: XdpPolicyStatus,
}

/// Writes a status, and returns the policy as it is then.
pub async fn write_status(
    client: &Client,
    write: &StatusWrite,
) -> Result<Versioned<PolicyObject>, RequestError> {
    let api = untyped::<XdpPolicy>(client, &write.name.namespace);
    let answer = apply_status(&api, MANAGER, &write.name.name, &bodies::status(write)).await?;
    Ok(world::policy(&answer))
}

/// Writes or deletes a slice; returns what is there then.
pub async fn take_step(client: &Client, step: &Step) -> Result<Versioned<PeerSet>, RequestError> {
    match step {
        Step::Write(slice) => write_slice(client, slice).await,
        Step::Delete(name) => delete_slice(client, name).await,
    }
}

async fn write_slice(client: &Client, slice: &Slice) -> Result<Versioned<PeerSet>, RequestError> {
    let api = untyped::<XdpPeerSet>(client, &slice.name.namespace);
    let answer = apply(&api, MANAGER, &slice.name.name, &bodies::slice(slice)).await?;
    Ok(world::peer_set(&answer))
}

async fn delete_slice(client: &Client, name: &ObjectName) -> Result<Versioned<PeerSet>, RequestError> {
    let api = untyped::<XdpPeerSet>(client, &name.namespace);
    let params = DeleteParams::default();
    match answered(api.delete(&name.name, &params)).await {
        Err(error) if error.is_status(404) => {}
        answer => drop(answer?),
    }
    Ok(Versioned {
        name: name.clone(),
        version: u64::MAX,
        value: None,
    })
}
