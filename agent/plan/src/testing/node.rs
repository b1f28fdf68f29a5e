//! A node's facts and its plan, for tests that go from policies to tables.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as k8s;
use xdp_crds::XdpPolicy;

use crate::{
    compile::{Compiler, Desired},
    facts::{Deliveries, Link, NodeFacts, NotReady, Pair, Readiness},
    pod::Pod,
    policy::Policy,
    targets::targets,
};

/// Longest IP packet that a [`pair`] takes.
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

/// A pod's pair: its host's end has the number `ifindex`.
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

/// What the policies mean for the pods, without any problem.
///
/// # Panics
///
/// When there is a problem.
pub fn plan(policies: &[XdpPolicy], pods: &[k8s::Pod], pairs: Vec<Pair>, ready: bool) -> Desired {
    let desired = plan_with(&mut Compiler::default(), policies, pods, pairs, ready);
    assert_eq!(desired.problems, Vec::new());
    desired
}

/// What the policies mean for the pods, with the problems of too many or too large ones, by a compiler that
/// may know some of them.
///
/// # Panics
///
/// When there is another problem.
pub fn plan_with(
    compiler: &mut Compiler,
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
    let found = targets(&policies, &pods, &NodeFacts { pairs });
    assert_eq!(found.problems, Vec::new());
    compiler.compile(&found, &ready)
}
