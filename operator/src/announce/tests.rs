use std::time::Instant;

use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};
use xdp_client::object::{ObjectName, Versioned};
use xdp_crds::XdpPolicyStatus;

use super::*;
use crate::world::{
    Change, NodeFacts, PolicyObject, World, {self},
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
    world::policy(&object).value.unwrap()
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
    policies: Policies,
    now: Instant,
}

impl Reader {
    fn of(first: &PolicyObject) -> Self {
        let mut reader = Self {
            policies: Policies::default(),
            now: Instant::now(),
        };
        assert_eq!(
            reader.look(first),
            None,
            "what is there at first has been announced"
        );
        reader
    }

    fn look(&mut self, policy: &PolicyObject) -> Option<(String, bool)> {
        let (note, _) = self
            .policies
            .look(&ObjectName::new("games", "players"), policy, self.now);
        note.map(|note| (note.reason, note.warning))
    }

    fn after_patience(&mut self, policy: &PolicyObject) -> Option<(String, bool)> {
        self.now += PATIENCE;
        self.look(policy)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads like what it is compared with")]
fn said(reason: &str, warning: bool) -> Option<(String, bool)> {
    Some((reason.to_owned(), warning))
}

#[test]
fn a_new_policy_that_comes_into_force_is_announced_once() {
    let mut reader = Reader::of(&new());
    assert_eq!(reader.look(&programmed(1)), said("Programmed", false));
    assert_eq!(reader.look(&programmed(1)), None);
}

#[test]
fn after_a_restart_nothing_is_announced_again() {
    for policy in [programmed(1), refused(), valid(("False", "NicProblem"), 1)] {
        let mut reader = Reader::of(&policy);
        assert_eq!(
            (reader.look(&policy), reader.after_patience(&policy)),
            (None, None)
        );
    }
}

#[test]
fn a_refusal_is_announced_at_once() {
    let mut reader = Reader::of(&new());
    assert_eq!(reader.look(&refused()), said("InvalidSpec", true));
}

#[test]
fn what_passes_by_itself_is_not_announced_and_neither_is_its_end() {
    let mut reader = Reader::of(&programmed(1));
    for passing in ["Outdated", "Pending", "PeersPending"] {
        let policy = valid(("False", passing), 1);
        assert_eq!(
            (reader.look(&policy), reader.after_patience(&policy)),
            (None, None),
            "{passing}"
        );
        assert_eq!(reader.look(&programmed(1)), None);
    }
    assert_eq!(reader.look(&valid(("True", "NoPods"), 1)), None);
    assert_eq!(reader.look(&programmed(1)), None);
    assert_eq!(
        reader.look(&programmed(2)),
        said("Programmed", false),
        "a new version is news"
    );
}

#[test]
fn a_failure_is_announced_when_it_stays_and_its_end_then_too() {
    let mut reader = Reader::of(&programmed(1));
    let failing = valid(("False", "NicProblem"), 1);
    assert_eq!(reader.look(&failing), None);
    assert_eq!(reader.after_patience(&failing), said("NicProblem", true));
    assert_eq!(reader.after_patience(&failing), None);
    assert_eq!(reader.look(&programmed(1)), said("Programmed", false));
}

#[test]
fn a_failure_that_goes_away_soon_is_not_announced_and_the_next_one_waits_anew() {
    let mut reader = Reader::of(&programmed(1));
    let failing = valid(("False", "PodNotReady"), 1);
    assert_eq!(reader.look(&failing), None);
    reader.now += PATIENCE / 2;
    assert_eq!(reader.look(&programmed(1)), None);
    reader.now += PATIENCE / 2;
    assert_eq!(reader.look(&failing), None);
}

#[test]
fn a_failure_says_when_to_look_again() {
    let mut policies = Policies::default();
    let (name, now) = (ObjectName::new("games", "players"), Instant::now());
    policies.look(&name, &programmed(1), now);
    let failing = valid(("False", "NoNodeState"), 1);
    assert_eq!(policies.look(&name, &failing, now), (None, Some(now + PATIENCE)));
}

#[test]
fn a_text_fits_into_an_event_and_ends_at_a_character() {
    let text = bounded(&"ü".repeat(1000));
    assert!(
        text.len() <= LONGEST_TEXT && text.ends_with("ü…"),
        "{}",
        text.len()
    );
}

fn a_world(problems: &Value) -> World {
    let mut world = World::default();
    let node = Versioned {
        name: ObjectName::new("", "node-1"),
        version: 1,
        value: Some(NodeFacts {
            uid: "node-uid".into(),
            ..NodeFacts::default()
        }),
    };
    world.apply(Change::Node(Event::Apply(node)));
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "node-1"},
        "status": {"agentVersion": "1", "kernelVersion": "6",
            "nics": [{"name": "eth0", "mode": "Foreign", "problems": problems}]},
    }))
    .unwrap();
    world.apply(Change::NodeState(Event::Apply(world::node_state(&object))));
    world
}

#[test]
fn a_problem_of_a_nic_is_announced_about_the_node_while_it_lasts_once() {
    let problem = |message: &str| json!([{"object": "NIC eth0", "reason": "ForeignProgram", "message": message, "remedy": "detach it"}]);
    let mut nics = Nics::default();
    assert_eq!(nics.look(&a_world(&json!([]))), []);
    let notes = nics.look(&a_world(&problem("program 7 is attached")));
    let [note] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (note.kind, note.uid.as_str(), note.reason.as_str()),
        ("Node", "node-uid", "ForeignProgram")
    );
    assert_eq!(note.text, "NIC eth0: program 7 is attached; detach it");
    assert_eq!(nics.look(&a_world(&problem("program 8 is attached"))), []);
    nics.look(&a_world(&json!([])));
    assert_eq!(
        nics.look(&a_world(&problem("program 9 is attached"))).len(),
        1,
        "again"
    );
}
