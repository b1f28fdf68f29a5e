//! SCTP, as frames: a kernel without SCTP forwards it too.

use std::net::IpAddr;

use xdp_lab::RawSocket;

use crate::{
    fixture::{Fixture, PATIENCE, expect_only},
    frames::{any, on_wire},
};

const SCTP: u8 = 132;

/// A common header and an `INIT` chunk, which opens an association.
fn packet(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let mut upper = vec![0x0f, 0xa0];
    upper.extend(port.to_be_bytes());
    upper.extend([0; 8]);
    upper.extend([1, 0, 0, 20]);
    upper.extend([0; 16]);
    any(from, to, SCTP, &upper)
}

#[test]
fn sctp_is_matched_by_its_own_ports_and_names_and_redirected() {
    let fixture = Fixture::new();
    let ports = "[{name: diameter, protocol: SCTP, containerPort: 3868}, {name: diameter, protocol: TCP, containerPort: 80}]";
    let pod = fixture.pod_with_ports("server", "game", 5, ports);
    fixture.policy(
        "players",
        &[
            "{name: tcp, ports: [{protocol: TCP}, {protocol: UDP}], action: Drop}",
            "{name: named, ports: [{protocol: SCTP, port: diameter}], action: Redirect, mark: 1}",
            "{name: range, ports: [{protocol: SCTP, port: 36412, endPort: 65535}], action: Redirect, mark: 2}",
            "{name: rest, ports: [{protocol: SCTP}], action: Drop}",
        ],
    );
    let agent = fixture.start(&["server"]);
    let nic = &fixture.nic;
    let out = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    for (from, to) in [(nic.client_v4, pod.v4()), (nic.client_v6, pod.v6())] {
        let tap = RawSocket::receiver(&pod.ns, "eth0").unwrap();
        for port in [80, 3867, 3869, 36411, 0] {
            out.send(&on_wire(nic, &[], &packet(from, to, port))).unwrap();
        }
        for port in [3868, 36412, 65535] {
            let packet = packet(from, to, port);
            out.send(&on_wire(nic, &[], &packet)).unwrap();
            let seen = tap.receive(PATIENCE, |seen| seen.ends_with(&packet)).unwrap();
            assert_eq!(seen[..6], pod.mac);
        }
    }
    expect_only(&agent, "tcp", &[]);
    expect_only(&agent, "named", &[("redirected", 2), ("delivered", 2)]);
    expect_only(&agent, "range", &[("redirected", 4), ("delivered", 4)]);
    expect_only(&agent, "rest", &[("dropped", 10)]);
}
