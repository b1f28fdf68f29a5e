//! Emulated ConnectX: registers, command interface, objects.
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use crate::card::{
    bits::set,
    completion::Syndrome,
    counters::{Counters, QueueCounters},
    findings::{Finding, Findings},
    layout,
    memory::GuestMemory,
    mkey::MemoryKey,
    profile::Profile,
    queues::{Cq, Eq},
    receive::ReceiveQueue,
    rss::Tir,
    send::SendQueue,
    steering::{FlowCounter, FlowTable},
    vfio_user::Irqs,
    work_queue::READY,
};

pub(crate) const BAR_SIZE: usize = 16 << 20;
pub(crate) const NVEC: usize = 32;
pub(crate) const UAR_FIRST: u32 = 16;

pub(crate) struct Device {
    pub(crate) memory: GuestMemory,
    pub(crate) irq: Irqs,
    pub(crate) profile: Profile,
    pub(crate) counters: Counters,
    cfg: Vec<u8>,
    pub(crate) cmdq: u64,
    pub(crate) nic_state: u32,
    pub(crate) t0: Instant,
    pub(crate) fatal: bool,
    pub(crate) hang: Option<u32>,
    pub(crate) findings: Findings,
    pub(crate) fail: HashMap<u16, (u8, u32)>,
    pub(crate) fw_pages: Vec<u64>,
    pub(crate) next: HashMap<&'static str, u32>,
    pub(crate) cur_caps: HashMap<u16, Vec<u8>>,
    pub(crate) vport_ctx: Vec<u8>,
    pub(crate) vport_uc: Vec<u8>,
    pub(crate) vport_mc: Vec<u8>,
    pub(crate) vport_vlan: Vec<u8>,
    pub(crate) cqs: HashMap<u32, Cq>,
    pub(crate) eqs: BTreeMap<u32, Eq>,
    pub(crate) sqs: BTreeMap<u32, SendQueue>,
    pub(crate) rqs: BTreeMap<u32, ReceiveQueue>,
    pub(crate) tirs: BTreeMap<u32, Tir>,
    pub(crate) rqts: BTreeMap<u32, Vec<u32>>,
    pub(crate) mkeys: BTreeMap<u32, MemoryKey>,
    pub(crate) flow_tables: BTreeMap<u32, FlowTable>,
    pub(crate) root_tables: BTreeMap<u8, u32>,
    pub(crate) queue_counters: BTreeMap<u32, u32>,
    pub(crate) flow_counters: BTreeMap<u32, FlowCounter>,
    pub(crate) admin_up: bool,
    pub(crate) phys_up: bool,
    pub(crate) mtu: u16,
    pub(crate) sent: Vec<Vec<u8>>,
}

impl Device {
    pub(crate) fn new(profile: Profile) -> Device {
        let mut d = Device {
            memory: GuestMemory::default(),
            irq: Irqs::new(NVEC),
            counters: Counters::default(),
            cfg: vec![0; 4096],
            cmdq: 0,
            nic_state: 0,
            fatal: false,
            hang: None,
            fail: HashMap::new(),
            fw_pages: vec![],
            t0: Instant::now(),
            next: HashMap::new(),
            cur_caps: HashMap::new(),
            vport_ctx: vec![0; layout::nic_vport_context::SIZE],
            vport_uc: vec![],
            vport_mc: vec![],
            vport_vlan: vec![],
            cqs: HashMap::new(),
            eqs: BTreeMap::new(),
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
            phys_up: true,
            mtu: 1522,
            sent: vec![],
            profile,
            findings: Findings::default(),
        };
        d.reset();
        d
    }

    pub(crate) fn reset(&mut self) {
        let c = &mut self.cfg;
        c.fill(0);
        c[0..2].copy_from_slice(&0x15b3u16.to_le_bytes());
        c[2..4].copy_from_slice(&self.profile.device_id.to_le_bytes());
        c[6] = 0x10; // capability list
        c[0xb] = 2;
        c[0xa] = 0; // Ethernet controller
        c[0x10] = 0x0c; // BAR0: 64 bit, prefetchable
        c[0x2c..0x2e].copy_from_slice(&0x15b3u16.to_le_bytes());
        c[0x2e..0x30].copy_from_slice(&0x0016u16.to_le_bytes());
        c[0x34] = 0x60;
        c[0x3d] = 1;
        // PCI Express endpoint
        c[0x60] = 0x10;
        c[0x61] = 0x9c;
        c[0x62] = 0x02;
        c[0x64..0x68].copy_from_slice(&0x10008fe2u32.to_le_bytes()); // FLR capable
        c[0x6c..0x70].copy_from_slice(&0x00000104u32.to_le_bytes()); // x16, 16 GT/s
        c[0x72..0x74].copy_from_slice(&0x1104u16.to_le_bytes());
        c[0x8c..0x90].copy_from_slice(&0x1eu32.to_le_bytes()); // speeds the link can take
        // MSI-X, table BAR0+0x2000, PBA BAR0+0x3000
        c[0x9c] = 0x11;
        c[0x9d] = 0;
        c[0x9e..0xa0].copy_from_slice(&((NVEC as u16) - 1).to_le_bytes());
        c[0xa0..0xa4].copy_from_slice(&0x2000u32.to_le_bytes());
        c[0xa4..0xa8].copy_from_slice(&0x3000u32.to_le_bytes());
        self.sw_reset();
    }
    pub(crate) fn sw_reset(&mut self) {
        self.cqs.clear();
        self.eqs.clear();
        self.sqs.clear();
        self.rqs.clear();
        self.tirs.clear();
        self.rqts.clear();
        self.mkeys.clear();
        self.flow_tables.clear();
        self.root_tables.clear();
        self.queue_counters.clear();
        self.cur_caps.clear();
        self.admin_up = false;
        self.mtu = 1522;
        self.vport_ctx = vec![0; layout::nic_vport_context::SIZE];
        let m = self.profile.mac;
        let pa = layout::nic_vport_context::PERMANENT_ADDRESS.byte();
        self.vport_ctx[pa + 2..pa + 8].copy_from_slice(&m);
        set(&mut self.vport_ctx, layout::nic_vport_context::MTU, 1500);
        let guid = u64::from_be_bytes([m[0], m[1], m[2], 0, 0, m[3], m[4], m[5]]);
        set(
            &mut self.vport_ctx,
            layout::nic_vport_context::SYSTEM_IMAGE_GUID,
            guid,
        );
        set(&mut self.vport_ctx, layout::nic_vport_context::NODE_GUID, guid);
        set(&mut self.vport_ctx, layout::nic_vport_context::PORT_GUID, guid);
    }
    pub(crate) fn now(&self) -> u64 {
        (self.t0.elapsed().as_nanos() as u64) * 156_250 / 1_000_000
    }

    pub(crate) fn cfg_read(&mut self, off: usize, d: &mut [u8]) {
        for (i, b) in d.iter_mut().enumerate() {
            *b = *self.cfg.get(off + i).unwrap_or(&0);
        }
    }
    pub(crate) fn cfg_write(&mut self, off: usize, d: &[u8]) {
        for (i, b) in d.iter().enumerate() {
            let o = off + i;
            if matches!(o, 0x04..=0x05 | 0x0c | 0x11..=0x17 | 0x3c | 0x68..=0x69 | 0x70..=0x71 | 0x9e..=0x9f)
            {
                self.cfg[o] = *b;
            }
        }
    }

    pub(crate) fn iseg(&self, off: usize) -> u32 {
        match off {
            0x0 => (35 << 16) | 22, // fw_rev: minor<<16 | major
            0x4 => (5 << 16) | 1012,
            0x10 => (self.cmdq >> 32) as u32,
            0x14 => (self.cmdq as u32 & !0xfff) | (self.nic_state << 8) | (5 << 4) | 6, // 32 entries of 64 bytes
            0x1fc => 1 << 30,                   // initialized; firmware reset supported
            0x238 => (self.fatal as u32) << 31, // health buffer: request for reset
            0x23c => (self.fatal as u32) << 16, // syndrome 1: firmware assert
            0x1000 => (self.now() >> 32) as u32,
            0x1004 => self.now() as u32,
            0x1010 => self.hang.unwrap_or_else(|| self.health()),
            _ => 0,
        }
    }
    pub(crate) fn bar_read(&mut self, off: usize, d: &mut [u8]) {
        if off < 0x2000 {
            for (i, b) in d.iter_mut().enumerate() {
                let o = off + i;
                *b = self.iseg(o & !3).to_be_bytes()[o & 3];
            }
        }
    }
    pub(crate) fn bar_write(&mut self, off: usize, d: &[u8]) {
        let w = |o: usize| {
            d.get(o..o + 4)
                .map(|x| u32::from_be_bytes(x.try_into().unwrap()))
                .unwrap_or(0)
        };
        if off >= (UAR_FIRST as usize) << 12 {
            match off & 0xfff {
                0x20 if d.len() == 8 => self.cq_arm(w(4) & 0xffffff, w(0)),
                0x40 | 0x48 => self.eq_db(w(0) >> 24, w(0) & 0xffffff, off & 0xfff == 0x40),
                x if x >= 0x800 && d.len() == 8 && x % 0x100 == 0 => {
                    let sqn = w(4) >> 8;
                    self.run_send_queue(sqn);
                }
                _ => self.findings.push(Finding::UnhandledWrite { offset: off as u64 }),
            }
            return;
        }
        match off {
            0x10 => self.cmdq = (self.cmdq & 0xffff_ffff) | ((w(0) as u64) << 32),
            0x14 => {
                self.cmdq = (self.cmdq & !0xffff_ffff) | (w(0) as u64 & !0xfff);
                self.nic_state = (w(0) >> 8) & 7;
                if self.nic_state == 7 {
                    self.sw_reset();
                    self.fw_pages.clear();
                    self.fatal = false;
                    self.hang = None;
                    self.nic_state = 1;
                }
            }
            0x18 => {
                let v = w(0);
                for i in 0..32 {
                    if v & (1 << i) != 0 {
                        self.command(i);
                    }
                }
            }
            _ => self.findings.push(Finding::UnhandledWrite { offset: off as u64 }),
        }
    }

    pub(crate) fn link_event(&mut self) {
        let up = self.link_up();
        let mut d = [0u8; 28];
        d[8] = 1 << 4;
        if let Some(e) = self.eq_for(9) {
            self.push_eqe(e, 9, if up { 4 } else { 1 }, &d);
        }
    }
    /// Puts a receive queue into error: its next completion says so.
    pub(crate) fn receive_queue_error(&mut self) -> bool {
        let mut queues = self.rqs.iter_mut().rev();
        let Some((number, queue)) = queues.find(|(_, queue)| queue.state == READY && queue.frames > 0) else {
            return false;
        };
        let completion = queue.fail(*number, Syndrome::LocalProtection);
        self.complete([completion]);
        true
    }
    pub(crate) fn set_link(&mut self, up: bool) {
        if self.phys_up != up {
            self.phys_up = up;
            self.link_event();
        }
    }
    pub(crate) fn hang(&mut self) {
        self.hang = Some(self.health());
    }
    pub(crate) fn health(&self) -> u32 {
        (self.t0.elapsed().as_millis() / 10) as u32 & 0xff_ffff
    }
    /// The client is gone: so are its memory and its interrupts.
    pub(crate) fn unplug(&mut self) {
        self.irq = Irqs::new(NVEC);
        self.memory.clear();
        self.sw_reset();
    }
    pub(crate) fn counters(&self) -> Counters {
        let mut queues: Vec<_> = self
            .rqs
            .iter()
            .map(|(number, rq)| QueueCounters {
                number: *number,
                striding: rq.striding(),
                frames: rq.frames,
                out_of_buffer: rq.out_of_buffer,
            })
            .collect();
        queues.sort_by_key(|queue| queue.number);
        Counters {
            queues,
            ..self.counters.clone()
        }
    }
    pub(crate) fn findings(&self) -> Vec<Finding> {
        [self.findings.all(), self.memory.faults.clone()].concat()
    }
    pub(crate) fn link_up(&self) -> bool {
        self.admin_up && self.phys_up
    }
}
