use std::net::Ipv4Addr;

use kube::{core::DynamicObject, runtime::watcher::Event};
use proptest::{collection::btree_set, prelude::*};
use serde_json::{Value, json};
use xdp_client::object::{ObjectName, Versioned};

use super::*;
use crate::{
    api,
    store::{
        StoreEvent, {self},
    },
};

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn stored_as(slices: &[Vec<IpAddr>]) -> BTreeMap<u32, &[IpAddr]> {
    (0..).zip(slices.iter().map(Vec::as_slice)).collect()
}

fn addresses(numbers: impl IntoIterator<Item = u32>) -> Vec<IpAddr> {
    let ordered: BTreeSet<u32> = numbers.into_iter().collect();
    ordered.into_iter().map(address).collect()
}

fn differing(old: &[Vec<IpAddr>], new: &[Vec<IpAddr>]) -> usize {
    let length = old.len().max(new.len());
    (0..length).filter(|n| old.get(*n) != new.get(*n)).count()
}

fn everything(slices: &[Vec<IpAddr>]) -> Vec<IpAddr> {
    let mut all: Vec<_> = slices.iter().flatten().copied().collect();
    all.sort();
    all
}

#[test]
fn without_addresses_there_is_one_empty_slice() {
    assert_eq!(reslice(&BTreeMap::new(), &[]), [Vec::<IpAddr>::new()]);
}

#[test]
fn a_slice_with_an_absurd_number_is_ignored() {
    let held = [address(1)];
    let there = BTreeMap::from([(u32::MAX, held.as_slice())]);
    assert_eq!(reslice(&there, &addresses([1])), [vec![address(1)]]);
}

#[test]
fn if_half_of_the_slices_suffice_the_last_are_emptied_and_the_first_only_grow() {
    let full = reslice(&BTreeMap::new(), &addresses(0..4000));
    assert_eq!(full.len(), 4);
    let few = addresses((0..4000).step_by(4));
    let packed = reslice(&stored_as(&full), &few);
    assert_eq!(packed.len(), 1);
    assert_eq!(everything(&packed), few);
}

fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
    btree_set(0..6000u32, 0..4500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn slices_hold_what_is_wanted_once_in_order_and_within_bounds(before in numbers(), after in numbers()) {
        let old = reslice(&BTreeMap::new(), &addresses(before));
        let wanted = addresses(after);
        let new = reslice(&stored_as(&old), &wanted);
        prop_assert_eq!(everything(&new), wanted);
        prop_assert!(!new.is_empty());
        for slice in &new {
            prop_assert!(slice.len() <= LARGEST && slice.is_sorted());
        }
        prop_assert!(new.len() == 1 || !new[new.len() - 1].is_empty());
    }

    #[test]
    fn nothing_changes_without_a_change(before in numbers(), after in numbers()) {
        let old = reslice(&BTreeMap::new(), &addresses(before));
        let wanted = addresses(after);
        let new = reslice(&stored_as(&old), &wanted);
        prop_assert_eq!(reslice(&stored_as(&new), &wanted), new);
    }

    #[test]
    fn a_new_address_changes_one_slice(before in numbers(), after in numbers(), extra in 10_000..20_000u32) {
        let old = reslice(&BTreeMap::new(), &addresses(before));
        let mut wanted = addresses(after);
        let old = reslice(&stored_as(&old), &wanted);
        wanted.push(address(extra));
        prop_assert_eq!(differing(&old, &reslice(&stored_as(&old), &wanted)), 1);
    }

    #[test]
    fn an_address_that_goes_changes_one_slice_unless_half_can_be_done_without(
        before in numbers(), which in any::<prop::sample::Index>()
    ) {
        prop_assume!(!before.is_empty());
        let old = reslice(&BTreeMap::new(), &addresses(before.clone()));
        let gone = *which.get(&Vec::from_iter(before.clone()));
        let wanted = addresses(before.into_iter().filter(|number| *number != gone));
        let needed = wanted.len().div_ceil(LARGEST).max(1);
        let new = reslice(&stored_as(&old), &wanted);
        prop_assert!(differing(&old, &new) == 1 || old.len() > 2 * needed);
    }

    #[test]
    fn addresses_never_move_between_slices_that_stay(before in numbers(), after in numbers()) {
        let old = reslice(&BTreeMap::new(), &addresses(before));
        let new = reslice(&stored_as(&old), &addresses(after));
        for (number, slice) in new.iter().enumerate() {
            for other in old.iter().enumerate().filter(|(n, _)| *n != number && *n < new.len()) {
                prop_assert!(slice.iter().all(|address| !other.1.contains(address)));
            }
        }
    }
}

#[test]
fn names_are_valid_and_unique_for_every_name_of_a_policy() {
    let all = PeerSelector::default();
    let some: PeerSelector =
        serde_json::from_value(json!({"podSelector": {"matchLabels": {"a": "b"}}})).unwrap();
    let long = format!("{}.{}", "a".repeat(223), "b".repeat(29));
    let twin = format!("{}.{}", "a".repeat(223), "c".repeat(29));
    assert_eq!(long.len(), 253);
    let names: Vec<String> = [
        (long.as_str(), &all),
        (&long, &some),
        (&twin, &all),
        ("a", &all),
        ("a", &some),
    ]
    .map(|(policy, peer)| names::slice(&base(policy, peer), u32::MAX))
    .into();
    for (index, name) in names.iter().enumerate() {
        assert!(name.len() <= 253, "{name}");
        assert!(
            name.split('.').all(|label| {
                let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
                edge(label.as_bytes().first()) && edge(label.as_bytes().last())
            }),
            "{name}"
        );
        assert!(!names[..index].contains(name), "{name}");
    }
}

#[test]
fn names_stay_the_same_from_version_to_version() {
    assert_eq!(
        base("players", &PeerSelector::default()),
        "players-b7a5b9b9579fcf17"
    );
}

fn dynamic(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn policy(uid: &str, from: &Value) -> StoreEvent {
    let rule = json!({"name": "r", "action": "Redirect", "from": from});
    StoreEvent::Policy(Event::Apply(store::policy(&dynamic(json!({
        "metadata": {"namespace": "games", "name": "players", "uid": uid, "generation": 1},
        "spec": {"podSelector": {}, "ingress": [rule]},
    })))))
}

fn pod(namespace: &str, name: &str, ip: &str, spec: &Value) -> StoreEvent {
    let object = json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {"role": "proxy"}},
        "spec": spec, "status": {"phase": "Running", "podIP": ip},
    });
    let mut object: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object).unwrap();
    if name == "finished" {
        object.status.as_mut().unwrap().phase = Some("Succeeded".into());
    }
    StoreEvent::Pod(Event::Apply(store::pod(&object)))
}

fn namespace(name: &str) -> StoreEvent {
    StoreEvent::Namespace(Event::Apply(Versioned {
        name: ObjectName::new("", name),
        version: 1,
        value: Some([("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into()),
    }))
}

fn reporting_node() -> StoreEvent {
    let object =
        dynamic(json!({"metadata": {"name": "n"}, "status": {"agentVersion": "1", "kernelVersion": "6"}}));
    StoreEvent::NodeState(Event::Apply(store::node_state(&object)))
}

fn a_cluster(changes: impl IntoIterator<Item = StoreEvent>) -> ClusterState {
    let mut cluster = ClusterState::default();
    let common = [
        reporting_node(),
        namespace("games"),
        namespace("edge"),
        pod("games", "a", "10.0.0.1", &json!({"containers": []})),
        pod("edge", "b", "10.0.0.2", &json!({"containers": []})),
        pod(
            "edge",
            "host",
            "192.0.2.1",
            &json!({"containers": [], "hostNetwork": true}),
        ),
        pod("edge", "finished", "10.0.0.3", &json!({"containers": []})),
    ];
    for change in common.into_iter().chain(changes) {
        cluster.apply(change);
    }
    cluster
}

/// Executes a plan as the API server would.
fn execute(cluster: &mut ClusterState, plan: &Plan) {
    for step in plan.chains.iter().flat_map(|chain| &chain.steps) {
        match step {
            Step::Write(slice) => {
                let object = dynamic(api::tests::slice_body(slice));
                cluster.peer_sets.put(store::peer_set(&object));
            }
            Step::Delete(name) => cluster.peer_sets.remove(name),
        }
    }
}

fn written(plan: &Plan) -> Vec<(u32, u32, Vec<String>)> {
    let steps = plan.chains.iter().flat_map(|chain| &chain.steps);
    steps
        .filter_map(|step| match step {
            Step::Write(slice) => Some(&slice.spec),
            Step::Delete(_) => None,
        })
        .map(|spec| {
            let addresses = spec.addresses.iter().map(ToString::to_string).collect();
            (spec.slice, spec.slices, addresses)
        })
        .collect()
}

#[test]
fn a_pod_selector_alone_means_pods_of_the_policys_namespace() {
    let cluster = a_cluster([policy(
        "u",
        &json!([{"podSelector": {"matchLabels": {"role": "proxy"}}}]),
    )]);
    assert_eq!(written(&plan(&cluster)), [(0, 1, vec!["10.0.0.1".into()])]);
}

#[test]
fn a_namespace_selector_alone_means_all_addressable_pods_of_those_namespaces() {
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "edge"}});
    let cluster = a_cluster([policy("u", &json!([{"namespaceSelector": selector}]))]);
    assert_eq!(written(&plan(&cluster)), [(0, 1, vec!["10.0.0.2".into()])]);
    let cluster = a_cluster([policy("u", &json!([{"namespaceSelector": {}}]))]);
    assert_eq!(
        written(&plan(&cluster)),
        [(0, 1, vec!["10.0.0.1".into(), "10.0.0.2".into()])]
    );
}

#[test]
fn both_selectors_must_match() {
    let peer = json!([{"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "none"}}}]);
    let cluster = a_cluster([policy("u", &peer)]);
    assert_eq!(written(&plan(&cluster)), [(0, 1, vec![])]);
}

#[test]
fn a_policy_without_selectors_in_peers_has_no_slices() {
    let cluster = a_cluster([policy("u", &json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]))]);
    assert_eq!(plan(&cluster), Plan::default());
}

#[test]
fn a_peer_that_is_written_twice_has_one_set_of_slices() {
    let cluster = a_cluster([policy("u", &json!([{"podSelector": {}}, {"podSelector": {}}]))]);
    assert_eq!(plan(&cluster).chains.len(), 1);
}

#[test]
fn slices_that_are_up_to_date_are_not_written() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    let first = plan(&cluster);
    execute(&mut cluster, &first);
    assert_eq!(plan(&cluster).chains, []);
    cluster.apply(policy("another", &json!([{"podSelector": {}}])));
    assert_eq!(
        written(&plan(&cluster)).len(),
        1,
        "a policy that is created again owns its slices"
    );
}

#[test]
fn slice_0_is_written_after_the_others_and_before_any_is_deleted() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    for number in 0..2500u32 {
        let name = format!("p{number}");
        cluster.apply(pod(
            "games",
            &name,
            &address(number + 256).to_string(),
            &json!({"containers": []}),
        ));
    }
    let grown = plan(&cluster);
    let order: Vec<_> = written(&grown)
        .iter()
        .map(|(slice, slices, _)| (*slice, *slices))
        .collect();
    assert_eq!(order, [(1, 2), (2, 3), (0, 3)]);
    execute(&mut cluster, &grown);
    for number in 0..2500u32 {
        let gone = Versioned {
            name: ObjectName::new("games", format!("p{number}")),
            version: 1,
            value: None,
        };
        cluster.apply(StoreEvent::Pod(Event::Delete(gone)));
    }
    let shrunk = plan(&cluster);
    assert_eq!(written(&shrunk), [(0, 1, vec!["10.0.0.1".into()])]);
    let steps = &shrunk.chains[0].steps;
    assert!(
        matches!(steps[0], Step::Write(_)) && steps.len() == 3,
        "{steps:?}"
    );
    execute(&mut cluster, &shrunk);
    assert_eq!((cluster.peer_sets.len(), plan(&cluster).chains), (1, vec![]));
}

#[test]
fn a_slice_with_changed_content_or_owner_is_written_again() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    let first = plan(&cluster);
    execute(&mut cluster, &first);
    let name = cluster.peer_sets.iter().next().unwrap().0.clone();
    for spoiled in [
        json!({"metadata": {"namespace": name.namespace, "name": name.name}, "spec": {"slice": "zero"}}),
        json!({"metadata": {"namespace": name.namespace, "name": name.name}}),
    ] {
        cluster.apply(StoreEvent::PeerSet(Event::Apply(store::peer_set(&dynamic(
            spoiled,
        )))));
        assert_eq!(written(&plan(&cluster)).len(), 1);
    }
}

#[test]
fn unneeded_slices_are_deleted() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    let first = plan(&cluster);
    execute(&mut cluster, &first);
    cluster.apply(policy("u", &json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}])));
    let plan = plan(&cluster);
    assert!(matches!(plan.chains[0].steps[..], [Step::Delete(_)]), "{plan:?}");
}

#[test]
fn slices_of_refused_and_deleted_policies_stay() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    let first = plan(&cluster);
    execute(&mut cluster, &first);
    cluster.apply(policy("u", &json!([{"podSelector": 7}])));
    assert_eq!(plan(&cluster).chains, [], "agents keep the last valid version");
    cluster.apply(pod("games", "new", "10.0.0.9", &json!({"containers": []})));
    let followed = plan(&cluster);
    assert_eq!(
        written(&followed),
        [(0, 1, vec!["10.0.0.1".into(), "10.0.0.9".into()])],
        "and its pods"
    );
    execute(&mut cluster, &followed);
    let object = dynamic(json!({
        "metadata": {"namespace": "games", "name": "players", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podSelector": {}},
    }));
    cluster.apply(StoreEvent::Policy(Event::Apply(store::policy(&object))));
    assert_eq!(plan(&cluster).chains, [], "being deleted");
    cluster.apply(StoreEvent::Policy(Event::Delete(store::policy(&object))));
    assert_eq!(plan(&cluster).chains, [], "garbage collection deletes them");
}

#[test]
fn without_any_agent_there_are_no_slices() {
    let mut cluster = a_cluster([policy("u", &json!([{"podSelector": {}}]))]);
    let first = plan(&cluster);
    execute(&mut cluster, &first);
    let state = Versioned {
        name: ObjectName::new("", "n"),
        version: 1,
        value: None,
    };
    cluster.apply(StoreEvent::NodeState(Event::Delete(state)));
    let last = plan(&cluster);
    execute(&mut cluster, &last);
    assert!(cluster.peer_sets.is_empty());
    assert_eq!(plan(&cluster), Plan::default());
}
