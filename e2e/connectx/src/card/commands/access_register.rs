//! Port registers.

use crate::card::{
    commands::{Answer, from},
    device::Device,
    findings::Finding,
    layout::{access_register_in, access_register_out, cmd_in, paos_reg, pmtu_reg, ptys_reg},
};

/// Registers (`MLX5_REG_*`).
const PMTU: u16 = 0x5003;
const PTYS: u16 = 0x5004;
const PAOS: u16 = 0x5006;
const PFCC: u16 = 0x5007;
const PPCNT: u16 = 0x5008;
const PCMR: u16 = 0x5041;
const HOST_ENDIANNESS: u16 = 0x7004;

/// The largest MTU of the port.
const LARGEST_MTU: u64 = 10_000;
/// Bits of PTYS: 25GBASE-CR and 10GBASE-KR.
const SPEED: u64 = 1 << 27;
const SPEEDS: u64 = SPEED | 1 << 20;
/// PTYS: a copper cable.
const COPPER: u64 = 3;
/// PAOS.
const UP: u64 = 1;
const DOWN: u64 = 2;

impl Device {
    pub(super) fn access_register(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let register = access_register_in::REGISTER_ID.get(input) as u16;
        let write = cmd_in::OP_MOD.get(input) == 0;
        let data = from(input, access_register_in::REGISTER_DATA)?;
        let start = access_register_out::REGISTER_DATA.byte();
        let Some(answer) = output.get_mut(start..) else {
            return Ok(());
        };
        // A register is answered as it was asked for, with what the card knows.
        for (to, from) in answer.iter_mut().zip(data) {
            *to = *from;
        }
        match register {
            PMTU => self.port_mtu(write, data, answer),
            PTYS => self.port_speed(write, answer),
            PAOS => self.port_state(write, data, answer),
            PPCNT => self.port_counters(answer),
            PFCC | PCMR | HOST_ENDIANNESS => {}
            _ => self.findings.push(Finding::UnhandledRegister { register }),
        }
        Ok(())
    }

    fn port_mtu(&mut self, write: bool, data: &[u8], answer: &mut [u8]) {
        if write {
            self.mtu = pmtu_reg::ADMIN_MTU.get(data) as u16;
        }
        pmtu_reg::MAX_MTU.set(answer, LARGEST_MTU);
        pmtu_reg::ADMIN_MTU.set(answer, u64::from(self.mtu));
        pmtu_reg::OPER_MTU.set(answer, u64::from(self.mtu));
    }

    fn port_speed(&self, write: bool, answer: &mut [u8]) {
        if write {
            return;
        }
        ptys_reg::ETH_PROTO_CAPABILITY.set(answer, SPEEDS);
        ptys_reg::ETH_PROTO_ADMIN.set(answer, SPEEDS);
        if self.link_up() {
            ptys_reg::ETH_PROTO_OPER.set(answer, SPEED);
        }
        ptys_reg::CONNECTOR_TYPE.set(answer, COPPER);
    }

    fn port_state(&mut self, write: bool, data: &[u8], answer: &mut [u8]) {
        let up = paos_reg::ADMIN_STATUS.get(data) == UP;
        if write && up != self.admin_up {
            self.admin_up = up;
            self.link_event();
        }
        paos_reg::ADMIN_STATUS.set(answer, if self.admin_up { UP } else { DOWN });
        paos_reg::OPER_STATUS.set(answer, if self.link_up() { UP } else { DOWN });
    }
}

#[cfg(test)]
mod tests;
