//! NICs: native or not at all, never at somebody else's cost, and as they were when the agent is uninstalled.

mod end;
mod foreign;
mod generic;

use std::process::{Command, Stdio};

use serde_json::Value;
use xdp_e2e::{Agent, Status};
use xdp_lab::{NicSpec, Pod, Style};

use crate::world::{PATIENCE, PLAYERS, World, at, only_mark};

fn world() -> (World, Pod) {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    world.policy("players", &[PLAYERS]);
    (world, pod)
}

/// An agent for these NICs, with the pod's rules in force.
fn start<'a>(world: &'a World, nics: &[&str]) -> Agent<'a> {
    let mut agent = Agent::new(&world.lab, &world.manifests).nics(nics);
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    agent
}

/// What `ip link` shows of an interface of the node.
fn link(world: &World, name: &str) -> Value {
    let mut command = Command::new("ip");
    command.args(["-json", "-details", "link", "show", "dev", name]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = world.lab.node().spawn(command).unwrap().finish(PATIENCE).unwrap();
    assert!(finished.status.success(), "{finished:?}");
    serde_json::from_str::<Value>(&finished.stdout).unwrap()[0].clone()
}

/// `XDP_ATTACHED_DRV`.
const NATIVE: u64 = 1;

/// Mode and id of the program, as `ip link` shows them.
pub(crate) fn xdp(world: &World, name: &str) -> Option<(u64, u64)> {
    let xdp = link(world, name)["xdp"].clone();
    Some((xdp["mode"].as_u64()?, xdp["prog"]["id"].as_u64()?))
}

/// The problem of a NIC; all of it is filled in, and the log says the same.
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
        let told = |line: &str| line.contains(reason) && line.contains(nic) && line.contains(word);
        assert!(log.lines().any(told), "`{word}` is missing in the log:\n{log}");
    }
    status
}

#[track_caller]
fn marks(world: &World, pod: &Pod, mark: u32) {
    only_mark(&world.deliver(pod, at(pod.v4(), 7777), 20), mark, 20);
}

#[test]
fn native_is_what_the_status_says_and_what_the_kernel_shows() {
    let (world, _pod) = world();
    let agent = world.start(&["server"]);
    let status = agent.look();
    let nic = &status.json()["nics"][0];
    assert_eq!(nic["driver"], "veth");
    assert_eq!(nic["ifindex"], world.nic.ifindex);
    assert_eq!(nic["mtu"], 1500);
    assert_eq!(nic["problems"], serde_json::json!([]));
    let id = status.program_id("nic0").unwrap();
    assert_eq!(xdp(&world, "nic0"), Some((NATIVE, id)));
    let tag = link(&world, "nic0")["xdp"]["prog"]["tag"].clone();
    assert_eq!(nic["programTag"], tag);
    assert!(agent.status_table().unwrap().contains("nic0"));
}

#[test]
fn a_nic_without_native_xdp_is_refused_and_the_others_work() {
    let (world, pod) = world();
    world.pod("bridged", "web", Style::Bridge, 6);
    let agent = start(&world, &["nic0", "br0"]);
    let status = nic_problem(&agent, "br0", "NoNativeXdp", &["bridge", "native XDP"]);
    assert_eq!(status.nic_mode("br0"), Some("none"), "never generic");
    assert_eq!(xdp(&world, "br0"), None);
    agent.wait_for("nic0 is attached", |status| {
        status.nic_mode("nic0") == Some("native")
    });
    marks(&world, &pod, 42);
}

/// veth allows what fits one page, for the frames of its other end.
#[test]
fn an_mtu_too_large_for_xdp_is_refused_and_the_nic_taken_once_it_is_lowered() {
    let (world, pod) = world();
    world.client.set_mtu(&world.nic.wire, 9000).unwrap();
    world.lab.node().set_mtu("nic0", 9000).unwrap();
    let agent = start(&world, &["nic0"]);
    let status = nic_problem(&agent, "nic0", "MtuTooLarge", &["9000", "nic0"]);
    assert_eq!(status.nic_mode("nic0"), Some("none"));
    assert_eq!(xdp(&world, "nic0"), None, "never generic");
    let remedy = &status.problem("NIC nic0", "MtuTooLarge").unwrap()["remedy"];
    assert!(
        remedy.as_str().unwrap().contains("ip link set dev nic0 mtu"),
        "{remedy}"
    );

    world.client.set_mtu(&world.nic.wire, 1500).unwrap();
    world.lab.node().set_mtu("nic0", 1500).unwrap();
    agent.wait_for("it is attached", |status| {
        status.nic_mode("nic0") == Some("native")
    });
    marks(&world, &pod, 42);
}

#[test]
fn a_nic_that_is_deleted_and_made_again_is_attached_again() {
    let (world, _pod) = world();
    let second = world.lab.namespace("second").unwrap();
    let nic = world.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    let agent = world.start(&["server"]);
    agent.wait_for("nic1 is attached", |status| {
        status.nic_mode("nic1") == Some("native")
    });
    world.lab.node().delete_interface("nic1").unwrap();
    agent.wait_for("nic1 is gone", |status| status.nic_mode("nic1").is_none());

    let again = add_veth(&world, "nic1");
    assert_ne!(again, nic.ifindex);
    let status = agent.wait_for("nic1 is attached again", |status| {
        status.nic_mode("nic1") == Some("native")
    });
    assert_eq!(xdp(&world, "nic1").map(|(_, id)| id), status.program_id("nic1"));
    assert_eq!(status.json()["nics"].as_array().unwrap().len(), 2);
}

fn add_veth(world: &World, name: &str) -> u32 {
    let mut command = Command::new("ip");
    command.args(["link", "add", name, "type", "veth", "peer", "name", "peer"]);
    assert!(
        world
            .lab
            .node()
            .spawn(command)
            .unwrap()
            .finish(PATIENCE)
            .unwrap()
            .status
            .success()
    );
    world.lab.node().interface(name).unwrap().index
}

#[test]
fn a_nic_that_is_not_selected_is_left_alone_and_one_that_is_not_any_more_is_freed() {
    let (world, pod) = world();
    let second = world.lab.namespace("second").unwrap();
    world.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    world.lab.nic(NicSpec::new("other0", &second)).unwrap();
    let mut agent = world.start(&["server"]);
    agent.wait_for("both are attached", |status| {
        status.nic_mode("nic1") == Some("native")
    });
    assert_eq!(xdp(&world, "other0"), None);
    agent.stop().unwrap();
    let agent = start(&world, &["nic0"]);
    agent.wait_for("nic1 is free", |status| status.nic_mode("nic1").is_none());
    assert_eq!(xdp(&world, "nic1"), None);
    marks(&world, &pod, 42);
}
