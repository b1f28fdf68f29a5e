//! Event queues, completion queues, and the lists of guest pages in which every queue lives.

use crate::card::device::Device;

pub(crate) struct Pages {
    pub(crate) pas: Vec<u64>,
    pub(crate) shift: u32,
    pub(crate) off: u64,
}
impl Pages {
    pub(crate) fn addr(&self, byte: u64) -> u64 {
        let b = byte + self.off;
        let i = (b >> self.shift) as usize;
        self.pas.get(i).copied().unwrap_or(0) + (b & ((1 << self.shift) - 1))
    }
    pub(crate) fn parse(b: &[u8], at: usize, log_pg: u64, off: u64, need: u64) -> Pages {
        let shift = 12 + log_pg as u32;
        let n = ((need + off + (1 << shift) - 1) >> shift) as usize;
        let pas = (0..n)
            .filter_map(|i| b.get(at + 8 * i..at + 8 * i + 8))
            .map(|x| u64::from_be_bytes(x.try_into().unwrap()) & !0xfff)
            .collect();
        Pages { pas, shift, off }
    }
}
pub(crate) struct Cq {
    pub(crate) pages: Pages,
    pub(crate) log_sz: u32,
    pub(crate) eqn: u32,
    pub(crate) dbr: u64,
    pub(crate) pi: u32,
    pub(crate) armed: bool,
}
pub(crate) struct Eq {
    pub(crate) pages: Pages,
    pub(crate) log_sz: u32,
    pub(crate) intr: usize,
    pub(crate) pi: u32,
    pub(crate) ci: u32,
    pub(crate) armed: bool,
    pub(crate) mask: [u64; 4],
}

impl Device {
    pub(crate) fn push_eqe(&mut self, eqn: u32, ty: u8, sub: u8, data: &[u8; 28]) {
        let Some(eq) = self.eqs.get_mut(&eqn) else { return };
        let mut e = [0u8; 64];
        e[1] = ty;
        e[3] = sub;
        e[32..60].copy_from_slice(data);
        e[63] = ((eq.pi >> eq.log_sz) & 1) as u8;
        let a = eq.pages.addr(((eq.pi & ((1 << eq.log_sz) - 1)) as u64) * 64);
        self.memory.write_owned(a, &e);
        eq.pi = eq.pi.wrapping_add(1);
        self.counters.events += 1;
        if std::mem::take(&mut eq.armed) {
            self.irq.fire(eq.intr);
        }
    }
    pub(crate) fn eq_for(&self, ty: u8) -> Option<u32> {
        self.eqs
            .iter()
            .find(|(_, e)| e.mask[ty as usize / 64] & (1 << (ty % 64)) != 0)
            .map(|(n, _)| *n)
    }
    pub(crate) fn eq_db(&mut self, eqn: u32, ci: u32, arm: bool) {
        let Some(eq) = self.eqs.get_mut(&eqn) else { return };
        eq.ci = ci;
        if arm {
            if eq.pi & 0xffffff != ci {
                eq.armed = false;
                self.irq.fire(eq.intr);
            } else {
                eq.armed = true;
            }
        }
    }
    pub(crate) fn cq_event(&mut self, cqn: u32) {
        let Some(cq) = self.cqs.get(&cqn) else { return };
        let mut d = [0u8; 28];
        d[24..28].copy_from_slice(&cqn.to_be_bytes());
        let e = cq.eqn;
        self.push_eqe(e, 0, 0, &d);
    }
    pub(crate) fn cq_arm(&mut self, cqn: u32, v: u32) {
        let Some(cq) = self.cqs.get_mut(&cqn) else { return };
        if cq.pi & 0xffffff != v & 0xffffff {
            cq.armed = false;
            self.cq_event(cqn);
        } else {
            cq.armed = true;
        }
    }
    pub(crate) fn push_cqe(&mut self, cqn: u32, mut c: [u8; 64], opcode: u8) {
        let Some(cq) = self.cqs.get_mut(&cqn) else {
            self.findings.queue(cqn, "a completion for an unknown queue");
            return;
        };
        let ci = self.memory.be32(cq.dbr) & 0xffffff;
        if (cq.pi & 0xffffff).wrapping_sub(ci) & 0xffffff >= 1 << cq.log_sz {
            self.findings.queue(cqn, "the completion queue overran");
        }
        c[63] = (opcode << 4) | ((cq.pi >> cq.log_sz) & 1) as u8;
        let a = cq.pages.addr(((cq.pi & ((1 << cq.log_sz) - 1)) as u64) * 64);
        self.memory.write_owned(a, &c);
        cq.pi = cq.pi.wrapping_add(1);
        self.counters.completions += 1;
        if std::mem::take(&mut cq.armed) {
            self.cq_event(cqn);
        }
    }
}
