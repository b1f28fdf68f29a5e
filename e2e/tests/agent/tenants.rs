//! What one namespace does costs another one nothing: neither rules, nor time, nor its place in the status.

mod soak;

use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, PATIENCE, PLAYERS, at, policy};

/// The victim's rule, and the port that it closes.
const CLOSED: &str = "{name: closed, ports: [{protocol: UDP, port: 9999}], action: Drop}";
const PORT: u16 = 9999;

/// A pod of another namespace.
fn attacker(fixture: &Fixture) -> LabPod {
    let pod = fixture.pod("attacker", "attacker", Style::Ptp, 6);
    write_attacker(fixture, &pod);
    pod
}

fn write_attacker(fixture: &Fixture, pod: &LabPod) {
    let addresses: Vec<String> = pod
        .addresses()
        .map(|ip: IpAddr| format!("{{ip: '{ip}'}}"))
        .collect();
    let object = format!(
        "apiVersion: v1
kind: Pod
metadata: {{namespace: hostile, name: attacker, uid: uid-of-attacker, labels: {{app: attacker}}}}
status: {{podIPs: [{}]}}
",
        addresses.join(", ")
    );
    fixture.manifests.write("attacker.yaml", &object).unwrap();
}

/// Writes policies of the other namespace with this number of rules each, all in one file.
fn hostile(fixture: &Fixture, selector: &str, size: (usize, usize), from: impl FnMut() -> String) {
    hostile_file(fixture, "p", selector, size, from);
}

/// Writes policies whose names start like the file's.
fn hostile_file(
    fixture: &Fixture,
    name: &str,
    selector: &str,
    (policies, rules): (usize, usize),
    mut from: impl FnMut() -> String,
) {
    let mut text = String::new();
    for number in 0..policies {
        write!(
            text,
            "---
apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {{namespace: hostile, name: {name}{number:03}}}
spec:
  priority: 0
  podSelector: {selector}
  ingress:
"
        )
        .unwrap();
        for rule in 0..rules {
            writeln!(text, "  - {{name: r{rule}, {}action: Redirect}}", from()).unwrap();
        }
    }
    fixture
        .manifests
        .write(&format!("hostile-{name}.yaml"), &text)
        .unwrap();
}

/// What is redirected arrives, and what is dropped does not.
#[track_caller]
fn rules_act(fixture: &Fixture, pod: &LabPod, agent: &Agent<'_>) {
    let inbox = UdpReceiver::bind(&pod.ns, at(pod.v4(), PORT)).unwrap();
    let before = agent.status().unwrap().packets("closed", "dropped");
    UdpSender::new(&fixture.client, at(pod.v4(), PORT))
        .unwrap()
        .send(20)
        .unwrap();
    agent.wait_for("the packets are dropped", |status| {
        status.packets("closed", "dropped") == before + 20
    });
    fixture.deliver(pod, at(pod.v4(), 7777), 20);
    assert_eq!(inbox.received().packets, 0);
}

#[test]
fn policies_for_all_rules_of_a_node_displace_no_rule_of_another_namespace() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[CLOSED, PLAYERS]);
    let agent = fixture.start(&["server"]);
    attacker(&fixture);
    hostile(
        &fixture,
        "{matchLabels: {app: attacker}}",
        (328, 100),
        String::new,
    );
    let status = agent.wait_for("the other namespace has what fits", |status| {
        status.problem("XdpPolicy hostile/p327", "MAX_RULES").is_some()
    });
    let problem = status.problem("XdpPolicy hostile/p327", "MAX_RULES").unwrap();
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("16384 for sure"), "{message}");
    rules_act(&fixture, &pod, &agent);
    drop(agent);
    // The agent that starts next finds all of it.
    let agent = fixture.start(&["server"]);
    rules_act(&fixture, &pod, &agent);
}

#[test]
fn policies_that_select_no_pod_have_no_counters_and_no_series() {
    let fixture = Fixture::new();
    fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).listens_to_all();
    hostile(&fixture, "{matchLabels: {app: nothing}}", (327, 100), String::new);
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    let metrics = agent.get("/metrics").unwrap().body;
    assert!(!metrics.contains("hostile"));
    assert!(metrics.len() < 256 << 10, "{} bytes", metrics.len());
}

/// Sources with 24 networks each, most of them short prefixes.
fn networks() -> impl FnMut() -> String {
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    move || {
        let mut network = || {
            let prefix = 1 + (random() % 24) as u8;
            let network = ipnet::Ipv4Net::new(random().into(), prefix).unwrap().trunc();
            format!("{{ipBlock: {{cidr: {network}}}}}")
        };
        let list: Vec<String> = (0..24).map(|_| network()).collect();
        format!("from: [{}], ", list.join(", "))
    }
}

/// How long a Drop of the victim takes from its file to the kernel.
fn programming(fixture: &Fixture, agent: &Agent<'_>, name: &str) -> Duration {
    let rule = format!("{{name: {name}, ports: [{{protocol: UDP, port: 9000}}], action: Drop}}");
    let text = policy(name, "podSelector: {matchLabels: {app: game}}", &[&rule]);
    let begin = Instant::now();
    fixture.manifests.write(&format!("{name}.yaml"), &text).unwrap();
    let programmed = agent.wait_within(PATIENCE, "the new rule is programmed", |status| {
        status.has_rule(name) && status.programmed("server")
    });
    programmed.unwrap_or_else(|late| panic!("{late}\nlog:\n{}", agent.log()));
    begin.elapsed()
}

#[test]
fn rules_that_take_long_to_compile_do_not_delay_those_of_another_namespace() {
    let fixture = Fixture::new();
    fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).listens_to_all();
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    let quiet = programming(&fixture, &agent, "before");
    attacker(&fixture);
    hostile(&fixture, "{matchLabels: {app: attacker}}", (500, 50), networks());
    agent.wait_for("the policies are read", |status| {
        status.is_troubled("XdpPolicy hostile/")
    });
    let meanwhile: Vec<Duration> = (0..5)
        .map(|number| programming(&fixture, &agent, &format!("urgent{number}")))
        .collect();
    println!("programmed after {quiet:?}, meanwhile after {meanwhile:?}");
    // The machine is busy with the compilation itself, too.
    let limit = (quiet * 8).max(Duration::from_secs(3));
    assert!(
        meanwhile.iter().all(|one| *one <= limit),
        "{quiet:?}, then {meanwhile:?}"
    );
    assert_eq!(agent.get("/healthz").unwrap().status, 200);
    agent.wait_for("what does not fit is refused", |status| {
        status.problem("XdpPolicy hostile/", "MAX_OVERLAPS").is_some()
    });
    let log = agent.log();
    let warnings = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("hostile"));
    let warnings: Vec<&str> = warnings.collect();
    assert!(
        (1..=3).contains(&warnings.len()),
        "{} warnings: {warnings:#?}",
        warnings.len()
    );
}
