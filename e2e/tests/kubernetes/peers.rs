//! Peers by selector follow pods on all nodes.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::Value;
use xdp_e2e::installed::{API, ClusterPod, ClusterPodSpec, Installation, NAMESPACE};

use crate::fixture::PLAYERS;

/// Time from a change of a pod to the first packet that is handled accordingly. It takes a second on an idle
/// machine.
const SECONDS: Duration = Duration::from_secs(30);

const BANNED: &str = "{name: banned, action: Drop, from: [{namespaceSelector: {matchLabels: {team: red}}, \
                      podSelector: {matchLabels: {role: flood}}}]}";
const FRIENDS: &str = "{name: friends, action: Redirect, mark: 7, ports: [{protocol: UDP}], \
                       from: [{podSelector: {matchLabels: {role: friend}}}]}";

/// A pod that a policy selects, and that counts what arrives.
struct Target<'a> {
    installed: &'a Installation,
    pod: ClusterPod<'a>,
}

impl Target<'_> {
    /// Returns the mark with which datagrams of a client arrive, or `None` if they do not arrive.
    fn mark_of(&self, client: &ClusterPod<'_>) -> anyhow::Result<Option<u32>> {
        const PACKETS: u64 = 20;
        let before = self.pod.counts()?;
        let stream = client.send_udp(self.pod.udp(), PACKETS)?;
        let after = self.pod.counts()?;
        let arrived = after.of_stream(stream);
        ensure!(
            arrived == 0 || arrived == PACKETS,
            "only {arrived} of {PACKETS} arrived"
        );
        let from_client = after.flows.iter().filter(|(flow, _)| flow.source == client.v4());
        let mut more = from_client.filter(|(flow, seen)| Some(*seen) != before.flows.get(*flow));
        Ok(more.next().map(|(flow, _)| flow.mark))
    }

    /// Waits until a client's datagrams arrive with this mark, or do not arrive; fails if that takes too
    /// long.
    #[track_caller]
    fn expect(&self, client: &ClusterPod<'_>, mark: Option<u32>) {
        let start = Instant::now();
        let what = format!("datagrams of {} arrive with the mark {mark:?}", client.name);
        let found = self.installed.until(what, || {
            let found = self.mark_of(client)?;
            ensure!(found == mark, "they arrive with {found:?}");
            Ok(())
        });
        found.unwrap();
        let took = start.elapsed();
        assert!(took < SECONDS, "it took {took:?}");
    }
}

/// Returns the objects of the set with this selection.
fn set(installed: &Installation, selection: &str) -> anyhow::Result<Vec<Value>> {
    let mut sets = installed.list(&format!("{API}/namespaces/{NAMESPACE}/xdppeersets"))?;
    sets.retain(|set| set["spec"]["selection"] == selection);
    Ok(sets)
}

/// Returns all addresses of pods that [`BANNED`] selects.
fn addresses(installed: &Installation) -> anyhow::Result<Vec<String>> {
    let sets = set(installed, "pods {role in (flood)} of namespaces {team in (red)}")?;
    let addresses = sets
        .iter()
        .filter_map(|set| set["spec"]["addresses"].as_array())
        .flatten();
    Ok(addresses
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect())
}

#[test]
fn selector_peers_follow_pods_of_other_nodes_and_namespaces_within_seconds() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let (space, others) = (
        installed.space("peers").unwrap(),
        installed.space("peers-others").unwrap(),
    );
    installed
        .kubectl(&["label", "namespace", &others.name, "team=red"])
        .unwrap();
    let pod = space.pod(&ClusterPodSpec::new("target", "game", 1)).unwrap();
    let target = Target { installed, pod };
    space.policy("game", "game", &[BANNED, FRIENDS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    assert_eq!(addresses(installed).unwrap(), Vec::<String>::new());

    // The client is created.
    let client = others.pod(&ClusterPodSpec::new("client", "other", 2)).unwrap();
    target.expect(&client, Some(0));
    // Its label changes. Rules without namespaceSelector do not select pods of another namespace.
    others.kubectl(&["label", "pod", "client", "role=flood"]).unwrap();
    target.expect(&client, None);
    let mut expected: Vec<String> = client.addresses.iter().map(ToString::to_string).collect();
    expected.sort();
    let as_expected = installed.until("the set has the client's addresses", || {
        let mut listed = addresses(installed)?;
        listed.sort();
        ensure!(listed == expected, "it has {listed:?}");
        Ok(())
    });
    as_expected.unwrap();
    others
        .kubectl(&["label", "--overwrite", "pod", "client", "role=friend"])
        .unwrap();
    target.expect(&client, Some(0));
    others
        .kubectl(&["label", "--overwrite", "pod", "client", "role=flood"])
        .unwrap();
    target.expect(&client, None);
    // The label of its namespace changes.
    installed
        .kubectl(&["label", "namespace", &others.name, "team-"])
        .unwrap();
    target.expect(&client, Some(0));
    // The client is deleted, and its address with it.
    installed
        .kubectl(&["label", "namespace", &others.name, "team=red"])
        .unwrap();
    target.expect(&client, None);
    others.kubectl(&["delete", "pod", "client"]).unwrap();
    let gone = installed.until("no address is left", || {
        let listed = addresses(installed)?;
        ensure!(listed.is_empty(), "{listed:?}");
        Ok(())
    });
    gone.unwrap();
}

#[test]
fn a_pod_selector_alone_means_pods_of_the_policys_namespace_and_sets_go_with_their_policy() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("peers-own").unwrap();
    let pods = [
        ClusterPodSpec::new("target", "game", 2),
        ClusterPodSpec::new("friend", "other", 1).label("role", "friend"),
    ];
    let [pod, friend] = space.pods(&pods).unwrap().try_into().unwrap();
    let target = Target { installed, pod };
    space.policy("game", "game", &[FRIENDS, PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    target.expect(&friend, Some(7));

    let selection = format!("pods {{role in (friend)}} of namespace {}", space.name);
    let sets = set(installed, &selection).unwrap();
    assert_eq!(sets.len(), 1, "{sets:#?}");
    assert_eq!(sets[0]["metadata"]["ownerReferences"], Value::Null);
    space.kubectl(&["delete", "xdppolicy", "game"]).unwrap();
    let gone = installed.until("the peer set is gone", || {
        let left = set(installed, &selection)?;
        ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    });
    gone.unwrap();
    target.expect(&friend, Some(0));
}
