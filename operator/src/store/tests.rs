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
        "metadata": {"namespace": "games", "name": "players", "uid": "u", "generation": 3,
            "resourceVersion": "17"},
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
fn a_report_counts_until_the_node_is_unreachable() {
    let mut cluster = ClusterState::default();
    let state: DynamicObject =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"agentVersion": "1"}})).unwrap();
    cluster.apply(StoreEvent::NodeState(Event::Apply(node_state(&state))));
    let mut heard = |ready: &str| {
        let object = json!({"metadata": {"name": "a"}, "status": {"conditions": [
            {"type": "MemoryPressure", "status": "Unknown"}, {"type": "Ready", "status": ready}]}});
        let object: k8s_openapi::api::core::v1::Node = serde_json::from_value(object).unwrap();
        cluster.apply(StoreEvent::Node(Event::Apply(node(&object))));
        !matches!(cluster.report("a"), AgentReport::Unreachable)
    };
    // A node that is not ready for pods may have an agent that works.
    assert!(heard("True") && heard("False") && !heard("Unknown") && heard("True"));
    assert!(matches!(cluster.report("a"), AgentReport::State(_)));
    assert!(matches!(cluster.report("b"), AgentReport::Missing));
}

#[test]
fn a_report_from_before_a_restart_does_not_count() {
    let object: k8s_openapi::api::core::v1::Node = serde_json::from_value(json!({"metadata": {"name": "a"},
        "status": {"nodeInfo": {"architecture": "", "bootID": "second", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
            "operatingSystem": "", "osImage": "", "systemUUID": ""}}}))
    .unwrap();
    for (boot, counts) in [("first", false), ("second", true), ("", true)] {
        let mut cluster = ClusterState::default();
        let state: DynamicObject = serde_json::from_value(json!({"metadata": {"name": "a"},
            "status": {"agentVersion": "1", "kernelVersion": "6", "bootId": boot}}))
        .unwrap();
        cluster.apply(StoreEvent::Node(Event::Apply(node(&object))));
        cluster.apply(StoreEvent::NodeState(Event::Apply(node_state(&state))));
        assert_eq!(
            matches!(cluster.report("a"), AgentReport::State(_)),
            counts,
            "{boot}"
        );
        assert_eq!(
            matches!(cluster.report("a"), AgentReport::FormerBoot),
            !counts,
            "{boot}"
        );
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
fn a_malformed_policy_is_refused_with_the_path_of_the_field() {
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
fn an_invalid_policy_is_refused_with_a_remedy() {
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
fn an_invalid_report_names_the_field() {
    let object = object(json!({"metadata": {"name": "n"}, "status": {"agentVersion": 1}}));
    let ReportedState(state) = node_state(&object).value.unwrap();
    assert_eq!(state.unwrap_err().field, "status.agentVersion");
}

#[test]
fn a_state_without_a_status_is_no_report() {
    assert_eq!(
        node_state(&object(json!({"metadata": {"name": "n"}}))).value,
        None
    );
}

#[test]
fn a_pod_with_an_invalid_address_has_no_value() {
    let read = |ip: &str| {
        let pod_object = serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "p"},
            "status": {"podIP": ip},
        }));
        pod(pod_object.unwrap()).value
    };
    assert_eq!(read("10.0.0.1").unwrap().addresses.len(), 1);
    assert_eq!(read("ten"), None);
}

#[test]
fn a_mark_outside_the_mask_is_refused_by_name_whichever_event_brings_the_policy() {
    let object = object(json!({
        "metadata": {"namespace": "games", "name": "players", "uid": "u"},
        "spec": {"podSelector": {}, "ingress": [{"name": "a", "action": "Redirect", "mark": 0x4000}]},
    }));
    let content = |mask, event: fn(_) -> _| {
        let mut cluster = ClusterState {
            marks: MarkMask(mask),
            ..ClusterState::default()
        };
        let event = event(policy(&object));
        let is_listed = matches!(event, Event::InitApply(_));
        let mut events = vec![Event::Init, event, Event::InitDone];
        if !is_listed {
            events.swap(1, 2);
        }
        for event in events {
            cluster.apply(StoreEvent::Policy(event));
        }
        let name = ObjectName::new("games", "players");
        cluster.policies.get(&name).unwrap().content.clone().map(drop)
    };
    for event in [Event::Apply, Event::InitApply] {
        let refusal = content(0x3fff, event).unwrap_err();
        assert_eq!(refusal.reason, accepted::INVALID_SPEC);
        assert_eq!(
            refusal.message,
            "`spec.ingress[0].mark` is `16384`: its bits 0x4000 are outside the administrator's mask 0x3fff; use a \
             mark with no bits outside 0x3fff, or ask the administrator to set `allowedMarkMask`"
        );
        assert_eq!(content(0x7fff, event), Ok(()));
    }
}
