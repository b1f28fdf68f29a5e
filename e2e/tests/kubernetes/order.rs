//! Which policy decides about a packet.

use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, Space};

use crate::fixture::{Rule, client, deliver, send};

const LATE: &str = "{name: all, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 9}";

fn early(
    space: &Space<'_>,
    priority: u32,
    enforcement: &str,
    pod: &ClusterPod<'_>,
    installed: &Installation,
) {
    let from = client(installed, pod.v4());
    let spec = format!(
        "podSelector: {{matchLabels: {{app: game}}}}\npriority: {priority}\nenforcement: {enforcement}"
    );
    let rule = format!("{{name: banned, from: [{{ipBlock: {{cidr: {from}/32}}}}], action: Drop}}");
    space.policy_with("early", &spec, &[&rule]).unwrap();
    space.until_programmed("early", 1).unwrap();
}

#[test]
fn the_policy_with_the_smaller_priority_decides_and_an_audited_one_only_counts() {
    const PACKETS: u64 = 50;
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("order").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 2)).unwrap();
    let rule = |policy, name| Rule {
        installed,
        space: &space,
        policy,
        name,
    };
    let (banned, all) = (rule("early", "banned"), rule("late", "all"));
    space
        .policy_with("late", "podSelector: {}\npriority: 900", &[LATE])
        .unwrap();
    space.until_programmed("late", 1).unwrap();

    // Audited: counted, and passed.
    early(&space, 100, "Audit", &pod, installed);
    assert_eq!(deliver(installed, &pod, PACKETS).with_mark("UDP", 0), PACKETS);
    banned.expect(&pod, &[("audited", PACKETS)]);
    all.expect(&pod, &[]);

    early(&space, 100, "Enforce", &pod, installed);
    let dropped = send(installed.client(), pod.udp(), PACKETS);
    banned.expect(&pod, &[("audited", PACKETS), ("dropped", PACKETS)]);
    all.expect(&pod, &[]);
    assert_eq!(pod.counts().unwrap().of_stream(dropped), 0);

    // After the other policy, its rule is not evaluated.
    early(&space, 1000, "Enforce", &pod, installed);
    assert_eq!(deliver(installed, &pod, PACKETS).with_mark("UDP", 9), PACKETS);
    all.expect(&pod, &[("redirected", PACKETS), ("delivered", PACKETS)]);
    banned.expect(&pod, &[("audited", PACKETS), ("dropped", PACKETS)]);
}
