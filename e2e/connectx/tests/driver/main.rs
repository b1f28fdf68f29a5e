//! Debian's mlx5 driver on the model: steering, offloads and XDP hints.
//!
//! The test is the wire, which sends frames to the card and takes those that it sends, or a cable between two
//! cards.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod cabled;
mod guest;
mod hints;
mod offloads;
mod steering;

use guest::Guest;

#[test]
fn the_driver_steers_offloads_and_has_hints() {
    let mut guest = Guest::boot();
    steering::addresses(&mut guest);
    steering::vlans(&mut guest);
    steering::queues(&mut guest);
    steering::rules(&mut guest);
    offloads::checksums_and_tags(&mut guest);
    for striding in ["on", "off"] {
        guest.run(&format!(
            "ethtool --set-priv-flags $NIC rx_striding_rq {striding}"
        ));
        guest.wait_for_carrier();
        hints::timestamp_hash_and_tag(&mut guest);
    }
    guest.shut_down();
}
