//! Bodies of requests.

use serde_json::{Value, json};
use xdp_crds::{API_VERSION, PEER_SET_LABEL};

use super::StatusWrite;
use crate::{MANAGER, peers::Slice};

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
    labels[PEER_SET_LABEL] = json!(slice.set.as_str());
    json!({
        "apiVersion": API_VERSION,
        "kind": "XdpPeerSet",
        "metadata": {
            "name": slice.name.name,
            "namespace": slice.name.namespace,
            "labels": labels,
        },
        "spec": slice.spec,
    })
}
