//! Machines and command lines with which the agent cannot run.

use xdp_e2e::Agent;
use xdp_lab::{NicSpec, Style, UdpReceiver, UdpSender};

use super::{fixture, is_reported, programmed};
use crate::fixture::{Fixture, PATIENCE, PLAYERS, at, only_mark};

/// Starts the agent, waits until it exits with code 1, and checks its log.
#[track_caller]
fn exits(mut agent: Agent<'_>, words: &[&str]) {
    agent.start().unwrap();
    let (code, log) = agent.wait_for_end().unwrap();
    assert_eq!(code, Some(1), "{log}");
    for word in words {
        assert!(log.contains(word), "`{word}` is missing: {log}");
    }
}

#[test]
fn the_agent_exits_with_a_remedy_if_the_manifests_folder_is_missing() {
    let fixture = Fixture::new();
    let missing = fixture.lab.dir().join("missing");
    let agent = Agent::new(&fixture.lab, &fixture.manifests).manifests(&missing);
    exits(
        agent,
        &[
            &missing.display().to_string(),
            "No such file",
            "create it",
            "--manifests",
        ],
    );
}

#[test]
fn the_agent_exits_and_names_missing_capabilities() {
    let fixture = Fixture::new();
    let agent = Agent::new(&fixture.lab, &fixture.manifests).under(&["setpriv", "--bounding-set=-all"]);
    exits(
        agent,
        &[
            "no permission",
            "CAP_BPF",
            "CAP_NET_ADMIN",
            "CAP_PERFMON",
            "run the agent as root",
        ],
    );
    let agent = Agent::new(&fixture.lab, &fixture.manifests)
        .log_to("second.log")
        .under(&["setpriv", "--bounding-set=-perfmon"]);
    exits(agent, &["no permission: CAP_PERFMON missing"]);
}

#[test]
fn the_agent_exits_with_a_remedy_if_the_pin_directory_is_not_on_a_bpffs() {
    let fixture = Fixture::new();
    let plain = fixture.lab.dir().join("plain");
    let agent = Agent::new(&fixture.lab, &fixture.manifests).pin_dir(&plain);
    exits(
        agent,
        &["no bpf file system", "mount -t bpf -o mode=0700 bpf /sys/fs/bpf"],
    );
    assert!(!plain.exists());
}

#[test]
fn a_second_agent_exits_and_does_not_disturb_the_first() {
    let (fixture, pod) = fixture();
    let agent = fixture.start(&["server"]);
    let id = agent.look().program_id("nic0");
    let second = Agent::new(&fixture.lab, &fixture.manifests).log_to("second.log");
    exits(second, &["another agent works in", "--pin-dir"]);
    assert_eq!(agent.ended().unwrap(), None);
    assert_eq!(agent.look().program_id("nic0"), id);
    programmed(&fixture, &pod, 42);
    fixture.policy("players", &[&PLAYERS.replace("42", "43")]);
    let inbox = UdpReceiver::bind(&pod.ns, at(pod.v4(), 7777)).unwrap();
    let mut sender = UdpSender::new(&fixture.client, at(pod.v4(), 7777)).unwrap();
    xdp_lab::wait_until("the first still works", PATIENCE, || {
        sender.send_one().unwrap();
        inbox.received().marks.contains_key(&43)
    })
    .unwrap();
}

#[test]
fn a_bad_command_line_is_explained() {
    let fixture = Fixture::new();
    let agent = Agent::new(&fixture.lab, &fixture.manifests);
    for (arguments, words) in [
        (&["run"][..], ["--manifests", "--nic"]),
        (
            &["run", "--manifests", "/", "--nci", "nic0"],
            ["--nci", "Usage: xdp-agent run"],
        ),
        (&["fly"], ["fly", "help"]),
        (&["status", "-o", "yaml"], ["yaml", "json"]),
    ] {
        let finished = agent.call(arguments).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        for word in words {
            assert!(
                finished.stderr.contains(word),
                "`{word}` is missing: {}",
                finished.stderr
            );
        }
    }
}

#[test]
fn status_and_uninstall_without_permission_fail_and_remove_nothing() {
    let (fixture, pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    agent.stop().unwrap();
    let unprivileged =
        Agent::new(&fixture.lab, &fixture.manifests).under(&["setpriv", "--bounding-set=-all"]);
    for refused in [unprivileged.status_table(), unprivileged.uninstall()] {
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("permission") && refused.contains("root"),
            "{refused}"
        );
    }
    programmed(&fixture, &pod, 42);
}

#[test]
fn status_and_uninstall_report_that_nothing_is_installed() {
    let fixture = Fixture::new();
    let agent = Agent::new(&fixture.lab, &fixture.manifests);
    for command in ["status", "uninstall"] {
        let finished = agent.call(&[command]).unwrap();
        let pin_dir = fixture.lab.pin_dir().display().to_string();
        let text = finished.stdout + &finished.stderr;
        assert!(text.contains(&pin_dir), "{command}: {text}");
    }
}

#[test]
fn a_nic_that_does_not_exist_is_a_problem_until_it_appears() {
    let (fixture, pod) = fixture();
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).nics(&["nic*", "late0"]);
    agent.start().unwrap();
    agent.wait_for("the other NIC and the pod are programmed", |status| {
        status.nic_mode("nic0") == Some("Native") && status.ready("server")
    });
    is_reported(&agent, "NICs", "NoSuchNic", &["late0"]);
    programmed(&fixture, &pod, 42);

    let late = fixture.lab.namespace("late").unwrap();
    fixture.lab.nic(NicSpec::new("late0", &late)).unwrap();
    agent.wait_for("it is attached", |status| {
        status.nic_mode("late0") == Some("Native") && status.problem("NICs", "NoSuchNic").is_none()
    });
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    UdpSender::new(&late, to).unwrap().send(20).unwrap();
    only_mark(&inbox.wait_for(20, PATIENCE).unwrap(), 42, 20);
}

#[test]
fn a_manifests_folder_that_vanishes_changes_nothing() {
    let (fixture, pod) = fixture();
    let agent = fixture.start(&["server"]);
    let moved = fixture.lab.dir().join("moved");
    std::fs::rename(fixture.manifests.folder(), &moved).unwrap();
    fixture
        .lab
        .pod(&crate::fixture::spec("wakes-the-agent", Style::Ptp, 7))
        .unwrap();
    is_reported(
        &agent,
        "directory",
        "ManifestsUnreadable",
        &["the last state stays programmed"],
    );
    programmed(&fixture, &pod, 42);
}
