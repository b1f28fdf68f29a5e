//! The made-up nodes, namespaces, and reports of agents.

use serde_json::{Value, json};

use super::node_name;

pub(super) fn node(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node_name(number)}})
}

/// Returns a namespace, and the account that its pods need.
pub(super) fn namespace(name: &str, labels: &Value) -> [Value; 2] {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": name}});
    [namespace, account]
}

/// Returns the state of a node, for which the given policies are programmed, each for this many pods: names,
/// uid, generation.
pub(super) fn node_state(version: &str, policies: &[(String, String, String, i64, usize)]) -> Value {
    let policies: Vec<Value> = policies
        .iter()
        .map(|(namespace, name, uid, generation, pods)| {
            json!({
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "observedGeneration": generation,
                "programmed": true,
                "reason": "Programmed",
                "message": "",
                "pods": {"selected": pods, "programmed": pods},
            })
        })
        .collect();
    json!({"status": {
        "agentVersion": version,
        "kernelVersion": "6.12.48",
        "summary": {
            "nics": "eth0", "drivers": "mlx5_core", "mode": "Native",
            "policies": policies.len(), "programmed": policies.len(), "problems": 0,
        },
        "nics": [{
            "name": "eth0", "driver": "mlx5_core", "pciAddress": "0000:3b:00.0", "mtu": 1500,
            "mode": "Native", "programId": 42, "programTag": "3b185187f1855c4c",
            "features": ["basic", "redirect", "ndo-xmit"], "replyPath": "Attached",
        }],
        "policies": policies,
    }})
}
