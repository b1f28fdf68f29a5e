//! Netfilter rules of the node during a trial.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Result, ensure};

use crate::{command, testbed::Testbed};

/// Netfilter rules of the node during a trial. Except for the drops, no rule matches a packet of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// No rules.
    Empty,
    /// This many iptables rules for forwarded packets.
    Iptables(usize),
    /// kube-proxy's rules for forwarded packets, after this many rules that do not match. Connections are
    /// tracked.
    KubeProxy(usize),
    /// All rules of a real kube-proxy, and those of a network plugin that masquerades packets from pods.
    Cluster,
    /// An nft set of this many source ranges with ports.
    NftSet(usize),
    /// One iptables rule that drops everything as early as iptables can.
    RawDrop,
    /// One nft rule that drops everything on the NIC's ingress.
    IngressDrop,
}

impl Filter {
    pub(super) fn install(self, testbed: &Testbed<'_>) -> Result<()> {
        let nic = &testbed.plain_nic.name;
        let (line, input) = match self {
            Self::Empty => return Ok(()),
            Self::Iptables(rules) => ("iptables-restore", iptables(rules)),
            Self::KubeProxy(rules) => (
                "iptables-restore",
                iptables(rules).replace("COMMIT\n", KUBE_FORWARD),
            ),
            Self::Cluster => ("iptables-restore", cluster(testbed)),
            Self::RawDrop => (
                "iptables-restore",
                format!("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i {nic} -j DROP\nCOMMIT\n"),
            ),
            Self::NftSet(ranges) => ("nft -f -", nft_set(ranges)),
            Self::IngressDrop => (
                "nft -f -",
                format!(
                    "table netdev bench {{ chain c {{ type filter hook ingress device {nic} priority 0; drop\n}}\n}}\n"
                ),
            ),
        };
        ensure!(
            command::is_there(line.split(' ').next().unwrap_or_default()),
            "`{line}` is not installed"
        );
        command::feed(&testbed.node, line, &input).map(drop)
    }

    pub(super) fn remove(self, testbed: &Testbed<'_>) -> Result<()> {
        if self == Self::Empty {
            return Ok(());
        }
        command::run(&testbed.node, "nft flush ruleset").map(drop)
    }
}

/// kube-proxy 1.36 in iptables mode, the chain KUBE-FORWARD.
const KUBE_FORWARD: &str = "\
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

/// The rules of the tests of the reply path.
const CLUSTER: &str = include_str!("../../../tests/agent/reply_path/rules/iptables.v4");

/// Returns the rules, with a masquerade rule for every pod. Removes the nfacct matches, because they need a
/// kernel module.
fn cluster(testbed: &Testbed<'_>) -> String {
    let pods = |line: &'static str| testbed.pods.iter().map(move |pod| named(line, pod.v4()));
    let mut text = String::new();
    for line in CLUSTER.lines() {
        let of = if line.ends_with("-j CNI-POD") {
            testbed.pods.len()
        } else {
            1
        };
        for line in pods(line).take(of) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn named(line: &str, pod: IpAddr) -> String {
    let account = |line: &str, name: &str| line.replace(&format!(" -m nfacct --nfacct-name  {name}"), "");
    account(
        &account(line, "ct_state_invalid_dropped_pkts"),
        "localhost_nps_accepted_pkts",
    )
    .replace("{pods}", "10.2.0.0/24")
    .replace("{pod}", &pod.to_string())
    .replace("{backend}", "10.2.0.1")
}

/// Returns rules as of a firewall or a service proxy: each has one source and one port.
fn iptables(rules: usize) -> String {
    let mut text = "*filter\n:FORWARD ACCEPT [0:0]\n".to_owned();
    for number in 0..rules {
        let [_, _, a, b] = (number as u32).to_be_bytes();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "-A FORWARD -s 192.168.{a}.{b}/32 -p tcp -m tcp --dport {} -j ACCEPT",
            1024 + number
        );
    }
    text + "COMMIT\n"
}

fn nft_set(ranges: usize) -> String {
    let element = |number: usize| {
        let [_, _, a, b] = (number as u32).to_be_bytes();
        let port = 1024 + 2 * number;
        format!("172.16.{a}.{b} . {port}-{}", port + 1)
    };
    let elements: Vec<String> = (0..ranges).map(element).collect();
    format!(
        "table ip bench {{ set s {{ type ipv4_addr . inet_service; flags interval; elements = {{ {} }} }}\n\
         chain c {{ type filter hook forward priority 0; ip saddr . th dport @s drop\n}}\n}}\n",
        elements.join(", ")
    )
}
