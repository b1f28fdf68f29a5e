//! Commands for the virtual port: MAC address, MTU and what the driver tells about its filters.

use crate::card::{
    commands::{Answer, Status, from},
    device::Device,
    layout::{
        modify_nic_vport_context_in, modify_nic_vport_field_select, nic_vport_context,
        query_nic_vport_context_in, query_nic_vport_context_out, query_vport_state_out,
    },
};

const VLANS: u64 = 2;
/// The number of lists: unicast, multicast, VLANs.
const LISTS: usize = 3;
const LARGEST_MTU: u64 = 1500;

/// The context of the virtual port.
pub(crate) struct Vport {
    context: Vec<u8>,
    /// What the driver says it wants to receive; its flow tables decide.
    lists: [Vec<u8>; LISTS],
}

impl Vport {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        let mut context = vec![0; nic_vport_context::SIZE];
        let address = nic_vport_context::PERMANENT_ADDRESS.byte();
        context[address + 2..address + 8].copy_from_slice(&mac);
        nic_vport_context::MTU.set(&mut context, LARGEST_MTU);
        let (vendor, rest) = mac.split_at(3);
        let guid = [vendor, &[0, 0], rest]
            .concat()
            .iter()
            .fold(0, |guid, byte| guid << 8 | u64::from(*byte));
        for field in [
            nic_vport_context::SYSTEM_IMAGE_GUID,
            nic_vport_context::NODE_GUID,
            nic_vport_context::PORT_GUID,
        ] {
            field.set(&mut context, guid);
        }
        Self {
            context,
            lists: Default::default(),
        }
    }
}

/// Returns the size of an entry of a list, in bytes.
fn entry_size(list: u64) -> usize {
    if list == VLANS { 4 } else { 8 }
}

impl Device {
    pub(super) fn query_vport_state(&self, output: &mut [u8]) {
        query_vport_state_out::STATE.set(output, u64::from(self.link_up()));
        query_vport_state_out::ADMIN_STATE.set(output, 1);
    }

    pub(super) fn query_vport_context(&self, input: &[u8], output: &mut [u8]) -> Answer {
        let kind = query_nic_vport_context_in::ALLOWED_LIST_TYPE.get(input);
        let list = self
            .vport
            .lists
            .get(kind as usize)
            .ok_or(Status::BadParameter.because("an unknown list"))?;
        let mut answer = self.vport.context.clone();
        nic_vport_context::ALLOWED_LIST_SIZE.set(&mut answer, (list.len() / entry_size(kind)) as u64);
        answer.truncate(nic_vport_context::CURRENT_UC_MAC_ADDRESS.byte());
        answer.extend(list);
        let output = &mut output[query_nic_vport_context_out::NIC_VPORT_CONTEXT.byte()..];
        for (to, from) in output.iter_mut().zip(answer) {
            *to = from;
        }
        Ok(())
    }

    pub(super) fn modify_vport_context(&mut self, input: &[u8]) -> Answer {
        use modify_nic_vport_field_select as select;

        let new = from(input, modify_nic_vport_context_in::NIC_VPORT_CONTEXT)?;
        let selected = |field: crate::card::bits::Field| {
            field.inside(modify_nic_vport_context_in::FIELD_SELECT).get(input) == 1
        };
        let mut fields = Vec::new();
        if selected(select::PROMISC) {
            fields.extend([
                nic_vport_context::PROMISC_UC,
                nic_vport_context::PROMISC_MC,
                nic_vport_context::PROMISC_ALL,
            ]);
        }
        if selected(select::MTU) {
            fields.push(nic_vport_context::MTU);
        }
        if selected(select::PERMANENT_ADDRESS) {
            fields.push(nic_vport_context::PERMANENT_ADDRESS);
        }
        for field in fields {
            field.set(&mut self.vport.context, field.get(new));
        }
        if selected(select::ADDRESSES_LIST) {
            self.set_list(new)
        } else {
            Ok(())
        }
    }

    fn set_list(&mut self, context: &[u8]) -> Answer {
        let kind = nic_vport_context::ALLOWED_LIST_TYPE.get(context);
        let length = nic_vport_context::ALLOWED_LIST_SIZE.get(context) as usize * entry_size(kind);
        let start = nic_vport_context::CURRENT_UC_MAC_ADDRESS.byte();
        let entries = context.get(start..start + length);
        let entries = entries.ok_or(Status::BadInputLength.because("the list ends too early"))?;
        let list = self.vport.lists.get_mut(kind as usize);
        *list.ok_or(Status::BadParameter.because("an unknown list"))? = entries.to_vec();
        Ok(())
    }
}
