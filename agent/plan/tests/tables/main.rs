//! From policies to tables to verdicts: the oracle agrees, and every step on the way is safe.
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;

use std::net::IpAddr;

use model::Model;
use proptest::prelude::*;
use xdp_core::tables::{Address, Block, Entry, MAX_ENTRIES, SlotWord};
use xdp_core::verdict::decide;
use xdp_plan::compile::Desired;
use xdp_plan::diff::diff;
use xdp_plan::installed::Installed;
use xdp_plan::testing::node::{MTU, pair, plan};
use xdp_plan::testing::{objects, oracle, packets};

fn ips(index: u8) -> Vec<IpAddr> {
    let v6 = format!("2001:db8:f::{}", index + 1);
    vec![IpAddr::from([192, 0, 2, index + 1]), v6.parse().unwrap()]
}

/// A node with up to four pods; some come, go, move to another device, swap addresses.
fn node() -> impl Strategy<Value = Desired> {
    let pod = |name, index| objects::pod(name, ips(index));
    let places = (any::<bool>(), 0..4_u32, prop::collection::vec(any::<bool>(), 4));
    (
        objects::policies(),
        pod("a", 0),
        pod("b", 1),
        pod("c", 2),
        pod("d", 3),
        any::<bool>(),
        places,
    )
        .prop_map(|(policies, a, b, c, d, ready, (swap, offset, here))| {
            let mut pods = vec![a, b, c, d];
            if swap {
                let status = pods[0].status.take();
                pods[0].status = pods[1].status.take();
                pods[1].status = status;
            }
            let pairs = (0..4)
                .map(|index| pair(10 + offset + index, ips(index as u8)))
                .collect();
            let mut here = here.into_iter();
            pods.retain(|_| here.next().unwrap());
            plan(&policies, &pods, pairs, ready)
        })
}

/// Tables that no agent of ours would have left behind.
fn corrupt() -> impl Strategy<Value = Installed> {
    let number = || prop_oneof![4 => 0..6_u32, 1 => Just(u32::MAX - 1)];
    let word = (any::<u32>(), number()).prop_map(|(generation, block)| SlotWord::new(generation, block));
    let address = (0..4_u8, any::<bool>()).prop_map(|(index, v6)| match ips(index)[usize::from(v6)] {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    });
    let block = (any::<u32>(), number()).prop_map(|(len, rule)| Block {
        len,
        mtu: 0,
        mac: [0; 6],
        reserved: [0; 2],
        entries: [Entry {
            rule,
            ..Entry::default()
        }; MAX_ENTRIES],
    });
    let some = 0..4_usize;
    (
        prop::collection::btree_map(address, number(), some.clone()),
        prop::collection::btree_map(0..6_u32, word, some.clone()),
        prop::collection::btree_map(0..6_u32, block, some.clone()),
        prop::collection::btree_map(number(), 1..20_u32, some),
        node(),
        any::<u8>(),
    )
        .prop_map(|(addresses, words, blocks, devices, node, keep)| {
            let mut model = Model::default();
            model.apply(&diff(&node, &Installed::default()));
            let mut installed = model.installed;
            installed.pods.retain(|slot, _| keep & 1 << slot != 0);
            installed.rules.retain(|rule, _| keep & 1 << (rule % 8) != 0);
            installed.addresses.extend(addresses);
            installed.words.extend(words);
            installed.blocks.extend(blocks);
            installed.devices.extend(devices);
            installed
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_oracle_agrees_with_the_tables(
        policies in objects::policies(),
        pod in objects::pod("a", ips(0)),
        ready in any::<bool>(),
        packets in prop::collection::vec(packets::packet(ips(0)), 64),
    ) {
        let desired = plan(&policies, std::slice::from_ref(&pod), vec![pair(10, ips(0))], ready);
        let mut model = Model::default();
        model.apply(&diff(&desired, &Installed::default()));
        let interface = oracle::Interface { ready, mtu: MTU as usize };
        for packet in packets {
            let verdict = decide(packet.bytes().as_slice(), &model);
            let expected = oracle::decide(&policies, &pod, interface, &packet);
            let decision = oracle::Decision::of(verdict, &model.installed.rules);
            prop_assert_eq!(decision, expected, "{:?}", packet);
        }
    }

    #[test]
    fn a_round_leads_to_what_is_desired_and_the_next_has_nothing_to_do(nodes in prop::collection::vec(node(), 1..5)) {
        let mut model = Model::default();
        for desired in &nodes {
            model.apply(&diff(desired, &model.installed));
            prop_assert_eq!(diff(desired, &model.installed), Vec::new());
            prop_assert_eq!(model.installed.words.len(), desired.pods.len());
            prop_assert_eq!(model.installed.rules.len(), desired.rules.len());
        }
        model.apply(&diff(&Desired::default(), &model.installed));
        prop_assert_eq!(model.installed, Installed::default());
    }

    #[test]
    fn corrupt_tables_are_put_right(installed in corrupt(), desired in node()) {
        let mut model = Model::new(installed);
        model.apply(&diff(&desired, &model.installed));
        prop_assert_eq!(diff(&desired, &model.installed), Vec::new());
        prop_assert_eq!(model.installed.words.len(), desired.pods.len());
    }
}
