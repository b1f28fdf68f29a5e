//! Reads installed rules back as compiled ones: they stay until the policies are compiled, also after a
//! restart.

use std::{collections::BTreeMap, sync::Arc};

use xdp_core::tables::{
    ActionRecord, Class, NO_MATCH, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS, SourceRef,
};

use super::{accept::NamespaceRules, compiled::Compiled, usage::Usage};
use crate::installed::{Blocks, Installed, RuleLabel, Shared, SlotIdentity};

/// Returns the rules of all pods whose blocks and labels are complete. Pods with the same blocks share them.
pub(super) fn installed_rules(installed: &Installed) -> BTreeMap<SlotIdentity, Arc<Compiled>> {
    let mut read: BTreeMap<(SourceRef, SourceRef), Option<Arc<Compiled>>> = BTreeMap::new();
    let mut rules = BTreeMap::new();
    for (slot, label) in &installed.pods {
        let index = installed.words.get(slot).and_then(|word| word.block());
        let Some(block) = index.and_then(|index| installed.blocks.pods.get(index)) else {
            continue;
        };
        let compiled = read
            .entry((block.sources_v4, block.sources_v6))
            .or_insert_with(|| Reader::new(installed).pod(block).map(Arc::new));
        rules.extend(
            compiled
                .clone()
                .map(|compiled| (label.identity.clone(), compiled)),
        );
    }
    rules
}

/// Returns what is programmed of each namespace.
pub(super) fn namespaces(
    installed: &Installed,
    rules: &BTreeMap<SlotIdentity, Arc<Compiled>>,
) -> BTreeMap<String, NamespaceRules> {
    let mut labels: BTreeMap<&str, Vec<Arc<RuleLabel>>> = BTreeMap::new();
    for label in installed.rules.values() {
        labels
            .entry(&label.namespace)
            .or_default()
            .push(Arc::clone(label));
    }
    let of_namespace = |(namespace, labels): (&str, Vec<Arc<RuleLabel>>)| {
        let own = rules
            .iter()
            .filter(|(identity, _)| identity.namespace == namespace);
        let programmed = NamespaceRules {
            // No content has the number zero.
            policies: labels.iter().map(|label| (label.policy.clone(), 0)).collect(),
            usage: Usage::of(labels.len(), own.map(|(_, compiled)| compiled)),
            labels: vec![labels.into()],
        };
        (namespace.to_owned(), programmed)
    };
    labels.into_iter().map(of_namespace).collect()
}

/// Reads one pod's blocks. Each is read once; the maps lead from the kernel's index to the position.
struct Reader<'a> {
    installed: &'a Installed,
    blocks: &'a Blocks,
    compiled: Compiled,
    actions: BTreeMap<u16, u16>,
    ports: [BTreeMap<u16, u16>; 3],
    classes: BTreeMap<u32, u32>,
    sources_v4: BTreeMap<u32, u32>,
    sources_v6: BTreeMap<u32, u32>,
}

/// Positions in [`Reader::ports`].
const LEAVES: usize = 0;
const TOPS: usize = 1;
const ROOTS: usize = 2;

impl<'a> Reader<'a> {
    fn new(installed: &'a Installed) -> Self {
        Self {
            installed,
            blocks: &installed.blocks,
            compiled: Compiled::default(),
            actions: BTreeMap::new(),
            ports: Default::default(),
            classes: BTreeMap::new(),
            sources_v4: BTreeMap::new(),
            sources_v6: BTreeMap::new(),
        }
    }

    fn pod(mut self, block: &PodBlock) -> Option<Compiled> {
        self.compiled.root_v4 = self.v4(block.sources_v4, SOURCE_LEVELS)?;
        self.compiled.root_v6 = self.v6(block.sources_v6, SOURCE_LEVELS)?;
        let shared = self.compiled.actions.iter().map(Shared::of);
        self.compiled.shared = shared.fold(Shared::default(), Shared::and);
        Some(self.compiled)
    }

    fn v4(&mut self, at: SourceRef, levels: usize) -> Option<SourceRef> {
        let index = match at.get() {
            Ok(class) => return Some(SourceRef::class(self.class(class)?)),
            Err(index) => index,
        };
        if let Some(position) = self.sources_v4.get(&index) {
            return Some(SourceRef::block(*position));
        }
        let mut block = *self.blocks.sources_v4.get(index)?;
        let levels = levels.checked_sub(1)?;
        for target in &mut block.targets {
            *target = self.v4(*target, levels)?;
        }
        self.compiled.sources_v4.push(block);
        let position = self.compiled.sources_v4.len() as u32 - 1;
        self.sources_v4.insert(index, position);
        Some(SourceRef::block(position))
    }

    fn v6(&mut self, at: SourceRef, levels: usize) -> Option<SourceRef> {
        let index = match at.get() {
            Ok(class) => return Some(SourceRef::class(self.class(class)?)),
            Err(index) => index,
        };
        if let Some(position) = self.sources_v6.get(&index) {
            return Some(SourceRef::block(*position));
        }
        let mut block = *self.blocks.sources_v6.get(index)?;
        let levels = levels.checked_sub(1)?;
        for target in &mut block.targets {
            *target = self.v6(*target, levels)?;
        }
        self.compiled.sources_v6.push(block);
        let position = self.compiled.sources_v6.len() as u32 - 1;
        self.sources_v6.insert(index, position);
        Some(SourceRef::block(position))
    }

    fn class(&mut self, index: u32) -> Option<u32> {
        if let Some(position) = self.classes.get(&index) {
            return Some(*position);
        }
        let class = *self.blocks.classes.get(index)?;
        let class = Class {
            tcp: self.port(class.tcp)?,
            udp: self.port(class.udp)?,
            sctp: self.port(class.sctp)?,
            icmp: self.port(class.icmp)?,
            icmpv6: self.port(class.icmpv6)?,
            portless: self.action(class.portless)?,
            ..class
        };
        self.compiled.classes.push(class);
        let position = self.compiled.classes.len() as u32 - 1;
        self.classes.insert(index, position);
        Some(position)
    }

    fn port(&mut self, at: PortRef) -> Option<PortRef> {
        let target = match at.get() {
            PortTarget::Action(number) => PortTarget::Action(self.action(number)?),
            PortTarget::Leaf(index) => PortTarget::Leaf(self.block(LEAVES, index)?),
            PortTarget::Top(index) => PortTarget::Top(self.block(TOPS, index)?),
            PortTarget::Root(index) => PortTarget::Root(self.block(ROOTS, index)?),
        };
        Some(PortRef::new(target))
    }

    fn block(&mut self, level: usize, index: u16) -> Option<u16> {
        if let Some(position) = self.ports[level].get(&index) {
            return Some(*position);
        }
        let mut block: Ports = *self.blocks.ports.get(u32::from(index))?;
        for target in &mut block.targets {
            *target = match level.checked_sub(1) {
                Some(below) => self.block(below, *target)?,
                None => self.action(*target)?,
            };
        }
        let list = match level {
            LEAVES => &mut self.compiled.leaves,
            TOPS => &mut self.compiled.tops,
            _ => &mut self.compiled.roots,
        };
        list.push(block);
        let position = list.len() as u16 - 1;
        self.ports[level].insert(index, position);
        Some(position)
    }

    fn action(&mut self, number: u16) -> Option<u16> {
        if number == NO_MATCH {
            return Some(NO_MATCH);
        }
        if let Some(position) = self.actions.get(&number) {
            return Some(*position);
        }
        let record = *self.blocks.actions.get(u32::from(number))?;
        let label = Arc::clone(self.installed.rules.get(&record.rule)?);
        self.compiled.rules.push(label);
        self.compiled.actions.push(ActionRecord {
            rule: 0,
            namespace: 0,
            ..record
        });
        let position = self.compiled.actions.len() as u16;
        self.actions.insert(number, position);
        Some(position)
    }
}
