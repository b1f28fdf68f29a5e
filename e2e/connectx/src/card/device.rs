//! The card's state: objects that the driver created, registers, the port.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::card::{
    commands::{Kind, Vport},
    configuration::Configuration,
    counters::{CardCounters, QueueCounters},
    findings::{Finding, Findings},
    interrupts::Interrupts,
    memory::GuestMemory,
    mkey::MemoryKey,
    profile::Profile,
    queues::{CompletionQueue, Event, EventQueue},
    receive::ReceiveQueue,
    registers::DISABLED,
    rss::Tir,
    send::SendQueue,
    steering::{FlowCounter, FlowTable},
};

/// The size of BAR 0, of a UAR page in it, and the first page after the initialization segment.
pub(crate) const BAR_SIZE: u64 = 16 << 20;
pub(crate) const UAR_PAGE: u64 = 4096;
pub(crate) const FIRST_UAR: u32 = 16;

/// The port's MTU after a reset: 1500 bytes, a header, a VLAN tag and the checksum.
const MTU: u16 = 1522;
/// Subtypes of a port event (`MLX5_PORT_CHANGE_SUBTYPE_*`), and where its port number is.
const PORT_DOWN: u8 = 1;
const PORT_ACTIVE: u8 = 4;
const PORT_NUMBER: usize = 8;
const PORT: u8 = 1 << 4;
/// The health counter moves this often; the driver looks every two seconds.
const HEALTH_MILLISECONDS: u128 = 10;

/// The card.
pub(crate) struct Device {
    pub(crate) profile: Profile,
    pub(crate) memory: GuestMemory,
    pub(crate) interrupts: Interrupts,
    pub(crate) configuration: Configuration,
    pub(crate) counters: CardCounters,
    pub(crate) findings: Findings,
    clock: Instant,

    /// The address of the command queue.
    pub(crate) command_queue: u64,
    /// The state of the interface in the initialization segment.
    pub(crate) interface: u32,
    /// Whether the firmware asks for a reset.
    pub(crate) fatal: bool,
    /// The health counter of a firmware that hangs.
    frozen: Option<u32>,
    /// Commands that fail because a test asked for it: status, and how often.
    pub(crate) failing: BTreeMap<u16, (u8, u32)>,
    /// Pages that the driver gave to the firmware.
    pub(crate) pages: BTreeSet<u64>,
    /// Capabilities that the driver set, by group.
    pub(crate) capabilities: BTreeMap<u16, Vec<u8>>,
    pub(crate) vport: Vport,
    pub(crate) resources: BTreeSet<(Kind, u32)>,
    /// The next number of an object; numbers are not used twice, so that late use is found.
    next: BTreeMap<&'static str, u32>,

    pub(crate) eqs: BTreeMap<u32, EventQueue>,
    pub(crate) cqs: BTreeMap<u32, CompletionQueue>,
    pub(crate) sqs: BTreeMap<u32, SendQueue>,
    pub(crate) rqs: BTreeMap<u32, ReceiveQueue>,
    pub(crate) tirs: BTreeMap<u32, Tir>,
    pub(crate) rqts: BTreeMap<u32, Vec<u32>>,
    pub(crate) mkeys: BTreeMap<u32, MemoryKey>,
    pub(crate) flow_tables: BTreeMap<u32, FlowTable>,
    pub(crate) root_tables: BTreeMap<u8, u32>,
    pub(crate) queue_counters: BTreeMap<u32, u32>,
    pub(crate) flow_counters: BTreeMap<u32, FlowCounter>,

    /// Whether the driver has the port up.
    pub(crate) admin_up: bool,
    /// Whether the cable is plugged in.
    cable: bool,
    /// How often the link went down.
    pub(crate) link_downs: u64,
    /// The longest frame of the port, with its checksum.
    pub(crate) mtu: u16,
    /// Frames that leave the port.
    pub(crate) sent: Vec<Vec<u8>>,
}

impl Device {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            memory: GuestMemory::default(),
            interrupts: Interrupts::default(),
            configuration: Configuration::new(&profile),
            counters: CardCounters::default(),
            findings: Findings::default(),
            clock: Instant::now(),
            command_queue: 0,
            interface: 0,
            fatal: false,
            frozen: None,
            failing: BTreeMap::new(),
            pages: BTreeSet::new(),
            capabilities: BTreeMap::new(),
            vport: Vport::new(profile.mac),
            resources: BTreeSet::new(),
            next: BTreeMap::new(),
            eqs: BTreeMap::new(),
            cqs: BTreeMap::new(),
            sqs: BTreeMap::new(),
            rqs: BTreeMap::new(),
            tirs: BTreeMap::new(),
            rqts: BTreeMap::new(),
            mkeys: BTreeMap::new(),
            flow_tables: BTreeMap::new(),
            root_tables: BTreeMap::new(),
            queue_counters: BTreeMap::new(),
            flow_counters: BTreeMap::new(),
            admin_up: false,
            cable: true,
            link_downs: 0,
            mtu: MTU,
            sent: Vec::new(),
            profile,
        }
    }

    /// A reset of the PCI function.
    pub(crate) fn reset(&mut self) {
        self.configuration = Configuration::new(&self.profile);
        self.interface = 0;
        self.restart();
    }

    /// The firmware starts again, after a reset by software.
    pub(crate) fn restart(&mut self) {
        self.forget_objects();
        self.pages.clear();
        self.fatal = false;
        self.frozen = None;
    }

    /// Forgets what the driver created and set.
    pub(crate) fn forget_objects(&mut self) {
        self.capabilities.clear();
        self.vport = Vport::new(self.profile.mac);
        self.resources.clear();
        self.eqs.clear();
        self.cqs.clear();
        self.sqs.clear();
        self.rqs.clear();
        self.tirs.clear();
        self.rqts.clear();
        self.mkeys.clear();
        self.flow_tables.clear();
        self.root_tables.clear();
        self.queue_counters.clear();
        self.flow_counters.clear();
        self.admin_up = false;
        self.mtu = MTU;
    }

    /// The client is gone: so are its memory and its interrupts.
    pub(crate) fn unplug(&mut self) {
        self.reset();
        self.interrupts.clear();
        self.memory.clear();
    }

    /// Returns a new number for an object.
    pub(crate) fn id(&mut self, kind: &'static str, first: u32) -> u32 {
        let next = self.next.entry(kind).or_insert(first);
        *next += 1;
        *next - 1
    }

    /// Returns the card's clock, which runs freely from its insertion on, in its own ticks.
    pub(crate) fn now(&self) -> u64 {
        (self.clock.elapsed().as_nanos() * u128::from(self.profile.clock_khz) / 1_000_000) as u64
    }

    /// Returns the health counter: a sign of life of the firmware.
    pub(crate) fn health(&self) -> u32 {
        self.frozen
            .unwrap_or_else(|| (self.clock.elapsed().as_millis() / HEALTH_MILLISECONDS) as u32 & 0xff_ffff)
    }

    /// The firmware asks for a reset.
    ///
    /// The driver of a virtual function cannot reset it: the one of the physical function has just done so.
    pub(crate) fn fatal_error(&mut self) {
        self.fatal = true;
        if self.profile.virtual_function {
            self.forget_objects();
            self.interface = DISABLED;
        }
    }

    /// The firmware hangs until it is reset.
    pub(crate) fn hang(&mut self) {
        self.frozen = Some(self.health());
    }

    /// Returns whether the driver lets the card access memory, and the machine still has it.
    pub(crate) fn can_access_memory(&self) -> bool {
        self.configuration.is_bus_master() && self.memory.is_present()
    }

    pub(crate) fn link_up(&self) -> bool {
        self.admin_up && self.cable
    }

    /// Plugs the cable in or out.
    pub(crate) fn set_link(&mut self, up: bool) {
        if std::mem::replace(&mut self.cable, up) != up {
            self.link_event();
        }
    }

    /// Tells the driver about the link.
    pub(crate) fn link_event(&mut self) {
        let mut data = [0; 28];
        data[PORT_NUMBER] = PORT;
        let up = self.link_up();
        self.link_downs += u64::from(!up);
        let subtype = if up { PORT_ACTIVE } else { PORT_DOWN };
        if let Some(queue) = self.event_queue_for(Event::Port) {
            self.push_event(queue, Event::Port, subtype, &data);
        }
    }

    pub(crate) fn counters(&self) -> CardCounters {
        let queues = self
            .rqs
            .iter()
            .map(|(number, rq)| QueueCounters {
                number: *number,
                striding: rq.striding(),
                frames: rq.frames,
                out_of_buffer: rq.out_of_buffer,
            })
            .collect();
        CardCounters {
            queues,
            ..self.counters.clone()
        }
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        [self.findings.all(), self.memory.faults.clone()].concat()
    }
}

#[cfg(test)]
mod tests;
