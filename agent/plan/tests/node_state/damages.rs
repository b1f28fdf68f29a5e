//! Tables that differ from the desired ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_core::tables::{ActionRecord, IndexWord, PodBlock, Ports};
use xdp_crds::conditions::node;
use xdp_plan::{
    installed::{Installed, Pool},
    node_state::TABLES,
};

use crate::fixture::{Node, problem};

fn first<K, V>(map: &mut BTreeMap<K, V>) -> &mut V {
    map.values_mut().next().expect("something is installed")
}

/// Changes one of the blocks.
fn change<T: Copy>(pool: &mut Pool<T>, change: impl Fn(&mut T)) {
    let (index, mut block) = pool
        .iter()
        .map(|(index, block)| (index, *block))
        .next()
        .expect("something is installed");
    change(&mut block);
    pool.insert(index, block);
}

/// A description, and the function that damages the tables.
type Damage = (&'static str, fn(&mut Installed));

const DAMAGES: [Damage; 16] = [
    ("an address is absent", |installed| {
        installed.index.pop_first();
    }),
    ("an address has another slot", |installed| {
        let (position, word) = installed.index.pop_first().expect("an address");
        let v4 = word.address().expect("an address");
        let other = IndexWord::new(v4, 1 - word.slot(v4).expect("a slot"), false);
        installed.index.insert(position, other);
    }),
    (
        "an address is in the hash, but its position in the index has no `more` bit",
        |installed| {
            let (address, slot) = installed.leading().next().expect("an address");
            installed.index.pop_first();
            installed.addresses.insert(address, slot);
        },
    ),
    ("a device is absent", |installed| {
        installed.devices.pop_first();
    }),
    ("another device", |installed| {
        *first(&mut installed.devices) += 1;
    }),
    ("the word of a slot is absent", |installed| {
        installed.words.pop_first();
    }),
    ("a block is missing", |installed| {
        installed.blocks.ports = Pool::default();
    }),
    ("a record is missing", |installed| {
        let mut last = None;
        installed
            .blocks
            .actions
            .retain(|index, _| last.replace(index).is_none());
    }),
    ("a record has another mark", |installed| {
        change(&mut installed.blocks.actions, |record: &mut ActionRecord| {
            record.mark ^= 1;
        });
    }),
    ("a record has the number of another namespace", |installed| {
        change(&mut installed.blocks.actions, |record: &mut ActionRecord| {
            record.namespace += 1;
        });
    }),
    ("a namespace has no room for the limits of sources", |installed| {
        installed.shares.clear();
    }),
    ("two rules are swapped", |installed| {
        change(&mut installed.blocks.ports, |ports: &mut Ports| {
            ports.targets.swap(0, 1);
        });
    }),
    ("a counter has the label of another rule", |installed| {
        Arc::make_mut(first(Arc::make_mut(&mut installed.rules))).rule = "x".into();
    }),
    ("another MAC address", |installed| {
        change(&mut installed.blocks.pods, |pod: &mut PodBlock| pod.mac = [9; 6]);
    }),
    ("the pod is not ready", |installed| {
        change(&mut installed.blocks.pods, |pod: &mut PodBlock| {
            pod.flags ^= PodBlock::NOT_READY;
        });
    }),
    ("all tables are empty", |installed| {
        *installed = Installed::default();
    }),
];

#[test]
fn tables_that_differ_in_anything_are_not_programmed() {
    for (what, damage) in DAMAGES {
        let node = Node {
            damage,
            ..Node::default()
        };
        let (reason, _, programmed) = node.policy_state();
        assert_eq!(reason, node::PENDING, "{what}");
        assert!(programmed < 2, "{what}");

        let node = Node {
            problems: BTreeSet::from([problem(TABLES, "ChangeFailed")]),
            ..node
        };
        assert_eq!(node.policy_state().0, node::KERNEL_REFUSED, "{what}");
    }
}
