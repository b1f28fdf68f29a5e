//! Writes to the API server. All are idempotent: they use server-side apply, or names that identify the
//! content.

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
    store::{
        PolicyObject, StoredSlice, {self},
    },
};

/// A status to write.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The name of the policy.
    pub name: ObjectName,
    /// The uid of the policy: a later policy with this name must not get the status.
    pub uid: String,
    /// The status.
    pub status: XdpPolicyStatus,
}

/// Writes a status. Returns the policy as it is stored then.
pub async fn write_status(
    client: &Client,
    write: &StatusWrite,
) -> Result<Versioned<PolicyObject>, RequestError> {
    let api = untyped::<XdpPolicy>(client, &write.name.namespace);
    let answer = apply_status(&api, MANAGER, &write.name.name, &bodies::status(write)).await?;
    Ok(store::policy(&answer))
}

/// Writes or deletes a slice. Returns the slice as it is stored then.
pub async fn execute_step(client: &Client, step: &Step) -> Result<Versioned<StoredSlice>, RequestError> {
    match step {
        Step::Write(slice) => write_slice(client, slice).await,
        Step::Delete(name) => delete_slice(client, name).await,
    }
}

async fn write_slice(client: &Client, slice: &Slice) -> Result<Versioned<StoredSlice>, RequestError> {
    let api = untyped::<XdpPeerSet>(client, &slice.name.namespace);
    let answer = apply(&api, MANAGER, &slice.name.name, &bodies::slice(slice)).await?;
    Ok(store::peer_set(&answer))
}

async fn delete_slice(client: &Client, name: &ObjectName) -> Result<Versioned<StoredSlice>, RequestError> {
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
