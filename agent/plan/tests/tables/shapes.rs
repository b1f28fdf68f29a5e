//! Trees of one, two and three levels, and sources with many addresses.

use std::net::{IpAddr, Ipv4Addr};

use rstest::rstest;
use xdp_core::verdict::{Verdict, decide};
use xdp_plan::{
    desired::Desired,
    policy::{Protocol, Sources},
    testing::{edges::Edges, model::TableModel, packets::PacketSpec},
};

use crate::{
    nodes::installed,
    sets::{for_one_pod, listed, policy, rule, scattered, single, v4},
};

const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn is_dropped(model: &TableModel, source: u32, port: u16) -> bool {
    let packet = PacketSpec::plain(Ipv4Addr::from(source).into(), POD, 6, port);
    let verdict = decide(packet.bytes().as_slice(), model);
    let is_dropped = matches!(verdict, Verdict::Drop { .. });
    assert!(is_dropped || verdict == Verdict::NoMatch, "{verdict:?}");
    is_dropped
}

/// Number of blocks in the tree of IPv4 sources.
fn blocks_v4(desired: &Desired) -> usize {
    desired.pods[0].rules.sources_v4.len()
}

#[rstest]
#[case::one_block(31, 1)]
#[case::one_bound_too_many(32, 2)]
#[case::full_second_level(2_047, 64)]
#[case::third_level(2_049, 65 + 2)]
#[case::deep_in_the_third_level(20_000, 626 + 10 + 1)]
fn sources_are_found_on_every_level(#[case] addresses: u32, #[case] blocks: usize) {
    let desired = for_one_pod(&[policy("n", "p", vec![rule("r", scattered(addresses), vec![])])]);
    assert_eq!(desired.problems, []);
    assert!(
        blocks_v4(&desired).abs_diff(blocks) <= 1,
        "{}",
        blocks_v4(&desired)
    );
    let model = installed(&desired);
    let edges = Edges::of(&[], &desired.pods[0].rules);
    assert!(edges.v4.len() >= 2 * addresses as usize);
    for source in edges.v4 {
        let wanted = source % 2 == 1 && source / 2 < addresses;
        assert_eq!(is_dropped(&model, source, 80), wanted, "{source}");
    }
}

#[rstest]
#[case::one_block(7, [1, 0, 0])]
#[case::two_levels(8, [2, 1, 0])]
#[case::full_second_level(127, [16, 1, 0])]
#[case::three_levels(128, [17, 2, 1])]
#[case::as_many_as_there_may_be(511, [64, 4, 1])]
fn ports_are_found_on_all_levels(#[case] count: u16, #[case] blocks: [usize; 3]) {
    let ports = (0..count).map(|number| single(Protocol::Tcp, 128 * number + 127));
    let desired = for_one_pod(&[policy("n", "p", vec![rule("r", Sources::Any, ports.collect())])]);
    let compiled = &desired.pods[0].rules;
    let levels = [&compiled.leaves, &compiled.tops, &compiled.roots];
    assert_eq!(levels.map(Vec::len), blocks);
    let model = installed(&desired);
    for port in 0..=u16::MAX {
        let wanted = port % 128 == 127 && port / 128 < count;
        assert_eq!(is_dropped(&model, 7, port), wanted, "{port}");
    }
}

#[test]
fn two_thousand_networks_in_one_policy_are_programmed() {
    let nets = |index: u32| listed((0..63).map(move |net| v4((index * 63 + net) << 12 | 0x800)));
    let rules = (0..32).map(|index| {
        rule(
            &format!("r{index}"),
            nets(index),
            vec![single(Protocol::Tcp, index as u16)],
        )
    });
    let desired = for_one_pod(&[policy("n", "p", rules.collect())]);
    assert_eq!(
        (desired.problems.len(), desired.pods[0].rules.rules.len()),
        (0, 32)
    );
    let model = installed(&desired);
    for net in 0..32 * 63 {
        let source = net << 12 | 0x800;
        for (source, wanted) in [(source - 1, false), (source, true), (source + 1, false)] {
            assert_eq!(is_dropped(&model, source, (net / 63) as u16), wanted);
            assert!(!is_dropped(&model, source, (net / 63) as u16 + 1));
        }
    }
}

#[test]
fn many_rules_with_the_same_thousands_of_addresses_share_their_blocks() {
    let rules = (0..250).map(|index| {
        let ports = vec![single(Protocol::Tcp, 2 * index)];
        rule(&format!("r{index}"), scattered(4_096), ports)
    });
    let desired = for_one_pod(&[policy("n", "p", rules.collect())]);
    assert_eq!(desired.problems, []);
    let compiled = &desired.pods[0].rules;
    assert_eq!((compiled.rules.len(), compiled.classes.len()), (250, 2));
    assert_eq!(blocks_v4(&desired), 128 + 2 + 1);
}

#[test]
fn adjacent_networks_are_one_interval_and_all_addresses_need_no_block() {
    let halves = ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"].map(|net| net.parse().unwrap());
    let desired = for_one_pod(&[policy("n", "p", vec![rule("r", listed(halves), vec![])])]);
    let compiled = &desired.pods[0].rules;
    assert_eq!((compiled.sources_v4.len(), compiled.sources_v6.len()), (0, 0));
    assert_eq!(compiled.classes.len(), 1);
}
