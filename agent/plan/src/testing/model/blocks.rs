//! Reads, writes and checks blocks by kind and index.

use xdp_core::tables::{
    ActionRecord, MAX_ACTIONS, MAX_CLASSES, MAX_POD_BLOCKS, MAX_PORT_BLOCKS, MAX_SOURCES_V4, MAX_SOURCES_V6,
    PortTarget, Ports, SOURCE_LEVELS, SourceRef, SourcesV4, SourcesV6,
};

use crate::{
    change::Content,
    installed::{Blocks, Installed},
};

/// Returns whether a block is at the index to which `content` would be written.
pub(super) fn contains(blocks: &Blocks, index: u32, content: &Content) -> bool {
    match content {
        Content::Pod(_) => blocks.pods.contains(index),
        Content::SourcesV4(_) => blocks.sources_v4.contains(index),
        Content::SourcesV6(_) => blocks.sources_v6.contains(index),
        Content::Class(_) => blocks.classes.contains(index),
        Content::Ports(_) => blocks.ports.contains(index),
        Content::Action(_) => blocks.actions.contains(index),
    }
}

pub(super) fn write(memory: &mut Blocks, index: u32, content: &Content) {
    let (end, first) = match content {
        Content::Pod(_) => (MAX_POD_BLOCKS, 0),
        Content::SourcesV4(_) => (MAX_SOURCES_V4, 0),
        Content::SourcesV6(_) => (MAX_SOURCES_V6, 0),
        Content::Class(_) => (MAX_CLASSES, 0),
        Content::Ports(_) => (MAX_PORT_BLOCKS, 0),
        Content::Action(_) => (MAX_ACTIONS, 1),
    };
    assert!(
        (first..end).contains(&index),
        "{index} is out of bounds: {content:?}"
    );
    match content {
        Content::Pod(block) => memory.pods.insert(index, *block),
        Content::SourcesV4(block) => memory.sources_v4.insert(index, **block),
        Content::SourcesV6(block) => memory.sources_v6.insert(index, **block),
        Content::Class(block) => memory.classes.insert(index, *block),
        Content::Ports(block) => memory.ports.insert(index, **block),
        Content::Action(record) => memory.actions.insert(index, *record),
    }
}

/// Checks that every block that a new pod block refers to exists, is sorted, and names rules that have
/// labels.
pub(super) fn check(memory: &Blocks, installed: &Installed, index: u32) {
    let checker = Checker { memory, installed };
    let pod = memory.pods.get(index).expect("a pod's block");
    let mut classes = Vec::new();
    checker.sources_v4(pod.sources_v4, SOURCE_LEVELS, &mut classes);
    checker.sources_v6(pod.sources_v6, SOURCE_LEVELS, &mut classes);
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        checker.class(class);
    }
}

struct Checker<'a> {
    memory: &'a Blocks,
    installed: &'a Installed,
}

impl Checker<'_> {
    fn sources_v4(&self, at: SourceRef, levels: usize, classes: &mut Vec<u32>) {
        let Err(index) = at.get() else {
            classes.extend(at.get());
            return;
        };
        let SourcesV4 { bounds, targets } = self.memory.sources_v4.get(index).expect("a block of sources");
        assert!(levels > 0 && bounds.is_sorted());
        let mut before = None;
        for at in targets.iter().filter(|at| before.replace(**at) != Some(**at)) {
            self.sources_v4(*at, levels - 1, classes);
        }
    }

    fn sources_v6(&self, at: SourceRef, levels: usize, classes: &mut Vec<u32>) {
        let Err(index) = at.get() else {
            classes.extend(at.get());
            return;
        };
        let SourcesV6 { bounds, targets } = self.memory.sources_v6.get(index).expect("a block of sources");
        assert!(levels > 0 && bounds.is_sorted());
        let mut before = None;
        for at in targets.iter().filter(|at| before.replace(**at) != Some(**at)) {
            self.sources_v6(*at, levels - 1, classes);
        }
    }

    fn class(&self, index: u32) {
        let class = self.memory.classes.get(index).expect("a class");
        self.action(class.portless);
        for at in [class.tcp, class.udp, class.sctp, class.icmp, class.icmpv6] {
            match at.get() {
                PortTarget::Action(number) => self.action(number),
                PortTarget::Leaf(leaf) => self.leaf(leaf),
                PortTarget::Top(top) => self.top(top),
                PortTarget::Root(root) => {
                    let Ports { bounds, targets } =
                        self.memory.ports.get(root.into()).expect("a block of ports");
                    assert!(bounds.is_sorted() && bounds[0] == 0);
                    for top in targets {
                        self.top(*top);
                    }
                }
            }
        }
    }

    fn top(&self, top: u16) {
        let Ports { bounds, targets } = self.memory.ports.get(top.into()).expect("a block of ports");
        assert!(bounds.is_sorted());
        for leaf in targets {
            self.leaf(*leaf);
        }
    }

    fn leaf(&self, leaf: u16) {
        let Ports { bounds, targets } = self.memory.ports.get(leaf.into()).expect("a block of ports");
        assert!(bounds.is_sorted());
        for number in targets {
            self.action(*number);
        }
    }

    /// Checks that the namespace of a record has what the record relies on.
    fn share(&self, record: &ActionRecord) {
        assert_eq!(record.namespace != 0, record.shares(), "{record:?}");
        let share = self.installed.shares.get(&record.namespace);
        assert!(
            !record.limits_sources() || share.is_some_and(|share| share.sets() > 0),
            "{record:?}"
        );
        assert!(!record.answers() || self.installed.answering > 0);
    }

    fn action(&self, number: u16) {
        if number != 0 {
            let record = self.memory.actions.get(number.into()).expect("a record");
            assert!(
                self.installed.rules.contains_key(&record.rule),
                "rule {} has no label",
                record.rule
            );
            self.share(record);
        }
    }
}
