//! The `SecurityContextConstraints` allow what the agent's pod asks for, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{find, pods, render};

const KIND: &str = "SecurityContextConstraints";

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[test]
fn the_constraints_allow_exactly_what_the_agents_pod_asks_for() {
    let values: Value = serde_saphyr::from_str(include_str!(
        "../../../../charts/xdp-operator/values-openshift.yaml"
    ))
    .unwrap();
    let openshift = format!("openshift={}", values["openshift"]);
    let selinux = format!("agent.seLinuxOptions={}", values["agent"]["seLinuxOptions"]);
    let secret = r#"metrics.certificateSecret="metrics-tls""#;
    let objects = render(&[&openshift, &selinux, secret]);
    let constraints = find(&objects, KIND, "xdp-agent").unwrap();
    let [agent, _] = pods(&objects);
    let container = &agent["containers"][0]["securityContext"];

    assert_eq!(
        names(&constraints["users"]),
        ["system:serviceaccount:xdp:xdp-agent"].into()
    );
    assert_eq!(
        names(&constraints["allowedCapabilities"]),
        names(&container["capabilities"]["add"])
    );
    assert_eq!(
        constraints["requiredDropCapabilities"],
        container["capabilities"]["drop"]
    );
    assert_eq!(
        constraints["readOnlyRootFilesystem"],
        container["readOnlyRootFilesystem"]
    );
    assert_eq!(constraints["allowPrivilegedContainer"], container["privileged"]);
    assert_eq!(
        constraints["allowPrivilegeEscalation"],
        container["allowPrivilegeEscalation"]
    );
    assert_eq!(constraints["allowHostNetwork"], agent["hostNetwork"]);
    assert_eq!(constraints["allowHostPID"], agent["hostPID"]);
    assert_eq!(constraints["allowHostIPC"], json!(false));
    assert_eq!(
        constraints["seLinuxContext"]["seLinuxOptions"],
        container["seLinuxOptions"]
    );
    assert_eq!(constraints["seccompProfiles"], json!(["runtime/default"]));
    let own = r#"agent.seccompProfile={"type": "Localhost", "localhostProfile": "operator/xdp-agent.json"}"#;
    let objects_with_own = render(&[&openshift, own]);
    let allowed = &find(&objects_with_own, KIND, "xdp-agent").unwrap()["seccompProfiles"];
    assert_eq!(*allowed, json!(["localhost/operator/xdp-agent.json"]));
    let volumes = agent["volumes"].as_array().unwrap().iter();
    let mut kinds: BTreeSet<&str> = volumes
        .flat_map(|volume| volume.as_object().unwrap().keys())
        .map(String::as_str)
        .filter(|key| *key != "name")
        .collect();
    // The token of the service account.
    kinds.insert("projected");
    assert_eq!(names(&constraints["volumes"]), kinds);
    assert_eq!(find(&render(&[]), KIND, "xdp-agent"), None);
}
