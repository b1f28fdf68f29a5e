//! Checksums and tags that the card fills in and verifies.

use etherparse::{NetSlice, SlicedPacket, TransportSlice, VlanSlice};

use super::guest::{Frame, Guest};

/// Checks the checksums of a frame to the wire. Returns its VLAN.
fn check(frame: &[u8]) -> Option<u16> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&packet.net, &packet.transport) else {
        panic!("not UDP over IPv4: {frame:?}");
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    let checksum = udp
        .to_header()
        .calc_checksum_ipv4(&header, udp.payload())
        .unwrap();
    assert_eq!(udp.checksum(), checksum);
    packet.vlan().map(|vlan| match vlan {
        VlanSlice::SingleVlan(tag) => tag.vlan_identifier().value(),
        VlanSlice::DoubleVlan(_) => panic!("two tags: {frame:?}"),
    })
}

/// Frames of the stack have right checksums and tags, and it believes the card about those that it receives.
pub(crate) fn checksums_and_tags(guest: &mut Guest) {
    guest.run("ip link add link $NIC name vlan9 type vlan id 9 && ip link set vlan9 up");
    guest.run("ip address add 10.10.0.1/24 dev vlan9");
    guest.run("ip neighbour replace 10.10.0.2 lladdr 02:00:00:00:00:02 dev vlan9");
    for insertion in ["on", "off"] {
        guest.run(&format!("ethtool -K $NIC txvlan {insertion}"));
        guest.wait_for_carrier();
        guest.run("echo plain >/dev/udp/10.9.0.2/7000");
        assert_eq!(check(&guest.next_sent()), None);
        guest.run("echo tagged >/dev/udp/10.10.0.2/7000");
        assert_eq!(check(&guest.next_sent()), Some(9));
    }
    guest.run("ethtool -K $NIC txvlan on && ip link del vlan9");
    guest.wait_for_carrier();
    let complete = guest.statistic("rx_csum_complete");
    let good = Frame::default().connections(5);
    guest.send("right checksums", &good, 5);
    assert_eq!(guest.statistic("rx_csum_complete"), complete + 5);
    let mut bad = good;
    for frame in &mut bad {
        frame[50] ^= 1;
    }
    let errors = "awk '/^Udp: [0-9]/ { print $8 }' /proc/net/snmp";
    let before: u64 = guest.run(errors).trim().parse().unwrap();
    guest.send("wrong checksums", &bad, 5);
    guest.wait_for(errors, |count| count.trim() == (before + 5).to_string());
    assert_eq!(guest.card.counters().bad_transport_checksums, 5);
}
