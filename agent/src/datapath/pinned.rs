//! What is pinned, for readers: works without a running agent.

mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::AddAssign,
    os::fd::AsFd,
    path::Path,
    sync::Arc,
};

use aya::maps::{MapError, PerCpuValues};
use xdp_core::{
    tables::{
        Address, Config, Count, EVENTS, FailureKey, INDEX, IndexWord, MAX_NICS, MAX_PROBLEMS, MAX_SLOTS,
        NicEntry, SlotWord, maps,
    },
    verdict,
};
use xdp_plan::{
    change::Change,
    hook::Hook,
    installed::{
        Attachments, Blocks, Installed, PodLabel, {self},
    },
    nics::Stations,
    report::Problem,
};

use crate::datapath::{
    error::OpenError,
    kernel::{
        lock::Lock,
        pins::Pins,
        plain::Plain,
        sys::{
            LinkKind, {self},
        },
    },
    tables::{
        PinnedTables,
        labels::{RuleLabelCache, read_labels},
        {self},
    },
};

/// The pinned tables and links of one pin directory.
pub struct Pinned {
    pub(super) pins: Pins,
    pub(super) tables: PinnedTables,
    pub(super) rule_labels: RuleLabelCache,
}

/// A part of a reading besides words and blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Rules,
    Pods,
    Devices,
    Namespaces,
    Index,
    Addresses,
    Stations,
}

impl Table {
    const fn of(change: &Change) -> Option<Self> {
        match change {
            Change::SetRuleLabel { .. } | Change::ClearRuleLabel { .. } => Some(Self::Rules),
            Change::SetPodLabel { .. } | Change::ClearPodLabel { .. } => Some(Self::Pods),
            Change::SetDevice { .. } | Change::ClearDevice { .. } => Some(Self::Devices),
            Change::SetAnswering { .. } | Change::SetShare { .. } => Some(Self::Namespaces),
            Change::SetIndex { .. } => Some(Self::Index),
            Change::SetAddress { .. } | Change::ClearAddress { .. } => Some(Self::Addresses),
            Change::SetNic { .. } | Change::SetStation { .. } | Change::ClearStation { .. } => {
                Some(Self::Stations)
            }
            _ => None,
        }
    }
}

/// A program of ours on a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicProgram {
    /// Kernel id of the program.
    pub program_id: u32,
    /// The kernel's tag of the program.
    pub program_tag: u64,
}

impl Pinned {
    /// Opens what an agent has installed.
    pub fn open(pin_dir: &Path) -> Result<Self, OpenError> {
        let pins = Pins::new(pin_dir);
        let found = tables::check_shapes(&pins)?;
        if found == 0 {
            return Err(OpenError::NotInstalled {
                path: pin_dir.to_owned(),
            });
        }
        let tables = PinnedTables::open(&pins)?;
        Ok(Self::new(pins, tables))
    }

    pub(super) fn new(pins: Pins, tables: PinnedTables) -> Self {
        Self {
            pins,
            tables,
            rule_labels: RuleLabelCache::default(),
        }
    }

    /// The pin directory.
    pub fn pin_dir(&self) -> &Path {
        self.pins.root()
    }

    /// What the kernel accounts for each map, in bytes.
    pub fn memory(&self) -> Result<BTreeMap<&'static str, u64>, OpenError> {
        tables::memory(&self.pins)
    }

    /// Whether an agent works in this directory right now.
    pub fn agent_running(&self) -> Result<bool, OpenError> {
        Lock::is_taken(self.pins.root())
    }

    /// Reads the tables. What is torn or makes no sense counts as absent. Attachments are read by
    /// [`crate::datapath::Datapath::attachments`].
    pub fn installed(&self) -> Result<Installed, OpenError> {
        Ok(Installed {
            rules: self.rule_labels(),
            ..self.installed_without_rules()?
        })
    }

    /// Reads the tables without the labels of rules, which can be tens of thousands.
    pub fn installed_without_rules(&self) -> Result<Installed, OpenError> {
        let words = self.words();
        Ok(Installed {
            index: self.index(),
            addresses: self.addresses()?,
            blocks: Blocks::read(&words, &self.tables),
            words,
            devices: self.devices()?,
            pods: self.pod_labels()?,
            rules: installed::RuleLabels::default(),
            shares: self.shares(),
            answering: self.answering(),
            stations: self.stations()?,
            attachments: Attachments::default(),
        })
    }

    /// What the tables hold after these changes of what `before` holds: what they did not touch is as it was
    /// read.
    pub fn installed_after(&self, before: &Installed, changes: &[Change]) -> Result<Installed, OpenError> {
        let words = self.words();
        let mut installed = Installed {
            index: before.index.clone(),
            addresses: before.addresses.clone(),
            blocks: Blocks::read(&words, &self.tables),
            words,
            devices: before.devices.clone(),
            pods: before.pods.clone(),
            rules: Arc::clone(&before.rules),
            shares: before.shares.clone(),
            answering: before.answering,
            stations: before.stations.clone(),
            attachments: before.attachments.clone(),
        };
        let touched: BTreeSet<Table> = changes.iter().filter_map(Table::of).collect();
        for table in touched {
            match table {
                Table::Rules => installed.rules = self.rule_labels(),
                Table::Pods => installed.pods = self.pod_labels()?,
                Table::Devices => installed.devices = self.devices()?,
                Table::Namespaces => {
                    installed.shares = self.shares();
                    installed.answering = self.answering();
                }
                Table::Index => installed.index = self.index(),
                Table::Addresses => installed.addresses = self.addresses()?,
                Table::Stations => installed.stations = self.stations()?,
            }
        }
        Ok(installed)
    }

    /// The tables as the program sees them, read as they are asked.
    pub fn live(&self) -> &impl verdict::RuleTables {
        &self.tables
    }

    /// NICs that the programs know, with their addresses.
    pub fn known_nics(&self) -> Vec<NicEntry> {
        let nics = (0..MAX_NICS).filter_map(|position| self.tables.memory.nics.get(position).copied());
        nics.filter(|nic| *nic != NicEntry::default()).collect()
    }

    /// Slots that carry a label.
    pub fn pod_labels(&self) -> Result<BTreeMap<u32, PodLabel>, OpenError> {
        read_labels(MAX_SLOTS, |slot| self.tables.pod_labels.get(&slot, 0))
            .map_err(OpenError::table(maps::POD_LABELS))
    }

    /// Configuration of the programs: facts about the machine, and the settings of the administrator.
    pub fn config(&self) -> Result<Config, OpenError> {
        let config = self.tables.config.get(&0, 0);
        config
            .map(|Plain(config)| config)
            .map_err(OpenError::table(maps::CONFIG))
    }

    /// What the agent could not do.
    pub fn problems(&self) -> Result<Vec<Problem>, OpenError> {
        let labels = read_labels(MAX_PROBLEMS, |index| self.tables.problems.get(&index, 0))
            .map_err(OpenError::table(maps::PROBLEMS))?;
        Ok(labels.into_values().collect())
    }

    /// Packets by event code, without those that never happened.
    pub fn events(&self) -> Result<BTreeMap<u32, Count>, OpenError> {
        let mut events = BTreeMap::new();
        for code in 0..EVENTS {
            let values = self
                .tables
                .events
                .get(&code, 0)
                .map_err(OpenError::table(maps::EVENTS))?;
            let count = total(&values);
            if count != Count::default() {
                events.insert(code, count);
            }
        }
        Ok(events)
    }

    /// Packets by failure.
    pub fn failures(&self) -> Result<BTreeMap<FailureKey, u64>, OpenError> {
        let mut failures = BTreeMap::new();
        for key in self.tables.failures.keys() {
            let key = key.map_err(OpenError::table(maps::FAILURES))?;
            match self.tables.failures.get(&key, 0) {
                Ok(packets) => drop(failures.insert(key.0, packets)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(OpenError::table(maps::FAILURES)(error)),
            }
        }
        Ok(failures)
    }

    /// Interfaces with an XDP program of ours, by interface index in the host's namespace.
    pub fn nics(&self) -> Result<BTreeMap<u32, NicProgram>, OpenError> {
        let numbers = self
            .pins
            .links_of(Hook::Nic)
            .map_err(|error| OpenError::pin("list", &self.pins.abi(), error))?;
        let alive = |ifindex| Some((ifindex, self.nic(ifindex).ok()??));
        Ok(numbers.into_iter().filter_map(alive).collect())
    }

    /// The program of ours on one interface.
    pub fn nic(&self, ifindex: u32) -> io::Result<Option<NicProgram>> {
        let link = match sys::open_pin(&self.pins.link(Hook::Nic, ifindex)) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let info = sys::link_info(&link)?;
        if info.kind != (LinkKind::Xdp { ifindex }) {
            return Ok(None);
        }
        let program = sys::program_info(sys::program_by_id(info.program_id)?.as_fd())?;
        Ok(Some(NicProgram {
            program_id: program.id,
            program_tag: program.tag,
        }))
    }

    /// The kernel's tag of any loaded program.
    pub fn program_tag(&self, program_id: u32) -> Option<u64> {
        let program = sys::program_by_id(program_id).ok()?;
        Some(sys::program_info(program.as_fd()).ok()?.tag)
    }

    /// Host ends of pairs whose pod end had GRO off before the agent switched it on.
    pub fn gro_switched(&self) -> Result<BTreeSet<u32>, OpenError> {
        let numbers = self
            .pins
            .gros()
            .map_err(|error| OpenError::pin("list", &self.pins.abi(), error))?;
        Ok(numbers.into_iter().collect())
    }

    fn words(&self) -> BTreeMap<u32, SlotWord> {
        (0..MAX_SLOTS)
            .filter_map(|slot| Some((slot, SlotWord(self.tables.memory.words.load(slot)?))))
            .filter(|(_, word)| *word != SlotWord::EMPTY)
            .collect()
    }

    fn index(&self) -> BTreeMap<u32, IndexWord> {
        (0..INDEX)
            .filter_map(|position| Some((position, IndexWord(self.tables.memory.index.load(position)?))))
            .filter(|(_, word)| *word != IndexWord::EMPTY)
            .collect()
    }

    fn addresses(&self) -> Result<BTreeMap<Address, u32>, OpenError> {
        let mut addresses = BTreeMap::new();
        for key in self.tables.pods.keys() {
            let key = key.map_err(OpenError::table(maps::PODS))?;
            match self.tables.pods.get(&key, 0) {
                Ok(slot) => drop(addresses.insert(key.0, slot)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(OpenError::table(maps::PODS)(error)),
            }
        }
        Ok(addresses)
    }

    fn stations(&self) -> Result<Stations, OpenError> {
        let nics =
            (0..MAX_NICS).filter_map(|position| Some((position, *self.tables.memory.nics.get(position)?)));
        let mut stations = BTreeMap::new();
        for entry in &self.tables.stations {
            let (Plain(station), Plain(receiver)) = entry.map_err(OpenError::table(maps::STATIONS))?;
            stations.insert(station, receiver);
        }
        Ok(Stations {
            nics: nics.filter(|(_, nic)| *nic != NicEntry::default()).collect(),
            stations,
        })
    }

    fn devices(&self) -> Result<BTreeMap<u32, u32>, OpenError> {
        let mut devices = BTreeMap::new();
        for slot in 0..MAX_SLOTS {
            match self.tables.devices.get(slot, 0) {
                Ok(device) => drop(devices.insert(slot, device.if_index)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(OpenError::table(maps::DEVICES)(error)),
            }
        }
        Ok(devices)
    }
}

pub(super) fn total(values: &PerCpuValues<Plain<Count>>) -> Count {
    let mut sum = Count::default();
    for Plain(value) in values.iter() {
        add(&mut sum, *value);
    }
    sum
}

fn add(sum: &mut Count, value: Count) {
    sum.packets.add_assign(value.packets);
    sum.bytes.add_assign(value.bytes);
}
