//! Enhanced multi-packet work requests: each data segment is a packet.

use super::{
    Failure,
    descriptor::Descriptor,
    inline::{self, EthernetSegment},
};
use crate::card::device::Device;

impl Device {
    /// Sends all packets of a work request.
    pub(super) fn send_packets(&mut self, descriptor: &Descriptor) -> Result<(), Failure> {
        let ethernet = EthernetSegment::parse(descriptor)?;
        if !ethernet.inline.is_empty() || ethernet.insert.is_some() {
            return Err(Failure::operation(
                "a multi-packet work request with an inline header",
            ));
        }
        self.counters.multi_packet += 1;
        for segment in inline::segments(&descriptor.bytes[ethernet.end..]) {
            let frame = self.gather(segment?)?;
            self.transmit(frame, ethernet.checksums)?;
        }
        Ok(())
    }
}
