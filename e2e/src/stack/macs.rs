//! MAC addresses of the fixture: the lab gives both nodes the same ones.

use super::{case::Mac, host::Place};

/// Returns the address of a NIC.
pub(super) fn nic(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, number, 2]
}

/// Returns the number of a pod: they are created in this order.
fn number(pod: Place) -> u8 {
    let index = Place::PODS.iter().position(|place| *place == pod);
    index.map_or(0, |index| index as u8 + 1)
}

/// Returns the address of a pod's interface.
pub(super) fn eth0(pod: Place) -> [u8; 6] {
    [2, 0, 0, 1, 1, number(pod)]
}

/// Returns the address of a pod's host-side interface.
pub(super) fn host_veth(pod: Place) -> [u8; 6] {
    [2, 0, 0, 3, 1, number(pod)]
}

/// Returns the address that a name stands for on the wire.
pub(super) fn mac(name: Mac) -> [u8; 6] {
    match name {
        Mac::OtherStation => [2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee],
        Mac::Broadcast => [0xff; 6],
        Mac::Multicast => [0x33, 0x33, 0, 0, 0, 1],
        Mac::Nic0 => nic(0),
        Mac::Nic1 => nic(1),
        Mac::Zero => [0; 6],
        Mac::Client => [2, 0, 0, 0, 0, 1],
        Mac::Pod => eth0(Place::Server),
        Mac::PodHost => host_veth(Place::Server),
        Mac::PodBridge => [2, 0, 0, 2, 0, 1],
        Mac::Bridge => [2, 0, 0, 9, 0, 1],
        Mac::Macvlan => [2, 0, 0, 9, 0, 2],
    }
}

/// Returns the text of an address.
pub(super) fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
