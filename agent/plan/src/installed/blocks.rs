//! The blocks that slots refer to.

use std::collections::BTreeMap;

use xdp_core::{
    tables::{
        ActionRecord, Class, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS, SlotWord, SourceRef,
        SourcesV4, SourcesV6,
    },
    verdict::RuleTables,
};

use super::Pool;

/// All blocks that words refer to, directly or indirectly, by kind and index. All other elements of the
/// kernel's arrays are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Blocks of pods.
    pub pods: Pool<PodBlock>,
    /// Blocks of IPv4 sources.
    pub sources_v4: Pool<SourcesV4>,
    /// Blocks of IPv6 sources.
    pub sources_v6: Pool<SourcesV6>,
    /// Classes.
    pub classes: Pool<Class>,
    /// Blocks of ports, of all levels.
    pub ports: Pool<Ports>,
    /// Records of actions, by number.
    pub actions: Pool<ActionRecord>,
}

impl Blocks {
    /// Follows all words. References to absent blocks, and references deeper than the programs follow, are
    /// skipped.
    pub fn read(words: &BTreeMap<u32, SlotWord>, tables: &impl RuleTables) -> Self {
        let mut blocks = Self::default();
        for index in words.values().filter_map(|word| word.block()) {
            if let Some(pod) = tables.pod(index) {
                blocks.pods.insert(index, *pod);
            }
        }
        blocks.read_sources(tables);
        blocks.read_ports(tables);
        blocks
    }

    /// Returns whether no index has different blocks in `self` and `other`.
    pub fn agree_with(&self, other: &Self) -> bool {
        self.pods.agrees_with(&other.pods)
            && self.sources_v4.agrees_with(&other.sources_v4)
            && self.sources_v6.agrees_with(&other.sources_v6)
            && self.classes.agrees_with(&other.classes)
            && self.ports.agrees_with(&other.ports)
            && self.actions.agrees_with(&other.actions)
    }

    fn read_sources(&mut self, tables: &impl RuleTables) {
        let classes = &mut self.classes;
        let mut class = |index| {
            if !classes.contains(index)
                && let Some(class) = tables.class(index)
            {
                classes.insert(index, *class);
            }
        };
        let roots = self.pods.iter().map(|(_, pod)| pod.sources_v4).collect();
        let v4 = |index| tables.sources_v4(index).copied();
        follow(
            roots,
            v4,
            |block| &block.targets,
            &mut self.sources_v4,
            &mut class,
        );
        let roots = self.pods.iter().map(|(_, pod)| pod.sources_v6).collect();
        let v6 = |index| tables.sources_v6(index).copied();
        follow(
            roots,
            v6,
            |block| &block.targets,
            &mut self.sources_v6,
            &mut class,
        );
    }

    fn read_ports(&mut self, tables: &impl RuleTables) {
        let mut reader = PortReader {
            tables,
            ports: &mut self.ports,
            actions: &mut self.actions,
            leaves: Pool::default(),
            tops: Pool::default(),
            roots: Pool::default(),
        };
        for (_, class) in self.classes.iter() {
            for port in [class.tcp, class.udp, class.sctp, class.icmp, class.icmpv6] {
                reader.follow(port);
            }
            reader.action(class.portless);
        }
    }
}

/// Follows references level by level. A block with several paths is found on the shortest one first, which
/// leaves the most levels below it.
fn follow<T>(
    roots: Vec<SourceRef>,
    get: impl Fn(u32) -> Option<T>,
    targets: impl Fn(&T) -> &[SourceRef],
    found: &mut Pool<T>,
    class: &mut impl FnMut(u32),
) {
    let mut level = roots;
    for depth in 0..=SOURCE_LEVELS {
        let mut deeper = Vec::new();
        for at in level {
            match at.get() {
                Ok(index) => class(index),
                Err(index) if depth < SOURCE_LEVELS && !found.contains(index) => {
                    if let Some(block) = get(index) {
                        deeper.extend_from_slice(targets(&block));
                        found.insert(index, block);
                    }
                }
                Err(_) => {}
            }
        }
        level = deeper;
    }
}

struct PortReader<'a, T> {
    tables: &'a T,
    ports: &'a mut Pool<Ports>,
    actions: &'a mut Pool<ActionRecord>,
    /// Blocks that were followed as leaf, top or root. In corrupt tables, a block can be several of these.
    leaves: Pool<()>,
    tops: Pool<()>,
    roots: Pool<()>,
}

impl<T: RuleTables> PortReader<'_, T> {
    fn follow(&mut self, at: PortRef) {
        match at.get() {
            PortTarget::Action(number) => self.action(number),
            PortTarget::Leaf(index) => self.leaf(index),
            PortTarget::Top(index) => self.top(index),
            PortTarget::Root(index) => self.root(index),
        }
    }

    fn root(&mut self, index: u16) {
        let index = u32::from(index);
        if self.roots.contains(index) {
            return;
        }
        self.roots.insert(index, ());
        if let Some(block) = self.tables.ports(index) {
            self.ports.insert(index, *block);
            for top in block.targets {
                self.top(top);
            }
        }
    }

    fn top(&mut self, index: u16) {
        let index = u32::from(index);
        if self.tops.contains(index) {
            return;
        }
        self.tops.insert(index, ());
        if let Some(block) = self.tables.ports(index) {
            self.ports.insert(index, *block);
            for leaf in block.targets {
                self.leaf(leaf);
            }
        }
    }

    fn leaf(&mut self, index: u16) {
        let index = u32::from(index);
        if self.leaves.contains(index) {
            return;
        }
        self.leaves.insert(index, ());
        if let Some(block) = self.tables.ports(index) {
            self.ports.insert(index, *block);
            for number in block.targets {
                self.action(number);
            }
        }
    }

    fn action(&mut self, number: u16) {
        let index = u32::from(number);
        if number == xdp_core::tables::NO_MATCH || self.actions.contains(index) {
            return;
        }
        if let Some(record) = self.tables.action(number) {
            self.actions.insert(index, *record);
        }
    }
}
