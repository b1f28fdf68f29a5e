//! A bad object does not affect any other object.

use std::path::Path;

use anyhow::ensure;
use serde_json::json;
use xdp_e2e::installed::{API, ClusterPodSpec, Installation, condition};

use crate::fixture::{PLAYERS, deliver};

/// Returns rules with 600 separate ports. Each port is an interval, and so is the gap before it: more than
/// the 1024 intervals that are allowed.
pub(crate) fn too_many_ports() -> Vec<String> {
    let port = |number: u32| format!("{{protocol: UDP, port: {}}}", 2 * number);
    let rule = |number: u32| {
        let ports: Vec<String> = (60 * number..60 * (number + 1)).map(port).collect();
        format!(
            "{{name: much{number}, ports: [{}], action: Drop}}",
            ports.join(", ")
        )
    };
    (0..10).map(rule).collect()
}

#[test]
fn a_policy_beyond_the_limits_is_refused_as_a_whole_and_other_policies_of_its_pods_work() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("too-much").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
    let spec = "podSelector: {}\npriority: 1";
    let rules = too_many_ports();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    space.policy_with("much", spec, &rules).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    let refused = space.until_not_programmed("much", "LimitExceeded").unwrap();
    let message = condition(&refused, "Programmed").unwrap()["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("MAX_PORT_INTERVALS is 1024"), "{message}");
    assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 42), 20);
}

/// Stored objects can be malformed after an upgrade that makes the definition stricter.
#[test]
fn a_malformed_object_stops_neither_running_nor_new_agents() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("unreadable").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 2)).unwrap();
    let relaxed = RelaxedSchema::new(installed);
    let malformed = json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {"name": "aaa-malformed"},
        "spec": {"podSelector": 7, "ingress": "all of them"},
    });
    // The API server takes a moment to load the definition.
    let stored = installed.until("the malformed object is stored", || {
        space.apply(&malformed.to_string())
    });
    stored.unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 42), 20);

    installed.replace_agent(pod.node).unwrap();
    space
        .policy("game", "game", &[&PLAYERS.replace("42", "43")])
        .unwrap();
    space.until_programmed("game", 1).unwrap();
    assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 43), 20);
    let refused = space
        .until_policy("aaa-malformed", "it is not accepted", |policy| {
            condition(policy, "Accepted").is_some_and(|condition| condition["status"] == "False")
        })
        .unwrap();
    assert_eq!(condition(&refused, "Accepted").unwrap()["reason"], "InvalidSpec");
    space.kubectl(&["delete", "xdppolicy", "aaa-malformed"]).unwrap();
    drop(relaxed);
    let dry = format!("{API}/namespaces/{}/xdppolicies?dryRun=All", space.name);
    let strict = installed.until("a malformed object is refused again", || {
        let (status, answer) = installed.post(&dry, &malformed)?;
        ensure!(status == 422, "{status}: {answer}");
        Ok(())
    });
    strict.unwrap();
}

/// Makes the definition accept any `spec`, and restores it when dropped.
struct RelaxedSchema<'a>(&'a Installation);

impl<'a> RelaxedSchema<'a> {
    fn new(installed: &'a Installation) -> Self {
        let anything = json!([{
            "op": "replace",
            "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
            "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }]);
        let relaxed = Self(installed);
        let patch = anything.to_string();
        let arguments = [
            "patch",
            "crd",
            "xdppolicies.xdp-operator.io",
            "--type=json",
            "-p",
            &patch,
        ];
        installed.kubectl(&arguments).unwrap();
        relaxed
    }
}

impl Drop for RelaxedSchema<'_> {
    fn drop(&mut self) {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = own.join("../charts/xdp-operator/crds/xdppolicies.yaml");
        let file = file.to_str().unwrap();
        // The tests of validation need it.
        let _ = self.0.try_kubectl(&["replace", "-f", file]);
    }
}
