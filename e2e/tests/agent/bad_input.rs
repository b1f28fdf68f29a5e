//! Invalid input: reported with object, field, value and remedy, while everything else stays programmed.

mod machine;
mod room;

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Style};

use crate::fixture::{Fixture, PLAYERS, at, only_mark, policy};

const GAME: &str = "podSelector: {matchLabels: {app: game}}";

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    (fixture, pod)
}

/// Waits for the problem, and checks that status and log contain all these words and a remedy.
#[track_caller]
fn is_reported(agent: &Agent<'_>, object: &str, reason: &str, words: &[&str]) {
    let status = agent.wait_for(&format!("{reason} of {object} is shown"), |status| {
        status.problem(object, reason).is_some()
    });
    let problem = status.problem(object, reason).unwrap();
    let message = problem["message"].as_str().unwrap();
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(!remedy.is_empty(), "{problem}");
    let log = agent.log();
    for word in words {
        assert!(message.contains(word), "`{word}` is missing: {message}");
        let in_log = |line: &str| line.contains(reason) && line.contains(word) && line.contains(object);
        assert!(log.lines().any(in_log), "`{word}` is missing in the log:\n{log}");
    }
}

/// Checks that the policy with this mark is programmed.
#[track_caller]
fn programmed(fixture: &Fixture, pod: &LabPod, mark: u32) {
    only_mark(&fixture.deliver(pod, at(pod.v4(), 7777), 20), mark, 20);
}

fn rule(fields: &str) -> String {
    policy(
        "players",
        GAME,
        &[&format!(
            "{{name: players, action: Redirect, mark: 13, {fields}}}"
        )],
    )
}

/// The valid policy marks 42, the invalid one would mark 13, and the corrected one marks 43.
#[track_caller]
fn is_refused_and_changes_nothing(text: &str, object: &str, reason: &str, words: &[&str]) {
    let (fixture, pod) = fixture();
    let other = fixture.pod("other", "other", Style::Ptp, 6);
    let agent = fixture.start(&["server"]);
    programmed(&fixture, &pod, 42);

    fixture.manifests.write("policy-players.yaml", text).unwrap();
    is_reported(&agent, object, reason, words);
    programmed(&fixture, &pod, 42);

    // Other policies are still programmed.
    let selector = "podSelector: {matchLabels: {app: other}}";
    fixture.policy_with("others", selector, &["{name: others, action: Redirect, mark: 7}"]);
    agent.wait_for("the other policy is programmed", |status| status.ready("other"));
    programmed(&fixture, &other, 7);
    programmed(&fixture, &pod, 42);

    fixture.policy("players", &[&PLAYERS.replace("42", "43")]);
    agent.wait_for("the problem is resolved", |status| {
        status.problem(object, reason).is_none()
    });
    programmed(&fixture, &pod, 43);
}

const PLAYERS_POLICY: &str = "XdpPolicy games/players";
const FILE: &str = "policy-players.yaml:7";

#[test]
fn an_unknown_field() {
    let field = "spec.ingress[0].rateLimits";
    is_refused_and_changes_nothing(
        &rule("rateLimits: {}"),
        PLAYERS_POLICY,
        "UnknownField",
        &[FILE, field],
    );
}

#[test]
fn a_network_with_host_bits() {
    let text = rule("from: [{ipBlock: {cidr: 10.1.0.1/24}}]");
    let words = [FILE, "spec.ingress[0].from[0].ipBlock.cidr", "10.1.0.1/24"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "HostBits", &words);
}

#[test]
fn a_prefix_that_is_too_long() {
    let text = rule("from: [{ipBlock: {cidr: 10.1.0.0/33}}]");
    let words = [FILE, "spec.ingress[0].from[0].ipBlock.cidr", "10.1.0.0/33"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "PrefixTooLong", &words);
}

#[test]
fn an_except_of_another_address_family() {
    let text = rule("from: [{ipBlock: {cidr: 10.1.0.0/16, except: ['fd01::/64']}}]");
    let words = [
        FILE,
        "spec.ingress[0].from[0].ipBlock.except[0]",
        "fd01::/64",
        "10.1.0.0/16",
    ];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "MixedFamilies", &words);
}

#[test]
fn a_range_of_ports_that_ends_before_it_begins() {
    let text = rule("ports: [{protocol: UDP, port: 7777, endPort: 7776}]");
    let words = [FILE, "spec.ingress[0].ports[0].endPort", "7776", "7777"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "EndBeforePort", &words);
}

#[test]
fn two_rules_of_the_same_name() {
    let twice = "{name: twice, action: Drop}";
    let text = policy("players", GAME, &[twice, twice]);
    let words = ["policy-players.yaml:8", "spec.ingress[1].name", "twice"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "DuplicateRule", &words);
}

#[test]
fn a_rate_limit_of_a_drop_rule() {
    let limited = "{name: players, action: Drop, rateLimit: {packetsPerSecond: 10}}";
    let words = [FILE, "spec.ingress[0].rateLimit", "Drop"];
    is_refused_and_changes_nothing(
        &policy("players", GAME, &[limited]),
        PLAYERS_POLICY,
        "NothingToLimit",
        &words,
    );
}

#[test]
fn a_burst_of_no_packet() {
    let text = rule("rateLimit: {packetsPerSecond: 10, burst: 0}");
    let words = [FILE, "spec.ingress[0].rateLimit.burst", "10000000"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "BadRate", &words);
}

#[test]
fn a_port_name_that_no_container_can_have() {
    let text = rule("ports: [{protocol: TCP, port: Web_1}]");
    let words = [FILE, "spec.ingress[0].ports[0].port", "Web_1"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "BadPortName", &words);
}

#[test]
fn an_icmp_type_of_another_protocol() {
    let text = rule("ports: [{protocol: TCP, type: 8}]");
    let words = [FILE, "spec.ingress[0].ports[0].type", "TCP"];
    is_refused_and_changes_nothing(&text, PLAYERS_POLICY, "TypeWithoutTypes", &words);
}

#[test]
fn text_that_is_not_yaml() {
    let text = policy("players", GAME, &["{name: players, action: [Drop}"]);
    is_refused_and_changes_nothing(&text, "policy-players.yaml", "BadYaml", &["policy-players.yaml:"]);
}

#[test]
fn an_unknown_kind() {
    let text = rule("").replace("XdpPolicy", "XdpRule");
    let words = ["policy-players.yaml:2", "kind", "XdpRule"];
    is_refused_and_changes_nothing(&text, "XdpRule games/players", "UnknownKind", &words);
}

#[test]
fn a_pod_without_an_address() {
    let (fixture, pod) = fixture();
    let text = "apiVersion: v1
kind: Pod
metadata: {namespace: games, name: pending, uid: a, labels: {app: game}}
";
    fixture.manifests.write("pending.yaml", text).unwrap();
    let agent = fixture.start(&["server"]);
    is_reported(&agent, "Pod games/pending", "NoAddress", &[]);
    programmed(&fixture, &pod, 42);
}

#[test]
fn a_pod_whose_address_has_no_interface() {
    let (fixture, pod) = fixture();
    let text = "apiVersion: v1
kind: Pod
metadata: {namespace: games, name: elsewhere, uid: a, labels: {app: game}}
status: {podIP: 10.9.9.9}
";
    fixture.manifests.write("elsewhere.yaml", text).unwrap();
    let agent = fixture.start(&["server"]);
    is_reported(&agent, "Pod games/elsewhere", "NoInterface", &["10.9.9.9"]);
    programmed(&fixture, &pod, 42);
}

#[test]
fn an_agent_that_starts_with_an_invalid_file_programs_all_others() {
    let (fixture, pod) = fixture();
    fixture
        .manifests
        .write(
            "broken.yaml",
            &rule("rateLimits: {}").replace("name: players}", "name: broken}"),
        )
        .unwrap();
    let agent = fixture.start(&["server"]);
    is_reported(
        &agent,
        "XdpPolicy games/broken",
        "UnknownField",
        &["broken.yaml:7", "rateLimits"],
    );
    programmed(&fixture, &pod, 42);
}
