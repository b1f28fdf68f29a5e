//! A pod sends small datagrams to thousands of clients from one CPU: by the stack, and past it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::OwnedFd,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use xdp_lab::{Nic, Pod};

use crate::{
    benchmarks::filter::Filter,
    instruments::{CPU, Instruments, on_cpu},
    report::{Section, number, ratio, spread},
    stage::{Key, Stage},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    sys::{
        Hook, {self},
    },
    workload::{UDP, Workload},
};

const CLIENTS: u16 = 4096;
const FIRST: u16 = 20_000;
const PORT: u16 = 9000;
/// As long as a query for a name.
const DATAGRAM: [u8; 18] = [7; 18];
const PACKETS: u32 = 200_000;

struct Way<'a> {
    name: &'static str,
    pod: &'a Pod,
    nic: &'a Nic,
    /// More rules for forwarded packets.
    rules: usize,
    ours: bool,
}

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (rounds, packets, epoch) = (suite.rounds(), suite.scaled(PACKETS), suite.next_epoch());
    let least = suite.live_aa;
    let stage = suite.stage()?;
    let addresses = stage.v4(111);
    let workload = Workload::new(&addresses[..110], 100, epoch).with_plain(&addresses[110..]);
    stage.install(&workload)?;
    let stage = &*stage;
    know(stage, &stage.pods[110])?;
    let instruments = Instruments::load(false)?;
    let _counting = [&stage.nic, &stage.plain_nic]
        .map(|nic| count_at_client(&instruments, nic))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let ways = ways(stage);
    let trial = |way: &Way<'_>| trial(stage, &instruments, way, packets as usize);
    // Neighbours, pages, caches and tracked connections.
    for way in &ways {
        trial(way)?;
    }
    let found = interleave(rounds, &ways, trial)?;
    show(section, &ways, &found, least);
    Ok(())
}

fn ways<'a>(stage: &'a Stage<'_>) -> [Way<'a>; 5] {
    let way = |name, ours, rules| Way {
        name,
        pod: &stage.pods[if ours { 110 } else { 112 }],
        nic: if ours { &stage.nic } else { &stage.plain_nic },
        rules,
        ours,
    };
    [
        way("the stack", false, 0),
        way("the stack, 100 more rules", false, 100),
        way("ours", true, 0),
        way("ours, 100 more rules", true, 100),
        way("ours, the same again", true, 0),
    ]
}

fn show(section: &mut Section, ways: &[Way<'_>], found: &[Samples], least: f64) {
    let aa = aa_spread(&found[2], &found[4]).max(least);
    let mut rows = Vec::new();
    for (place, (way, samples)) in ways.iter().zip(found).enumerate() {
        // Ours, with as many rules.
        let times = samples.ratio(&found[2 + place % 2]).median();
        section.keep(format!("replies: {}", way.name), "ns per packet", samples);
        rows.push(vec![way.name.to_owned(), spread(samples), ratio(times, aa)]);
        if !way.ours {
            section.fact(format!("reply_path.out.{}", way.rules), times);
        }
    }
    let title =
        "datagrams of 18 bytes from a pod to 4,096 clients, sender included: ns per packet that arrived";
    section.table(
        title,
        &["way", "minimum / median / maximum", "against ours"],
        rows,
    );
    let bars = ways.iter().zip(found);
    section.bars(
        "reply-path-replies",
        "ns per reply that arrived, sender included",
        "ns",
        bars.map(|(way, samples)| (way.name.to_owned(), samples.median())),
    );
    section.note(format!("Replies: one thread in the pod, 64 datagrams a call; a tc program at the client counts and takes them. The node tracks connections and has the three rules of kube-proxy for forwarded packets, behind none or 100 that do not match; nothing is translated. The stack must have forwarded all packets of its rows and none of ours. A/A spread of ours: {} %.", number(100.0 * aa)));
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

/// Behind the driver: an XDP program there would cost more than the node's share, a veth pair copies every packet for one.
fn count_at_client(instruments: &Instruments, nic: &Nic) -> Result<OwnedFd> {
    let program = instruments.program("sink")?;
    let index = nic.client.interface(&nic.wire)?.index;
    Ok(nic
        .client
        .run(|| sys::attach(&program, index, Hook::TcxIngress))??)
}

/// Nanoseconds for each packet that arrived.
fn trial(stage: &Stage<'_>, instruments: &Instruments, way: &Way<'_>, packets: usize) -> Result<f64> {
    let (IpAddr::V4(own), IpAddr::V4(client)) = (way.pod.v4(), way.nic.client_v4) else {
        bail!("the pod has no IPv4 address");
    };
    let filter = Filter::KubeProxy(way.rules);
    filter.install(stage)?;
    let (before, forwarded) = (instruments.received()?, stage.node.forwarded()?);
    let socket = way.pod.ns.run(|| UdpSocket::bind((own, PORT)))??;
    let took = on_cpu(CPU, || send(&socket, client, packets))?;
    let arrived = instruments.settled(&before, packets as u64)?.packets as usize;
    let forwarded = (stage.node.forwarded()? - forwarded) as usize;
    filter.remove(stage)?;
    let name = way.name;
    ensure!(
        arrived * 100 >= packets * 99,
        "`{name}`: {arrived} of {packets} arrived"
    );
    let is_its = if way.ours {
        forwarded * 100 < packets
    } else {
        forwarded >= arrived
    };
    ensure!(is_its, "`{name}`: the stack forwarded {forwarded} of {packets}");
    Ok(took? / arrived as f64)
}

fn send(socket: &UdpSocket, client: Ipv4Addr, packets: usize) -> Result<f64> {
    let to: Vec<SocketAddrV4> = (FIRST..FIRST + CLIENTS)
        .map(|port| SocketAddrV4::new(client, port))
        .collect();
    let start = Instant::now();
    sys::send_in_turn(socket, &to, &DATAGRAM, packets)?;
    Ok(start.elapsed().as_nanos() as f64)
}
