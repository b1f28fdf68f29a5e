//! `xdp-agent flows`, without an agent.

use std::{path::Path, process::Command};

use serde_json::Value;
use xdp_agent::report::flows::{FlowFilter, collect};
use xdp_core::tables::MIN_FLOWS;

use crate::{
    bpffs::Bpffs,
    entries::{OTHER, POD, Table, maps, open, two_pods},
};

#[test]
fn flows_are_listed_by_pod_without_an_agent() {
    let bpffs = Bpffs::new();
    let mut datapath = open(&bpffs, MIN_FLOWS);
    let (first, second) = two_pods(&mut datapath);
    drop(datapath);
    let mut flows = Table::open(&maps(&bpffs), "ESTABLISHED");
    flows.add(40001, POD, first);
    flows.add(40002, OTHER, second);
    Table::open(&maps(&bpffs), "UNREPLIED").add(40003, POD, first);
    let filter = FlowFilter {
        pod: Some("games/server-0".to_owned()),
        ..FlowFilter::default()
    };
    let found = collect(&bpffs.pin_dir(), &filter).unwrap();
    let found: Vec<_> = found
        .flows
        .iter()
        .map(|flow| (flow.table, flow.remote_port))
        .collect();
    assert_eq!(found, [("established", 40001), ("unreplied", 40003)]);
    let all = collect(&bpffs.pin_dir(), &FlowFilter::default()).unwrap();
    assert!(
        all.table()
            .ends_with("established 2 of 2, unreplied 1 of 1, stack 0 of 0")
    );
}

/// Returns the output of the command.
fn printed(pin_dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-agent"));
    let output = command.arg("flows").arg("--pin-dir").arg(pin_dir).args(arguments);
    let output = output.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_command_lists_the_selected_flows_as_text_and_as_json() {
    let bpffs = Bpffs::new();
    let mut datapath = open(&bpffs, MIN_FLOWS);
    let (first, second) = two_pods(&mut datapath);
    drop(datapath);
    let mut flows = Table::open(&maps(&bpffs), "ESTABLISHED");
    flows.add(40001, POD, first);
    flows.add(40002, OTHER, second);
    Table::open(&maps(&bpffs), "UNREPLIED").add(40003, OTHER, second);
    let pin_dir = bpffs.pin_dir();

    let text = printed(&pin_dir, &["--pod", "server-1"]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec![
                "established",
                "TCP",
                "192.0.2.1:40002",
                "10.0.0.6:80",
                "games/server-1"
            ],
            vec![
                "unreplied",
                "TCP",
                "192.0.2.1:40003",
                "10.0.0.6:80",
                "games/server-1"
            ],
            "established 1 of 2, unreplied 1 of 1, stack 0 of 0"
                .split(' ')
                .collect(),
        ]
    );

    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&printed(&pin_dir, &[&["-o", "json"], arguments].concat())).unwrap()
    };
    let all = json(&["--remote", "192.0.2.1"]);
    assert_eq!(all["flows"].as_array().unwrap().len(), 3);
    let of_first = json(&["--pod", "games/server-0", "--remote", "192.0.2.1"]);
    let expected = serde_json::json!({
        "flows": [{
            "table": "established", "pod": "games/server-0", "address": "10.0.0.5",
            "protocol": "TCP", "port": 80,
            "remote": "192.0.2.1", "remotePort": 40001,
        }],
        "leftOut": {"established": 1, "unreplied": 1},
    });
    assert_eq!(of_first, expected);
    let others = json(&["--remote", "2001:db8::1"]);
    assert_eq!(
        others["leftOut"],
        serde_json::json!({"established": 2, "unreplied": 1})
    );
}
