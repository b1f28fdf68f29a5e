use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use xdp_client::object::ObjectName;
use xdp_crds::{PeerSelector, XdpPeerSetSpec};

use super::*;
use crate::{announce::Note, world::Owner};

/// What is sent for a slice.
pub(crate) fn slice_body(slice: &Slice) -> Value {
    bodies::slice(slice)
}

fn slice(policy: &str) -> Slice {
    Slice {
        name: ObjectName::new("games", "players-0-0"),
        owner: Owner {
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

fn note() -> Note {
    Note {
        kind: "XdpPolicy",
        api_version: "v",
        name: ObjectName::new("games", "players"),
        uid: "u".into(),
        warning: true,
        reason: "InvalidSpec".into(),
        action: "Validate",
        text: "text".into(),
        topic: "1".into(),
    }
}

#[test]
fn a_slice_goes_with_its_policy_and_can_be_found() {
    let body = slice_body(&slice("players"));
    let owner = &body["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u"), &json!(true)));
    let labels = &body["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "xdp-operator");
    assert_eq!(labels["xdp-operator.io/policy"], "players");
}

#[test]
fn a_name_that_is_no_label_is_not_made_one() {
    let body = slice_body(&slice(&"a".repeat(64)));
    assert!(body["metadata"]["labels"].get("xdp-operator.io/policy").is_none());
}

#[test]
fn a_status_is_for_this_policy_and_not_for_its_successor() {
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
fn the_same_event_has_the_same_name_and_another_has_another() {
    let same = Note {
        text: "other words".into(),
        ..note()
    };
    assert_eq!(publish::name(&note()), publish::name(&same));
    for other in [
        Note {
            topic: "2".into(),
            ..note()
        },
        Note {
            reason: "LimitExceeded".into(),
            ..note()
        },
        Note {
            uid: "v".into(),
            ..note()
        },
    ] {
        assert_ne!(publish::name(&note()), publish::name(&other));
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
