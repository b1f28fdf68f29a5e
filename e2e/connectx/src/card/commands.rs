//! The command queue and the commands.

mod access_register;
mod capabilities;
use crate::card::bits::{Field, get, get_at, set, set_at};
use crate::card::device::{BAR_SIZE, Device, UAR_FIRST};
use crate::card::findings::Finding;
use crate::card::layout;
use crate::card::mkey::MemoryKey;
use crate::card::queues::{Cq, Eq, Pages};
use crate::card::receive::ReceiveQueue;
use crate::card::rss::{Target, Tir};
use crate::card::send::SendQueue;
use crate::card::steering::{Destination, FlowCounter, FlowEntry, FlowGroup, FlowTable};

/// The syndrome of a failure that the test asked for.
const INJECTED: usize = 0xfa11;

impl Device {
    fn mbox(&mut self, mut ptr: u64, len: usize) -> (Vec<u8>, Vec<u64>) {
        let (mut v, mut blocks) = (Vec::with_capacity(len), vec![]);
        while v.len() < len && ptr != 0 {
            let n = (len - v.len()).min(512);
            let o = v.len();
            v.resize(o + n, 0);
            self.memory.read(ptr, &mut v[o..]);
            blocks.push(ptr);
            ptr = self.memory.be64(ptr + 560);
        }
        (v, blocks)
    }
    pub(crate) fn command(&mut self, slot: u32) {
        let e = self.cmdq + slot as u64 * 64;
        let mut l = [0u8; 64];
        self.memory.read(e, &mut l);
        let be32 = |o: usize| u32::from_be_bytes(l[o..o + 4].try_into().unwrap());
        let be64 = |o: usize| u64::from_be_bytes(l[o..o + 8].try_into().unwrap());
        let (inlen, outlen) = (be32(4) as usize, be32(0x38) as usize);
        let mut inp = l[0x10..0x20].to_vec();
        if inlen > 16 {
            let (m, _) = self.mbox(be64(8) & !0x1ff, inlen - 16);
            inp.extend_from_slice(&m);
        }
        inp.resize(inlen.max(16), 0);
        let mut out = vec![0u8; outlen.max(16)];
        let op = u16::from_be_bytes([inp[0], inp[1]]);
        let cmd_eq = self.eq_for(0x0a);
        let r = match self.fail.get_mut(&op) {
            Some((st, n)) if *n > 0 => {
                *n -= 1;
                Err((*st, INJECTED))
            }
            _ => self.exec(op, &inp, &mut out),
        };
        self.counters.commands += 1;
        if let Err((status, synd)) = r {
            out.fill(0);
            out[0] = status;
            out[4..8].copy_from_slice(&(synd as u32).to_be_bytes());
            if synd != INJECTED {
                self.findings.push(match status {
                    2 => Finding::UnhandledCommand { opcode: op },
                    _ => Finding::Refused {
                        opcode: op,
                        modifier: u16::from_be_bytes([inp[6], inp[7]]),
                        status,
                    },
                });
            }
        }
        self.memory.write(e + 0x20, &out[..16]);
        if outlen > 16 {
            let (_, blocks) = self.mbox(be64(0x30) & !0x1ff, outlen - 16);
            for (i, b) in blocks.iter().enumerate() {
                let c = &out[16 + i * 512..(16 + i * 512 + 512).min(outlen)];
                self.memory.write(*b, c);
            }
        }
        self.memory.write_owned(e + 0x3c, &[l[0x3c], l[0x3d], 0, 0]);
        if let (Some(a), true) = (cmd_eq, cmd_eq == self.eq_for(0x0a)) {
            let mut d = [0u8; 28];
            d[0..4].copy_from_slice(&(1u32 << slot).to_be_bytes());
            self.push_eqe(a, 0x0a, 0, &d);
        }
    }
    fn id(&mut self, kind: &'static str, first: u32) -> u32 {
        let n = self.next.entry(kind).or_insert(first);
        *n += 1;
        *n - 1
    }
    fn exec(&mut self, op: u16, i: &[u8], o: &mut [u8]) -> Result<(), (u8, usize)> {
        const BAD_PARAM: (u8, usize) = (3, 0xbad);
        const BAD_RES: (u8, usize) = (5, 0xbad);
        const BUSY: (u8, usize) = (6, 0xbad);
        const BAD_STATE: (u8, usize) = (9, 0xbad);
        let id24 = get(i, Field::new(0x48, 24)) as u32; // where most DESTROY/MODIFY/QUERY commands carry the object number
        let ret24 = |o: &mut [u8], v: u32| set(o, Field::new(0x48, 24), v as u64);
        match op {
            0x100 => {
                // QUERY_HCA_CAP
                let om = get(i, Field::new(0x30, 16)) as u16;
                let (ty, cur) = (om >> 1, om & 1);
                let c = if cur == 1 {
                    self.cur_caps.get(&ty).cloned().unwrap_or_else(|| self.caps(ty))
                } else {
                    self.caps(ty)
                };
                let n = o.len().min(16 + c.len());
                o[16..n].copy_from_slice(&c[..n - 16]);
            }
            0x109 => {
                let ty = (get(i, Field::new(0x30, 16)) >> 1) as u16;
                let mut c = i[16..].to_vec();
                c.resize(4096, 0);
                self.cur_caps.insert(ty, c);
            }
            0x101 => {
                let b = layout::query_adapter_out::QUERY_ADAPTER_STRUCT.bit;
                set_at(o, b, layout::query_adapter_param_block::VSD_VENDOR_ID, 0x15b3);
                let p = (b + layout::query_adapter_param_block::VSD_CONTD_PSID.bit) / 8;
                o[p..p + 13].copy_from_slice(b"EMU0000000001");
            }
            0x102 | 0x104 | 0x10b | 0x10d => {}
            0x103 | 0x105 => {
                if op == 0x103 {
                    let c = std::mem::take(&mut self.cur_caps);
                    self.sw_reset();
                    let _ = c;
                }
            }
            0x107 => {
                // QUERY_PAGES: 1 boot, 2 init, 3 regular (whatever it holds goes back)
                let n: i32 = match get(i, Field::new(0x30, 16)) {
                    1 => 8,
                    2 => 24,
                    _ => -(self.fw_pages.len() as i32),
                };
                set(o, layout::query_pages_out::NUM_PAGES, n as u32 as u64);
            }
            0x108 => match get(i, Field::new(0x30, 16)) {
                // MANAGE_PAGES
                1 => {
                    let n = get(i, layout::manage_pages_in::INPUT_NUM_ENTRIES) as usize;
                    let p = layout::manage_pages_in::PAS.byte();
                    for k in 0..n {
                        let a = get(i, Field::new((p + 8 * k) * 8, 64));
                        if a == 0 || a & 0xfff != 0 {
                            return Err(BAD_PARAM);
                        }
                        self.fw_pages.push(a);
                    }
                }
                2 => {
                    let n = (get(i, layout::manage_pages_in::INPUT_NUM_ENTRIES) as usize)
                        .min(self.fw_pages.len());
                    let p = layout::manage_pages_out::PAS.byte();
                    for k in 0..n {
                        let a = self.fw_pages.pop().unwrap();
                        set(o, Field::new((p + 8 * k) * 8, 64), a);
                    }
                    set(o, layout::manage_pages_out::OUTPUT_NUM_ENTRIES, n as u64);
                }
                _ => {}
            },
            0x10a => {
                set(o, layout::query_issi_out::SUPPORTED_ISSI_DW0, 3);
                set(o, layout::query_issi_out::CURRENT_ISSI, 1);
            }
            0x200 => {
                // CREATE_MKEY
                let n = self.id("mkey", 0x100);
                self.mkeys.insert(n, MemoryKey::parse(i));
                set(o, layout::create_mkey_out::MKEY_INDEX, n as u64);
            }
            0x202 => {
                self.mkeys.remove(&id24);
            }
            0x203 => {
                set(o, layout::query_special_contexts_out::RESD_LKEY, 0x300);
                set(o, layout::query_special_contexts_out::NULL_MKEY, 0x400);
            }
            0x301 => {
                // CREATE_EQ
                let b = layout::create_eq_in::EQ_CONTEXT_ENTRY.bit;
                let log_sz = get_at(i, b, layout::eqc::LOG_EQ_SIZE) as u32;
                let pages = Pages::parse(
                    i,
                    layout::create_eq_in::PAS.byte(),
                    get_at(i, b, layout::eqc::LOG_PAGE_SIZE),
                    get_at(i, b, layout::eqc::PAGE_OFFSET) * 64,
                    64 << log_sz,
                );
                let mut mask = [0; 4];
                for (k, m) in mask.iter_mut().enumerate() {
                    *m = get(
                        i,
                        Field::new(layout::create_eq_in::EVENT_BITMASK.bit + 64 * k, 64),
                    );
                }
                let n = (1..255).find(|n| !self.eqs.contains_key(n)).ok_or(BAD_RES)?;
                self.eqs.insert(
                    n,
                    Eq {
                        pages,
                        log_sz,
                        intr: get_at(i, b, layout::eqc::INTR) as usize,
                        pi: 0,
                        ci: 0,
                        armed: false,
                        mask,
                    },
                );
                o[11] = n as u8;
            }
            0x302 => {
                let n = i[11] as u32;
                if self.cqs.values().any(|c| c.eqn == n) {
                    return Err(BUSY);
                }
                self.eqs.remove(&n).ok_or(BAD_RES)?;
            }
            0x400 => {
                // CREATE_CQ
                let b = layout::create_cq_in::CQ_CONTEXT.bit;
                let log_sz = get_at(i, b, layout::cqc::LOG_CQ_SIZE) as u32;
                if get_at(i, b, layout::cqc::CQE_SZ) != 0 {
                    return Err(BAD_PARAM);
                }
                let pages = Pages::parse(
                    i,
                    layout::create_cq_in::PAS.byte(),
                    get_at(i, b, layout::cqc::LOG_PAGE_SIZE),
                    get_at(i, b, layout::cqc::PAGE_OFFSET) * 64,
                    64 << log_sz,
                );
                if !self
                    .eqs
                    .contains_key(&(get_at(i, b, layout::cqc::C_EQN_OR_APU_ELEMENT) as u32))
                {
                    return Err(BAD_RES);
                }
                let n = self.id("cq", 0x400);
                self.cqs.insert(
                    n,
                    Cq {
                        pages,
                        log_sz,
                        eqn: get_at(i, b, layout::cqc::C_EQN_OR_APU_ELEMENT) as u32,
                        dbr: get_at(i, b, layout::cqc::DBR_ADDR),
                        pi: 0,
                        armed: false,
                    },
                );
                ret24(o, n);
            }
            0x401 => {
                if self.rqs.values().any(|r| r.cqn == id24) || self.sqs.values().any(|s| s.cqn == id24) {
                    return Err(BUSY);
                }
                self.cqs.remove(&id24).ok_or(BAD_RES)?;
            }
            0x403 => { // MODIFY_CQ: only an EQ remap would matter
            }
            0x750 => {
                // QUERY_VPORT_STATE
                set(o, layout::query_vport_state_out::STATE, self.link_up() as u64);
                set(o, layout::query_vport_state_out::ADMIN_STATE, 1);
            }
            0x751 => {}
            0x754 => {
                // QUERY_NIC_VPORT_CONTEXT
                let n = self.vport_ctx.len().min(o.len() - 16);
                o[16..16 + n].copy_from_slice(&self.vport_ctx[..n]);
                let at = i[15] & 7; // allowed_list_type
                let (l, e) = match at {
                    0 => (&self.vport_uc, 8),
                    1 => (&self.vport_mc, 8),
                    _ => (&self.vport_vlan, 4),
                };
                set_at(
                    o,
                    128,
                    layout::nic_vport_context::ALLOWED_LIST_SIZE,
                    (l.len() / e) as u64,
                );
                let p = 16 + layout::nic_vport_context::CURRENT_UC_MAC_ADDRESS.byte();
                let n = l.len().min(o.len().saturating_sub(p));
                if n > 0 {
                    o[p..p + n].copy_from_slice(&l[..n]);
                }
            }
            0x755 => {
                // MODIFY_NIC_VPORT_CONTEXT
                let b = layout::modify_nic_vport_context_in::NIC_VPORT_CONTEXT.bit;
                let fs = layout::modify_nic_vport_context_in::FIELD_SELECT.bit;
                let ctx = &i[b / 8..];
                let sel = |f| get_at(i, fs, f) == 1;
                if sel(layout::modify_nic_vport_field_select::PROMISC) {
                    for f in [
                        layout::nic_vport_context::PROMISC_UC,
                        layout::nic_vport_context::PROMISC_MC,
                        layout::nic_vport_context::PROMISC_ALL,
                    ] {
                        let v = get(ctx, f);
                        set(&mut self.vport_ctx, f, v);
                    }
                }
                if sel(layout::modify_nic_vport_field_select::MTU) {
                    let v = get(ctx, layout::nic_vport_context::MTU);
                    set(&mut self.vport_ctx, layout::nic_vport_context::MTU, v);
                }
                if sel(layout::modify_nic_vport_field_select::PERMANENT_ADDRESS) {
                    let p = layout::nic_vport_context::PERMANENT_ADDRESS.byte();
                    self.vport_ctx[p..p + 8].copy_from_slice(&ctx[p..p + 8]);
                }
                if sel(layout::modify_nic_vport_field_select::ADDRESSES_LIST) {
                    let (ty, n) = (
                        get(ctx, layout::nic_vport_context::ALLOWED_LIST_TYPE),
                        get(ctx, layout::nic_vport_context::ALLOWED_LIST_SIZE) as usize,
                    );
                    let e = if ty == 2 { 4 } else { 8 };
                    let p = layout::nic_vport_context::CURRENT_UC_MAC_ADDRESS.byte();
                    let l = ctx.get(p..p + n * e).unwrap_or(&[]).to_vec();
                    match ty {
                        0 => self.vport_uc = l,
                        1 => self.vport_mc = l,
                        _ => self.vport_vlan = l,
                    }
                }
            }
            0x770 => {
                // QUERY_VPORT_COUNTER
                let s = &self.counters;
                for (f, v, b) in [
                    (
                        layout::query_vport_counter_out::RECEIVED_ETH_UNICAST,
                        s.received - s.multicast - s.broadcast,
                        s.received_bytes,
                    ),
                    (
                        layout::query_vport_counter_out::RECEIVED_ETH_MULTICAST,
                        s.multicast,
                        0,
                    ),
                    (
                        layout::query_vport_counter_out::RECEIVED_ETH_BROADCAST,
                        s.broadcast,
                        0,
                    ),
                    (
                        layout::query_vport_counter_out::TRANSMITTED_ETH_UNICAST,
                        s.sent,
                        s.sent_bytes,
                    ),
                ] {
                    set(o, Field::new(f.bit, 64), v);
                    set(o, Field::new(f.bit + 64, 64), b);
                }
            }
            0x771 => {
                let n = self.id("queue_counters", 1);
                self.queue_counters.insert(n, 0);
                o[11] = n as u8;
            }
            0x772 => {
                self.queue_counters.remove(&(i[11] as u32));
            }
            0x773 => {
                let n = *self.queue_counters.get(&(i[31] as u32)).unwrap_or(&0);
                set(o, layout::query_q_counter_out::OUT_OF_BUFFER, n as u64);
            }
            0x76f => {}
            0x800 => {
                let n = self.id("pd", 1);
                ret24(o, n);
            }
            0x802 => {
                let n = self.id("uar", UAR_FIRST);
                if n as usize >= BAR_SIZE >> 12 {
                    return Err(BAD_RES);
                }
                ret24(o, n);
            }
            0x816 => {
                let n = self.id("td", 1);
                ret24(o, n);
            }
            0x801 | 0x803 | 0x817 | 0x804 | 0x827 | 0x828 => {}
            0x805 => return self.access_reg(i, o),
            0x900 => {
                let n = self.id("tir", 0x10);
                let t = Tir::parse(&i[layout::create_tir_in::CTX.byte()..]);
                let known = match t.target {
                    Target::Table(table) => self.rqts.contains_key(&table),
                    Target::Queue(queue) => self.rqs.contains_key(&queue),
                };
                if !known {
                    return Err(BAD_RES);
                }
                self.tirs.insert(n, t);
                ret24(o, n);
            }
            0x901 => {
                let context = &i[layout::modify_tir_in::CTX.byte()..];
                let mask = &i[layout::modify_tir_in::BITMASK.byte()..];
                self.tirs.get_mut(&id24).ok_or(BAD_RES)?.modify(context, mask);
            }
            0x902 => {
                let tir = Destination::Tir(id24);
                if self.flow_tables.values().any(|table| table.has_destination(tir)) {
                    return Err(BUSY);
                }
                self.tirs.remove(&id24).ok_or(BAD_RES)?;
            }
            0x904 => {
                // CREATE_SQ
                let n = self.id("sq", 0x1000);
                let s = SendQueue::parse(&i[layout::create_sq_in::CTX.byte()..]).ok_or(BAD_PARAM)?;
                if !self.cqs.contains_key(&s.cqn) || s.state != 0 {
                    return Err(BAD_RES);
                }
                self.sqs.insert(n, s);
                ret24(o, n);
            }
            0x905 => {
                let s = self.sqs.get_mut(&id24).ok_or(BAD_RES)?;
                let ns = get(i, Field::new(layout::modify_sq_in::CTX.bit + 8, 4));
                if get(i, Field::new(0x40, 4)) != s.state {
                    return Err(BAD_STATE);
                }
                s.set_state(ns);
            }
            0x906 => {
                self.sqs.remove(&id24).ok_or(BAD_RES)?;
            }
            0x907 => {
                let s = self.sqs.get(&id24).ok_or(BAD_RES)?;
                set(o, Field::new(0x100 + 8, 4), s.state);
            }
            0x908 => {
                // CREATE_RQ
                let n = self.id("rq", 0x2000);
                let r = ReceiveQueue::parse(&i[layout::create_rq_in::CTX.byte()..]).ok_or(BAD_PARAM)?;
                if !self.cqs.contains_key(&r.cqn) || r.state != 0 {
                    return Err(BAD_RES);
                }
                self.rqs.insert(n, r);
                ret24(o, n);
            }
            0x909 => {
                let r = self.rqs.get_mut(&id24).ok_or(BAD_RES)?;
                if get(i, Field::new(0x40, 4)) != r.state {
                    return Err(BAD_STATE);
                }
                let context = &i[layout::modify_rq_in::CTX.byte()..];
                r.modify(context, get(i, layout::modify_rq_in::MODIFY_BITMASK));
            }
            0x90a => {
                if self.rqts.values().any(|t| t.contains(&id24))
                    || self.tirs.values().any(|t| t.target == Target::Queue(id24))
                {
                    return Err(BUSY);
                }
                self.rqs.remove(&id24).ok_or(BAD_RES)?;
            }
            0x90b => {
                let r = self.rqs.get(&id24).ok_or(BAD_RES)?;
                set(o, Field::new(0x100 + 8, 4), r.state);
            }
            0x912 => {
                let n = self.id("tis", 0x10);
                ret24(o, n);
            }
            0x913 | 0x914 => {}
            0x916 | 0x917 => {
                let c = if op == 0x916 {
                    layout::create_rqt_in::RQT_CONTEXT.bit
                } else {
                    layout::modify_rqt_in::CTX.bit
                };
                let n = get_at(i, c, layout::rqtc::RQT_ACTUAL_SIZE) as usize;
                let v = (0..n)
                    .map(|k| get(i, Field::new(c + layout::rqtc::SIZE * 8 + 32 * k + 8, 24)) as u32)
                    .collect::<Vec<_>>();
                if v.iter().any(|r| !self.rqs.contains_key(r)) {
                    return Err(BAD_RES);
                }
                if op == 0x916 {
                    let n = self.id("rqt", 0x10);
                    self.rqts.insert(n, v);
                    ret24(o, n);
                } else {
                    self.rqts.insert(id24, v);
                }
            }
            0x918 => {
                if self.tirs.values().any(|t| t.target == Target::Table(id24)) {
                    return Err(BUSY);
                }
                self.rqts.remove(&id24).ok_or(BAD_RES)?;
            }
            0x92f => {
                if !self
                    .flow_tables
                    .contains_key(&(get(i, layout::set_flow_table_root_in::TABLE_ID) as u32))
                {
                    return Err(BAD_RES);
                }
                self.root_tables.insert(
                    get(i, layout::set_flow_table_root_in::TABLE_TYPE) as u8,
                    get(i, layout::set_flow_table_root_in::TABLE_ID) as u32,
                );
            }
            0x930 => {
                let n = self.id("ft", 1);
                self.flow_tables.insert(n, FlowTable::parse(i));
                set(o, layout::create_flow_table_out::TABLE_ID, n as u64);
            }
            0x93c => {
                let t = get(i, layout::modify_flow_table_in::TABLE_ID) as u32;
                self.flow_tables.get_mut(&t).ok_or(BAD_RES)?.modify(i);
            }
            0x931 => {
                let t = get(i, layout::destroy_flow_table_in::TABLE_ID) as u32;
                if self.flow_tables.values().any(|table| table.refers_to(t)) {
                    return Err(BUSY);
                }
                self.flow_tables.remove(&t).ok_or(BAD_RES)?;
            }
            0x933 => {
                let t = get(i, layout::create_flow_group_in::TABLE_ID) as u32;
                let n = self.id("fg", 1);
                let group = FlowGroup::parse(i).map_err(|what| self.unsupported(t, what))?;
                self.flow_tables
                    .get_mut(&t)
                    .ok_or(BAD_RES)?
                    .groups
                    .insert(n, group);
                set(o, layout::create_flow_group_out::GROUP_ID, n as u64);
            }
            0x934 => {
                let t = get(i, layout::destroy_flow_group_in::TABLE_ID) as u32;
                let g = get(i, layout::destroy_flow_group_in::GROUP_ID) as u32;
                if let Some(f) = self.flow_tables.get_mut(&t) {
                    f.groups.remove(&g);
                }
            }
            0x936 => {
                let t = get(i, layout::set_fte_in::TABLE_ID) as u32;
                let ix = get(i, layout::set_fte_in::FLOW_INDEX) as u32;
                let f = FlowEntry::parse(&i[layout::set_fte_in::FLOW_CONTEXT.byte()..])
                    .map_err(|what| self.unsupported(t, what))?;
                let level = |table: &u32| self.flow_tables.get(table).map(|table| table.level);
                for destination in &f.destinations {
                    match destination {
                        Destination::Table(table) if level(table).is_none() => return Err(BAD_RES),
                        // Loops are ruled out by levels.
                        Destination::Table(table) if level(table) <= level(&t) => return Err(BAD_PARAM),
                        Destination::Tir(tir) if !self.tirs.contains_key(tir) => return Err(BAD_RES),
                        Destination::Table(_) | Destination::Tir(_) => {}
                    }
                }
                let ft = self.flow_tables.get_mut(&t).ok_or(BAD_RES)?;
                if !ft
                    .groups
                    .get(&f.group)
                    .is_some_and(|g| (g.first..=g.last).contains(&ix))
                {
                    return Err(BAD_PARAM);
                }
                if get(i, Field::new(0x30, 16)) == 1 {
                    // modify: destinations and action only
                    let old = ft.entries.get_mut(&ix).ok_or(BAD_RES)?;
                    let me = get(i, layout::set_fte_in::MODIFY_ENABLE_MASK);
                    if me & 1 != 0 {
                        old.action = f.action;
                    }
                    if me & 2 != 0 {
                        old.tag = f.tag;
                    }
                    if me & 4 != 0 {
                        old.destinations = f.destinations;
                    }
                } else {
                    ft.entries.insert(ix, f);
                }
            }
            0x938 => {
                let t = get(i, layout::delete_fte_in::TABLE_ID) as u32;
                let ix = get(i, layout::delete_fte_in::FLOW_INDEX) as u32;
                if let Some(f) = self.flow_tables.get_mut(&t) {
                    f.entries.remove(&ix);
                }
            }
            0x939 => {
                let n = self.id("flow_counters", 1);
                self.flow_counters.insert(n, FlowCounter::default());
                set(o, layout::alloc_flow_counter_out::FLOW_COUNTER_ID, n as u64);
            }
            0x93a => {}
            _ => {
                return Err((2, 0xbad));
            }
        }
        Ok(())
    }
    fn unsupported(&mut self, number: u32, what: &'static str) -> (u8, usize) {
        self.findings.queue(number, what);
        (3, 0xbad)
    }
}
