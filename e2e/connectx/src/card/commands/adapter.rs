//! Commands that start and stop the card.

use crate::card::{
    commands::{Answer, NOT_MODELLED, capabilities},
    device::Device,
    layout::{
        cmd_in, opcode, query_adapter_out, query_adapter_param_block, query_hca_cap_out, query_issi_out,
        set_hca_cap_in,
    },
};

/// The name of the configuration that the card says it has.
const PSID: &[u8; 13] = b"EMU0000000001";
/// Versions 0 and 1 of the interface (ISSI).
const ISSI: u64 = 0b11;

impl Device {
    pub(super) fn adapter_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::QUERY_HCA_CAP => self.query_capabilities(input, output),
            opcode::SET_HCA_CAP => return self.set_capabilities(input),
            opcode::QUERY_ADAPTER => query_adapter(output),
            opcode::TEARDOWN_HCA => {
                self.note_leftovers();
                self.forget_objects();
            }
            opcode::QUERY_PAGES => self.query_pages(input, output),
            opcode::MANAGE_PAGES => return self.manage_pages(input, output),
            opcode::QUERY_ISSI => {
                query_issi_out::SUPPORTED_ISSI_DW0.set(output, ISSI);
                query_issi_out::CURRENT_ISSI.set(output, 1);
            }
            opcode::INIT_HCA
            | opcode::ENABLE_HCA
            | opcode::DISABLE_HCA
            | opcode::SET_ISSI
            | opcode::SET_DRIVER_VERSION => {}
            _ => return Err(NOT_MODELLED),
        }
        Ok(())
    }

    /// The driver destroys all its objects before it stops the card.
    fn note_leftovers(&mut self) {
        let mut left = Vec::new();
        left.extend(
            self.resources
                .iter()
                .map(|(kind, number)| (*number, kind.leftover())),
        );
        left.extend(self.eqs.keys().map(|number| (*number, "an event queue is left")));
        left.extend(
            self.cqs
                .keys()
                .map(|number| (*number, "a completion queue is left")),
        );
        left.extend(self.sqs.keys().map(|number| (*number, "a send queue is left")));
        left.extend(self.rqs.keys().map(|number| (*number, "a receive queue is left")));
        left.extend(self.tirs.keys().map(|number| (*number, "a TIR is left")));
        left.extend(self.rqts.keys().map(|number| (*number, "an RQ table is left")));
        left.extend(self.mkeys.keys().map(|number| (*number, "a memory key is left")));
        left.extend(
            self.flow_tables
                .keys()
                .map(|number| (*number, "a flow table is left")),
        );
        left.extend(
            self.queue_counters
                .keys()
                .map(|number| (*number, "a counter set is left")),
        );
        for (number, what) in left {
            self.findings.queue(number, what);
        }
    }

    /// Answers with a group of capabilities: what the card can do, or what the driver set.
    fn query_capabilities(&self, input: &[u8], output: &mut [u8]) {
        let modifier = cmd_in::OP_MOD.get(input) as u16;
        let (group, current) = (modifier >> 1, modifier & 1 == 1);
        let set = self.capabilities.get(&group).filter(|_| current);
        let capabilities = set
            .cloned()
            .unwrap_or_else(|| capabilities::group(&self.profile, group));
        for (to, from) in output
            .iter_mut()
            .skip(query_hca_cap_out::CAPABILITY.byte())
            .zip(capabilities)
        {
            *to = from;
        }
    }

    fn set_capabilities(&mut self, input: &[u8]) -> Answer {
        let group = (cmd_in::OP_MOD.get(input) >> 1) as u16;
        let mut capabilities = super::from(input, set_hca_cap_in::CAPABILITY)?.to_vec();
        capabilities.resize(capabilities::LENGTH, 0);
        self.capabilities.insert(group, capabilities);
        Ok(())
    }
}

fn query_adapter(output: &mut [u8]) {
    let block = query_adapter_out::QUERY_ADAPTER_STRUCT;
    query_adapter_param_block::VSD_VENDOR_ID
        .inside(block)
        .set(output, 0x15b3);
    let psid = query_adapter_param_block::VSD_CONTD_PSID.inside(block).byte();
    if let Some(place) = output.get_mut(psid..psid + PSID.len()) {
        place.copy_from_slice(PSID);
    }
}
