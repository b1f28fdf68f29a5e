use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};
use xdp_client::object::ObjectName;
use xdp_crds::conditions::accepted;

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn read(spec: &Value) -> PolicyObject {
    let object = object(json!({
        "apiVersion": "xdp-operator.io/v1alpha1", "kind": "XdpPolicy",
        "metadata": {"namespace": "games", "name": "players", "uid": "u", "generation": 3, "resourceVersion": "17"},
        "spec": spec,
        "status": {"nodes": {"selected": 2, "programmed": 1}},
    }));
    let item = policy(&object);
    assert_eq!(
        (item.name, item.version),
        (ObjectName::new("games", "players"), 17)
    );
    item.value.unwrap()
}

#[test]
fn what_a_node_reported_is_known_until_nobody_hears_from_it() {
    let mut world = World::default();
    let state: DynamicObject =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"agentVersion": "1"}})).unwrap();
    world.apply(Change::NodeState(Event::Apply(node_state(&state))));
    let mut heard = |ready: &str| {
        let object = json!({"metadata": {"name": "a"}, "status": {"conditions": [
            {"type": "MemoryPressure", "status": "Unknown"}, {"type": "Ready", "status": ready}]}});
        let object: k8s_openapi::api::core::v1::Node = serde_json::from_value(object).unwrap();
        world.apply(Change::Node(Event::Apply(node(&object))));
        !matches!(world.report("a"), Report::Unreachable)
    };
    // A node that is not ready for pods may have an agent that works.
    assert!(heard("True") && heard("False") && !heard("Unknown") && heard("True"));
    assert!(matches!(world.report("a"), Report::State(_)));
    assert!(matches!(world.report("b"), Report::Missing));
}

#[test]
fn what_a_node_reported_before_it_was_started_anew_does_not_count() {
    let object: k8s_openapi::api::core::v1::Node = serde_json::from_value(json!({"metadata": {"name": "a"},
        "status": {"nodeInfo": {"architecture": "", "bootID": "second", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
            "operatingSystem": "", "osImage": "", "systemUUID": ""}}}))
    .unwrap();
    for (boot, counts) in [("first", false), ("second", true), ("", true)] {
        let mut world = World::default();
        let state: DynamicObject = serde_json::from_value(json!({"metadata": {"name": "a"},
            "status": {"agentVersion": "1", "kernelVersion": "6", "bootId": boot}}))
        .unwrap();
        world.apply(Change::Node(Event::Apply(node(&object))));
        world.apply(Change::NodeState(Event::Apply(node_state(&state))));
        assert_eq!(matches!(world.report("a"), Report::State(_)), counts, "{boot}");
        assert_eq!(matches!(world.report("a"), Report::FormerBoot), !counts, "{boot}");
    }
}

#[test]
fn a_valid_policy_is_read_with_its_status() {
    let policy = read(&json!({"podSelector": {}, "priority": 7}));
    assert_eq!(policy.content.unwrap().priority, 7);
    assert_eq!(policy.status.unwrap().nodes.selected, 2);
    assert_eq!((policy.uid.as_str(), policy.generation), ("u", 3));
}

#[test]
fn a_policy_that_does_not_fit_its_type_is_refused_with_the_path_of_the_field() {
    let rule = json!({"name": "a", "action": "Redirect", "ports": [{"protocol": "UDP", "port": true}]});
    let refusal = read(&json!({"podSelector": {}, "ingress": [rule]}))
        .content
        .unwrap_err();
    assert_eq!(refusal.reason, accepted::INVALID_SPEC);
    assert!(
        refusal
            .message
            .starts_with("`spec.ingress[0].ports[0].port`: invalid type: boolean `true`"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_policy_without_a_spec_is_refused_like_any_other() {
    let object = object(json!({"metadata": {"name": "a", "namespace": "b"}}));
    let refusal = policy(&object).value.unwrap().content.unwrap_err();
    assert!(
        refusal.message.starts_with("`spec`: is missing"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_policy_that_is_not_valid_says_what_to_write_instead() {
    let rule = json!({"name": "a", "action": "Drop", "from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]});
    let refusal = read(&json!({"podSelector": {}, "ingress": [rule]}))
        .content
        .unwrap_err();
    assert_eq!(refusal.reason, accepted::INVALID_SPEC);
    assert_eq!(
        refusal.message,
        "`spec.ingress[0].from[0].ipBlock.cidr` is `10.0.0.1/8`: bits are set beyond the prefix; write `10.0.0.0/8`, \
         or a longer prefix"
    );
}

#[test]
fn a_report_that_cannot_be_read_says_where() {
    let object = object(json!({"metadata": {"name": "n"}, "status": {"agentVersion": 1}}));
    let NodeState(state) = node_state(&object).value.unwrap();
    assert_eq!(state.unwrap_err().field, "status.agentVersion");
}

#[test]
fn before_the_first_report_there_is_none() {
    assert_eq!(
        node_state(&object(json!({"metadata": {"name": "n"}}))).value,
        None
    );
}

#[test]
fn a_pod_is_read_without_what_does_not_matter_and_not_at_all_if_its_address_is_none() {
    let read = |ip: &str| {
        let pod_object = serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "p"},
            "status": {"podIP": ip},
        }));
        pod(&pod_object.unwrap()).value
    };
    assert_eq!(read("10.0.0.1").unwrap().addresses.len(), 1);
    assert_eq!(read("ten"), None);
}
