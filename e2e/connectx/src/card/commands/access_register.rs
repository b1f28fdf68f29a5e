//! Port registers (ACCESS_REG).
use crate::card::bits::{Field, get, set};
use crate::card::device::Device;
use crate::card::findings::Finding;
use crate::card::layout;

impl Device {
    pub(crate) fn access_reg(&mut self, i: &[u8], o: &mut [u8]) -> Result<(), (u8, usize)> {
        let reg = get(i, layout::access_register_in::REGISTER_ID) as u16;
        let write = get(i, Field::new(0x30, 16)) == 0;
        let n = i.len().min(o.len());
        o[16..n].copy_from_slice(&i[16..n]);
        let (din, d) = (&i[16..], &mut o[16..]);
        match reg {
            0x5003 => {
                // PMTU
                if write {
                    self.mtu = get(din, layout::pmtu_reg::ADMIN_MTU) as u16;
                }
                set(d, layout::pmtu_reg::MAX_MTU, 10000);
                set(d, layout::pmtu_reg::ADMIN_MTU, self.mtu as u64);
                set(d, layout::pmtu_reg::OPER_MTU, self.mtu as u64);
            }
            0x5004 => {
                // PTYS: 25GBASE-CR
                if !write {
                    for f in [
                        layout::ptys_reg::ETH_PROTO_CAPABILITY,
                        layout::ptys_reg::ETH_PROTO_ADMIN,
                    ] {
                        set(d, f, 1 << 27 | 1 << 20);
                    }
                    if self.link_up() {
                        set(d, layout::ptys_reg::ETH_PROTO_OPER, 1 << 27);
                    }
                    set(d, layout::ptys_reg::CONNECTOR_TYPE, 3);
                }
            }
            0x5006 => {
                // PAOS
                if write {
                    let up = get(din, layout::paos_reg::ADMIN_STATUS) == 1;
                    if up != self.admin_up {
                        self.admin_up = up;
                        self.link_event();
                    }
                }
                set(
                    d,
                    layout::paos_reg::ADMIN_STATUS,
                    if self.admin_up { 1 } else { 2 },
                );
                set(
                    d,
                    layout::paos_reg::OPER_STATUS,
                    if self.link_up() { 1 } else { 2 },
                );
            }
            0x5007 | 0x5008 | 0x5041 | 0x7004 => {}
            _ => self.findings.push(Finding::UnhandledRegister { register: reg }),
        }
        Ok(())
    }
}
