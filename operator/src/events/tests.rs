use std::time::Instant;

use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};
use xdp_client::object::{ObjectName, Versioned};
use xdp_crds::{XdpPolicyStatus, conditions::TRANSIENT};

use super::*;
use crate::store::{
    ClusterState, NodeInfo, PolicyObject, StoreEvent, {self},
};

fn policy(accepted: (&str, &str), programmed: (&str, &str), generation: i64) -> PolicyObject {
    let condition = |kind: &str, (status, reason): (&str, &str)| {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("about {reason}"),
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions = json!([
        condition("Accepted", accepted),
        condition("Programmed", programmed)
    ]);
    let status: XdpPolicyStatus = serde_json::from_value(json!({"conditions": conditions})).unwrap();
    PolicyObject {
        status: Some(status),
        generation,
        ..new()
    }
}

fn new() -> PolicyObject {
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"namespace": "games", "name": "players", "uid": "u"}, "spec": {"podSelector": {}},
    }))
    .unwrap();
    store::policy(&object).value.unwrap()
}

fn valid(programmed: (&str, &str), generation: i64) -> PolicyObject {
    policy(("True", "Accepted"), programmed, generation)
}

fn programmed(generation: i64) -> PolicyObject {
    valid(("True", "Programmed"), generation)
}

fn refused() -> PolicyObject {
    policy(("False", "InvalidSpec"), ("False", "NotAccepted"), 1)
}

struct Reader {
    policies: PolicyEvents,
    now: Instant,
}

impl Reader {
    fn of(first: &PolicyObject) -> Self {
        let mut reader = Self {
            policies: PolicyEvents::default(),
            now: Instant::now(),
        };
        assert_eq!(reader.read(first), None, "the first status has had its event");
        reader
    }

    fn read(&mut self, policy: &PolicyObject) -> Option<(String, bool)> {
        let (draft, _) = self
            .policies
            .update(&ObjectName::new("games", "players"), policy, self.now);
        draft.map(|draft| (draft.reason, draft.warning))
    }

    fn after_patience(&mut self, policy: &PolicyObject) -> Option<(String, bool)> {
        self.now += PATIENCE;
        self.read(policy)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads like what it is compared with")]
fn event(reason: &str, warning: bool) -> Option<(String, bool)> {
    Some((reason.to_owned(), warning))
}

#[test]
fn a_new_programmed_policy_has_one_event() {
    let mut reader = Reader::of(&new());
    assert_eq!(reader.read(&programmed(1)), event("Programmed", false));
    assert_eq!(reader.read(&programmed(1)), None);
}

#[test]
fn a_restart_repeats_no_events() {
    for policy in [programmed(1), refused(), valid(("False", "NicProblem"), 1)] {
        let mut reader = Reader::of(&policy);
        assert_eq!(
            (reader.read(&policy), reader.after_patience(&policy)),
            (None, None)
        );
    }
}

#[test]
fn a_refusal_has_an_event_at_once() {
    let mut reader = Reader::of(&new());
    assert_eq!(reader.read(&refused()), event("InvalidSpec", true));
}

#[test]
fn transient_states_and_their_ends_have_no_events() {
    let mut reader = Reader::of(&programmed(1));
    for passing in TRANSIENT {
        let policy = valid(("False", passing), 1);
        assert_eq!(
            (reader.read(&policy), reader.after_patience(&policy)),
            (None, None),
            "{passing}"
        );
        assert_eq!(reader.read(&programmed(1)), None);
    }
    assert_eq!(reader.read(&valid(("True", "NoPods"), 1)), None);
    assert_eq!(reader.read(&programmed(1)), None);
    assert_eq!(
        reader.read(&programmed(2)),
        event("Programmed", false),
        "a new generation has an event"
    );
}

#[test]
fn a_lasting_failure_has_an_event_and_so_has_its_end() {
    let mut reader = Reader::of(&programmed(1));
    let failing = valid(("False", "NicProblem"), 1);
    assert_eq!(reader.read(&failing), None);
    assert_eq!(reader.after_patience(&failing), event("NicProblem", true));
    assert_eq!(reader.after_patience(&failing), None);
    assert_eq!(reader.read(&programmed(1)), event("Programmed", false));
}

#[test]
fn pods_with_host_ports_have_a_warning_and_so_has_a_new_generation() {
    let noted = |generation| valid(("True", "HostPorts"), generation);
    let mut reader = Reader::of(&programmed(1));
    assert_eq!(reader.read(&noted(1)), event("HostPorts", true));
    assert_eq!(reader.read(&noted(1)), None);
    assert_eq!(reader.read(&noted(2)), event("HostPorts", true));
    assert_eq!(reader.read(&programmed(2)), event("Programmed", false));
}

#[test]
fn a_short_failure_has_no_event_and_the_next_one_waits_again() {
    let mut reader = Reader::of(&programmed(1));
    let failing = valid(("False", "PodNotReady"), 1);
    assert_eq!(reader.read(&failing), None);
    reader.now += PATIENCE / 2;
    assert_eq!(reader.read(&programmed(1)), None);
    reader.now += PATIENCE / 2;
    assert_eq!(reader.read(&failing), None);
}

#[test]
fn a_failure_returns_when_to_compare_again() {
    let mut policies = PolicyEvents::default();
    let (name, now) = (ObjectName::new("games", "players"), Instant::now());
    policies.update(&name, &programmed(1), now);
    let failing = valid(("False", "NoNodeState"), 1);
    assert_eq!(
        policies.update(&name, &failing, now),
        (None, Some(now + PATIENCE))
    );
}

#[test]
fn a_message_fits_into_an_event_and_ends_at_a_character() {
    let message = bounded(&"ü".repeat(1000));
    assert!(
        message.len() <= LONGEST_MESSAGE && message.ends_with("ü…"),
        "{}",
        message.len()
    );
}

fn a_cluster(problems: &Value) -> ClusterState {
    let mut cluster = ClusterState::default();
    let node = Versioned {
        name: ObjectName::new("", "node-1"),
        version: 1,
        value: Some(NodeInfo {
            uid: "node-uid".into(),
            ..NodeInfo::default()
        }),
    };
    cluster.apply(StoreEvent::Node(Event::Apply(node)));
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "node-1"},
        "status": {"agentVersion": "1", "kernelVersion": "6",
            "nics": [{"name": "eth0", "mode": "Foreign", "problems": problems}]},
    }))
    .unwrap();
    cluster.apply(StoreEvent::NodeState(Event::Apply(store::node_state(&object))));
    cluster
}

#[test]
fn a_problem_of_a_nic_has_one_event_of_the_node_while_it_lasts() {
    let problem = |message: &str| {
        json!([{"object": "NIC eth0", "reason": "ForeignProgram", "message": message,
            "remedy": "detach it"}])
    };
    let mut events = NicEvents::default();
    assert_eq!(events.update("node-1", &a_cluster(&json!([]))), []);
    let drafts = events.update("node-1", &a_cluster(&problem("program 7 is attached")));
    let [draft] = drafts.as_slice() else {
        panic!("{drafts:?}")
    };
    assert_eq!(
        (draft.kind, draft.uid.as_str(), draft.reason.as_str()),
        ("Node", "node-uid", "ForeignProgram")
    );
    assert_eq!(draft.message, "NIC eth0: program 7 is attached; detach it");
    assert_eq!(
        events.update("node-1", &a_cluster(&problem("program 8 is attached"))),
        []
    );
    events.update("node-1", &a_cluster(&json!([])));
    assert_eq!(
        events
            .update("node-1", &a_cluster(&problem("program 9 is attached")))
            .len(),
        1,
        "again"
    );
}
