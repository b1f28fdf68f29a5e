//! The sources of packets that open flows, against a plain reading of what the stack does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use xdp_core::{
    events::Fallback,
    sources::{Routes, check, is_martian},
    tables::{Address, Receiver},
};

const SEED: u64 = 0x5844_5032;
const DEVICE: u32 = 2;
const POD: u32 = 7;
/// Another interface by which packets leave the node.
const ELSEWHERE: u32 = 8;

fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}

/// By the names that the standard library has for addresses.
fn is_martian_by_name(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let reserved = ip.octets()[0] >= 240;
            ip.octets()[0] == 0 || ip.is_loopback() || ip.is_multicast() || reserved
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local()
        }
    }
}

/// Both sides of every bound, and addresses at random.
fn addresses(rng: &mut Rng) -> Vec<IpAddr> {
    let v4: Vec<u32> = [
        0,
        0x0100_0000,
        0x7f00_0000,
        0x8000_0000,
        0xe000_0000,
        0xf000_0000,
        u32::MAX,
    ]
    .into();
    let v6: Vec<u128> = [0, 1, 2, 0xfe80 << 112, 0xfec0 << 112, 0xff << 120, u128::MAX].into();
    let around_v4 = v4
        .into_iter()
        .flat_map(|bound| [-1, 0, 1].map(|by| bound.wrapping_add_signed(by)));
    let around_v6 = v6
        .into_iter()
        .flat_map(|bound| [-1, 0, 1].map(|by| bound.wrapping_add_signed(by)));
    let random: Vec<(u32, u128)> = (0..10_000).map(|_| (rng.u32(..), rng.u128(..))).collect();
    let (random_v4, random_v6): (Vec<u32>, Vec<u128>) = random.into_iter().unzip();
    let v4 = around_v4
        .chain(random_v4)
        .map(|ip| IpAddr::V4(Ipv4Addr::from_bits(ip)));
    let v6 = around_v6
        .chain(random_v6)
        .map(|ip| IpAddr::V6(Ipv6Addr::from_bits(ip)));
    // IPv6 with an IPv4-mapped address cannot be parsed.
    let v6 = v6.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()));
    v4.chain(v6).collect()
}

#[test]
fn martian_sources_are_those_with_a_name() {
    for ip in addresses(&mut Rng::with_seed(SEED)) {
        assert_eq!(is_martian(&address(ip)), is_martian_by_name(ip), "{ip}");
    }
}

/// What the routes say.
#[derive(Clone, Copy, Debug)]
struct Answers {
    forward: Option<u32>,
    back: Option<u32>,
    leaves: bool,
}

impl Routes for Answers {
    fn forward(&self, device: u32) -> Option<u32> {
        assert_eq!(device, DEVICE, "asked for the interface that receives");
        self.forward
    }

    fn back(&self, device: u32) -> Option<u32> {
        assert_eq!(Some(device), self.forward, "asked as for a packet of the pod");
        self.back
    }

    fn leaves(&self, device: u32) -> bool {
        if Some(device) == self.forward {
            return device == ELSEWHERE;
        }
        assert_eq!(Some(device), self.back);
        self.leaves
    }
}

/// The first reason in the order in which the documentation names them.
fn expected(ip: IpAddr, flags: u32, answers: Answers) -> Result<(), Fallback> {
    let routed = flags & Receiver::ROUTED != 0;
    let same = answers.back == Some(DEVICE);
    let strict = flags & Receiver::STRICT != 0 && ip.is_ipv4();
    let reasons = [
        (is_martian_by_name(ip), Fallback::Source),
        (routed && answers.forward != Some(POD), Fallback::NotForwarded),
        (routed && answers.back.is_none(), Fallback::Source),
        (routed && !same && !answers.leaves, Fallback::Source),
        (routed && !same && strict, Fallback::ReversePath),
    ];
    let first = reasons.into_iter().find(|(applies, _)| *applies);
    first.map_or(Ok(()), |(_, reason)| Err(reason))
}

#[test]
fn a_flow_is_opened_only_where_martians_routes_and_rp_filter_allow_it() {
    let mut rng = Rng::with_seed(SEED);
    let mut outcomes = std::collections::BTreeSet::new();
    for ip in addresses(&mut rng) {
        let answers = Answers {
            forward: rng
                .choice([None, Some(ELSEWHERE), Some(POD), Some(POD)])
                .unwrap_or(None),
            back: rng.choice([None, Some(DEVICE), Some(3), Some(3)]).unwrap_or(None),
            leaves: rng.bool(),
        };
        let flags = rng.u32(..8);
        let receiver = Receiver {
            device: DEVICE,
            flags,
        };
        let checked = check(&address(ip), receiver, &answers);
        assert_eq!(checked, expected(ip, flags, answers), "{ip} {flags} {answers:?}");
        outcomes.insert(checked.err());
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}
