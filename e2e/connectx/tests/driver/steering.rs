//! Which frames the driver receives, and by which queue.

use super::guest::{Frame, Guest};

const FOREIGN: [u8; 6] = [0x02, 0x15, 0xb3, 0, 0, 0x77];
const MULTICAST: [u8; 6] = [0x01, 0, 0x5e, 1, 2, 3];
const COUNT: u16 = 10;

fn to(destination: [u8; 6]) -> Vec<Vec<u8>> {
    Frame {
        destination,
        ..Frame::default()
    }
    .connections(COUNT)
}

fn tagged(vlan: u16) -> Vec<Vec<u8>> {
    Frame {
        vlan: Some(vlan),
        ..Frame::default()
    }
    .connections(COUNT)
}

/// The list of MAC addresses, promiscuous and all-multicast mode.
pub(crate) fn addresses(guest: &mut Guest) {
    guest.send("to the NIC", &Frame::default().connections(COUNT), 10);
    guest.send("broadcast", &to([0xff; 6]), 10);
    guest.send("to another NIC", &to(FOREIGN), 0);
    guest.send("multicast", &to(MULTICAST), 0);
    for (on, off, frames) in [
        (
            "ip link set $NIC promisc on",
            "ip link set $NIC promisc off",
            to(FOREIGN),
        ),
        (
            "ip link set $NIC allmulticast on",
            "ip link set $NIC allmulticast off",
            to(MULTICAST),
        ),
        (
            "ip maddress add 01:00:5e:01:02:03 dev $NIC",
            "ip maddress del 01:00:5e:01:02:03 dev $NIC",
            to(MULTICAST),
        ),
        (
            "bridge fdb add 02:15:b3:00:00:77 dev $NIC self",
            "bridge fdb del 02:15:b3:00:00:77 dev $NIC self",
            to(FOREIGN),
        ),
    ] {
        guest.run(on);
        guest.send(on, &frames, 10);
        guest.run(off);
        guest.send(off, &frames, 0);
    }
}

/// The VLAN filter.
pub(crate) fn vlans(guest: &mut Guest) {
    guest.send("no VLAN", &tagged(9), 0);
    guest.run("ip link add link $NIC name vlan9 type vlan id 9 && ip link set vlan9 up");
    guest.send("VLAN 9 to VLAN 9", &tagged(9), 10);
    guest.send("VLAN 8 to VLAN 9", &tagged(8), 0);
    guest.run("ethtool -K $NIC rx-vlan-filter off");
    guest.send("no filter", &tagged(8), 10);
    guest.run("ethtool -K $NIC rx-vlan-filter on");
    guest.send("filter", &tagged(8), 0);
    guest.run("ip link del vlan9");
    guest.send("VLAN 9 deleted", &tagged(9), 0);
}

/// Returns the frames of the two queues.
fn received(guest: &mut Guest, what: &str, frames: &[Vec<u8>]) -> (u64, u64) {
    let count = |guest: &mut Guest| (guest.statistic("rx0_packets"), guest.statistic("rx1_packets"));
    let before = count(guest);
    guest.send(what, frames, frames.len() as u64);
    let after = count(guest);
    (after.0 - before.0, after.1 - before.1)
}

/// The indirection table and the hash function.
pub(crate) fn queues(guest: &mut Guest) {
    let frames = Frame::default().connections(128);
    let (first, second) = received(guest, "Toeplitz", &frames);
    assert!(first >= 32 && second >= 32, "{first} and {second}");
    guest.run("ethtool -X $NIC weight 0 1");
    assert_eq!(received(guest, "one queue", &frames), (0, 128));
    guest.run("ethtool -X $NIC equal 2 hfunc xor && ethtool -N $NIC rx-flow-hash udp4 sdfn");
    // The driver reverses the bits of the index: the hash's highest bit selects, that of the ports' bytes.
    assert_eq!(received(guest, "XOR", &frames), (24, 104));
    guest.run("ethtool -X $NIC hfunc toeplitz && ethtool -X $NIC default");
}

/// Rules of the user.
pub(crate) fn rules(guest: &mut Guest) {
    guest.run("ethtool -K $NIC ntuple on");
    guest.run("ethtool -N $NIC flow-type udp4 dst-port 7100 action 1 loc 0");
    guest.run("ethtool -N $NIC flow-type udp4 dst-port 7200 action -1 loc 1");
    guest.run("ethtool -N $NIC flow-type udp4 src-ip 10.9.0.7 action 0 loc 2");
    let frames = Frame {
        port: 7100,
        ..Frame::default()
    }
    .connections(32);
    assert_eq!(received(guest, "by port", &frames), (0, 32));
    let frames = vec![
        Frame {
            source: (7, 1),
            ..Frame::default()
        }
        .build();
        8
    ];
    assert_eq!(received(guest, "by address", &frames), (8, 0));
    let dropped = Frame {
        port: 7200,
        ..Frame::default()
    }
    .connections(COUNT);
    guest.send("dropped", &dropped, 0);
    for rule in 0..3 {
        guest.run(&format!("ethtool -N $NIC delete {rule}"));
    }
    guest.send("no rule", &dropped, 10);
}
