//! Metrics, and the columns of `kubectl get`.

use xdp_e2e::installed::{ClusterPodSpec, Installation, Scrape};

use crate::fixture::{PLAYERS, deliver};

#[test]
fn the_metrics_of_agents_and_operators_follow_prometheus_conventions() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("metrics").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 2)).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    deliver(installed, &pod, 10);

    let agent = installed.agent_metrics(pod.node).unwrap();
    assert_eq!(installed.promtool(&agent).unwrap(), "");
    let unexplained = Scrape::parse(agent.text.replace("# HELP xdp_agent_nic_info ", "# ")).unwrap();
    assert_eq!(
        installed.promtool(&unexplained).unwrap(),
        "checks metrics: xdp_agent_nic_info no help text\n"
    );
    let labels = [("namespace", space.name.as_str()), ("policy", "game")];
    let generations: Vec<_> = agent.find("xdp_agent_policy_generation", &labels).collect();
    assert_eq!(generations.len(), 1);
    assert!((generations[0].value - 1.0).abs() < f64::EPSILON);
    let native = [("nic", "eth0"), ("driver", "veth"), ("mode", "native")];
    assert_eq!(agent.find("xdp_agent_nic_info", &native).count(), 1);

    let mut leaders = 0.0;
    for pod in installed.components("operator").unwrap() {
        let operator = installed.operator_metrics(&pod).unwrap();
        assert_eq!(installed.promtool(&operator).unwrap(), "");
        leaders += operator.sum("xdp_operator_leader", &[]);
    }
    assert!((leaders - 1.0).abs() < f64::EPSILON, "{leaders} operators lead");
}

/// Returns the cells of a table's row with the names of their columns.
fn columns(table: &str, line: &str) -> Vec<(String, String)> {
    let head = table.lines().find(|head| head.contains("NAME")).unwrap();
    let found = table.lines().find(|candidate| candidate.contains(line)).unwrap();
    let starts: Vec<usize> = head
        .match_indices(|character: char| character != ' ')
        .map(|(index, _)| index)
        .filter(|&index| index == 0 || head[..index].ends_with(' '))
        .collect();
    let cell = |text: &str, start: usize, end: Option<&usize>| {
        let end = end.map_or(text.len(), |&end| end.min(text.len()));
        text.get(start..end).unwrap_or_default().trim().to_owned()
    };
    let cells = starts.iter().enumerate().map(|(number, &start)| {
        let end = starts.get(number + 1);
        (cell(head, start, end), cell(found, start, end))
    });
    cells.collect()
}

#[track_caller]
fn expect(columns: &[(String, String)], expected: &[(&str, &str)]) {
    for (head, value) in expected {
        let found = columns.iter().find(|(name, _)| name == head);
        assert_eq!(
            found.map(|(_, value)| value.as_str()),
            Some(*value),
            "{columns:?}"
        );
    }
}

#[test]
fn kubectl_get_shows_what_is_programmed() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("columns").unwrap();
    let pods = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    space.pods(&pods).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 2).unwrap();

    let policies = space.kubectl(&["get", "xp", "-o", "wide"]).unwrap();
    let expected = [
        ("PODS", "2"),
        ("NODES", "2"),
        ("NODES-PROGRAMMED", "2"),
        ("ENFORCEMENT", "Enforce"),
        ("ACCEPTED", "True"),
        ("PROGRAMMED", "True"),
        ("PRIORITY", "500"),
        ("REASON", "Programmed"),
        ("MESSAGE", "programmed for 2 pods on 2 nodes"),
    ];
    expect(&columns(&policies, "game "), &expected);

    let states = installed.kubectl(&["get", "xns", "-o", "wide"]).unwrap();
    for node in ["node1", "node2"] {
        let expected = [("NICS", "eth0"), ("MODE", "Native"), ("DRIVERS", "veth")];
        expect(&columns(&states, node), &expected);
    }
    let all = installed.kubectl(&["get", "xdp", "-A"]).unwrap();
    for part in [
        "xdppolicy.xdp-operator.io/game",
        "xdpnodestate.xdp-operator.io/node1",
    ] {
        assert!(all.contains(part), "{all}");
    }
}
