//! Computes the status from a snapshot of the kernel, without IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use nix::errno::Errno;
use xdp_core::{
    events::{Event, Fallback, FlowEvent, ForeignFrame, Unparsed, UnparsedDrop},
    tables::{Address, Count, FailureKey, SlotWord},
};
use xdp_plan::{
    installed::{Installed, PodLabel},
    nics::mode,
    report::Problem,
};

use crate::report::status::{
    AgentStatus, NicStatus, NodeStatus, RedirectFailure, RuleStatus, TargetPodStatus, XdpException,
    collect::{HostInterface, KernelSnapshot},
    usage,
};

pub(super) fn status(snapshot: &KernelSnapshot) -> NodeStatus {
    let nics = nics(snapshot);
    let problems = snapshot.problems.iter().filter(|problem| {
        let nic = problem.nic();
        !nics.iter().any(|shown| nic == Some(&shown.name))
    });
    NodeStatus {
        pin_dir: snapshot.pin_dir.clone(),
        agent: AgentStatus {
            running: snapshot.running,
        },
        pods: pods(snapshot),
        rules: rules(snapshot),
        unparsed: events(
            &snapshot.events,
            Unparsed::ALL.map(|reason| (reason.code(), reason.name())),
        ),
        foreign: events(
            &snapshot.events,
            ForeignFrame::ALL.map(|reason| (reason.code(), reason.name())),
        ),
        unparsed_drops: events(
            &snapshot.events,
            UnparsedDrop::ALL.map(|reason| (reason.code(), reason.name())),
        ),
        fallbacks: events(
            &snapshot.events,
            Fallback::ALL.map(|reason| (reason.code(), reason.name())),
        ),
        events: events(
            &snapshot.events,
            Event::ALL.map(|event| (event.code(), event.name())),
        ),
        flows: usage::flows(snapshot),
        flow_events: events(
            &snapshot.events,
            FlowEvent::ALL.map(|event| (event.code(), event.name())),
        ),
        tables: usage::tables(snapshot),
        exceptions: exceptions(snapshot),
        problems: problems.cloned().collect(),
        nics,
    }
}

/// Selects the NICs with the agent's program, and those with a problem.
fn nics(snapshot: &KernelSnapshot) -> Vec<NicStatus> {
    let with_problem: BTreeSet<&str> = snapshot.problems.iter().filter_map(Problem::nic).collect();
    let shown = snapshot.links.iter().filter(|interface| {
        let link = &interface.link;
        snapshot.programs.contains_key(&link.ifindex) || with_problem.contains(link.name.as_str())
    });
    shown.map(|interface| nic(snapshot, interface)).collect()
}

fn nic(snapshot: &KernelSnapshot, interface: &HostInterface) -> NicStatus {
    let link = &interface.link;
    let own = snapshot
        .programs
        .get(&link.ifindex)
        .map(|program| program.program_id);
    let mode = mode(link.xdp, own);
    let problems = snapshot
        .problems
        .iter()
        .filter(|problem| problem.nic() == Some(&link.name));
    NicStatus {
        name: link.name.clone(),
        ifindex: link.ifindex,
        driver: interface.driver.name.clone(),
        bus: interface.driver.bus.clone(),
        mtu: link.mtu,
        mode,
        program_id: link.xdp.program_id.unwrap_or(0),
        program_tag: interface.tag.map(|tag| format!("{tag:016x}")).unwrap_or_default(),
        peer: snapshot.peers.contains(&link.ifindex),
        reply_path: snapshot.reply_paths.contains(&link.ifindex),
        problems: problems.cloned().collect(),
    }
}

fn pods(snapshot: &KernelSnapshot) -> Vec<TargetPodStatus> {
    let mut pods: Vec<TargetPodStatus> = snapshot
        .installed
        .pods
        .iter()
        .map(|(slot, label)| pod(snapshot, *slot, label))
        .collect();
    pods.sort_by(|a, b| (&a.namespace, &a.pod, a.slot).cmp(&(&b.namespace, &b.pod, b.slot)));
    pods
}

fn pod(snapshot: &KernelSnapshot, slot: u32, label: &PodLabel) -> TargetPodStatus {
    let installed = &snapshot.installed;
    let identity = &label.identity;
    let word = installed.words.get(&slot).copied().unwrap_or(SlotWord::EMPTY);
    let addresses = addresses(installed, slot);
    let alive = installed.devices.get(&slot) == Some(&identity.ifindex);
    TargetPodStatus {
        namespace: identity.namespace.clone(),
        pod: identity.pod.clone(),
        uid: identity.uid.clone(),
        slot,
        ifindex: identity.ifindex,
        interface: label.interface.clone(),
        mac: identity.mac.map(|byte| format!("{byte:02x}")).join(":"),
        programmed: word.block().is_some() && alive && !addresses.is_empty(),
        addresses,
        readiness: label.readiness.clone(),
        peer: label.peer,
        reply_path: label.reply_path.clone(),
        draining: label.draining,
        generation: word.generation(),
        failures: failures(snapshot, slot, identity.ifindex),
    }
}

fn addresses(installed: &Installed, slot: u32) -> Vec<IpAddr> {
    let leading = installed.leading().filter(|(_, to)| *to == slot);
    let addresses: BTreeSet<IpAddr> = leading.map(|(address, _)| ip(address)).collect();
    addresses.into_iter().collect()
}

fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.octets()).to_canonical()
}

fn failures(snapshot: &KernelSnapshot, slot: u32, ifindex: u32) -> Vec<RedirectFailure> {
    let failure = |(key, packets): (&FailureKey, &u64)| {
        let stage = match (key.kind, key.subject) {
            (FailureKey::REDIRECT_ERR, subject) if subject == slot => "redirect",
            (FailureKey::DEVMAP_XMIT, subject) if subject == ifindex => "flush",
            _ => return None,
        };
        Some(RedirectFailure {
            stage,
            errno: errno(key.code),
            packets: *packets,
        })
    };
    snapshot.failures.iter().filter_map(failure).collect()
}

/// Returns the name of an errno, such as `ENXIO`. Empty for 0, for which the kernel reports no errno.
fn errno(code: u32) -> String {
    match (code, Errno::from_raw(code as i32)) {
        (0, _) => String::new(),
        (_, Errno::UnknownErrno) => code.to_string(),
        (_, known) => format!("{known:?}"),
    }
}

fn rules(snapshot: &KernelSnapshot) -> Vec<RuleStatus> {
    let rule = |(id, label): (&u32, &std::sync::Arc<xdp_plan::installed::RuleLabel>)| {
        let (counters, delivered) = snapshot.counters.get(id).copied().unwrap_or_default();
        RuleStatus {
            id: *id,
            namespace: label.namespace.clone(),
            policy: label.policy.clone(),
            rule: label.rule.clone(),
            redirected: counters.redirected.into(),
            passed: counters.passed.into(),
            dropped: counters.dropped.into(),
            rejected: counters.rejected.into(),
            limited: counters.limited.into(),
            audited: counters.audited.into(),
            fell_back: counters.fell_back.into(),
            delivered: delivered.into(),
        }
    };
    snapshot.installed.rules.iter().map(rule).collect()
}

fn events<const N: usize>(
    events: &BTreeMap<u32, Count>,
    names: [(u32, &'static str); N],
) -> BTreeMap<&'static str, u64> {
    let counted = names
        .into_iter()
        .filter_map(|(code, name)| Some((name, events.get(&code)?.packets)));
    counted.collect()
}

fn exceptions(snapshot: &KernelSnapshot) -> Vec<XdpException> {
    let exceptions = snapshot
        .failures
        .iter()
        .filter(|(key, _)| key.kind == FailureKey::EXCEPTION);
    exceptions
        .map(|(key, packets)| XdpException {
            nic: interface_name(snapshot, key.subject),
            action: action(key.code),
            packets: *packets,
        })
        .collect()
}

fn interface_name(snapshot: &KernelSnapshot, ifindex: u32) -> String {
    let found = snapshot
        .links
        .iter()
        .find(|interface| interface.link.ifindex == ifindex);
    found.map_or_else(|| ifindex.to_string(), |interface| interface.link.name.clone())
}

/// Returns the name of a value of `enum xdp_action`.
fn action(code: u32) -> String {
    match code {
        0 => "Aborted".to_owned(),
        1 => "Drop".to_owned(),
        2 => "Pass".to_owned(),
        3 => "Tx".to_owned(),
        4 => "Redirect".to_owned(),
        unknown => unknown.to_string(),
    }
}
