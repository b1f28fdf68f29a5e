//! Compares the rules that the lab's tests of the reply path use with those of kube-proxy and the network
//! plugins on this cluster, with placeholders for addresses. `XDP_E2E_WRITE_RULES=1` writes them again.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use xdp_e2e::installed::Installation;
use xdp_kubernetes::{Cluster, ClusterOptions, Proxy};

const PATIENCE: Duration = Duration::from_mins(1);

/// Version of kube-proxy, as in `e2e/kubernetes/go.mod`.
const VERSION: &str = "1.36.3";

/// One pod behind two services with node ports, one of which keeps the source address; and a service with an
/// external backend.
const OBJECTS: &str = include_str!("services.yaml");

/// Addresses of the first node, its pod and the backend, by family.
struct Addresses {
    node: [String; 2],
    pod: [String; 2],
    backend: [String; 2],
}

fn cluster(proxy: Proxy) -> Cluster {
    let options = ClusterOptions {
        proxy,
        masquerade: true,
        ..ClusterOptions::default()
    };
    Cluster::start(options).unwrap()
}

fn addresses(cluster: &Cluster) -> Addresses {
    let backend = cluster.client_addresses().both().map(|ip| ip.to_string());
    let objects = OBJECTS
        .replace("BACKEND_V4", &backend[0])
        .replace("BACKEND_V6", &backend[1]);
    // Pods are refused until their namespace has this account.
    let account = || cluster.get(&["serviceaccount", "default"]);
    cluster
        .wait_for("the default account exists", PATIENCE, account)
        .unwrap();
    cluster.apply(&objects).unwrap();
    let pod = cluster.wait_for("the pod has its addresses", PATIENCE, || {
        let pod = cluster.get(&["pods", "web"])?;
        let ips = pod["status"]["podIPs"].as_array().context("no addresses")?;
        let ip = |index: usize| ips[index]["ip"].as_str().unwrap_or_default().to_owned();
        Ok([ip(0), ip(1)])
    });
    Addresses {
        node: cluster.node(1).addresses.both().map(|ip| ip.to_string()),
        pod: pod.unwrap(),
        backend,
    }
}

/// Returns the rules of the first node once each port of each service has its backend. `target` returns the
/// text that shows this.
fn saved(cluster: &Cluster, command: &[&str], target: impl Fn(&str, &str) -> String) -> String {
    let saved = cluster.wait_for("the rules lead to the pod and to the backend", PATIENCE, || {
        let saved = cluster.node(1).exec_ok(command)?;
        for service in ["web", "web-translated", "backend"] {
            for protocol in ["tcp", "udp"] {
                let target = target(service, protocol);
                ensure!(saved.contains(&target), "no `{target}` in:\n{saved}");
            }
        }
        let missing = [
            " : goto reject-chain",
            "has no endpoints",
            "has no local endpoints",
        ];
        ensure!(!missing.iter().any(|text| saved.contains(text)), "{saved}");
        Ok(saved)
    });
    saved.unwrap()
}

/// Replaces addresses by placeholders, and removes everything that differs between runs: counts, times,
/// container ids.
fn template(saved: &str, addresses: &Addresses) -> String {
    let mut text = saved.to_owned();
    for family in 0..2 {
        text = text
            .replace(&addresses.pod[family], "{pod}")
            .replace(&addresses.backend[family], "{backend}")
            .replace(&format!("{{ {} }}", addresses.node[family]), "{ {node} }");
    }
    for pods in [
        "10.244.0.0/16",
        "10.244.1.0/24",
        "fd30:244::/48",
        "fd30:244:0:1::/64",
    ] {
        text = text.replace(pods, "{pods}");
    }
    for (name, id) in [("CNI-", "POD"), (r#"id: \""#, "CONTAINER")] {
        if let Some((_, rest)) = text.split_once(name) {
            let found: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            text = text.replace(&found, id);
        }
    }
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| without_counts(line) + "\n").collect()
}

fn without_counts(line: &str) -> String {
    match line.split_once(" [") {
        Some((chain, _)) if line.starts_with(':') => format!("{chain} [0:0]"),
        _ => line.to_owned(),
    }
}

/// Sorts lines, because the order of rules for different services varies.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines
}

fn expect(name: &str, command: &[&str], found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/agent/reply_path/rules")
        .join(name);
    if std::env::var_os("XDP_E2E_WRITE_RULES").is_some() {
        let about = format!("# {}, of Kubernetes {VERSION}\n", command.join(" "));
        std::fs::write(&path, about + found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(sorted(&kept), sorted(found), "{}:\n{found}", path.display());
}

#[test]
fn the_labs_rules_equal_those_of_kube_proxy_in_iptables_mode_and_of_masquerading_plugins() {
    let _turn = Installation::together();
    let cluster = cluster(Proxy::Iptables);
    let addresses = addresses(&cluster);
    for (family, command) in ["iptables-save", "ip6tables-save"].into_iter().enumerate() {
        let rules = saved(&cluster, &[command], |service, protocol| {
            format!("default/{service}:{protocol} -> ")
        });
        let name = format!("iptables.v{}", [4, 6][family]);
        expect(&name, &[command], &template(&rules, &addresses));
    }
}

#[test]
fn the_labs_rules_equal_those_of_kube_proxy_in_nftables_mode() {
    let _turn = Installation::together();
    let cluster = cluster(Proxy::Nftables);
    let addresses = addresses(&cluster);
    for (family, table) in ["ip", "ip6"].into_iter().enumerate() {
        let command = ["nft", "-s", "list", "table", table, "kube-proxy"];
        let rules = saved(&cluster, &command, |service, protocol| {
            format!("-default/{service}/{protocol}/{protocol} {{")
        });
        let name = format!("nftables.v{}", [4, 6][family]);
        expect(&name, &command, &template(&rules, &addresses));
    }
}
