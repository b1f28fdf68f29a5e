//! Install in parts and uninstall, on a separate cluster.

use std::{
    fs::{self, File},
    path::Path,
    thread,
};

use anyhow::{Context as _, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use xdp_e2e::installed::{
    API, ClusterPod, ClusterPodSpec, Installation, NAMESPACE, RELEASE, Space, condition,
};
use xdp_kubernetes::{Node, PATIENCE};

use super::{LogsOnFailure, MARK, programs, traffic::under_traffic};
use crate::fixture::{PLAYERS, deliver};

/// Installs agents first, then the definitions, a policy and the operator; uninstalls all of it, and installs
/// it again.
#[test]
fn parts_come_in_any_order_an_uninstall_under_traffic_leaves_nothing_and_another_install_works() {
    let _turn = Installation::together();
    let installed = Installation::bare().unwrap();
    let _logs = LogsOnFailure(&installed);
    let space = installed.space("order").unwrap();
    let pods = space
        .pods(&[
            ClusterPodSpec::new("ptp", "game", 1),
            ClusterPodSpec::new("bridge", "game", 2),
        ])
        .unwrap();

    agents_come_before_the_definitions(&installed);
    agents_enforce_before_the_operator_comes(&installed, &space, &pods);
    installed
        .kubectl(&[
            "scale",
            "-n",
            NAMESPACE,
            "deployment",
            "xdp-operator",
            "--replicas=2",
        ])
        .unwrap();
    space.until_programmed("game", 2).unwrap();

    uninstall_under_traffic(&installed, &pods);
    expect_nothing_left(&installed);
    let policy = space.until_policy("game", "stays, and is not programmed", |policy| {
        condition(policy, "Programmed").is_some_and(|programmed| programmed["status"] == "False")
    });
    println!("{:#}", policy.unwrap()["status"]);

    installed.install(&[]).unwrap();
    space.until_programmed("game", 2).unwrap();
    for pod in &pods {
        let before = with_mark(pod);
        deliver(&installed, pod, 100);
        assert_eq!(with_mark(pod), before + 100);
    }
}

/// No datagram is lost; after the uninstall, all datagrams take the stack.
fn uninstall_under_traffic(installed: &Installation, pods: &[ClusterPod<'_>]) {
    let ((), traffic) = under_traffic(installed.client(), pods, |traffic| {
        let helm = [
            "uninstall",
            RELEASE,
            "--namespace",
            NAMESPACE,
            "--wait",
            "--timeout",
            "5m",
        ];
        installed
            .helm(&helm)
            .with_context(|| installed.describe(NAMESPACE))
            .unwrap();
        let marked: Vec<u64> = pods.iter().map(with_mark).collect();
        traffic.send_more(100);
        assert_eq!(pods.iter().map(with_mark).collect::<Vec<_>>(), marked);
    });
    let sent: u64 = pods.iter().map(|pod| traffic.sent_to(pod)).sum();
    println!(
        "{} of {sent} datagrams were redirected",
        pods.iter().map(with_mark).sum::<u64>()
    );
}

fn with_mark(pod: &ClusterPod<'_>) -> u64 {
    pod.counts().unwrap().with_mark("UDP", MARK)
}

/// The agents are live, wait for the definitions, and attach nothing yet.
fn agents_come_before_the_definitions(installed: &Installation) {
    installed
        .install(&["--skip-crds", "--set=crds.apply=false", "--wait=hookOnly"])
        .unwrap();
    installed
        .kubectl(&[
            "scale",
            "-n",
            NAMESPACE,
            "deployment",
            "xdp-operator",
            "--replicas=0",
        ])
        .unwrap();
    let gone = installed.until("no operator runs", || {
        let pods = installed.components("operator")?.len();
        ensure!(pods == 0, "{pods} pods exist");
        Ok(())
    });
    gone.unwrap();
    for node in installed.nodes() {
        let waits = installed.until(
            format!("the agent of {} waits for the definitions", node.name),
            || {
                let metrics = installed.agent_metrics(node)?;
                ensure!(
                    metrics.sum("xdp_agent_reconciles_total", &[]) > 0.0,
                    "it has not reconciled yet"
                );
                Ok(())
            },
        );
        waits.unwrap();
    }
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/xdp-operator/crds");
    installed
        .kubectl(&["apply", "--server-side", "-f", chart])
        .unwrap();
    let rollout = [
        "rollout",
        "status",
        "-n",
        NAMESPACE,
        "daemonset/xdp-agent",
        "--timeout",
    ];
    let patience = format!("{}s", PATIENCE.as_secs());
    installed.kubectl(&[&rollout[..], &[&patience]].concat()).unwrap();
}

/// The nodes' states say so; the policy's own status is the operator's to write.
fn agents_enforce_before_the_operator_comes(
    installed: &Installation,
    space: &Space<'_>,
    pods: &[ClusterPod<'_>],
) {
    // The API server accepts it as soon as it serves the kind.
    installed
        .until("a policy can be made", || {
            space.policy("game", "game", &[PLAYERS])
        })
        .unwrap();
    for (node, pod) in installed.nodes().iter().zip(pods) {
        installed
            .until_node_state("the policy is programmed", node, |state| {
                let game = &state["status"]["policies"][0];
                game["programmed"] == true && game["pods"]["programmed"] == 1
            })
            .unwrap();
        assert_eq!(deliver(installed, pod, 100).with_mark("UDP", MARK), 100);
    }
    programs(installed);
    let policy = installed.api(&space.policy_path("game")).unwrap();
    assert_eq!(policy["status"], Value::Null);
}

/// Expects that nothing of the product is left, except the Lease: nothing deletes it, and its holder may have
/// lost the permission to release it before it exited.
fn expect_nothing_left(installed: &Installation) {
    for node in installed.nodes() {
        assert_eq!(installed.programs(node).unwrap().len(), 0, "{}", node.name);
        assert_eq!(installed.pins(node).unwrap(), [] as [String; 0], "{}", node.name);
        // The operator's own pods may be terminating.
        let removed = installed.until(
            format!("nothing is left in pods and processes of {}", node.name),
            || {
                let readers = readers(node)?;
                ensure!(readers == 0, "{readers} readers are left");
                let processes = node.exec(&["pgrep", "--list-name", "^xdp-"])?.stdout;
                ensure!(processes.is_empty(), "{processes}");
                Ok(())
            },
        );
        removed.unwrap();
    }
    for kind in ["xdpnodestates", "xdppeersets"] {
        assert_eq!(
            names(installed, &format!("{API}/{kind}")).unwrap(),
            [] as [String; 0],
            "{kind}"
        );
    }
    for path in [
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles"),
        &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings"),
        &format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"),
        &format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"),
        &format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
        &format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs"),
        &format!("/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"),
        &format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"),
        &format!("/api/v1/namespaces/{NAMESPACE}/secrets"),
        &format!("/api/v1/namespaces/{NAMESPACE}/pods"),
    ] {
        // Deletion takes a moment.
        let gone = installed.until(format!("nothing of the product is left of {path}"), || {
            let left = names(installed, path)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        });
        gone.unwrap();
    }
}

/// Returns the names of the product's objects.
fn names(installed: &Installation, path: &str) -> anyhow::Result<Vec<String>> {
    let objects = installed.list(path)?;
    let names = objects
        .iter()
        .filter_map(|object| object["metadata"]["name"].as_str());
    let of_product = |name: &&str| name.contains("xdp") || path.starts_with(API);
    Ok(names.filter(of_product).map(str::to_owned).collect())
}

/// Returns how many programs are attached to the interfaces of a node's pods.
fn readers(node: &Node) -> anyhow::Result<usize> {
    let folder = format!("/proc/{}/root/run/netns", node.init()?);
    let namespaces = fs::read_dir(folder)?;
    let counts = namespaces.map(|entry| readers_in(&entry?.path()));
    counts.sum()
}

fn readers_in(netns: &Path) -> anyhow::Result<usize> {
    let netns = File::open(netns)?;
    let inside = || {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        let (_, programs) = SchedClassifier::query_tcx("eth0", TcAttachType::Ingress)?;
        Ok(programs.len())
    };
    // The thread ends with its namespace.
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}
