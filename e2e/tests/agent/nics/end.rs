//! What stays when the agent stops, and what an uninstall removes.

use std::process::{Command, Stdio};

use xdp_lab::LabPod;

use super::{NATIVE, fixture, marks, xdp};
use crate::fixture::{PATIENCE, expect_counts};

#[test]
fn a_stopped_agent_leaves_everything_programmed_and_the_status_readable() {
    let (fixture, pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    let before = agent.look();
    assert!(before.running());
    agent.stop().unwrap();
    let after = agent.look();
    assert!(!after.running());
    assert_eq!(before.json()["nics"], after.json()["nics"]);
    assert!(after.ready("server"));
    assert_eq!(
        xdp(&fixture, "nic0"),
        Some((NATIVE, before.program_id("nic0").unwrap()))
    );
    marks(&fixture, &pod, 42);
    expect_counts(&agent, "players", [20, 20, 0, 0, 0, 0]);
}

fn uninstalling_leaves_nothing_behind(had_gro: bool) {
    let (fixture, pod) = fixture();
    pod.set_gro(had_gro).unwrap();
    let mut agent = fixture.start(&["server"]);
    assert!(pod.gro().unwrap());
    marks(&fixture, &pod, 42);
    let refused = agent.uninstall().unwrap_err().to_string();
    assert!(
        refused.contains("another agent works in") || refused.contains("stop"),
        "{refused}"
    );
    agent.stop().unwrap();
    agent.uninstall().unwrap();

    assert_eq!(xdp(&fixture, "nic0"), None);
    assert!(!fixture.lab.pin_dir().exists(), "the pin directory is gone");
    assert_eq!(pod.gro().unwrap(), had_gro, "GRO is as it was");
    assert_eq!(programs_in(&pod), "", "the reader is gone");
    marks(&fixture, &pod, 0);
}

#[test]
fn uninstalling_leaves_nothing_behind_and_gro_on_where_it_was_on() {
    uninstalling_leaves_nothing_behind(true);
}

#[test]
fn uninstalling_leaves_nothing_behind_and_gro_off_where_it_was_off() {
    uninstalling_leaves_nothing_behind(false);
}

/// Returns what `bpftool net` shows for the pod's interface.
fn programs_in(pod: &LabPod) -> String {
    let mut command = Command::new("bpftool");
    command.args(["net", "show", "dev", "eth0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = pod.ns.spawn(command).unwrap().finish(PATIENCE).unwrap();
    let lines = finished.stdout.lines().filter(|line| line.contains("eth0"));
    lines.collect::<Vec<_>>().join("\n")
}
