//! The card's faults, at the request of the acceptance in the machine.

use std::collections::BTreeMap;

use anyhow::ensure;
use xdp_connectx::{Card, Counters, machine::Machine};
use xdp_e2e::acceptance::{CardControl, protocol::CardRequest};

/// The id of the card's slot.
pub(crate) const SLOT: &str = "nic0";

/// A machine and its card.
pub(crate) struct MachineCard {
    pub(crate) machine: Machine,
    pub(crate) card: Card,
}

impl CardControl for MachineCard {
    fn request(&mut self, request: &CardRequest) -> anyhow::Result<BTreeMap<String, u64>> {
        let card = &self.card;
        match request {
            CardRequest::SetLink(up) => card.set_link(*up),
            CardRequest::Fail {
                opcode,
                status,
                times,
            } => card.fail(*opcode, *status, *times),
            CardRequest::ReceiveQueueError => {
                ensure!(
                    card.receive_queue_error(),
                    "no receive queue has received a frame"
                );
            }
            CardRequest::FatalError => card.fatal_error(),
            CardRequest::Counters => return Ok(counters(&card.counters())),
        }
        Ok(BTreeMap::new())
    }
}

fn counters(of: &Counters) -> BTreeMap<String, u64> {
    [
        ("received", of.received),
        ("received unicast", of.unicast()),
        ("sent", of.sent),
        ("sent unicast", of.sent_unicast()),
        ("unmatched", of.unmatched),
        ("out of buffer", of.out_of_buffer),
        ("queue not ready", of.queue_not_ready),
        ("segmented", of.segmented),
        ("multi packet", of.multi_packet),
        ("umr", of.umr),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
