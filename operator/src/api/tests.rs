use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use xdp_client::object::ObjectName;
use xdp_crds::{PeerSelector, XdpPeerSetSpec};

use super::*;
use crate::{events::EventDraft, store::SliceOwner};

/// What is sent for a slice.
pub(crate) fn slice_body(slice: &Slice) -> Value {
    bodies::slice(slice)
}

fn slice(policy: &str) -> Slice {
    Slice {
        name: ObjectName::new("games", "players-0-0"),
        owner: SliceOwner {
            name: policy.into(),
            uid: "u".into(),
        },
        spec: XdpPeerSetSpec {
            policy: policy.into(),
            peer: PeerSelector::default(),
            slice: 0,
            slices: 1,
            addresses: Vec::new(),
        },
    }
}

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
fn a_slice_is_owned_by_its_policy_and_labelled() {
    let body = slice_body(&slice("players"));
    let owner = &body["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u"), &json!(true)));
    let labels = &body["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "xdp-operator");
    assert_eq!(labels["xdp-operator.io/policy"], "players");
}

#[test]
fn a_name_that_is_no_valid_label_is_left_out() {
    let body = slice_body(&slice(&"a".repeat(64)));
    assert!(body["metadata"]["labels"].get("xdp-operator.io/policy").is_none());
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
