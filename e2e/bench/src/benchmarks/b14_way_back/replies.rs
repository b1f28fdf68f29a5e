//! A pod sends small datagrams to thousands of clients from one CPU: by the stack, and past it.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use xdp_lab::{Nic, Pod};

use crate::benchmarks::live::Filter;
use crate::instruments::{CPU, Instruments, on_cpu};
use crate::report::{Section, ratio, spread};
use crate::stage::{Key, Stage};
use crate::stats::interleave;
use crate::suite::Suite;
use crate::sys::{self, Hook};
use crate::workload::{UDP, Workload};

const CLIENTS: u16 = 4096;
const FIRST: u16 = 20_000;
const PORT: u16 = 9000;
/// As long as a query for a name.
const DATAGRAM: [u8; 18] = [7; 18];
const PACKETS: u32 = 100_000;

struct Way<'a> {
    name: &'static str,
    pod: &'a Pod,
    nic: &'a Nic,
    filter: Filter,
}

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (rounds, packets, epoch, aa) = (
        suite.rounds(),
        suite.scaled(PACKETS) as usize,
        suite.next_epoch(),
        suite.live_aa,
    );
    let stage = suite.stage()?;
    let addresses = stage.v4(111);
    let workload = Workload::new(&addresses[..110], 100, epoch).with_plain(&addresses[110..]);
    stage.install(&workload)?;
    let stage = &*stage;
    let [ours, unselected] = [&stage.pods[110], &stage.pods[112]];
    know(stage, ours)?;
    let instruments = Instruments::load(false)?;
    let _drops = [&stage.nic, &stage.plain_nic]
        .map(|nic| drop_at_client(&instruments, nic))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let way = |name, pod, nic, filter| Way {
        name,
        pod,
        nic,
        filter,
    };
    let ways = [
        way("the stack", unselected, &stage.plain_nic, Filter::KubeProxy(0)),
        way(
            "the stack, 100 more rules",
            unselected,
            &stage.plain_nic,
            Filter::KubeProxy(100),
        ),
        way("ours", ours, &stage.nic, Filter::KubeProxy(0)),
        way("ours, 100 more rules", ours, &stage.nic, Filter::KubeProxy(100)),
    ];
    // Neighbours, pages, caches and tracked connections.
    for way in &ways {
        trial(stage, way, packets)?;
    }
    let found = interleave(rounds, &ways, |way| trial(stage, way, packets))?;
    let mut rows = Vec::new();
    for (place, (way, samples)) in ways.iter().zip(&found).enumerate() {
        let times = samples.ratio(&found[2 + place % 2]).median();
        section.keep(format!("replies: {}", way.name), "ns per packet", samples);
        rows.push(vec![way.name.to_owned(), spread(samples), ratio(times, aa)]);
    }
    for (place, rules) in ["0", "100"].into_iter().enumerate() {
        let times = found[place].ratio(&found[2 + place]).median();
        section.fact(format!("way_back.out.{rules}"), times);
    }
    section.table(
        "datagrams of 18 bytes from a pod to 4,096 clients, sender included",
        &["way", "ns per packet", "against ours"],
        rows,
    );
    section.note("One thread in the pod, 64 datagrams a call; a program on the client's wire drops them. The node has kube-proxy's three rules for forwarded packets, and tracks connections.");
    Ok(())
}

/// Its replies to all these clients are ours.
fn know(stage: &Stage<'_>, pod: &Pod) -> Result<()> {
    let status = stage.agent.wait_for("the pod's rules are in force", |status| {
        status.ready(pod.ns.name())
    });
    let slot = status.pod(pod.ns.name()).and_then(|pod| pod["slot"].as_u64());
    let mut known = stage.known()?;
    for port in FIRST..FIRST + CLIENTS {
        let key = Key::new((stage.nic.client_v4, port), (pod.v4(), PORT), UDP);
        known.insert(key, slot.unwrap_or_default(), 0)?;
    }
    Ok(())
}

fn drop_at_client(instruments: &Instruments, nic: &Nic) -> Result<std::os::fd::OwnedFd> {
    let program = instruments.program("drop_all")?;
    let index = nic.client.interface(&nic.wire)?.index;
    Ok(nic.client.run(|| sys::attach(&program, index, Hook::Xdp))??)
}

/// Nanoseconds for each packet.
fn trial(stage: &Stage<'_>, way: &Way<'_>, packets: usize) -> Result<f64> {
    let (IpAddr::V4(own), IpAddr::V4(client)) = (way.pod.v4(), way.nic.client_v4) else {
        bail!("the pod has no IPv4 address");
    };
    way.filter.install(stage)?;
    let before = stage.node.counters(&way.nic.name)?.tx_packets;
    let socket = way.pod.ns.run(|| UdpSocket::bind((own, PORT)))??;
    let sent = on_cpu(CPU, || send(&socket, client, packets))?;
    way.filter.remove(stage)?;
    let left = stage.node.counters(&way.nic.name)?.tx_packets - before;
    ensure!(
        left as usize * 100 >= packets * 99,
        "`{}`: {left} of {packets} left",
        way.name
    );
    Ok(sent? / packets as f64)
}

fn send(socket: &UdpSocket, client: Ipv4Addr, packets: usize) -> Result<f64> {
    let to: Vec<SocketAddrV4> = (FIRST..FIRST + CLIENTS)
        .map(|port| SocketAddrV4::new(client, port))
        .collect();
    let start = Instant::now();
    sys::send_in_turn(socket, &to, &DATAGRAM, packets)?;
    Ok(start.elapsed().as_nanos() as f64)
}
