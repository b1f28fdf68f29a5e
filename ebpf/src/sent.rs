//! The packet that a pod sent last, on each CPU.
#![expect(unsafe_code, reason = "map values are changed in place")]

use aya_ebpf::helpers::bpf_jiffies64;
use xdp_core::tables::{FlowKey, SentPacket};

use crate::tables::SENT;

/// Records a packet that a pod sends, through the stack or past it.
#[inline(always)]
pub(crate) fn record_sent(packet: SentPacket) {
    if let Some(sent) = SENT.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU, and lives as long as the map.
        unsafe { sent.write(packet) };
    }
}

/// Whether this CPU recorded the packet just now.
#[inline(always)]
pub(crate) fn is_sent(packet: &SentPacket) -> bool {
    // SAFETY: as above. Maps are initially zero, which is a valid value.
    let sent = SENT.get_ptr(0).map(|sent| unsafe { &*sent });
    sent.is_some_and(|sent| sent.is(packet))
}

/// Returns what is recorded of a packet.
#[inline(always)]
pub(crate) fn sent_packet(flow: &FlowKey, ip_len: u32) -> SentPacket {
    SentPacket::new(flow, ip_len, tick())
}

#[inline(always)]
fn tick() -> u32 {
    // SAFETY: the helper has no arguments.
    (unsafe { bpf_jiffies64() }) as u32
}
