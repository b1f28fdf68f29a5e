//! The tables that are mapped into this process.

use std::{io, sync::atomic::AtomicU64};

use xdp_core::tables::{
    ActionRecord, Class, INDEX, MAX_ACTIONS, MAX_CLASSES, MAX_NAMESPACES, MAX_NICS, MAX_POD_BLOCKS,
    MAX_PORT_BLOCKS, MAX_RULES, MAX_SLOTS, MAX_SOURCES_V4, MAX_SOURCES_V6, NicEntry, PodBlock, Ports,
    RuleText, SourcesV4, SourcesV6, maps,
};
use xdp_plan::change::Content;

use crate::datapath::{
    error::OpenError,
    kernel::{mmap_array::MmapArray, pins::Pins},
};

/// The mapped tables: words, blocks, and labels of rules.
pub(in crate::datapath) struct MappedTables {
    pub(in crate::datapath) index: MmapArray<AtomicU64>,
    pub(in crate::datapath) words: MmapArray<AtomicU64>,
    pub(in crate::datapath) namespaces: MmapArray<AtomicU64>,
    pub(super) pods: MmapArray<PodBlock>,
    pub(super) sources_v4: MmapArray<SourcesV4>,
    pub(super) sources_v6: MmapArray<SourcesV6>,
    pub(super) classes: MmapArray<Class>,
    pub(super) ports: MmapArray<Ports>,
    pub(super) actions: MmapArray<ActionRecord>,
    pub(in crate::datapath) nics: MmapArray<NicEntry>,
    pub(in crate::datapath) rule_labels: MmapArray<RuleText>,
}

impl MappedTables {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        Ok(Self {
            index: MmapArray::open(pins, maps::INDEX, INDEX)?,
            words: MmapArray::open(pins, maps::SLOTS, MAX_SLOTS)?,
            namespaces: MmapArray::open(pins, maps::NAMESPACES, MAX_NAMESPACES)?,
            pods: MmapArray::open(pins, maps::POD_BLOCKS, MAX_POD_BLOCKS)?,
            sources_v4: MmapArray::open(pins, maps::SOURCES_V4, MAX_SOURCES_V4)?,
            sources_v6: MmapArray::open(pins, maps::SOURCES_V6, MAX_SOURCES_V6)?,
            classes: MmapArray::open(pins, maps::CLASSES, MAX_CLASSES)?,
            ports: MmapArray::open(pins, maps::PORT_BLOCKS, MAX_PORT_BLOCKS)?,
            actions: MmapArray::open(pins, maps::ACTIONS, MAX_ACTIONS)?,
            nics: MmapArray::open(pins, maps::NICS, MAX_NICS)?,
            rule_labels: MmapArray::open(pins, maps::RULE_LABELS, MAX_RULES)?,
        })
    }

    /// Writes a block. No word may lead to it yet.
    pub(in crate::datapath) fn write(&mut self, index: u32, content: &Content) -> io::Result<()> {
        match content {
            Content::Pod(pod) => self.pods.set(index, pod),
            Content::SourcesV4(sources) => self.sources_v4.set(index, sources),
            Content::SourcesV6(sources) => self.sources_v6.set(index, sources),
            Content::Class(class) => self.classes.set(index, class),
            Content::Ports(ports) => self.ports.set(index, ports),
            Content::Action(action) => self.actions.set(index, action),
        }
    }
}
