//! Equal blocks are stored once, and unchanged blocks are not written again.

use xdp_core::tables::{ActionRecord, Class, PodBlock, Ports, SourcesV4, SourcesV6};
use xdp_plan::{
    change::Change,
    desired::Desired,
    diff::diff,
    installed::Blocks,
    policy::{Policy, Protocol},
    testing::{
        model::TableModel,
        node::{pair, plan},
        workload,
    },
};

use crate::{
    nodes::{assert_converged, installed},
    sets::{desired, listed, pod, policy, rule, single},
};

fn node(pods: usize, rules: usize) -> Desired {
    let (policies, pods) = workload::node(pods, rules);
    let pairs = (0..pods.len()).map(|index| pair(10 + index as u32, vec![workload::address(index)]));
    plan(&policies, &pods, pairs.collect(), true)
}

/// Size of all blocks that are in use.
fn bytes(blocks: &Blocks) -> usize {
    size_of::<PodBlock>() * blocks.pods.len()
        + size_of::<SourcesV4>() * blocks.sources_v4.len()
        + size_of::<SourcesV6>() * blocks.sources_v6.len()
        + size_of::<Class>() * blocks.classes.len()
        + size_of::<Ports>() * blocks.ports.len()
        + size_of::<ActionRecord>() * blocks.actions.len()
}

fn writes(changes: &[Change]) -> usize {
    let is_write = |change: &&Change| matches!(change, Change::Write { .. });
    changes.iter().filter(is_write).count()
}

#[test]
fn a_hundred_and_ten_pods_with_250_rules_each_fit() {
    let desired = node(110, 250);
    let model = installed(&desired);
    assert_converged(&model, &desired);
    let blocks = &model.installed.blocks;
    println!(
        "{} bytes per rule: {} sources, {} classes, {} ports, {} actions",
        bytes(blocks) / 27_500,
        blocks.sources_v4.len(),
        blocks.classes.len(),
        blocks.ports.len(),
        blocks.actions.len()
    );
}

#[test]
fn policies_of_a_hundred_rules_take_at_most_128_bytes_per_rule() {
    let model = installed(&node(110, 100));
    let per_rule = bytes(&model.installed.blocks) / 11_000;
    println!("{per_rule} bytes per rule");
    assert!(per_rule <= 128, "{per_rule}");
}

fn web(nets: &[&str], port: u16) -> Policy {
    let from = listed(nets.iter().map(|net| net.parse().unwrap()));
    policy("n", "p", vec![rule("r", from, vec![single(Protocol::Tcp, port)])])
}

fn for_two_pods(policies: &[Policy]) -> Desired {
    let mut other = pod("n", [10, 0, 0, 2].into());
    other.name = "q".into();
    desired(policies, &[pod("n", [10, 0, 0, 1].into()), other])
}

#[test]
fn pods_with_equal_policies_share_all_blocks_but_their_own() {
    let model = installed(&for_two_pods(&[web(&["10.0.0.0/8"], 80)]));
    let blocks = &model.installed.blocks;
    assert_eq!((blocks.pods.len(), blocks.actions.len()), (2, 1));
    assert_eq!(
        (blocks.sources_v4.len(), blocks.ports.len(), blocks.classes.len()),
        (1, 1, 2)
    );
}

#[test]
fn equivalent_rules_write_nothing() {
    let before = for_two_pods(&[web(&["10.0.0.0/8", "11.0.0.0/8"], 80)]);
    let model = installed(&before);
    let mut again = web(&["11.0.0.0/9", "10.0.0.0/8", "11.128.0.0/9"], 80);
    again.generation = 9;
    again.rules[0].ports.push(single(Protocol::Tcp, 80));
    let after = for_two_pods(&[again]);
    assert_eq!(diff(&after, &model.installed), []);
}

#[test]
fn a_changed_rule_writes_only_the_blocks_that_change() {
    let mut model = installed(&for_two_pods(&[web(&["10.0.0.0/8"], 80)]));
    let after = for_two_pods(&[web(&["10.0.0.0/8"], 81)]);
    let changes = diff(&after, &model.installed);
    // Written: ports, class, sources, and the blocks of the pods. Not written: the record, and the class of
    // all other sources.
    assert_eq!(writes(&changes), 1 + 1 + 1 + 2, "{changes:?}");
    model.apply(&changes);
    assert_converged(&model, &after);
}

#[test]
fn replaced_blocks_are_reused_after_the_fence() {
    let mut model = TableModel::default();
    for port in 0..50 {
        let desired = for_two_pods(&[web(&["10.0.0.0/8"], port)]);
        model.apply(&diff(&desired, &model.installed));
        assert_converged(&model, &desired);
    }
    let memory = &model.memory;
    assert!(memory.pods.len() <= 4 && memory.ports.len() <= 2 && memory.classes.len() <= 3);
}
