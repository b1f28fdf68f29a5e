//! More sources than there is room for.

use std::time::{Duration, Instant};

use xdp_lab::{RawSocket, Style, UdpReceiver, UdpSender};

use crate::{
    fixture::{Fixture, PATIENCE, at},
    frames::{on_wire, udp},
};

/// Several times as many as have a limit of their own, which are 65,536.
const FLOOD: u32 = 200_000;
const BURST: u64 = 100;

/// Where the source address is in a frame without tags.
const SOURCE: std::ops::Range<usize> = 26..30;

#[test]
fn a_flood_of_sources_takes_nothing_from_an_honest_one_and_is_told() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let rule = format!(
        "{{name: players, ports: [{{protocol: UDP, port: 7777}}], action: Redirect, mark: 1, rateLimit: \
         {{packetsPerSecond: 1, burst: {BURST}, per: Source}}}}"
    );
    fixture.policy("players", &[&rule]);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut honest = UdpSender::new(&fixture.client, to).unwrap();
    let start = Instant::now();
    honest.send(BURST / 2).unwrap();
    inbox.wait_for(BURST / 2, PATIENCE).unwrap();

    let nic = &fixture.nic;
    let wire = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    let mut frame = on_wire(nic, &[], &udp(nic.client_v4, pod.v4(), 7777, b"who am I?"));
    let began = Instant::now();
    for number in 0..FLOOD {
        // The pod's kernel drops them for their checksums; what matters comes before.
        frame[SOURCE].copy_from_slice(&(0x0b00_0000 + number).to_be_bytes());
        wire.send(&frame).unwrap();
    }
    println!("{FLOOD} sources in {:?}", began.elapsed());
    let status = agent.wait_for("the flood is counted", |status| {
        let [redirected, _, _, _, _, limited, ..] = status.counts("players");
        redirected + limited == BURST / 2 + u64::from(FLOOD)
    });
    let crowded = status.happened("events", "SourceLimitTableFull");
    println!(
        "{crowded} of them without a limit of their own; {:?}",
        status.counts("players")
    );
    assert!(crowded > 0);

    // It has used half of its burst: the other half is still its own, and no more than that.
    honest.send(2 * BURST).unwrap();
    agent.wait_for("the honest one is judged", |status| {
        let [redirected, _, _, _, _, limited, ..] = status.counts("players");
        redirected + limited == BURST / 2 + u64::from(FLOOD) + 2 * BURST
    });
    let arrived = || inbox.stream(honest.stream()).distinct;
    xdp_lab::wait_until("its other half arrives", PATIENCE, || arrived() >= BURST).unwrap();
    let earned = start.elapsed().as_secs() + 1;
    assert!(
        start.elapsed() < Duration::from_mins(1),
        "too slow to say anything"
    );
    assert!((BURST..=BURST + earned).contains(&arrived()), "{}", arrived());
}
