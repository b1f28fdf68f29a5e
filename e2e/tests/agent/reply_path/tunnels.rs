//! Tunnel devices over a NIC.

use xdp_lab::Style;

use super::rules::run;
use crate::fixture::{Fixture, policy};

#[test]
fn a_tunnel_over_a_nic_is_a_problem_while_there_are_policies() {
    let fixture = Fixture::new();
    let node = fixture.lab.node();
    let _pod = fixture.pod("server", "game", Style::Ptp, 5);
    let select = "podSelector: {matchLabels: {app: game}}";
    let drop = policy("drop", select, &["{name: drop, action: Drop}"]);
    fixture.manifests.write("drop.yaml", &drop).unwrap();
    let agent = fixture.enforce(&["server"]);
    assert!(agent.look().problem("NIC nic0", "TunnelNotDecided").is_none());

    let vxlan = "ip link add vx0 type vxlan id 5 dev nic0 dstport 8472 nolearning";
    run(node, &vxlan.split(' ').collect::<Vec<_>>(), "");
    node.set_up("vx0", true).unwrap();
    let status = agent.wait_for("the tunnel is reported", |status| {
        status.problem("NIC nic0", "TunnelNotDecided").is_some()
    });
    let problem = status.problem("NIC nic0", "TunnelNotDecided").unwrap();
    assert!(
        problem["message"].as_str().unwrap().contains("`vx0` (vxlan)"),
        "{problem}"
    );

    node.delete_interface("vx0").unwrap();
    agent.wait_for("the tunnel is gone", |status| {
        status.problem("NIC nic0", "TunnelNotDecided").is_none()
    });
}
