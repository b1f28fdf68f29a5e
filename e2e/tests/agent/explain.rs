//! `explain` predicts what happens to a packet, and a real packet confirms it.

mod cases;

use serde_json::Value;
use xdp_e2e::{Agent, FIELDS, Status};
use xdp_lab::{LabPod, RawSocket};

use self::cases::{RULES, TRIAL, cases};
use crate::{
    fixture::Fixture,
    frames::{behind, on_wire, udp},
};

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod_with_ports(
        "server",
        "game",
        5,
        "[{name: voice, protocol: UDP, containerPort: 5004}]",
    );
    fixture.policy("players", &RULES);
    let spec = "podSelector: {matchLabels: {app: game}}\nenforcement: Audit\npriority: 600";
    fixture.policy_with("trial", spec, &[TRIAL]);
    (fixture, pod)
}

/// Runs `explain`, and returns its JSON.
fn explain(agent: &Agent<'_>, arguments: &str) -> Value {
    let line = format!("explain {arguments} -o json");
    let finished = agent.call(&line.split(' ').collect::<Vec<_>>()).unwrap();
    assert!(finished.status.success(), "{arguments}: {finished:?}");
    serde_json::from_str(&finished.stdout).unwrap()
}

fn refused(agent: &Agent<'_>, arguments: &str) -> String {
    let line = format!("explain {arguments}");
    let finished = agent.call(&line.split(' ').collect::<Vec<_>>()).unwrap();
    assert!(
        !finished.status.success() && finished.stdout.is_empty(),
        "{finished:?}"
    );
    finished.stderr
}

/// All counters of rules and events.
fn counted(status: &Status) -> [&Value; 4] {
    ["rules", "unparsed", "fallbacks", "events"].map(|list| &status.json()[list])
}

/// Sends the packet and another one after it. Returns what each rule has counted meanwhile.
fn send(fixture: &Fixture, agent: &Agent<'_>, packet: &[u8], end: &[u8]) -> Vec<(String, &'static str)> {
    let wire = RawSocket::sender(&fixture.client, &fixture.nic.wire).unwrap();
    let before = agent.look();
    for packet in [packet, end] {
        wire.send(&on_wire(&fixture.nic, &[], packet)).unwrap();
    }
    let ended = before.packets("end", "passed") + 1;
    let after = agent.wait_for("both packets are counted", |status| {
        status.packets("end", "passed") == ended
    });
    let rules = after.json()["rules"].as_array().unwrap().iter();
    let names = rules.map(|rule| rule["rule"].as_str().unwrap().to_owned());
    let mut changes = Vec::new();
    for rule in names.filter(|name| name != "end") {
        for field in FIELDS.into_iter().filter(|field| *field != "delivered") {
            let counted = after.packets(&rule, field) - before.packets(&rule, field);
            changes.extend((0..counted).map(|_| (rule.clone(), field)));
        }
    }
    changes
}

#[test]
fn explain_predicts_the_verdict_on_a_packet_and_changes_no_counter() {
    let (fixture, pod) = fixture();
    let agent = fixture.start(&["server"]);
    let nic = &fixture.nic;
    nic.add_client_address(cases::NOT_BANNED.parse().unwrap())
        .unwrap();
    let end = udp(nic.client_v4, pod.v4(), 6666, b"x");
    let before = agent.look();
    let cases = cases(nic, &pod);
    let answers: Vec<Value> = cases
        .iter()
        .map(|case| explain(&agent, &case.arguments))
        .collect();
    assert_eq!(counted(&agent.look()), counted(&before), "it counted something");
    for (case, answer) in cases.iter().zip(answers) {
        let what = format!("{}: {answer:#}", case.arguments);
        assert_eq!(answer["verdict"], case.verdict, "{what}");
        assert_eq!(answer["pod"], "games/server", "{what}");
        assert_eq!(
            answer["rule"]["rule"].as_str(),
            case.counted.map(|(rule, _)| rule),
            "{what}"
        );
        let seen = send(&fixture, &agent, &case.packet, &end);
        let expected: Vec<(String, &str)> = case
            .counted
            .iter()
            .map(|(rule, field)| ((*rule).to_owned(), *field))
            .collect();
        assert_eq!(seen, expected, "{what}");
    }
}

#[test]
fn explain_lists_the_rules_before_the_deciding_one_with_the_mismatch() {
    let (fixture, pod) = fixture();
    let agent = fixture.start(&["server"]);
    let from = fixture.nic.client_v4;
    let before = |arguments: &str| -> Vec<String> {
        let answer = explain(&agent, arguments);
        let rows = answer["before"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer:#}"));
        let text = |row: &Value| {
            format!(
                "{} {}",
                row["rule"].as_str().unwrap(),
                row["mismatch"].as_str().unwrap()
            )
        };
        rows.iter().map(text).collect()
    };
    let own = format!("--from {from} --to server --protocol UDP");
    assert_eq!(
        before(&format!("{own} --port 9000")),
        [
            "banned source",
            "closed protocol",
            "ping protocol",
            "players port"
        ]
    );
    let excepted = "--from 198.51.100.130 --to games/server --protocol TCP --port 22";
    assert_eq!(before(excepted), ["banned source"]);
    let other_type = format!("--from {from} --to {} --protocol ICMP --type 13", pod.v4());
    assert_eq!(
        before(&other_type),
        [
            "banned source",
            "closed protocol",
            "ping type",
            "players protocol",
            "slow protocol",
            "voice protocol",
            "end protocol",
            "no-web protocol"
        ]
    );
    let limited = explain(&agent, &format!("{own} --port 9000"));
    assert_eq!(limited["limit"]["packetsPerSecond"], 10, "{limited:#}");
    assert_eq!(limited["limit"]["burst"], 7, "{limited:#}");
}

#[test]
fn explain_names_the_rules_that_drop_what_cannot_be_parsed() {
    let (fixture, pod) = fixture();
    let agent = fixture.start(&["server"]);
    let (from, to) = (fixture.nic.client_v6, pod.v6());
    let question = format!("--from {from} --to {to} --protocol UDP --port 7777 --extension-headers");
    let named = |answer: &Value| -> Vec<String> {
        let rules = answer["couldMatch"].as_array().into_iter().flatten();
        let mut names: Vec<_> = rules
            .map(|rule| rule["rule"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let before = agent.look();
    let parsed = explain(&agent, &format!("{question} 6"));
    assert_eq!(parsed["rule"]["rule"], "players", "{parsed:#}");
    assert_eq!(named(&parsed), [""; 0]);
    let answer = explain(&agent, &format!("{question} 7"));
    assert_eq!(answer["verdict"], "UnparsedDrop", "{answer:#}");
    assert_eq!(answer["reason"], "TooManyExtensionHeaders");
    assert_eq!((&answer["rule"], &answer["before"]), (&Value::Null, &Value::Null));
    assert_eq!(named(&answer), ["closed", "slow"]);
    for (protocol, names) in [("TCP --port 80", vec!["closed"]), ("UDP --port 80", vec!["slow"])] {
        let words = format!("--from {from} --to {to} --truncated --protocol {protocol}");
        let answer = explain(&agent, &words);
        assert_eq!(
            (&answer["verdict"], &answer["reason"]),
            (&"UnparsedDrop".into(), &"Short".into())
        );
        assert_eq!(named(&answer), names);
    }
    let passes = explain(
        &agent,
        &format!("--from {from} --to {to} --truncated --protocol SCTP --port 80"),
    );
    assert_eq!(passes["verdict"], "Unparsed", "{passes:#}");
    assert_eq!(counted(&agent.look()), counted(&before), "it counted something");

    let wire = RawSocket::sender(&fixture.client, &fixture.nic.wire).unwrap();
    let packet = behind(&udp(from, to, 7777, b"x"), &[60; 7]);
    wire.send(&on_wire(&fixture.nic, &[], &packet)).unwrap();
    agent.wait_for("the packet is dropped as explained", |status| {
        status.happened("unparsedDrops", "TooManyExtensionHeaders") == 1
    });
}

#[test]
fn a_bad_question_is_answered_by_what_to_ask_instead() {
    let (fixture, _pod) = fixture();
    let agent = fixture.start(&["server"]);
    let from = format!("--from {}", fixture.nic.client_v4);
    for (arguments, words) in [
        (
            format!("{from} --to absent --protocol UDP --port 1"),
            ["`absent`", "games/server"],
        ),
        (
            format!("{from} --to fd02::5 --protocol UDP --port 1"),
            ["different families", "fd02::5"],
        ),
        (
            format!("{from} --to server --protocol UDP"),
            ["destination port", "--port"],
        ),
        (
            format!("{from} --to server --protocol ICMP --port 1"),
            ["has no ports", "--port"],
        ),
        (
            format!("{from} --to server --protocol UDP --port 1 --extension-headers 1"),
            ["only IPv6", "--extension-headers"],
        ),
        (
            format!("{from} --to server --protocol ICMPv6 --type 1"),
            ["has no message types", "ICMP"],
        ),
    ] {
        let message = refused(&agent, &arguments);
        for word in words {
            assert!(message.contains(word), "{arguments}: {message}");
        }
    }
}

#[test]
fn without_an_agent_the_kernel_still_answers_and_the_rules_are_read_from_files() {
    let (fixture, _pod) = fixture();
    let mut agent = fixture.start(&["server"]);
    agent.kill().unwrap();
    let question = format!(
        "--from {} --to server --protocol UDP --port 7777",
        fixture.nic.client_v4
    );
    let answer = explain(&agent, &question);
    assert_eq!(answer["rule"]["rule"], "players", "{answer:#}");
    assert_eq!(answer["before"], Value::Null);
    let notes = answer["notes"].to_string();
    assert!(
        notes.contains("no agent answers") && notes.contains("--manifests"),
        "{notes}"
    );

    let folder = fixture.manifests.folder().display().to_string();
    let answer = explain(&agent, &format!("{question} --manifests {folder}"));
    assert_eq!(answer["before"].as_array().map(Vec::len), Some(3), "{answer:#}");
    assert_eq!(answer["notes"].as_array().map(Vec::len), Some(0), "{answer:#}");
}

#[test]
fn explain_reports_that_no_agent_ever_ran() {
    let fixture = Fixture::new();
    let agent = Agent::new(&fixture.lab, &fixture.manifests);
    let message = refused(&agent, "--from 10.1.0.2 --to 10.2.0.5 --protocol UDP --port 1");
    let pin_dir = fixture.lab.pin_dir().display().to_string();
    assert!(message.contains(&pin_dir) && message.contains("run"), "{message}");
}
