//! The privileges of agent and operator.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xdp_e2e::installed::{Installation, NAMESPACE};
use xdp_kubernetes::Node;
use xdp_lab::Finished;

/// The chart's capabilities, with the kernel's numbers (`linux/capability.h`).
const CAPABILITIES: [(&str, u32); 6] = [
    ("NET_BROADCAST", 11),
    ("NET_ADMIN", 12),
    ("SYS_PTRACE", 19),
    ("SYS_ADMIN", 21),
    ("PERFMON", 38),
    ("BPF", 39),
];

/// Returns a field of a process's status.
fn status(node: &Node, pid: u32, field: &str) -> String {
    let text = node.exec_ok(&["cat", &format!("/proc/{pid}/status")]).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

#[test]
fn the_agents_process_has_exactly_the_capabilities_that_the_chart_lists() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let node = installed.node(1);
    let pid = installed.agent_pid(node).unwrap();
    let expected: u64 = CAPABILITIES.iter().map(|(_, bit)| 1 << bit).sum();
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        let found = u64::from_str_radix(&status(node, pid, set), 16).unwrap();
        assert_eq!(found, expected, "{set}: {found:x}, not {expected:x}");
    }
    for (field, value) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert_eq!(status(node, pid, field), value, "{field}");
    }

    let pod = installed.agent_pod(node).unwrap();
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    let context = &containers[0]["securityContext"];
    assert_ne!(context["privileged"], true);
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    let added: BTreeSet<&str> = (context["capabilities"]["add"].as_array().unwrap().iter())
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(added, CAPABILITIES.map(|(name, _)| name).into());
    let host: Vec<&Value> = (pod["spec"]["volumes"].as_array().unwrap().iter())
        .filter_map(|volume| volume["hostPath"].get("path"))
        .collect();
    assert_eq!(host, [&json!("/sys/fs/bpf")]);
}

/// On the nodes of the tests, a call that the profile does not allow kills the agent by SIGSYS.
#[test]
fn the_agents_and_their_subcommands_run_under_the_charts_seccomp_profile() {
    const KILLED_BY_SIGSYS: i64 = 128 + 31;
    let installed = Installation::shared();
    let _turn = Installation::together();
    for node in installed.nodes() {
        let pod = installed.agent_pod(node).unwrap();
        let profile = &pod["spec"]["containers"][0]["securityContext"]["seccompProfile"];
        assert_eq!(
            *profile,
            json!({"type": "Localhost", "localhostProfile": "xdp-agent.json"})
        );
        let name = pod["metadata"]["name"].as_str().unwrap();
        for command in [&["status"][..], &["preflight"], &["flows"]] {
            let call = ["exec", "-n", NAMESPACE, name, "--", "xdp-agent"];
            let finished = installed.try_kubectl(&[&call, command].concat()).unwrap();
            // `preflight` may have found something, and `flows` nothing.
            assert!(!finished.stdout.is_empty(), "{command:?}: {finished:?}");
            assert!(
                !finished.stderr.contains("exit code 159"),
                "{command:?}: {finished:?}"
            );
        }
        let state = &installed.agent_pod(node).unwrap()["status"]["containerStatuses"][0];
        let ended = &state["lastState"]["terminated"]["exitCode"];
        assert_ne!(ended.as_i64(), Some(KILLED_BY_SIGSYS), "{}: {state}", node.name);
    }
}

#[test]
fn neither_the_agent_nor_the_operator_can_write_to_its_root_file_system() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    for (node, pid) in installed.nodes().iter().flat_map(|node| {
        let found = node.exec(&["pgrep", "xdp-"]).unwrap().stdout;
        let pids: Vec<u32> = found
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        assert!(!pids.is_empty(), "{}", node.name);
        pids.into_iter().map(move |pid| (node, pid))
    }) {
        let root = format!("/proc/{pid}/root/file");
        let finished = node.exec(&["touch", &root]).unwrap();
        // The process may be a command such as `xdp-agent flows` that has exited.
        let ended = finished.stderr.contains("No such file or directory");
        assert!(
            ended || finished.stderr.contains("Read-only file system"),
            "{}: {finished:?}",
            node.name
        );
    }
}

#[test]
fn the_operator_runs_as_an_unprivileged_user_without_capabilities() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let mut seen = 0;
    for node in installed.nodes() {
        let pids = node.exec(&["pgrep", "--exact", "xdp-operator"]).unwrap().stdout;
        for pid in pids.split_whitespace().map(|pid| pid.parse().unwrap()) {
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(status(node, pid, set), "0000000000000000", "{set}");
            }
            assert!(status(node, pid, "Uid").starts_with("65532\t"));
            seen += 1;
        }
    }
    assert_eq!(seen, 2, "two replicas");
}

/// Runs `kubectl` with the token of a node's agent as its only credential.
fn as_agent(installed: &Installation, node: &Node, arguments: &[&str]) -> Finished {
    let pid = installed.agent_pid(node).unwrap();
    let secrets = format!("/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount/token");
    let token = node.exec_ok(&["cat", &secrets]).unwrap();
    let view = ["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"];
    let credentials = [
        format!("--server={}", installed.kubectl(&view).unwrap()),
        format!("--token={token}"),
    ];
    let own = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify"];
    let call = [&own, &credentials.each_ref().map(String::as_str), arguments].concat();
    installed.try_kubectl(&call).unwrap()
}

fn patch(installed: &Installation, of: &Node, state: &Node, what: &[&str]) -> Finished {
    let call = ["patch", "xdpnodestate", &state.name, "--type=merge"];
    as_agent(installed, of, &[&call, what].concat())
}

#[test]
fn an_agent_can_write_the_state_of_its_own_node_and_of_no_other() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let (own, other) = (installed.node(1), installed.node(2));
    let note = ["-p", r#"{"metadata":{"annotations":{"e2e":"written"}}}"#];
    let lie = ["--subresource=status", "-p", r#"{"status":{"nics":[]}}"#];
    let written = patch(installed, own, own, &note);
    assert!(written.status.success(), "{}", written.stderr);
    let message = "the agent on node node1 may write the XdpNodeState node1 only, not node2";
    for what in [&note[..], &lie] {
        let refused = patch(installed, own, other, what);
        assert!(!refused.status.success());
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
    }
    let state = installed.node_state(other).unwrap();
    assert_eq!(state["metadata"]["annotations"]["e2e"], Value::Null);
    assert_ne!(state["status"]["nics"], json!([]));
}

#[test]
fn an_agent_can_neither_change_policies_nor_read_secrets() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    for action in [
        ["create", "xdppolicies.xdp-operator.io"],
        ["delete", "xdppolicies.xdp-operator.io"],
        ["list", "xdppeersets.xdp-operator.io"],
        ["create", "xdppeersets.xdp-operator.io"],
        ["delete", "xdpnodestates.xdp-operator.io"],
        ["get", "secrets"],
        ["update", "namespaces"],
        ["create", "networkpolicies.networking.k8s.io"],
        ["create", "pods"],
    ] {
        let call = [&["auth", "can-i", "-A"], &action[..]].concat();
        let answer = as_agent(installed, installed.node(1), &call);
        assert_eq!(answer.stdout.trim(), "no", "{action:?}: {}", answer.stderr);
    }
    for (namespace, expected) in [(NAMESPACE, "yes"), ("default", "no")] {
        let call = [
            "auth",
            "can-i",
            "list",
            "xdppeersets.xdp-operator.io",
            "-n",
            namespace,
        ];
        let answer = as_agent(installed, installed.node(1), &call);
        assert_eq!(answer.stdout.trim(), expected, "{namespace}: {}", answer.stderr);
    }
}
