//! Address sets: one for each distinct selection of the cluster, where no tenant reads them.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use xdp_e2e::{
    installed::condition,
    simulated::{API, ApiRequest, RELEASE_NAMESPACE, SimulatedCluster},
};

use crate::fixture::{
    alone, delete_policy, move_pod, pod, policy, policy_object, shared, slices, until, until_set,
};

/// Longer than the operator needs to write again what it has read back.
const SILENCE: Duration = Duration::from_secs(3);
/// The budget of a namespace, in sets.
const BUDGET: usize = 256;
/// Hexadecimal digits of an identity.
const DIGITS: usize = 56;

fn namespace(name: &str) -> &'static SimulatedCluster {
    let simulated = shared();
    simulated.namespace(name, &json!({"team": name})).unwrap();
    simulated
}

/// Returns the versions of all sets.
fn versions(simulated: &SimulatedCluster) -> Vec<Value> {
    let sets = simulated.peer_sets().unwrap().into_iter();
    sets.map(|set| set["metadata"]["resourceVersion"].clone())
        .collect()
}

fn app(value: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"app": value}}})
}

#[test]
fn sets_are_in_the_namespace_of_the_release_and_named_by_what_they_select() {
    let _turn = alone();
    let simulated = namespace("named");
    pod(simulated, "named", "p", &json!({"app": "web"}), "10.1.0.1");
    policy(simulated, "named", "p", &[vec![app("web")]]);
    let set = until_set(simulated, "pods {app in (web)} of namespace named", &["10.1.0.1"]);
    let metadata = &set["metadata"];
    let id = metadata["labels"]["xdp-operator.io/peer-set"].as_str().unwrap();
    assert!(
        id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(metadata["name"], format!("{id}-0"));
    assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "xdp-operator");
    assert_eq!(metadata["ownerReferences"], Value::Null);
    let elsewhere = simulated.list(&format!("{API}/xdppeersets")).unwrap();
    let elsewhere = elsewhere
        .iter()
        .filter(|set| set["metadata"]["namespace"] != RELEASE_NAMESPACE);
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn policies_of_several_namespaces_share_a_set_and_it_goes_with_the_last_one() {
    const SELECTION: &str = "pods {app in (shared), tier in (x)} of namespaces {team in (share-a)}";
    let _turn = alone();
    let simulated = namespace("share-a");
    namespace("share-b");
    pod(
        simulated,
        "share-a",
        "p",
        &json!({"app": "shared", "tier": "x"}),
        "10.2.0.1",
    );
    let own = json!({"namespaceSelector": {"matchLabels": {"team": "share-a"}},
        "podSelector": {"matchLabels": {"app": "shared", "tier": "x"}}});
    let same = json!({"namespaceSelector": {"matchLabels": {"team": "share-a"}},
        "podSelector": {"matchLabels": {"tier": "x"},
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["shared"]}]}});
    policy(
        simulated,
        "share-a",
        "one",
        &[vec![own.clone()], vec![same.clone()]],
    );
    let first = until_set(simulated, SELECTION, &["10.2.0.1"]);
    policy(simulated, "share-b", "two", &[vec![same]]);
    policy(simulated, "share-b", "marker", &[vec![app("marker")]]);
    until_set(simulated, "pods {app in (marker)} of namespace share-b", &[]);
    let both = slices(simulated, SELECTION).unwrap();
    assert_eq!(both.len(), 1);
    assert_eq!(
        both[0]["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );

    delete_policy(simulated, "share-a", "one");
    move_pod(simulated, "share-a", "p", "10.2.0.2");
    until_set(simulated, SELECTION, &["10.2.0.2"]);
    delete_policy(simulated, "share-b", "two");
    until(simulated, "the set is gone", || {
        let left = slices(simulated, SELECTION)?;
        ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    });
}

/// Their FNV-1a hashes of 64 bits are equal if the rest of the name is that of the policy `p`.
#[test]
fn selectors_with_equal_short_hashes_are_two_sets_that_stay_as_they_are() {
    let _turn = alone();
    let simulated = namespace("collision");
    let values = ["uupei3mgmykbn", "fbfcyshy5efca"];
    for (number, value) in values.iter().enumerate() {
        let address = format!("10.3.0.{}", number + 1);
        pod(simulated, "collision", value, &json!({"k": value}), &address);
    }
    let sources = values.map(|value| json!({"podSelector": {"matchLabels": {"k": value}}}));
    policy(simulated, "collision", "p", &[sources.to_vec()]);
    for (number, value) in values.iter().enumerate() {
        let selection = format!("pods {{k in ({value})}} of namespace collision");
        until_set(simulated, &selection, &[&format!("10.3.0.{}", number + 1)]);
    }
    let before = versions(simulated);
    thread::sleep(SILENCE);
    assert_eq!(versions(simulated), before);
}

#[test]
fn a_pods_address_is_one_write_to_each_distinct_set() {
    let _turn = alone();
    let simulated = namespace("writes");
    pod(
        simulated,
        "writes",
        "p",
        &json!({"app": "w", "tier": "y"}),
        "10.4.0.1",
    );
    let tier = json!({"podSelector": {"matchLabels": {"tier": "y"}}});
    for name in ["a", "b", "c"] {
        policy(simulated, "writes", name, &[vec![app("w")], vec![tier.clone()]]);
    }
    let selections = [
        "pods {app in (w)} of namespace writes",
        "pods {tier in (y)} of namespace writes",
    ];
    for selection in selections {
        until_set(simulated, selection, &["10.4.0.1"]);
    }
    thread::sleep(SILENCE);
    let before = simulated.cost().unwrap();
    move_pod(simulated, "writes", "p", "10.4.0.2");
    for selection in selections {
        until_set(simulated, selection, &["10.4.0.2"]);
    }
    thread::sleep(SILENCE);
    let writes = simulated.cost().unwrap().since(&before).writes("xdppeersets");
    assert!((writes - 2.0).abs() < 0.5, "{writes} writes");
}

#[test]
fn more_selectors_than_the_budget_are_refused_by_name_and_write_no_set() {
    let _turn = alone();
    let simulated = namespace("greedy");
    pod(simulated, "greedy", "p", &json!({"app": "web"}), "10.5.0.1");
    policy(simulated, "greedy", "modest", &[vec![app("web")]]);
    let modest = "pods {app in (web)} of namespace greedy";
    until_set(simulated, modest, &["10.5.0.1"]);
    let before = simulated.peer_sets().unwrap().len();

    // One more than the budget is refused as a whole.
    policy(simulated, "greedy", "greedy", &nonsense(BUDGET / 4 + 1, 4));
    let refused = until(simulated, "the policy is refused", || {
        let accepted = accepted(simulated, "greedy")?;
        ensure!(accepted["status"] == "False", "{accepted:#}");
        Ok(accepted)
    });
    assert_eq!(refused["reason"], "LimitExceeded", "{refused:#}");
    assert_eq!(simulated.peer_sets().unwrap().len(), before);
    // The largest policy that the API server takes.
    policy(simulated, "greedy", "largest", &nonsense(100, 64));
    move_pod(simulated, "greedy", "p", "10.5.0.2");
    until_set(simulated, modest, &["10.5.0.2"]);
    assert_eq!(simulated.peer_sets().unwrap().len(), before);
    // A version within the budget is accepted.
    let path = format!("{API}/namespaces/greedy/xdppolicies/greedy");
    let change = json!({"spec": policy_object("greedy", &[vec![app("web")]])["spec"]});
    simulated.send(&ApiRequest::patch(path, &change)).unwrap();
    until(simulated, "the policy is accepted", || {
        let accepted = accepted(simulated, "greedy")?;
        ensure!(accepted["status"] == "True", "{accepted:#}");
        Ok(())
    });
    delete_policy(simulated, "greedy", "largest");
}

fn accepted(simulated: &SimulatedCluster, name: &str) -> anyhow::Result<Value> {
    let object = simulated.get(&format!("{API}/namespaces/greedy/xdppolicies/{name}"))?;
    condition(&object, "Accepted")
        .cloned()
        .context("no condition yet")
}

/// Rules with sources that mean all pods, each in another way.
pub(crate) fn nonsense(rules: usize, sources: usize) -> Vec<Vec<Value>> {
    let source = |number: usize| {
        json!({"namespaceSelector": {}, "podSelector": {"matchExpressions": [
            {"key": format!("x{number}"), "operator": "DoesNotExist"}]}})
    };
    (0..rules)
        .map(|rule| {
            (0..sources)
                .map(|number| source(sources * rule + number))
                .collect()
        })
        .collect()
}
