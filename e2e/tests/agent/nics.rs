//! NICs: native mode or none, foreign programs stay, and uninstalling restores the NIC.

mod end;
mod foreign;
mod generic;
mod moved;

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use xdp_core::tables::ABI_VERSION;
use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, NicSpec, Style};

use crate::fixture::{Fixture, PATIENCE, PLAYERS, at, only_mark};

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    (fixture, pod)
}

/// Starts an agent for these NICs, and waits until the pod is ready.
fn start<'a>(fixture: &'a Fixture, nics: &[&str]) -> Agent<'a> {
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).nics(nics);
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    agent
}

/// Returns what `ip link` shows about an interface of the node.
fn link(fixture: &Fixture, name: &str) -> Value {
    let mut command = Command::new("ip");
    command.args(["-json", "-details", "link", "show", "dev", name]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = fixture
        .lab
        .node()
        .spawn(command)
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
    assert!(finished.status.success(), "{finished:?}");
    serde_json::from_str::<Value>(&finished.stdout).unwrap()[0].clone()
}

/// `XDP_ATTACHED_DRV`.
const NATIVE: u64 = 1;

/// Mode and id of the program, as `ip link` shows them.
pub(crate) fn xdp(fixture: &Fixture, name: &str) -> Option<(u64, u64)> {
    let xdp = link(fixture, name)["xdp"].clone();
    Some((xdp["mode"].as_u64()?, xdp["prog"]["id"].as_u64()?))
}

/// Waits for a NIC's problem, and checks that it is complete and in the log.
#[track_caller]
fn nic_problem(agent: &Agent<'_>, nic: &str, reason: &str, words: &[&str]) -> Status {
    let status = agent.wait_for(&format!("{reason} of {nic} is shown"), |status| {
        status.problem(&format!("NIC {nic}"), reason).is_some()
    });
    let problem = status.problem(&format!("NIC {nic}"), reason).unwrap();
    let message = problem["message"].as_str().unwrap();
    assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    let log = agent.log();
    for word in words {
        assert!(message.contains(word), "`{word}` is missing: {message}");
        let in_log = |line: &str| line.contains(reason) && line.contains(nic) && line.contains(word);
        assert!(log.lines().any(in_log), "`{word}` is missing in the log:\n{log}");
    }
    status
}

#[track_caller]
fn marks(fixture: &Fixture, pod: &LabPod, mark: u32) {
    only_mark(&fixture.deliver(pod, at(pod.v4(), 7777), 20), mark, 20);
}

#[test]
fn status_and_kernel_show_native_mode() {
    let (fixture, _pod) = fixture();
    let agent = fixture.start(&["server"]);
    let status = agent.look();
    let nic = &status.json()["nics"][0];
    assert_eq!(nic["driver"], "veth");
    assert_eq!(nic["ifindex"], fixture.nic.ifindex);
    assert_eq!(nic["mtu"], 1500);
    assert_eq!(nic["problems"], serde_json::json!([]));
    let id = status.program_id("nic0").unwrap();
    assert_eq!(xdp(&fixture, "nic0"), Some((NATIVE, id)));
    let tag = link(&fixture, "nic0")["xdp"]["prog"]["tag"].clone();
    assert_eq!(nic["programTag"], tag);
    assert!(agent.status_table().unwrap().contains("nic0"));
}

#[test]
fn a_nic_without_native_xdp_is_refused_and_the_others_are_attached() {
    let (fixture, pod) = fixture();
    fixture.pod("bridged", "web", Style::Bridge, 6);
    let agent = start(&fixture, &["nic0", "br0"]);
    let status = nic_problem(&agent, "br0", "NoNativeXdp", &["bridge", "native XDP"]);
    assert_eq!(status.nic_mode("br0"), Some("None"), "never generic");
    assert_eq!(xdp(&fixture, "br0"), None);
    agent.wait_for("nic0 is attached", |status| {
        status.nic_mode("nic0") == Some("Native")
    });
    marks(&fixture, &pod, 42);
}

/// A veth with XDP limits the other end's MTU to one page.
#[test]
fn a_nic_with_too_large_an_mtu_is_refused_and_attached_once_the_mtu_is_lowered() {
    let (fixture, pod) = fixture();
    fixture.client.set_mtu(&fixture.nic.wire, 9000).unwrap();
    fixture.lab.node().set_mtu("nic0", 9000).unwrap();
    let agent = start(&fixture, &["nic0"]);
    let status = nic_problem(&agent, "nic0", "MtuTooLarge", &["9000", "nic0"]);
    assert_eq!(status.nic_mode("nic0"), Some("None"));
    assert_eq!(xdp(&fixture, "nic0"), None, "never generic");
    let remedy = &status.problem("NIC nic0", "MtuTooLarge").unwrap()["remedy"];
    assert!(
        remedy.as_str().unwrap().contains("ip link set dev nic0 mtu"),
        "{remedy}"
    );

    fixture.client.set_mtu(&fixture.nic.wire, 1500).unwrap();
    fixture.lab.node().set_mtu("nic0", 1500).unwrap();
    agent.wait_for("it is attached", |status| {
        status.nic_mode("nic0") == Some("Native")
    });
    marks(&fixture, &pod, 42);
}

#[test]
fn a_nic_that_is_deleted_and_created_again_is_attached_again() {
    let (fixture, _pod) = fixture();
    let second = fixture.lab.namespace("second").unwrap();
    let nic = fixture.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    let mut agent = fixture.start(&["server"]);
    let mut before = nic.ifindex;
    for _ in 0..2 {
        agent.wait_for("nic1 is attached", |status| {
            status.nic_mode("nic1") == Some("Native")
        });
        fixture.lab.node().delete_interface("nic1").unwrap();
        agent.wait_for("nic1 is gone", |status| status.nic_mode("nic1").is_none());
        let again = add_veth(&fixture, "nic1");
        assert_ne!(again, before);
        before = again;
    }
    let status = agent.wait_for("nic1 is attached again", |status| {
        status.nic_mode("nic1") == Some("Native")
    });
    assert_eq!(xdp(&fixture, "nic1").map(|(_, id)| id), status.program_id("nic1"));
    assert_eq!(status.json()["nics"].as_array().unwrap().len(), 2);
    xdp_lab::wait_until("the pins of the dead links are gone", PATIENCE, || {
        nic_pins(&fixture) == 2
    })
    .unwrap();
    agent.stop().unwrap();
    let report = agent.uninstall().unwrap();
    assert!(report.contains("programs of 2 NICs"), "{report}");
}

/// Counts the pinned links of programs on NICs.
fn nic_pins(fixture: &Fixture) -> usize {
    let links = fixture.lab.pin_dir().join(format!("abi-{ABI_VERSION}/links"));
    let pins = fs::read_dir(links).unwrap().flatten();
    let is_nic = |name: &str| {
        name.strip_prefix("nic-")
            .is_some_and(|index| index.parse::<u32>().is_ok())
    };
    pins.filter(|pin| is_nic(&pin.file_name().to_string_lossy()))
        .count()
}

fn add_veth(fixture: &Fixture, name: &str) -> u32 {
    let mut command = Command::new("ip");
    command.args(["link", "add", name, "type", "veth", "peer", "name", "peer"]);
    assert!(
        fixture
            .lab
            .node()
            .spawn(command)
            .unwrap()
            .finish(PATIENCE)
            .unwrap()
            .status
            .success()
    );
    fixture.lab.node().interface(name).unwrap().index
}

#[test]
fn an_unselected_nic_is_not_attached_and_a_deselected_nic_is_detached() {
    let (fixture, pod) = fixture();
    let second = fixture.lab.namespace("second").unwrap();
    fixture.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    fixture.lab.nic(NicSpec::new("other0", &second)).unwrap();
    let mut agent = fixture.start(&["server"]);
    agent.wait_for("both are attached", |status| {
        status.nic_mode("nic1") == Some("Native")
    });
    assert_eq!(xdp(&fixture, "other0"), None);
    agent.stop().unwrap();
    let agent = start(&fixture, &["nic0"]);
    agent.wait_for("nic1 is detached", |status| status.nic_mode("nic1").is_none());
    assert_eq!(xdp(&fixture, "nic1"), None);
    marks(&fixture, &pod, 42);
}
