//! The counters of the port (register `PPCNT`), which `ethtool -S` shows with the suffix `_phy`.
//!
//! They survive a reset of the driver, as those of a card do.

use crate::card::{
    bits::Field,
    counters::CardCounters,
    device::Device,
    layout::{
        eth_802_3_cntrs_grp_data_layout as ieee_802_3, eth_2819_cntrs_grp_data_layout as rfc_2819,
        eth_2863_cntrs_grp_data_layout as rfc_2863, eth_per_prio_grp_data_layout as priority,
        phys_layer_cntrs, ppcnt_reg,
    },
};

/// Groups (`MLX5_*_COUNTERS_GROUP`).
const IEEE_802_3: u64 = 0x00;
const RFC_2863: u64 = 0x01;
const RFC_2819: u64 = 0x02;
const PRIORITY: u64 = 0x10;
const PHYSICAL: u64 = 0x12;

/// The frame check sequence, which the port counts and the model's frames do not have.
const CHECK_SEQUENCE: u64 = 4;

/// Returns the bytes of frames on the wire.
fn on_wire(frames: u64, bytes: u64) -> u64 {
    bytes + frames * CHECK_SEQUENCE
}

impl Device {
    /// Answers with a group of counters; those of other groups are 0.
    pub(super) fn port_counters(&self, answer: &mut [u8]) {
        let group = ppcnt_reg::GRP.get(answer);
        let first_priority = ppcnt_reg::PRIO_TC.get(answer) == 0;
        let counters = &self.counters;
        let values = match group {
            IEEE_802_3 => ieee_802_3(counters),
            RFC_2863 => rfc_2863(counters),
            RFC_2819 => rfc_2819(counters),
            PRIORITY if first_priority => priority(counters),
            PHYSICAL => {
                phys_layer_cntrs::LINK_DOWN_EVENTS
                    .inside(ppcnt_reg::COUNTER_SET)
                    .set(answer, self.link_downs);
                return;
            }
            _ => return,
        };
        for (high, value) in values {
            // The layout divides the numbers into two fields.
            Field::new(high.bit, 64)
                .inside(ppcnt_reg::COUNTER_SET)
                .set(answer, value);
        }
    }
}

fn ieee_802_3(counters: &CardCounters) -> Vec<(Field, u64)> {
    use ieee_802_3 as field;
    vec![
        (field::A_FRAMES_TRANSMITTED_OK_HIGH, counters.sent),
        (field::A_FRAMES_RECEIVED_OK_HIGH, counters.received),
        (
            field::A_OCTETS_TRANSMITTED_OK_HIGH,
            on_wire(counters.sent, counters.sent_bytes),
        ),
        (
            field::A_OCTETS_RECEIVED_OK_HIGH,
            on_wire(counters.received, counters.received_bytes),
        ),
        (field::A_MULTICAST_FRAMES_XMITTED_OK_HIGH, counters.sent_multicast),
        (field::A_BROADCAST_FRAMES_XMITTED_OK_HIGH, counters.sent_broadcast),
        (field::A_MULTICAST_FRAMES_RECEIVED_OK_HIGH, counters.multicast),
        (field::A_BROADCAST_FRAMES_RECEIVED_OK_HIGH, counters.broadcast),
        (field::A_FRAME_TOO_LONG_ERRORS_HIGH, counters.too_long),
    ]
}

fn rfc_2863(counters: &CardCounters) -> Vec<(Field, u64)> {
    use rfc_2863 as field;
    vec![
        (
            field::IF_IN_OCTETS_HIGH,
            on_wire(counters.received, counters.received_bytes),
        ),
        (field::IF_IN_UCAST_PKTS_HIGH, counters.unicast()),
        (
            field::IF_OUT_OCTETS_HIGH,
            on_wire(counters.sent, counters.sent_bytes),
        ),
        (field::IF_OUT_UCAST_PKTS_HIGH, counters.sent_unicast()),
        (field::IF_IN_MULTICAST_PKTS_HIGH, counters.multicast),
        (field::IF_IN_BROADCAST_PKTS_HIGH, counters.broadcast),
        (field::IF_OUT_MULTICAST_PKTS_HIGH, counters.sent_multicast),
        (field::IF_OUT_BROADCAST_PKTS_HIGH, counters.sent_broadcast),
    ]
}

fn rfc_2819(counters: &CardCounters) -> Vec<(Field, u64)> {
    use rfc_2819 as field;
    vec![
        (
            field::ETHER_STATS_OCTETS_HIGH,
            on_wire(counters.received, counters.received_bytes),
        ),
        (field::ETHER_STATS_PKTS_HIGH, counters.received),
        (field::ETHER_STATS_BROADCAST_PKTS_HIGH, counters.broadcast),
        (field::ETHER_STATS_MULTICAST_PKTS_HIGH, counters.multicast),
        (field::ETHER_STATS_OVERSIZE_PKTS_HIGH, counters.too_long),
    ]
}

fn priority(counters: &CardCounters) -> Vec<(Field, u64)> {
    use priority as field;
    vec![
        (
            field::RX_OCTETS_HIGH,
            on_wire(counters.received, counters.received_bytes),
        ),
        (field::RX_FRAMES_HIGH, counters.received),
        (field::TX_OCTETS_HIGH, on_wire(counters.sent, counters.sent_bytes)),
        (field::TX_FRAMES_HIGH, counters.sent),
    ]
}
