//! Generators of desired tables and of corrupt tables.

use std::net::IpAddr;

use proptest::prelude::*;
use xdp_core::{
    tables::{
        Address, IndexWord, PodBlock, PortRef, ShareWord, SlotWord, SourceRef, SourcesV4, index_position,
    },
    verdict::RuleTables,
};
use xdp_plan::{
    desired::Desired,
    diff::diff,
    installed::{Blocks, Installed},
    testing::{
        model::TableModel,
        node::{pair, plan},
        objects,
    },
};

pub(crate) fn ips(index: u8) -> Vec<IpAddr> {
    let v6 = format!("2001:db8:f::{}", index + 1);
    vec![v4(index).into(), v6.parse().unwrap()]
}

/// The first two addresses have the same position in the index.
fn v4(index: u8) -> std::net::Ipv4Addr {
    let first = u32::from_be_bytes([192, 0, 2, 1]);
    let twin = (first + 1..=u32::MAX).find(|ip| index_position(*ip) == index_position(first));
    match index {
        0 => first.into(),
        1 => twin.unwrap().into(),
        _ => [192, 0, 2, index + 1].into(),
    }
}

pub(crate) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}

/// A node with up to four pods. From one node to the next, pods appear, disappear, move to another device or
/// swap addresses.
pub(crate) fn node() -> impl Strategy<Value = Desired> {
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

/// The tables after one reconcile on an empty kernel.
pub(crate) fn installed(desired: &Desired) -> TableModel {
    let mut model = TableModel::default();
    model.apply(&diff(desired, &Installed::default()));
    model
}

/// Tables that another program has changed.
pub(crate) fn corrupt() -> impl Strategy<Value = TableModel> {
    let number = || prop_oneof![4 => 0..6_u32, 1 => Just(u32::MAX - 1)];
    let word = (any::<u32>(), number()).prop_map(|(generation, block)| SlotWord::new(generation, block));
    let destination = (0..4_u8, any::<bool>()).prop_map(|(index, v6)| address(ips(index)[usize::from(v6)]));
    let place = (0..5_u8, 0..4_u32, any::<bool>(), 0..2_u32).prop_map(|(index, slot, more, off)| {
        let v4 = u32::from(v4(index));
        (index_position(v4) + off, IndexWord::new(v4, slot, more))
    });
    let some = 0..4_usize;
    let damages = prop::collection::vec((0..8_u8, 0..6_u32, any::<u32>()), 0..6);
    (
        prop::collection::btree_map(destination, number(), some.clone()),
        prop::collection::btree_map(0..6_u32, word, some.clone()),
        prop::collection::vec(place, some.clone()),
        prop::collection::btree_map(number(), 1..20_u32, some),
        node(),
        any::<u8>(),
        damages,
    )
        .prop_map(|(addresses, words, places, devices, node, keep, damages)| {
            let TableModel {
                mut installed,
                mut memory,
                ..
            } = installed(&node);
            installed.pods.retain(|slot, _| keep & 1 << slot != 0);
            std::sync::Arc::make_mut(&mut installed.rules).retain(|rule, _| keep & 1 << (rule % 8) != 0);
            installed.addresses.extend(addresses);
            installed.words.extend(words);
            installed.index.extend(places);
            installed.devices.extend(devices);
            for (kind, index, value) in damages {
                damage(&mut memory, kind, index, value);
                if kind == 7 {
                    installed.shares.insert(1 + index as u16, ShareWord(value.into()));
                    installed.answering = value % 4;
                }
            }
            TableModel::new(installed, memory)
        })
}

/// Breaks a block: references to the block itself, to absent blocks, or to blocks of another level.
fn damage(memory: &mut Blocks, kind: u8, index: u32, value: u32) {
    match kind {
        0 => {
            let pod = memory.pods.get(index).copied().unwrap_or_default();
            let sources_v4 = SourceRef(value % 8);
            memory.pods.insert(index, PodBlock { sources_v4, ..pod });
        }
        1 => {
            let bounds = [value; 64];
            let targets = [SourceRef::block(index); 64];
            memory.sources_v4.insert(index, SourcesV4 { bounds, targets });
        }
        2 => {
            let mut class = memory.classes.get(index).copied().unwrap_or_default();
            class.tcp = PortRef(value);
            class.udp = PortRef(0x2_0000 | index);
            memory.classes.insert(index, class);
        }
        3 => {
            if let Some(mut ports) = memory.ports.get(index).copied() {
                ports.targets[value as usize % 16] = (value >> 8) as u16 % 8;
                memory.ports.insert(index, ports);
            }
        }
        4 => {
            let mut record = memory.actions.get(index).copied().unwrap_or_default();
            record.rule = value % 8;
            record.namespace = (value >> 8) as u16 % 4;
            memory.actions.insert(index, record);
        }
        5 => {
            let mut class = memory.classes.get(index).copied().unwrap_or_default();
            class.portless = value as u16 % 8;
            memory.classes.insert(index, class);
        }
        _ => {
            // A duplicate.
            if let Some(record) = memory.actions.get(index).copied() {
                memory.actions.insert(index + 1, record);
            }
        }
    }
}

/// Asserts that every pod is programmed and that no change is left.
pub(crate) fn assert_converged(model: &TableModel, desired: &Desired) {
    let programmed = xdp_plan::programmed::Programmed::new(&model.installed);
    for pod in &desired.pods {
        assert!(programmed.holds(pod), "{pod:#?} in {:#?}", model.installed);
        for address in pod.addresses.iter().copied().map(address) {
            let slot = found(model, &address);
            assert!(slot.is_some_and(|slot| model.word(slot).is_some()));
        }
    }
    assert_eq!(diff(desired, &model.installed), Vec::new());
    assert_eq!(model.installed.words.len(), desired.pods.len());
    assert_eq!(model.installed.rules.len(), desired.rules.len());
}

/// Looks an address up like the programs do.
fn found(model: &TableModel, destination: &Address) -> Option<u32> {
    if destination.is_v4() {
        let v4 = destination.low as u32;
        let word = model.index(index_position(v4))?;
        if let Some(slot) = word.slot(v4) {
            return Some(slot);
        }
        if !word.more() {
            return None;
        }
    }
    model.slot(destination)
}
