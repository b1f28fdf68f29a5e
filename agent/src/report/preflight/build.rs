//! Computes the report from what was read, without IO.

use std::collections::{BTreeMap, BTreeSet};

use xdp_plan::{
    nics::{
        HostLink, NicFacts, NicSelector, advice, cilium_runs, feature_names, linear_mtu_limit, mode,
        preflight, rule_support, select, uppers,
    },
    report::Problem,
};

use crate::{
    node::ethtool::{Channels, Rings},
    report::preflight::{
        MachineReport, MasterReport, NicReport, OffloadsReport, PciFunction, PreflightReport, ProgramReport,
    },
};

/// What was read.
#[derive(Clone, Debug, Default)]
pub(super) struct PreflightSnapshot {
    pub(super) machine: MachineReport,
    pub(super) nics: Vec<NicFacts>,
    /// Whether Cilium runs on the node.
    pub(super) cilium: bool,
    /// Programs in the agent's links, by interface index.
    pub(super) own: BTreeMap<u32, u32>,
    /// By interface index.
    pub(super) details: BTreeMap<u32, NicDetails>,
}

/// What only the report shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NicDetails {
    pub(super) function: Option<PciFunction>,
    pub(super) channels: Option<Channels>,
    pub(super) rings: Option<Rings>,
    pub(super) strips_vlan: Option<bool>,
}

/// An empty selector selects all physical NICs.
pub(super) fn report(snapshot: &PreflightSnapshot, selector: &NicSelector) -> PreflightReport {
    let (nics, problems) = if *selector == NicSelector::default() {
        (physical(&snapshot.nics), Vec::new())
    } else {
        let selection = select(&snapshot.nics, selector);
        (selection.nics, selection.problems)
    };
    let selected: BTreeSet<String> = nics.iter().map(|nic| nic.link.name.clone()).collect();
    let links: Vec<HostLink> = snapshot.nics.iter().map(|nic| nic.link.clone()).collect();
    let nics: Vec<NicReport> = nics
        .iter()
        .map(|nic| describe(snapshot, nic, &links, &selected))
        .collect();
    let machine = snapshot.machine.clone();
    let passed = !nics.is_empty()
        && problems.is_empty()
        && machine.problems.is_empty()
        && nics.iter().all(|nic| nic.problems.is_empty());
    PreflightReport {
        passed,
        machine,
        nics,
        problems,
    }
}

/// Interfaces with a driver on a bus, and not a kind of virtual interface.
fn physical(nics: &[NicFacts]) -> Vec<NicFacts> {
    let is_physical =
        |nic: &&NicFacts| !nic.link.loopback && nic.link.kind.is_empty() && !nic.driver.bus.is_empty();
    nics.iter().filter(is_physical).cloned().collect()
}

fn describe(
    snapshot: &PreflightSnapshot,
    nic: &NicFacts,
    links: &[HostLink],
    selected: &BTreeSet<String>,
) -> NicReport {
    let (link, page_size) = (&nic.link, snapshot.machine.page_size);
    let details = snapshot.details.get(&link.ifindex).copied().unwrap_or_default();
    let own = snapshot.own.get(&link.ifindex).copied();
    let problems = problems(nic, own, page_size);
    let above = uppers(link, links);
    NicReport {
        name: link.name.clone(),
        ifindex: link.ifindex,
        driver: nic.driver.name.clone(),
        firmware: nic.driver.firmware.clone(),
        bus: nic.driver.bus.clone(),
        function: details.function,
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu,
        mtu_limit: linear_mtu_limit(nic, page_size),
        channels: details.channels.map(Into::into),
        rings: details.rings.map(Into::into),
        offloads: OffloadsReport {
            lro: nic.lro,
            hw_gro: nic.hw_gro,
            tcp_data_split: nic.data_split,
            striding_receive_queues: nic.striding,
            vlan_stripping: details.strips_vlan,
        },
        features: nic.features.map(feature_names),
        program: link.xdp.program_id.map(|id| ProgramReport {
            id,
            mode: mode(link.xdp, own),
        }),
        master: above.master.map(|(name, kind)| MasterReport { name, kind }),
        vlans: above.vlans,
        rules: rule_support(nic, &problems, version(&snapshot.machine.kernel)),
        advice: all_advice(snapshot, link, links, selected),
        problems,
    }
}

fn all_advice(
    snapshot: &PreflightSnapshot,
    link: &HostLink,
    links: &[HostLink],
    selected: &BTreeSet<String>,
) -> Vec<Problem> {
    let details = snapshot.details.get(&link.ifindex);
    let strips = details.and_then(|details| details.strips_vlan);
    let mut all = advice(link, links, strips, selected);
    all.extend(snapshot.cilium.then(|| cilium_runs(&link.name)));
    all
}

/// Decides as the running agent does.
fn problems(nic: &NicFacts, own: Option<u32>, page_size: u32) -> Vec<Problem> {
    preflight(nic, own.as_slice(), page_size)
}

/// Returns major and minor version of a kernel release; zeros if it has another form.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    (number().unwrap_or(0), number().unwrap_or(0))
}
