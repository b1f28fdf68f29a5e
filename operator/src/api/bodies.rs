//! Bodies of requests.

use serde_json::{Value, json};
use xdp_crds::API_VERSION;

use super::StatusWrite;
use crate::{MANAGER, peers::Slice};

/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

pub(super) fn status(write: &StatusWrite) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "XdpPolicy",
        "metadata": {"name": write.name.name, "namespace": write.name.namespace, "uid": write.uid},
        "status": write.status,
    })
}

pub(super) fn slice(slice: &Slice) -> Value {
    let mut labels = json!({"app.kubernetes.io/managed-by": MANAGER});
    if slice.owner.name.len() <= LONGEST_LABEL {
        labels["xdp-operator.io/policy"] = json!(slice.owner.name);
    }
    let owner = json!({
        "apiVersion": API_VERSION,
        "kind": "XdpPolicy",
        "name": slice.owner.name,
        "uid": slice.owner.uid,
        "controller": true,
    });
    json!({
        "apiVersion": API_VERSION,
        "kind": "XdpPeerSet",
        "metadata": {
            "name": slice.name.name,
            "namespace": slice.name.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": slice.spec,
    })
}
