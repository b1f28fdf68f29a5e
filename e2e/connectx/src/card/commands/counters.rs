//! Commands that read counters.

use crate::card::{
    commands::{Answer, NOT_MODELLED, Status, remove, unknown},
    device::Device,
    layout::{
        alloc_q_counter_out, dealloc_q_counter_in, opcode, query_q_counter_in, query_q_counter_out,
        query_vport_counter_out, traffic_counter,
    },
};

const FIRST: u32 = 1;

impl Device {
    pub(super) fn counter_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            // The environment of the virtual port: nothing goes wrong in it.
            opcode::QUERY_VNIC_ENV => {}
            opcode::QUERY_VPORT_COUNTER => self.query_vport_counter(output),
            opcode::ALLOC_Q_COUNTER => {
                let number = self.id("qcnt", FIRST);
                self.queue_counters.insert(number, 0);
                alloc_q_counter_out::COUNTER_SET_ID.set(output, u64::from(number));
            }
            opcode::DEALLOC_Q_COUNTER => {
                let number = dealloc_q_counter_in::COUNTER_SET_ID.get(input) as u32;
                if self.rqs.values().any(|queue| queue.counter == number) {
                    return Err(Status::Busy.because("a receive queue has the counter set"));
                }
                return remove(&mut self.queue_counters, number, "no such counter set");
            }
            opcode::QUERY_Q_COUNTER => {
                let number = query_q_counter_in::COUNTER_SET_ID.get(input) as u32;
                let counter = self
                    .queue_counters
                    .get_mut(&number)
                    .ok_or_else(unknown("no such counter set"))?;
                query_q_counter_out::OUT_OF_BUFFER.set(output, u64::from(*counter));
                if query_q_counter_in::CLEAR.get(input) == 1 {
                    *counter = 0;
                }
            }
            _ => return Err(NOT_MODELLED),
        }
        Ok(())
    }

    fn query_vport_counter(&self, output: &mut [u8]) {
        use query_vport_counter_out as field;

        let counters = &self.counters;
        let unicast_bytes = counters.received_bytes - counters.multicast_bytes - counters.broadcast_bytes;
        let sent_unicast_bytes =
            counters.sent_bytes - counters.sent_multicast_bytes - counters.sent_broadcast_bytes;
        for (field, frames, bytes) in [
            (field::RECEIVED_ETH_UNICAST, counters.unicast(), unicast_bytes),
            (
                field::RECEIVED_ETH_MULTICAST,
                counters.multicast,
                counters.multicast_bytes,
            ),
            (
                field::RECEIVED_ETH_BROADCAST,
                counters.broadcast,
                counters.broadcast_bytes,
            ),
            (
                field::TRANSMITTED_ETH_UNICAST,
                counters.sent_unicast(),
                sent_unicast_bytes,
            ),
            (
                field::TRANSMITTED_ETH_MULTICAST,
                counters.sent_multicast,
                counters.sent_multicast_bytes,
            ),
            (
                field::TRANSMITTED_ETH_BROADCAST,
                counters.sent_broadcast,
                counters.sent_broadcast_bytes,
            ),
        ] {
            traffic_counter::PACKETS.inside(field).set(output, frames);
            traffic_counter::OCTETS.inside(field).set(output, bytes);
        }
    }
}
