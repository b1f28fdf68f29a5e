//! Generates many rules, as on a busy node.
//!
//! There are a quarter as many networks as rules, from /16 to single addresses, and one for all addresses.
//! Half of the ports are single, a third are short ranges, the others long ones. TCP is three times as
//! frequent as UDP.

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::{api::core::v1 as k8s, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use xdp_crds::{
    Enforcement, IngressRule, IntOrString, IpBlock, LabelSelector, NetworkPolicyMode, Peer, Port, Protocol,
    RuleAction, XdpPolicy, XdpPolicySpec,
};

use super::objects::NAMESPACE;

/// Most rules of a policy.
const RULES: usize = 100;

/// A generator of pseudo-random numbers: each seed gives one sequence.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns the next number modulo `end`.
    pub const fn below(&mut self, end: u32) -> u32 {
        (self.next() % end as u64) as u32
    }
}

/// Builds a policy without rules that selects the pods with the label `app=<app>`.
pub fn policy(name: &str, app: &str) -> XdpPolicy {
    XdpPolicy {
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.into()),
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        spec: XdpPolicySpec {
            network_policy: NetworkPolicyMode::default(),
            pod_selector: LabelSelector {
                match_labels: [("app".into(), app.into())].into(),
                ..LabelSelector::default()
            },
            node_selector: None,
            priority: 500,
            enforcement: Enforcement::Enforce,
            delivery: xdp_crds::Delivery::Redirect,
            ingress: Vec::new(),
        },
        status: None,
    }
}

/// Builds a pod with the label `app=<app>`.
pub fn pod(name: &str, app: &str, address: IpAddr) -> k8s::Pod {
    k8s::Pod {
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            labels: Some([("app".to_owned(), app.to_owned())].into()),
            ..ObjectMeta::default()
        },
        status: Some(k8s::PodStatus {
            pod_ips: Some(vec![k8s::PodIP {
                ip: address.to_string(),
            }]),
            ..k8s::PodStatus::default()
        }),
        ..k8s::Pod::default()
    }
}

/// Builds a rule without sources and ports.
pub const fn rule(name: String, action: RuleAction) -> IngressRule {
    IngressRule {
        name,
        from: Vec::new(),
        ports: Vec::new(),
        action,
        mark: None,
        rate_limit: None,
    }
}

/// Builds a source from a network.
pub fn peer(cidr: String) -> Peer {
    Peer {
        ip_block: Some(IpBlock {
            cidr,
            except: Vec::new(),
        }),
        ..Peer::default()
    }
}

/// Builds a port, or a range of ports.
pub const fn port(protocol: Protocol, first: u16, last: u16) -> Port {
    Port {
        protocol,
        port: Some(IntOrString::Int(first as i32)),
        end_port: Some(last as i32),
        kind: None,
        code: None,
    }
}

/// Returns the address of the pod with this number.
pub fn address(index: usize) -> IpAddr {
    Ipv4Addr::from(0x0a2a_0000 + index as u32).into()
}

/// Generates `pods` pods, each with `rules` rules of its own.
pub fn node(pods: usize, rules: usize) -> (Vec<XdpPolicy>, Vec<k8s::Pod>) {
    let mut numbers = SplitMix64::new(25_000);
    let mut policies = Vec::new();
    let mut list = Vec::new();
    for index in 0..pods {
        let app = format!("app-{index:03}");
        list.push(pod(&format!("pod-{index:03}"), &app, address(index)));
        policies.extend(policies_of(&app, rules, &mut numbers));
    }
    (policies, list)
}

/// Generates as many policies as `rules` rules need.
pub fn policies_of(app: &str, rules: usize, numbers: &mut SplitMix64) -> Vec<XdpPolicy> {
    let nets: Vec<String> = (0..(rules / 4).max(1)).map(|index| net(index, numbers)).collect();
    let mut policies = Vec::new();
    for first in (0..rules).step_by(RULES) {
        let mut policy = policy(&format!("{app}-{first:05}"), app);
        for index in first..rules.min(first + RULES) {
            let net = &nets[numbers.below(nets.len() as u32) as usize];
            policy.spec.ingress.push(any_rule(index, net, numbers));
        }
        policies.push(policy);
    }
    policies
}

fn net(index: usize, numbers: &mut SplitMix64) -> String {
    if index == 0 {
        return "0.0.0.0/0".into();
    }
    let length = 16 + numbers.below(17);
    let address = Ipv4Addr::from(numbers.next() as u32 & (u32::MAX << (32 - length)));
    format!("{address}/{length}")
}

fn any_rule(index: usize, net: &str, numbers: &mut SplitMix64) -> IngressRule {
    let protocol = if numbers.below(4) < 3 {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    let first = numbers.below(60_000) as u16;
    let last = match numbers.below(10) {
        0..5 => first,
        5..8 => first.saturating_add(numbers.below(2_000) as u16),
        _ => first.saturating_add(10_000),
    };
    let actions = [RuleAction::Redirect, RuleAction::Redirect, RuleAction::Drop];
    IngressRule {
        from: vec![peer(net.into())],
        ports: vec![port(protocol, first, last)],
        ..rule(format!("rule-{index:05}"), actions[index % actions.len()])
    }
}
