//! Labels of rules are parsed once, and equal labels share one `Arc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_agent::datapath::Datapath;
use xdp_plan::{
    change::{Change, ChangeResult},
    installed::RuleLabel,
};

use crate::bpffs::Bpffs;

const RULE: u32 = 9;

fn named(rule: &str) -> Arc<RuleLabel> {
    Arc::new(RuleLabel {
        namespace: "games".to_owned(),
        policy: "players".to_owned(),
        rule: rule.to_owned(),
    })
}

fn set(datapath: &mut Datapath, label: &Arc<RuleLabel>) {
    let label = Arc::clone(label);
    let outcomes = datapath.apply(&[Change::SetRuleLabel { rule: RULE, label }]);
    assert!(matches!(outcomes[..], [ChangeResult::Applied]), "{outcomes:?}");
}

fn read(datapath: &Datapath) -> Arc<RuleLabel> {
    Arc::clone(&datapath.installed().unwrap().rules[&RULE])
}

#[test]
fn labels_are_parsed_again_only_when_they_change_and_deleted_ones_disappear() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for name in ["one", "two", "two"] {
        set(&mut datapath, &named(name));
        let there = BTreeMap::from([(RULE, named(name))]);
        assert_eq!(*datapath.pinned().rule_labels(), there);
    }
    datapath.apply(&[Change::ClearRuleLabel { rule: RULE }]);
    assert_eq!(*datapath.pinned().rule_labels(), BTreeMap::new());
}

#[test]
fn a_written_label_is_read_as_the_same_arc() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let (one, two) = (named("one"), named("two"));
    for label in [&one, &two, &one] {
        set(&mut datapath, label);
        assert!(Arc::ptr_eq(&read(&datapath), label));
    }
}

#[test]
fn after_a_start_only_the_labels_to_share_are_shared() {
    let bpffs = Bpffs::new();
    set(&mut Datapath::open(&bpffs.pin_dir()).unwrap(), &named("one"));
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let (one, two) = (named("one"), named("two"));
    assert!(!Arc::ptr_eq(&read(&datapath), &one));
    datapath.share_labels(&BTreeSet::from([Arc::clone(&one), two]));
    assert!(Arc::ptr_eq(&read(&datapath), &one));
}

#[test]
fn labels_written_by_another_process_are_read() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    set(&mut datapath, &named("one"));
    let other = xdp_agent::datapath::Pinned::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(other.rule_labels()[&RULE], named("one"));
    set(&mut datapath, &named("two"));
    assert_eq!(
        other.rule_labels()[&RULE],
        named("two"),
        "the kernel's bytes decide"
    );
}
