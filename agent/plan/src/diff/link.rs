//! Assigns the kernel's numbers to compiled rules, from the actions up. A block's content includes its
//! references.

use std::{collections::BTreeMap, sync::Arc};

use xdp_core::tables::{
    ActionRecord, Class, MAX_ACTIONS, MAX_CLASSES, MAX_POD_BLOCKS, MAX_PORT_BLOCKS, MAX_SOURCES_V4,
    MAX_SOURCES_V6, NO_MATCH, PodBlock, PortRef, PortTarget, Ports, SourceRef, SourcesV4, SourcesV6,
};

use super::{
    store::{Moment, Store},
    trees::RuleNumbers,
};
use crate::{
    change::{Change, Content},
    compile::Compiled,
    installed::Blocks,
};

/// Roots of the trees of IPv4 and IPv6 sources.
type Roots = (SourceRef, SourceRef);

pub(super) struct Linker<'a> {
    actions: Store<'a, ActionRecord>,
    ports: Store<'a, Ports>,
    classes: Store<'a, Class>,
    sources_v4: Store<'a, SourcesV4>,
    sources_v6: Store<'a, SourcesV6>,
    pods: Store<'a, PodBlock>,
    /// Linked rules. `None`: there was no room for them.
    linked: BTreeMap<*const Compiled, Option<Roots>>,
}

impl<'a> Linker<'a> {
    pub(super) const fn new(installed: &'a Blocks) -> Self {
        let first_action = NO_MATCH as u32 + 1;
        Self {
            actions: Store::new(&installed.actions, first_action, MAX_ACTIONS),
            ports: Store::new(&installed.ports, 0, MAX_PORT_BLOCKS),
            classes: Store::new(&installed.classes, 0, MAX_CLASSES),
            sources_v4: Store::new(&installed.sources_v4, 0, MAX_SOURCES_V4),
            sources_v6: Store::new(&installed.sources_v6, 0, MAX_SOURCES_V6),
            pods: Store::new(&installed.pods, 0, MAX_POD_BLOCKS),
            linked: BTreeMap::new(),
        }
    }

    /// Returns the index of the pod's block. `numbers` are those of the rules. `None`: there is no room at
    /// the moment.
    pub(super) fn link(
        &mut self,
        head: PodBlock,
        rules: &Arc<Compiled>,
        numbers: &RuleNumbers,
    ) -> Option<u32> {
        let before = self.now();
        let key = Arc::as_ptr(rules);
        let roots = match self.linked.get(&key) {
            Some(roots) => *roots,
            None => self.roots(rules, numbers),
        };
        let index = roots.and_then(|(sources_v4, sources_v6)| {
            self.pods.place(PodBlock {
                sources_v4,
                sources_v6,
                ..head
            })
        });
        if index.is_none() {
            self.back_to(before);
        }
        self.linked.entry(key).or_insert(index.and(roots));
        index
    }

    /// Returns all blocks to write. A block comes after the blocks that it refers to.
    pub(super) fn writes(self) -> impl Iterator<Item = Change> {
        let actions = writes(self.actions, Content::Action);
        let ports = writes(self.ports, |block| Content::Ports(Box::new(block)));
        let classes = writes(self.classes, Content::Class);
        let v4 = writes(self.sources_v4, |block| Content::SourcesV4(Box::new(block)));
        let v6 = writes(self.sources_v6, |block| Content::SourcesV6(Box::new(block)));
        let pods = writes(self.pods, Content::Pod);
        actions
            .chain(ports)
            .chain(classes)
            .chain(v4)
            .chain(v6)
            .chain(pods)
    }

    fn roots(&mut self, compiled: &Compiled, numbers: &RuleNumbers) -> Option<Roots> {
        let classes = self.classes(compiled, numbers)?;
        let mut blocks: Vec<u32> = Vec::new();
        for block in &compiled.sources_v4 {
            let targets = block.targets.map(|at| relink(at, &classes, &blocks));
            blocks.push(self.sources_v4.place(SourcesV4 { targets, ..*block })?);
        }
        let root_v4 = relink(compiled.root_v4, &classes, &blocks);
        blocks.clear();
        for block in &compiled.sources_v6 {
            let targets = block.targets.map(|at| relink(at, &classes, &blocks));
            blocks.push(self.sources_v6.place(SourcesV6 { targets, ..*block })?);
        }
        Some((root_v4, relink(compiled.root_v6, &classes, &blocks)))
    }

    fn classes(&mut self, compiled: &Compiled, numbers: &RuleNumbers) -> Option<Vec<u32>> {
        let ports = self.ports(compiled, numbers)?;
        let class = |class: &Class| {
            self.classes.place(Class {
                tcp: ports.relink(class.tcp),
                udp: ports.relink(class.udp),
                sctp: ports.relink(class.sctp),
                icmp: ports.relink(class.icmp),
                icmpv6: ports.relink(class.icmpv6),
                portless: ports.action(class.portless),
                drops: class.drops,
            })
        };
        compiled.classes.iter().map(class).collect()
    }

    fn ports(&mut self, compiled: &Compiled, numbers: &RuleNumbers) -> Option<LinkedPorts> {
        let mut linked = LinkedPorts::default();
        for (position, record) in compiled.actions.iter().enumerate() {
            let number = self.actions.place(numbers.number(position, record))?;
            linked.actions.push(number as u16);
        }
        for leaf in &compiled.leaves {
            let targets = leaf.targets.map(|number| linked.action(number));
            linked
                .leaves
                .push(self.ports.place(Ports { targets, ..*leaf })? as u16);
        }
        for top in &compiled.tops {
            let targets = top.targets.map(|leaf| linked.leaves[usize::from(leaf)]);
            linked
                .tops
                .push(self.ports.place(Ports { targets, ..*top })? as u16);
        }
        for root in &compiled.roots {
            let targets = root.targets.map(|top| linked.tops[usize::from(top)]);
            linked
                .roots
                .push(self.ports.place(Ports { targets, ..*root })? as u16);
        }
        Some(linked)
    }

    const fn now(&self) -> [Moment; 6] {
        [
            self.actions.now(),
            self.ports.now(),
            self.classes.now(),
            self.sources_v4.now(),
            self.sources_v6.now(),
            self.pods.now(),
        ]
    }

    fn back_to(&mut self, [actions, ports, classes, sources_v4, sources_v6, pods]: [Moment; 6]) {
        self.actions.back_to(actions);
        self.ports.back_to(ports);
        self.classes.back_to(classes);
        self.sources_v4.back_to(sources_v4);
        self.sources_v6.back_to(sources_v6);
        self.pods.back_to(pods);
    }
}

fn writes<T: Copy + Ord + std::hash::Hash>(
    store: Store<'_, T>,
    content: impl Fn(T) -> Content,
) -> impl Iterator<Item = Change> {
    store
        .into_writes()
        .into_iter()
        .map(move |(index, block)| Change::Write {
            index,
            content: content(block),
        })
}

fn relink(at: SourceRef, classes: &[u32], blocks: &[u32]) -> SourceRef {
    match at.get() {
        Ok(class) => SourceRef::class(classes[class as usize]),
        Err(block) => SourceRef::block(blocks[block as usize]),
    }
}

/// The kernel's numbers by the positions in a [`Compiled`].
#[derive(Default)]
struct LinkedPorts {
    actions: Vec<u16>,
    leaves: Vec<u16>,
    tops: Vec<u16>,
    roots: Vec<u16>,
}

impl LinkedPorts {
    fn action(&self, number: u16) -> u16 {
        match number.checked_sub(1) {
            None => NO_MATCH,
            Some(position) => self.actions[usize::from(position)],
        }
    }

    fn relink(&self, at: PortRef) -> PortRef {
        PortRef::new(match at.get() {
            PortTarget::Action(number) => PortTarget::Action(self.action(number)),
            PortTarget::Leaf(leaf) => PortTarget::Leaf(self.leaves[usize::from(leaf)]),
            PortTarget::Top(top) => PortTarget::Top(self.tops[usize::from(top)]),
            PortTarget::Root(root) => PortTarget::Root(self.roots[usize::from(root)]),
        })
    }
}
