//! More sources than the table of limits holds.

use std::time::{Duration, Instant};

use xdp_lab::{RawSocket, Style, UdpReceiver, UdpSender};

use crate::{
    fixture::{Fixture, PATIENCE, at},
    frames::{on_wire, udp},
};

/// Several times the capacity of the table, 65,536.
const FLOOD: u32 = 200_000;
const BURST: u64 = 60;

/// The source address in a frame without tags.
const SOURCE: std::ops::Range<usize> = 26..30;

#[test]
fn a_flood_of_sources_does_not_reduce_the_limit_of_another_source_and_is_counted() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let rule = format!(
        "{{name: players, ports: [{{protocol: UDP, port: 7777}}], action: Redirect, mark: 1, rateLimit: \
         {{packetsPerSecond: 1, burst: {BURST}, per: Source}}}}"
    );
    fixture.policy("players", &[&rule]);
    // Nothing redirects packets of a source without a route.
    fixture.nic.make_gateway().unwrap();
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut client = UdpSender::new(&fixture.client, to).unwrap();
    let start = Instant::now();
    client.send(BURST / 2).unwrap();
    inbox.wait_for(BURST / 2, PATIENCE).unwrap();

    let nic = &fixture.nic;
    let wire = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    let mut frame = on_wire(nic, &[], &udp(nic.client_v4, pod.v4(), 7777, b"flood"));
    let began = Instant::now();
    for number in 0..FLOOD {
        // The pod's kernel drops them because of their checksums, after the program has counted them.
        frame[SOURCE].copy_from_slice(&(0x0b00_0000 + number).to_be_bytes());
        wire.send(&frame).unwrap();
    }
    println!("{FLOOD} sources in {:?}", began.elapsed());
    let status = agent.wait_for("the flood is counted", |status| {
        // Datagrams from that many sources also exceed what a pod may open in a second.
        let [redirected, _, _, _, _, limited, _, fell_back] = status.counts("players");
        redirected + limited + fell_back == BURST / 2 + u64::from(FLOOD)
    });
    let unlimited = status.happened("events", "SourceLimitTableFull");
    println!(
        "{unlimited} of them without a limit of their own; {:?}",
        status.counts("players")
    );
    assert!(unlimited > 0);

    // The client has used half of its burst: it still has exactly the other half.
    client.send(2 * BURST).unwrap();
    agent.wait_for("the client's packets are counted", |status| {
        let [redirected, _, _, _, _, limited, _, fell_back] = status.counts("players");
        redirected + limited + fell_back == BURST / 2 + u64::from(FLOOD) + 2 * BURST
    });
    let arrived = || inbox.stream(client.stream()).distinct;
    xdp_lab::wait_until("the other half arrives", PATIENCE, || arrived() >= BURST).unwrap();
    let earned = start.elapsed().as_secs() + 1;
    assert!(
        start.elapsed() < Duration::from_mins(1),
        "the machine is too slow for this test"
    );
    assert!((BURST..=BURST + earned).contains(&arrived()), "{}", arrived());
}
