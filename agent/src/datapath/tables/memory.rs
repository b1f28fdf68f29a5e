//! The maps that are mapped into this process.

use std::{io, sync::atomic::AtomicU64};

use xdp_core::tables::{
    ActionRecord, Class, INDEX, MAX_ACTIONS, MAX_CLASSES, MAX_POD_BLOCKS, MAX_PORT_BLOCKS, MAX_RULES,
    MAX_SLOTS, MAX_SOURCES_V4, MAX_SOURCES_V6, PodBlock, Ports, RuleText, SourcesV4, SourcesV6, maps,
};
use xdp_plan::change::Content;

use crate::datapath::{
    error::OpenError,
    kernel::{mmap_array::Region, pins::Pins},
};

/// Words, blocks, and labels of rules.
pub(in crate::datapath) struct Memory {
    pub(in crate::datapath) index: Region<AtomicU64>,
    pub(in crate::datapath) words: Region<AtomicU64>,
    pub(super) pods: Region<PodBlock>,
    pub(super) sources_v4: Region<SourcesV4>,
    pub(super) sources_v6: Region<SourcesV6>,
    pub(super) classes: Region<Class>,
    pub(super) ports: Region<Ports>,
    pub(super) actions: Region<ActionRecord>,
    pub(in crate::datapath) rule_labels: Region<RuleText>,
}

impl Memory {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        Ok(Self {
            index: Region::open(pins, maps::INDEX, INDEX)?,
            words: Region::open(pins, maps::SLOTS, MAX_SLOTS)?,
            pods: Region::open(pins, maps::POD_BLOCKS, MAX_POD_BLOCKS)?,
            sources_v4: Region::open(pins, maps::SOURCES_V4, MAX_SOURCES_V4)?,
            sources_v6: Region::open(pins, maps::SOURCES_V6, MAX_SOURCES_V6)?,
            classes: Region::open(pins, maps::CLASSES, MAX_CLASSES)?,
            ports: Region::open(pins, maps::PORT_BLOCKS, MAX_PORT_BLOCKS)?,
            actions: Region::open(pins, maps::ACTIONS, MAX_ACTIONS)?,
            rule_labels: Region::open(pins, maps::RULE_LABELS, MAX_RULES)?,
        })
    }

    /// Fills a block that no word leads to.
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
