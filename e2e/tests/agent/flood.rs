//! A pod that floods its own namespace with addresses and links costs others nothing.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Process, Style};

use crate::fixture::{Fixture, PATIENCE, PLAYERS, policy};

/// As many addresses as the flooding pod gives itself.
const ADDRESSES: u32 = 20_000;

/// Writes commands for `ip -batch`.
fn batch(fixture: &Fixture, name: &str, commands: &str) -> PathBuf {
    let path = fixture.lab.dir().join(name);
    fs::write(&path, commands).unwrap();
    path
}

fn address(number: u32) -> String {
    format!("10.77.{}.{}/32", number >> 8, number & 255)
}

/// Starts adding and removing addresses and links in a loop.
fn flood(fixture: &Fixture, pod: &LabPod) -> Process {
    let mut many = String::new();
    for number in 0..ADDRESSES {
        writeln!(many, "addr add {} dev eth0", address(number)).unwrap();
    }
    let mut command = Command::new("ip");
    command.arg("-batch").arg(batch(fixture, "many", &many));
    // The kernel compares a new address with all others.
    let added = pod.ns.spawn(command).unwrap().finish(3 * PATIENCE).unwrap();
    assert!(added.status.success(), "{}", added.stderr);
    let mut again = String::new();
    for number in 0..200 {
        writeln!(again, "addr del {} dev eth0", address(number)).unwrap();
        writeln!(again, "addr add {} dev eth0", address(number)).unwrap();
    }
    again.push_str("link add x0 type veth peer name x1\nlink del x0\n");
    let again = batch(fixture, "again", &again);
    let mut command = Command::new("sh");
    let script = format!("while true; do ip -batch {}; done", again.display());
    command.arg("-c").arg(script);
    pod.ns.spawn(command).unwrap()
}

/// How long a new pod's Drop rule takes from its manifests to the kernel.
fn programming(fixture: &Fixture, agent: &Agent<'_>, name: &str, number: u8) -> Duration {
    let rule = "{name: rest, action: Drop}";
    let selector = format!("podSelector: {{matchLabels: {{app: {name}}}}}");
    let text = policy(name, &selector, &[rule]);
    let begin = Instant::now();
    fixture.pod(name, name, Style::Ptp, number);
    fixture
        .manifests
        .write(&format!("policy-{name}.yaml"), &text)
        .unwrap();
    let programmed = agent.wait_within(PATIENCE, "the new pod's rules are programmed", |status| {
        status.programmed(name)
    });
    programmed.unwrap_or_else(|late| panic!("{late}\nlog:\n{}", agent.log()));
    begin.elapsed()
}

#[test]
fn the_rules_of_others_are_programmed_as_soon_as_without_the_flood() {
    let fixture = Fixture::new();
    let attacker = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    let quiet = programming(&fixture, &agent, "before", 20);
    let _flood = flood(&fixture, &attacker);
    let flooded: Vec<Duration> = (21..26)
        .map(|number| programming(&fixture, &agent, &format!("pod{number}"), number))
        .collect();
    println!("programmed after {quiet:?}, in the flood after {flooded:?}");
    // The machine is busy with the flood itself, too.
    let limit = (quiet * 8).max(Duration::from_secs(1));
    assert!(
        flooded.iter().all(|one| *one <= limit),
        "{quiet:?}, then {flooded:?}"
    );
    let status = agent.wait_for("the flooding pod has its own problem", |status| {
        let interface = attacker.host_interface.as_str();
        status.problem(interface, "AddressesUnreadable").is_some()
    });
    assert!(status.ready("server"), "it keeps its last facts");
}
