//! Checks whether a pod's desired tables are programmed. It compares them with the installed tables,
//! independently of [`crate::diff`].

mod walk;

use std::collections::BTreeMap;

pub(crate) use walk::holds;
use xdp_core::tables::{ActionRecord, Address, PodBlock};

use crate::{
    compile::address,
    desired::DesiredPod,
    diff::{Differ, Trees},
    facts::{NotReady, Readiness},
    installed::{Installed, Numbers, SlotIdentity},
};

/// An installed state, indexed by pod.
pub struct Programmed<'a> {
    installed: &'a Installed,
    slots: BTreeMap<&'a SlotIdentity, u32>,
    addresses: BTreeMap<u32, Vec<Address>>,
    namespaces: Numbers<'a>,
    trees: Option<&'a Trees>,
}

impl<'a> Programmed<'a> {
    /// Indexes an installed state.
    pub fn new(installed: &'a Installed) -> Self {
        let slots = installed
            .pods
            .iter()
            .map(|(slot, label)| (&label.identity, *slot));
        let mut addresses = BTreeMap::<_, Vec<Address>>::new();
        for (address, slot) in installed.leading() {
            addresses.entry(slot).or_default().push(address);
        }
        for list in addresses.values_mut() {
            list.sort_unstable();
        }
        Self {
            installed,
            slots: slots.collect(),
            addresses,
            namespaces: Numbers::new(installed),
            trees: None,
        }
    }

    /// Uses the results of `differ`, if it compared this state last.
    #[must_use]
    pub fn with_differ(mut self, differ: &'a Differ) -> Self {
        self.trees = differ.trees_of(self.installed);
        self
    }

    /// Returns whether the pod is programmed: exactly its addresses have its slot, and the slot has its
    /// device and blocks that match its rules, with the rules' labels. Its namespace has its share.
    pub fn holds(&self, pod: &DesiredPod) -> bool {
        let Some(slot) = self.slots.get(&pod.identity) else {
            return false;
        };
        let Installed { words, blocks, .. } = self.installed;
        let block = words.get(slot).and_then(|word| word.block());
        let block = block.and_then(|index| blocks.pods.get(index));
        self.installed.devices.get(slot) == Some(&pod.identity.ifindex)
            && self.has_share(pod)
            && self.leads(*slot, pod)
            && block.is_some_and(|block| self.is_block_of(block, pod))
    }

    fn leads(&self, slot: u32, pod: &DesiredPod) -> bool {
        let mut wanted: Vec<Address> = pod.addresses.iter().copied().map(address).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.addresses.get(&slot).map_or(&[][..], Vec::as_slice) == wanted
    }

    fn has_share(&self, pod: &DesiredPod) -> bool {
        let shares = &self.installed.shares;
        let share = || shares.get(&self.number(pod)?).copied();
        !pod.rules.shared.sources || share().is_some_and(|share| share.sets() > 0)
    }

    fn number(&self, pod: &DesiredPod) -> Option<u16> {
        self.namespaces.of.get(pod.identity.namespace.as_str()).copied()
    }

    fn is_block_of(&self, block: &PodBlock, pod: &DesiredPod) -> bool {
        let Installed { blocks, rules, .. } = self.installed;
        let namespace = self.number(pod).unwrap_or_default();
        let has_label = |rule: usize, record: &ActionRecord| {
            rules.get(&record.rule) == Some(&pod.rules.rules[rule])
                && record.namespace == if record.shares() { namespace } else { 0 }
        };
        let known = self.trees.is_some_and(|trees| trees.have(block, &pod.rules));
        is_head_of(block, pod) && (known || holds(blocks, block, &pod.rules, has_label))
    }
}

/// Returns whether the block's fields about the pod's interface are the desired ones.
pub(crate) fn is_head_of(block: &PodBlock, pod: &DesiredPod) -> bool {
    *block
        == PodBlock {
            sources_v4: block.sources_v4,
            sources_v6: block.sources_v6,
            ..head(pod)
        }
}

/// Builds a pod's block without rules.
pub(crate) fn head(pod: &DesiredPod) -> PodBlock {
    let flag = |set: bool, flag| if set { flag } else { 0 };
    PodBlock {
        mtu: pod.mtu,
        mac: pod.identity.mac,
        flags: flag(pod.readiness.obstacle().is_some(), PodBlock::NOT_READY)
            | flag(pod.peer.obstacle().is_some(), PodBlock::NO_PEER)
            | flag(pod.reply_path == Readiness::Ready, PodBlock::REPLY_PATH)
            | flag(pod.draining, PodBlock::DRAIN)
            | flag(
                pod.readiness.obstacle() == Some(NotReady::AddressInDoubt),
                PodBlock::ADDRESS_IN_DOUBT,
            )
            | flag(pod.not_permitted, PodBlock::WITHOUT_PERMISSION),
        host: pod.identity.ifindex,
        ..PodBlock::default()
    }
}
