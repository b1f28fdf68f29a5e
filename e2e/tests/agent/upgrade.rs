//! An agent with another table layout takes over without loss, and removes everything of the old layout.

use std::{fs, path::Path};

use xdp_core::tables::ABI_VERSION;
use xdp_lab::{LabPod, Style, UdpSender};

use crate::{
    fixture::{Fixture, PATIENCE, PLAYERS, at},
    flow::{Flow, Traffic},
    nics::xdp,
};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    (fixture, pod)
}

#[test]
fn a_new_layout_takes_over_while_packets_keep_their_mark() {
    let (fixture, pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    let links = names(&fixture.pins().join("links"));
    let old = agent.look().program_id("nic0").unwrap();
    let to = at(pod.v4(), 7777);
    let inbox = std::sync::Arc::new(xdp_lab::UdpReceiver::bind(&pod.ns, to).unwrap());
    let traffic = Traffic::new();
    let flow = traffic.add(Flow::new(UdpSender::new(&fixture.client, to).unwrap(), &inbox));
    traffic.more(flow, 2_000);
    agent.stop().unwrap();
    fixture.make_pins_older();
    traffic.more(flow, 2_000);

    agent.start().unwrap();
    let status = agent.wait_for("the new program is on the NIC", |status| {
        status.running() && status.ready("server") && status.program_id("nic0").is_some_and(|id| id != old)
    });
    assert_eq!(status.nic_mode("nic0"), Some("Native"));
    traffic.more(flow, 2_000);
    let sent = traffic.end(flow);
    let received = inbox.received();
    println!("sent {sent}, marks {:?}", received.marks);
    assert_eq!(received.streams[&flow].lost(sent), 0);
    assert_eq!(received.packets, sent);
    assert_eq!(received.marks.keys().collect::<Vec<_>>(), [&42]);

    assert_eq!(
        names(&fixture.lab.pin_dir()),
        [format!("abi-{ABI_VERSION}")],
        "\n{}",
        agent.log()
    );
    assert_eq!(names(&fixture.pins().join("links")), links);
    // All tables are new, so the counters restart.
    let counted = agent.look().counts("players");
    assert!((2_000..sent).contains(&counted[0]), "{counted:?}");
    assert!(gone(old), "program {old} is still loaded");
}

/// The kernel frees a program some time after its last reference is released.
fn gone(program: u64) -> bool {
    let loaded = || {
        let mut command = std::process::Command::new("bpftool");
        let output = command
            .args(["prog", "show", "id", &program.to_string()])
            .output();
        output.unwrap().status.success()
    };
    xdp_lab::wait_until("the program is freed", PATIENCE, || !loaded()).is_ok()
}

#[test]
fn uninstall_removes_other_layouts() {
    let (fixture, pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    assert!(pod.gro().unwrap());
    agent.stop().unwrap();
    fixture.make_pins_older();
    let report = agent.uninstall().unwrap();
    assert!(!fixture.lab.pin_dir().exists(), "{report}");
    assert_eq!(xdp(&fixture, "nic0"), None);
    assert!(!pod.gro().unwrap());
    assert_eq!(fixture.deliver(&pod, at(pod.v4(), 7777), 50).packets, 50);
}

#[test]
fn an_older_layout_next_to_the_current_one_is_removed_without_effect_on_it() {
    let (fixture, pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    agent.stop().unwrap();
    let older = fixture.lab.pin_dir().join(format!("abi-{}", ABI_VERSION - 1));
    for folder in ["maps", "links", "gro"] {
        fs::create_dir_all(older.join(folder)).unwrap();
    }
    // A pin with the same name of another object.
    fs::rename(fixture.pins().join("maps/PROBLEMS"), older.join("maps/PROBLEMS")).unwrap();
    agent.start().unwrap();
    let gone = xdp_lab::wait_until("the older one is gone", PATIENCE, || !older.exists());
    assert!(gone.is_ok(), "{}", agent.log());
    agent.wait_for("the agent runs", |status| {
        status.running() && status.ready("server")
    });
    let received = fixture.deliver(&pod, at(pod.v4(), 7777), 50);
    assert_eq!(received.marks.keys().collect::<Vec<_>>(), [&42]);
}
