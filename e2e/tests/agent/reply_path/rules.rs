//! The rules of a real kube-proxy and of network plugins that masquerade (`rules/`), with a lab's addresses,
//! on a lab's node. A test in `tests/kubernetes/reply_path/rules.rs` compares them with those of a cluster.

use std::{
    io::{
        Write as _, {self},
    },
    process::{Command, Stdio},
};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use xdp_lab::{Namespace, Style};

use super::side::Side;
use crate::fixture::PATIENCE;

/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Iptables,
    Nftables,
}

const IPTABLES: [&str; 2] = [
    include_str!("rules/iptables.v4"),
    include_str!("rules/iptables.v6"),
];
const NFTABLES: [&str; 2] = [
    include_str!("rules/nftables.v4"),
    include_str!("rules/nftables.v6"),
];
/// The chain of the plugins' rules.
const PLUGIN: &str = "CNI-POD";

/// Applies all rules.
pub(super) fn apply(node: &Namespace, proxy: Proxy, masquerade: bool, style: Style, sides: &[Side; 2]) {
    node.run(|| {
        for name in ["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"] {
            add_account(name).unwrap();
        }
    })
    .unwrap();
    for (family, side) in sides.iter().enumerate() {
        let of = |texts: [&str; 2]| named(texts[family], style, side);
        let restore = ["iptables-restore", "ip6tables-restore"][family];
        let all = of(IPTABLES);
        match proxy {
            Proxy::Iptables => {
                let lines = all.lines().filter(|line| masquerade || !line.contains(PLUGIN));
                run(node, &[restore], &joined(lines));
            }
            Proxy::Nftables => {
                run(node, &["nft", "-f", "-"], &of(NFTABLES));
                if masquerade {
                    let plugin = all.lines().filter(|line| line.contains(PLUGIN));
                    run(node, &[restore], &format!("*nat\n{}COMMIT\n", joined(plugin)));
                }
            }
        }
    }
}

/// Returns how many packets kube-proxy's rule for INVALID packets has dropped. In nftables mode there is no
/// such rule.
pub(super) fn invalid(node: &Namespace) -> u64 {
    let count = |program: &str| {
        let rules = run(node, &[program, "-w", "-nvxL"], "");
        let rule = rules.lines().find(|line| line.contains("INVALID"));
        let packets = rule.and_then(|rule| rule.split_whitespace().next());
        packets.map_or(0, |packets| packets.parse::<u64>().unwrap())
    };
    count("iptables") + count("ip6tables")
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn named(text: &str, style: Style, side: &Side) -> String {
    let pods = match (style, side.is_v4()) {
        (Style::Ptp, true) => "10.2.0.0/24",
        (Style::Ptp, false) => "fd02::/64",
        (Style::Bridge, true) => "10.3.0.0/24",
        (Style::Bridge, false) => "fd03::/64",
    };
    text.replace("{pods}", pods)
        .replace("{pod}", &side.pod.to_string())
        .replace("{node}", &side.node.to_string())
        .replace("{backend}", &side.client.to_string())
}

/// Runs a program with this input, and returns its output.
pub(super) fn run(namespace: &Namespace, words: &[&str], input: &str) -> String {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = namespace.spawn(command).unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let finished = process.finish(PATIENCE).unwrap();
    assert!(finished.status.success(), "{words:?}: {}", finished.stderr);
    finished.stdout
}

/// Creates an accounting object, as kube-proxy does for its rules (`NFNL_MSG_ACCT_NEW`).
fn add_account(name: &str) -> io::Result<()> {
    /// `NFNL_SUBSYS_ACCT << 8 | NFNL_MSG_ACCT_NEW`
    const NEW: u16 = 7 << 8;
    /// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE`
    const FLAGS: u16 = 0x1 | 0x4 | 0x400;
    const NAME: u16 = 1;
    let mut name_with_end = name.as_bytes().to_vec();
    name_with_end.push(0);
    let attribute = 4 + name_with_end.len();
    let padded = attribute.next_multiple_of(4);
    let mut message = Vec::new();
    message.extend_from_slice(&(20 + padded as u32).to_ne_bytes());
    message.extend_from_slice(&NEW.to_ne_bytes());
    message.extend_from_slice(&FLAGS.to_ne_bytes());
    // Sequence, sender; then `struct nfgenmsg`: any family, version 0.
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&(attribute as u16).to_ne_bytes());
    message.extend_from_slice(&NAME.to_ne_bytes());
    message.extend_from_slice(&name_with_end);
    message.resize(20 + padded, 0);
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send(&message, 0)?;
    let (reply, _) = socket.recv_from_full()?;
    let code = reply[16..20].try_into().map_or(-1, i32::from_ne_bytes);
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}
