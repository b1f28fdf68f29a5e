//! Interfaces on top of the NIC: a bond, a bridge and a VLAN. The NIC carries the program.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use xdp_lab::{Namespace, UdpReceiver};

use super::{
    super::{
        host::command,
        not_applicable,
        site::{PATIENCE, Site, at, node_addresses, ports},
    },
    Run,
    traffic::{arrive_marked_soon, followed},
};
use crate::stack::StackSetting;

pub(super) const CHECKS: &[(&str, Run)] = &[
    (
        "a NIC in a bond is attached, and datagrams for the bond are redirected",
        bond,
    ),
    (
        "a NIC in a VLAN-filtering bridge is attached, and datagrams for the bridge are redirected",
        bridge,
    ),
    ("tagged datagrams for a VLAN on the NIC are redirected", vlan),
    (
        "with VLANs, nothing gets in or out that the stack would have stopped",
        as_the_stack,
    ),
];

const VLAN: u16 = 7;
const TOP: &str = "top0";

fn ip(node: &Namespace, line: &str) -> anyhow::Result<()> {
    command(node, &format!("ip {line}")).map(drop)
}

/// Moves the node's addresses from the NIC to an interface on it, which has the NIC's MAC address.
fn on_top(site: &Site<'_>, lines: &[String]) -> anyhow::Result<()> {
    site.ready()?;
    let node = site.lab.node();
    let made = ip(node, &lines[0]);
    made.map_err(|error| not_applicable(format!("the kernel makes no such interface: {error:#}")))?;
    let checked = stacked(site, &lines[1..]);
    let _ = ip(node, &format!("link set {} nomaster", site.nic));
    let _ = ip(node, &format!("link del {TOP}"));
    let _ = ip(node, &format!("addr flush dev {}", site.nic));
    site.connect()?;
    site.ready()?;
    checked?;
    arrive_marked_soon(site)
}

fn stacked(site: &Site<'_>, lines: &[String]) -> anyhow::Result<()> {
    let node = site.lab.node();
    ip(node, &format!("addr flush dev {}", site.nic))?;
    lines.iter().try_for_each(|line| ip(node, line))?;
    for (address, length) in node_addresses() {
        node.add_address(TOP, address, length)?;
    }
    node.wait_for_carrier(TOP, PATIENCE)?;
    site.ready()?;
    let kernel = site
        .kernel_program()
        .context("the kernel shows no program on the NIC")?;
    ensure!(kernel.mode == 1, "the program is not native: {kernel:?}");
    arrive_marked_soon(site)
}

fn bond(site: &Site<'_>) -> anyhow::Result<()> {
    let nic = &site.nic;
    on_top(
        site,
        &[
            format!("link add {TOP} type bond mode active-backup miimon 100"),
            format!("link set {nic} down"),
            format!("link set {nic} master {TOP}"),
            format!("link set {TOP} up"),
        ],
    )
}

fn bridge(site: &Site<'_>) -> anyhow::Result<()> {
    let nic = &site.nic;
    let mac = site
        .lab
        .node()
        .interface(nic)?
        .mac
        .map(|byte| format!("{byte:02x}"))
        .join(":");
    on_top(
        site,
        &[
            format!("link add {TOP} address {mac} type bridge vlan_filtering 1 stp_state 0 forward_delay 0"),
            format!("link set {nic} master {TOP}"),
            format!("link set {TOP} up"),
        ],
    )
}

fn vlan(site: &Site<'_>) -> anyhow::Result<()> {
    const FRAMES: usize = 20;
    site.ready()?;
    let node = site.lab.node();
    let made = ip(
        node,
        &format!("link add link {} name {TOP} type vlan id {VLAN}", site.nic),
    );
    made.map_err(|error| not_applicable(format!("the kernel makes no VLAN: {error:#}")))?;
    node.set_up(TOP, true)?;
    let pod = &site.pods.ptp;
    let sent = || -> anyhow::Result<()> {
        for to in pod.addresses() {
            let inbox = UdpReceiver::bind(&pod.ns, at(to, ports::REDIRECT))?;
            let mut frame = site.flow(to, ports::REDIRECT)?.udp(b"in a VLAN");
            let [high, low] = VLAN.to_be_bytes();
            frame.splice(12..12, [0x81, 0, high, low]);
            followed(site, &inbox, || site.peer.send(vec![frame.clone()]))?;
            site.peer.send(vec![frame; FRAMES])?;
            let received = inbox.wait_for(FRAMES as u64, PATIENCE)?;
            site.fact(
                &format!("VLAN, IPv{}: marks", if to.is_ipv4() { 4 } else { 6 }),
                format!("{:?}", received.marks),
            );
            ensure!(received.marks.keys().eq([&site.mark()]), "{:?}", received.marks);
        }
        Ok(())
    };
    let sent = sent();
    node.delete_interface(TOP)?;
    sent
}

/// Compares with the stack of this kernel, on veth pairs.
fn as_the_stack(_: &Site<'_>) -> anyhow::Result<()> {
    const CASES: usize = 150;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = now.as_nanos() as u64;
    let report = StackSetting::VLAN.compare(seed, CASES)?;
    let report = report.ok_or_else(|| not_applicable("the kernel makes no VLAN"))?;
    ensure!(report.is_empty(), "seed {seed}: {report}");
    Ok(())
}
