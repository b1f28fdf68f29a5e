//! Positions of addresses: in the index or in the hash.

use std::net::Ipv4Addr;

use xdp_core::tables::{Address, index_position};
use xdp_plan::{change::Change, diff::diff, policy::Sources, testing::model::TableModel};

use crate::{
    nodes::{address, assert_converged, ips},
    sets::{desired, pod, policy, rule},
};

/// A node with pods that have these [`ips`].
fn node(pods: &[u8]) -> xdp_plan::desired::Desired {
    let policies =
        ["m", "n", "o"].map(|namespace| policy(namespace, "p", vec![rule("r", Sources::Any, vec![])]));
    let pods = pods
        .iter()
        .map(|index| pod(["m", "n", "o"][usize::from(*index)], ips(*index)[0]));
    let pods: Vec<_> = pods.collect();
    desired(&policies, &pods)
}

fn converge(model: &mut TableModel, pods: &[u8]) -> Vec<Change> {
    let desired = node(pods);
    let changes = diff(&desired, &model.installed);
    model.apply(&changes);
    assert_converged(model, &desired);
    changes
}

fn v4(index: u8) -> (Address, u32) {
    let address = address(ips(index)[0]);
    (address, address.low as u32)
}

#[test]
fn the_older_of_two_addresses_with_one_position_is_in_the_index() {
    let ((first, first_v4), (twin, twin_v4)) = (v4(0), v4(1));
    assert_eq!(index_position(first_v4), index_position(twin_v4));
    for (pods, inside, outside) in [([0, 1], first_v4, twin), ([1, 0], twin_v4, first)] {
        let mut model = TableModel::default();
        converge(&mut model, &pods[..1]);
        assert_eq!(model.installed.addresses.len(), 0);
        converge(&mut model, &[0, 1]);
        let word = model.installed.index[&index_position(first_v4)];
        assert_eq!((word.address(), word.more()), (Some(inside), true));
        assert!(model.installed.addresses.keys().eq([&outside]));
    }
}

#[test]
fn an_address_leaves_the_hash_after_a_fence_when_its_position_becomes_free() {
    let mut model = TableModel::default();
    converge(&mut model, &[0, 1]);
    let changes = converge(&mut model, &[1]);
    let at = |wanted: fn(&Change) -> bool| changes.iter().position(wanted).unwrap();
    let index = at(|change| matches!(change, Change::SetIndex { .. }));
    let fence = at(|change| matches!(change, Change::Fence));
    let hash = at(|change| matches!(change, Change::ClearAddress { .. }));
    assert!(index < fence && fence < hash, "{changes:?}");
    let word = model.installed.index[&index_position(v4(1).1)];
    assert_eq!((word.address(), word.more()), (Some(v4(1).1), false));
}

#[test]
fn the_addresses_of_a_24_bit_network_have_different_positions() {
    let positions: std::collections::BTreeSet<u32> = (0..=255)
        .map(|last| index_position(u32::from(Ipv4Addr::new(10, 244, 3, last))))
        .collect();
    assert_eq!(positions.len(), 256);
}
