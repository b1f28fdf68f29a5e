//! Facts of a node and its desired tables, for tests that go from policies to tables.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as k8s;
use xdp_core::{
    tables::{Station, TagId, nic_position},
    testing::{NIC, NIC_MAC},
};
use xdp_crds::XdpPolicy;

use crate::{
    compile::Compiler,
    desired::Desired,
    facts::{Deliveries, Link, NodeFacts, NotReady, Pair, Readiness},
    nics::Stations,
    pod::Pod,
    policy::Policy,
    targets::{PodCertainty, Targets, targets},
};

/// MTU of a [`pair`].
pub const MTU: u32 = 1500;

fn link(ifindex: u32, mtu: u32) -> Link {
    Link {
        ifindex,
        name: format!("veth{ifindex}"),
        kind: "veth".into(),
        up: true,
        mtu,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
    }
}

/// Builds a pod's veth pair. The host's end has this `ifindex`.
pub fn pair(ifindex: u32, addresses: Vec<IpAddr>) -> Pair {
    Pair {
        host: link(ifindex, 9000),
        pod: link(2, MTU),
        netns_id: ifindex as i32,
        addresses,
    }
}

fn deliveries(ready: bool) -> Deliveries {
    let readiness = if ready {
        Readiness::Ready
    } else {
        Readiness::NotReady {
            reason: NotReady::LinkDown,
            message: "down".into(),
        }
    };
    Deliveries {
        redirect: readiness.clone(),
        peer: readiness.clone(),
        reply_path: readiness,
    }
}

/// Compiles policies for pods, with a new compiler.
///
/// # Panics
///
/// Panics if there is a problem.
pub fn plan(policies: &[XdpPolicy], pods: &[k8s::Pod], pairs: Vec<Pair>, ready: bool) -> Desired {
    let desired = plan_with(&mut Compiler::default(), policies, pods, pairs, ready);
    assert_eq!(desired.problems, Vec::new());
    desired
}

/// Compiles policies for pods of which not all packets are certainly allowed.
///
/// # Panics
///
/// Panics if there is a problem.
pub fn plan_certain(
    certainty: &PodCertainty,
    policies: &[XdpPolicy],
    pods: &[k8s::Pod],
    pairs: Vec<Pair>,
    ready: bool,
) -> Desired {
    let mut compiler = Compiler::default();
    let desired = plan_objects((&mut compiler, certainty), policies, pods, pairs, ready);
    assert_eq!(desired.problems, Vec::new());
    desired
}

/// Compiles policies for pods. The result has the problems of policies over a limit.
///
/// # Panics
///
/// Panics if there is another problem.
pub fn plan_with(
    compiler: &mut Compiler,
    policies: &[XdpPolicy],
    pods: &[k8s::Pod],
    pairs: Vec<Pair>,
    ready: bool,
) -> Desired {
    plan_objects((compiler, &PodCertainty::new()), policies, pods, pairs, ready)
}

fn plan_objects(
    (compiler, certainty): (&mut Compiler, &PodCertainty),
    policies: &[XdpPolicy],
    pods: &[k8s::Pod],
    pairs: Vec<Pair>,
    ready: bool,
) -> Desired {
    let policies: Vec<Policy> = policies
        .iter()
        .map(|policy| Policy::try_from(policy).expect("generated objects are valid"))
        .collect();
    let pods: Vec<Pod> = pods
        .iter()
        .map(|pod| Pod::try_from(pod).expect("generated objects are valid"))
        .collect();
    let ready: BTreeMap<_, _> = pairs
        .iter()
        .map(|pair| (pair.host.ifindex, deliveries(ready)))
        .collect();
    let mut found = targets(
        &policies,
        &pods,
        &NodeFacts {
            pairs,
            ..NodeFacts::default()
        },
    );
    assert_eq!(found.problems, Vec::new());
    found.restrict(certainty);
    Desired {
        stations: Some(test_stations()),
        ..compile_all(compiler, &found, &ready)
    }
}

/// Compiles in as many turns as it takes.
pub fn compile_all(
    compiler: &mut Compiler,
    targets: &Targets,
    deliveries: &BTreeMap<u32, Deliveries>,
) -> Desired {
    loop {
        let desired = compiler.compile(targets, deliveries);
        if !desired.pending {
            return desired;
        }
    }
}

/// Returns the stations of the NIC at which packets in memory, and those of the kernel's test runs, arrive.
/// There are interfaces for VLAN 7, for VLAN 7 in it, and in the service VLAN 7.
pub fn test_stations() -> Stations {
    let (plain, service) = (TagId::new(0x8100, 7), TagId::new(0x88a8, 7));
    let none = TagId::default();
    let vlans = [[none; 2], [plain, none], [service, plain], [plain, plain]];
    let keys = vlans.into_iter().flat_map(|tags| {
        [NIC_MAC, Station::GROUP].map(|mac| Station {
            mac,
            nic: NIC.ifindex,
            tags,
        })
    });
    Stations {
        nics: BTreeMap::from([(nic_position(NIC.ifindex), NIC)]),
        stations: keys.map(|station| (station, NIC.receiver)).collect(),
    }
}
