//! Traffic from clients to pods, and its counters.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use xdp_lab::{HttpServer, RawSocket, UdpReceiver, UdpSender, http_get};

use crate::fixture::{SOON, fixture, reaches};

#[test]
fn every_client_reaches_every_pod_over_both_families() {
    let fixture = fixture();
    for nic in &fixture.nics {
        for pod in [&fixture.ptp, &fixture.bridge] {
            for ip in pod.addresses() {
                assert!(reaches(&nic.client, &pod.ns, ip), "{} to {ip}", nic.client.name());
            }
        }
    }
}

#[test]
fn pods_answer_over_tcp() {
    let fixture = fixture();
    for pod in [&fixture.ptp, &fixture.bridge] {
        for ip in pod.addresses() {
            let server = HttpServer::start(&pod.ns, SocketAddr::new(ip, 80)).unwrap();
            let answer = http_get(&fixture.nics[1].client, server.address(), SOON).unwrap();
            let client = if ip.is_ipv4() {
                fixture.nics[1].client_v4
            } else {
                fixture.nics[1].client_v6
            };
            assert_eq!((answer.peer.ip(), answer.mark), (client, 0));
            assert_eq!(server.served(), [answer]);
        }
    }
}

#[test]
fn ten_thousand_datagrams_arrive_once() {
    let fixture = fixture();
    // Resolve the neighbour first: its queue of waiting packets is short.
    assert!(reaches(
        &fixture.nics[0].client,
        &fixture.ptp.ns,
        fixture.ptp.v4()
    ));
    let receiver = UdpReceiver::bind(&fixture.ptp.ns, SocketAddr::new(fixture.ptp.v4(), 5000)).unwrap();
    let mut sender = UdpSender::new(&fixture.nics[0].client, receiver.address())
        .unwrap()
        .payload(200);
    sender.send(10_000).unwrap();
    let arrived = receiver.wait_for(10_000, SOON).unwrap();
    let stream = &arrived.streams[&sender.stream()];
    assert_eq!(
        (stream.distinct, stream.duplicates, stream.lost(10_000)),
        (10_000, 0, 0)
    );
    assert_eq!((arrived.foreign, arrived.overflowed), (0, 0));
    assert_eq!(arrived.bytes, 10_000 * 200);
    assert_eq!(arrived.marks.into_iter().collect::<Vec<_>>(), [(0, 10_000)]);
    assert_eq!(
        arrived.sources.into_keys().collect::<Vec<_>>(),
        [fixture.nics[0].client_v4]
    );
}

/// `lo` keeps the skb, and with it the sender's mark.
#[test]
fn the_receiver_reads_the_mark_of_each_datagram() {
    let fixture = fixture();
    let receiver = UdpReceiver::bind(&fixture.ptp.ns, "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut marked = UdpSender::new(&fixture.ptp.ns, receiver.address())
        .unwrap()
        .mark(0x2a)
        .unwrap();
    let mut plain = UdpSender::new(&fixture.ptp.ns, receiver.address()).unwrap();
    marked.send(3).unwrap();
    plain.send(2).unwrap();
    let arrived = receiver.wait_for(5, SOON).unwrap();
    assert_eq!(arrived.marks.into_iter().collect::<Vec<_>>(), [(0, 2), (0x2a, 3)]);
}

#[test]
fn paced_datagrams_keep_the_rate() {
    let fixture = fixture();
    let receiver = UdpReceiver::bind(&fixture.ptp.ns, "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut sender = UdpSender::new(&fixture.ptp.ns, receiver.address()).unwrap();
    let start = std::time::Instant::now();
    sender.send_paced(101, 500).unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(199),
        "{:?}",
        start.elapsed()
    );
    receiver.wait_for(101, SOON).unwrap();
}

#[test]
fn additional_client_addresses_send_and_receive() {
    let fixture = fixture();
    let (client, pod) = (&fixture.nics[1].client, &fixture.ptp);
    for source in ["192.0.2.7", "2001:db8::7"] {
        let source: IpAddr = source.parse().unwrap();
        fixture.nics[1].add_client_address(source).unwrap();
        let ip = if source.is_ipv4() { pod.v4() } else { pod.v6() };
        let receiver = UdpReceiver::bind(&pod.ns, SocketAddr::new(ip, 0)).unwrap();
        let from = SocketAddr::new(source, 0);
        UdpSender::from(client, from, receiver.address())
            .unwrap()
            .send(1)
            .unwrap();
        let arrived = receiver.wait_for(1, SOON).unwrap();
        assert!(arrived.sources.contains_key(&source), "{arrived:?}");
        assert!(reaches(&pod.ns, client, source));
    }
}

#[test]
fn raw_frames_arrive_byte_for_byte_and_are_counted() {
    let fixture = fixture();
    let nic = &fixture.nics[0];
    let receiver = RawSocket::receiver(fixture.lab.node(), &nic.name).unwrap();
    let sender = RawSocket::sender(&nic.client, &nic.wire).unwrap();
    let before = fixture.lab.node().counters(&nic.name).unwrap();
    // IEEE's EtherType for experiments.
    let mut frame = [nic.mac, nic.client_mac].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend(0..=99);
    sender.send(&frame).unwrap();
    let arrived = receiver
        .receive(SOON, |frame| frame[12..14] == [0x88, 0xb5])
        .unwrap();
    assert_eq!(arrived, frame);
    let after = fixture.lab.node().counters(&nic.name).unwrap();
    assert!(after.rx_packets > before.rx_packets);
    assert!(after.rx_bytes >= before.rx_bytes + frame.len() as u64);
}

#[test]
fn frames_to_a_full_queue_are_sent_later() {
    let fixture = fixture();
    let nic = &fixture.nics[0];
    let mut slow = Command::new("tc");
    slow.args(["qdisc", "add", "dev", &nic.wire, "root"]);
    slow.args(["tbf", "rate", "8mbit", "burst", "2000", "limit", "2000"]);
    let slow = nic.client.spawn(slow).unwrap().finish(SOON).unwrap();
    assert!(slow.status.success(), "{slow:?}");
    let receiver = RawSocket::receiver(fixture.lab.node(), &nic.name).unwrap();
    let sender = RawSocket::sender(&nic.client, &nic.wire).unwrap();
    let head = [&nic.mac[..], &nic.client_mac[..], &[0x88, 0xb5]].concat();
    for number in 0..100_u8 {
        sender.send(&[&head[..], &[number; 100]].concat()).unwrap();
    }
    let is_sent = |frame: &[u8]| frame.starts_with(&head);
    let last = |frame: &[u8]| is_sent(frame) && frame[14] == 99;
    let arrived = receiver.receive_until(SOON, last).unwrap();
    let arrived = arrived.iter().filter(|frame| is_sent(frame));
    assert!(arrived.map(|frame| frame[14]).eq(0..100));
}

/// Otherwise redirected packets would be dropped as corrupt.
#[test]
fn clients_send_complete_checksums() {
    let fixture = fixture();
    let nic = &fixture.nics[0];
    let receiver = RawSocket::receiver(fixture.lab.node(), &nic.name).unwrap();
    let address = SocketAddr::new(fixture.ptp.v4(), 7777);
    let _pod = UdpReceiver::bind(&fixture.ptp.ns, address).unwrap();
    UdpSender::new(&nic.client, address).unwrap().send(1).unwrap();
    let frame = receiver
        .receive(SOON, |frame| {
            frame.len() > 40 && frame[36..38] == 7777_u16.to_be_bytes()
        })
        .unwrap();
    // Pseudo header: addresses, protocol and length; then the datagram with its checksum: the sum must be all
    // ones.
    let udp = &frame[34..];
    let mut summed = frame[26..34].to_vec();
    summed.extend([0, 17]);
    summed.extend((udp.len() as u16).to_be_bytes());
    summed.extend(udp);
    summed.resize(summed.len().next_multiple_of(2), 0);
    let sum: u32 = summed
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
}
