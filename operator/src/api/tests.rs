use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use xdp_client::object::ObjectName;
use xdp_crds::{PEER_SET_LABEL, XdpPeerSetSpec, policy::SetId};

use super::*;
use crate::events::EventDraft;

fn draft() -> EventDraft {
    EventDraft {
        kind: "XdpPolicy",
        api_version: "v",
        name: ObjectName::new("games", "players"),
        uid: "u".into(),
        warning: true,
        reason: "InvalidSpec".into(),
        action: "Validate",
        message: "text".into(),
        topic: "1".into(),
    }
}

#[test]
fn a_slice_has_the_label_by_which_agents_select_its_set() {
    let set = SetId::parse(&"a".repeat(SetId::LENGTH)).unwrap();
    let body = bodies::slice(&Slice {
        name: ObjectName::new("xdp-system", format!("{set}-0")),
        set: set.clone(),
        spec: XdpPeerSetSpec {
            networks: Vec::new(),
            selection: "pods {} of namespaces {}".into(),
            slice: 0,
            slices: 1,
            addresses: Vec::new(),
        },
    });
    let labels = &body["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "xdp-operator");
    assert_eq!(labels[PEER_SET_LABEL], set.as_str());
}

#[test]
fn a_status_names_the_uid_of_its_policy() {
    let write = StatusWrite {
        name: ObjectName::new("games", "players"),
        uid: "u".into(),
        status: XdpPolicyStatus::default(),
    };
    let body = bodies::status(&write);
    assert_eq!(
        body["metadata"],
        json!({"namespace": "games", "name": "players", "uid": "u"})
    );
    assert!(body.get("spec").is_none());
}

#[test]
fn equal_events_have_equal_names_and_others_differ() {
    let same = EventDraft {
        message: "other words".into(),
        ..draft()
    };
    assert_eq!(publish::name(&draft()), publish::name(&same));
    for other in [
        EventDraft {
            topic: "2".into(),
            ..draft()
        },
        EventDraft {
            reason: "LimitExceeded".into(),
            ..draft()
        },
        EventDraft {
            uid: "v".into(),
            ..draft()
        },
    ] {
        assert_ne!(publish::name(&draft()), publish::name(&other));
    }
}

#[test]
fn times_are_stored_in_whole_seconds() {
    let time: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(
        serde_json::to_value(&time).unwrap(),
        json!("2026-01-01T00:00:00Z")
    );
}
