use std::collections::BTreeMap;

use super::*;

#[test]
fn each_node_has_ten_pods_and_each_group_one_in_a_hundred() {
    let size = CrowdSize {
        nodes: 1000,
        policies: 1000,
    };
    let (mut nodes, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for pod in (0..size.pods()).map(|number| size.pod(number)) {
        *nodes.entry(pod.node).or_insert(0) += 1;
        *groups.entry(pod.group).or_insert(0) += 1;
    }
    assert!(nodes.len() == 1000 && nodes.values().all(|pods| *pods == 10));
    assert!(groups.len() == 100 && groups.values().all(|pods| *pods == 100));
}

#[test]
fn policies_select_pods_of_their_own_namespace_and_mean_as_many_as_said() {
    let size = CrowdSize {
        nodes: 100,
        policies: 1000,
    };
    let sources: Vec<CrowdSource> = (0..1000).map(source).collect();
    let all = sources.iter().filter(|one| **one == CrowdSource::All).count();
    let networks = sources.iter().filter(|one| **one == CrowdSource::Network).count();
    assert_eq!((all, networks), (50, 500));
    assert_eq!(size.selections(), 46);
    for number in 0..size.pods() {
        let pod = size.pod(number);
        let policy = selected_by(size, &pod).unwrap();
        let (namespace, object) = size.policy(policy);
        assert_eq!(namespace, pod.namespace);
        assert_eq!(object["spec"]["podSelector"]["matchLabels"]["app"], pod.app);
    }
}
