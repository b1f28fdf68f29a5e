//! NICs that are moved, and NICs and pods with other names and addresses.

use std::process::{Command, Stdio};

use xdp_e2e::Agent;
use xdp_lab::{Namespace, Style};

use crate::{
    fixture::{Fixture, PATIENCE, PLAYERS, at, only_mark},
    moving::ip,
};

/// Whether an interface has an XDP program, as `ip link show` prints it.
fn has_program(namespace: &Namespace, interface: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(["link", "show", interface]).stdout(Stdio::piped());
    let finished = namespace.spawn(command).unwrap().finish(PATIENCE).unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stdout.contains(" xdp ")
}

#[test]
fn a_nic_that_is_moved_into_another_namespace_loses_the_program() {
    let fixture = Fixture::new();
    fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    assert!(has_program(fixture.lab.node(), "nic0"));
    let elsewhere = fixture.lab.namespace("elsewhere").unwrap();
    let path = elsewhere.path().display().to_string();
    ip(fixture.lab.node(), &format!("link set nic0 netns {path}"));
    agent.wait_for("the NIC is missed", |status| {
        status.nic_mode("nic0").is_none() && status.problem("NICs", "NoSuchNic").is_some()
    });
    agent.wait_for("the program is detached", |_| !has_program(&elsewhere, "nic0"));
    let node = fixture.lab.node().path().display().to_string();
    ip(&elsewhere, &format!("link set nic0 netns {node}"));
    ip(fixture.lab.node(), "link set nic0 up");
    agent.wait_for("the NIC is attached again", |status| {
        status.nic_mode("nic0") == Some("Native")
    });
}

#[test]
fn a_nic_that_was_moved_while_no_agent_ran_loses_the_program_when_one_starts() {
    let fixture = Fixture::new();
    fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mut agent = fixture.start(&["server"]);
    agent.kill().unwrap();
    let elsewhere = fixture.lab.namespace("elsewhere").unwrap();
    let path = elsewhere.path().display().to_string();
    ip(fixture.lab.node(), &format!("link set nic0 netns {path}"));
    assert!(has_program(&elsewhere, "nic0"));
    agent.start().unwrap();
    agent.wait_for("the program is detached", |_| !has_program(&elsewhere, "nic0"));
}

#[test]
fn a_nic_is_selected_by_an_alternative_name() {
    let fixture = Fixture::new();
    fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    ip(
        fixture.lab.node(),
        "link property add dev nic0 altname uplink-of-the-node",
    );
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).nics(&["uplink-of-*"]);
    agent.start().unwrap();
    let status = agent.wait_for("the NIC is attached", |status| {
        status.nic_mode("nic0") == Some("Native")
    });
    assert!(status.problem("NICs", "NoSuchNic").is_none());
}

#[test]
fn a_changed_mac_loses_nothing_while_no_agent_runs() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mut agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);
    agent.kill().unwrap();
    let mac = "02:00:5e:10:20:30";
    ip(&pod.ns, &format!("link set eth0 address {mac}"));
    for address in [pod.v4(), pod.v6()] {
        only_mark(&fixture.deliver(&pod, at(address, 7777), 50), 42, 50);
    }
    let status = agent.look();
    assert_eq!(status.happened("events", "StaleMacAddress"), 100);
    assert_eq!(status.packets("players", "redirected"), 150);
    agent.start().unwrap();
    agent.wait_for("the address is followed", |status| {
        status.ready("server") && status.pod("server").is_some_and(|pod| pod["mac"] == mac)
    });
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);
    let status = agent.look();
    assert_eq!(status.happened("events", "StaleMacAddress"), 100);
}
