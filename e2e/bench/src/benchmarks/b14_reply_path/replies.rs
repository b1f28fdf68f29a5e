//! A pod sends small datagrams to thousands of clients from one CPU: through the stack, and bypassing it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::OwnedFd,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use xdp_lab::{LabPod, Nic, bpf::BpfAttachType};

use crate::{
    benchmarks::filter::Filter,
    instruments::{CPU, Instruments, on_cpu},
    report::{Section, number, ratio, spread},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    sys,
    testbed::{FlowMapKey, Testbed},
    workload::{UDP, Workload},
};

const CLIENTS: u16 = 4096;
const FIRST: u16 = 20_000;
const PORT: u16 = 9000;
/// As long as a DNS query.
const DATAGRAM: [u8; 18] = [7; 18];
const PACKETS: u32 = 200_000;

struct Variant<'a> {
    name: &'static str,
    pod: &'a LabPod,
    nic: &'a Nic,
    /// More rules for forwarded packets.
    rules: usize,
    product: bool,
}

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (passes, packets, epoch) = (suite.passes(), suite.scaled(PACKETS), suite.next_epoch());
    let least = suite.live_aa;
    let testbed = suite.testbed()?;
    let addresses = testbed.v4(111);
    let workload = Workload::new(&addresses[..110], 100, epoch).with_plain(&addresses[110..]);
    testbed.install(&workload)?;
    let testbed = &*testbed;
    track_clients(testbed, &testbed.pods[110])?;
    let instruments = Instruments::load(false)?;
    let _counting = [&testbed.nic, &testbed.plain_nic]
        .map(|nic| count_at_client(&instruments, nic))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let variants = variants(testbed);
    let trial = |variant: &Variant<'_>| trial(testbed, &instruments, variant, packets as usize);
    // Warms up neighbour entries, pages, caches and conntrack.
    for variant in &variants {
        trial(variant)?;
    }
    let found = interleave(passes, &variants, trial)?;
    show(section, &variants, &found, least);
    Ok(())
}

fn variants<'a>(testbed: &'a Testbed<'_>) -> [Variant<'a>; 5] {
    let variant = |name, product, rules| Variant {
        name,
        pod: &testbed.pods[if product { 110 } else { 112 }],
        nic: if product { &testbed.nic } else { &testbed.plain_nic },
        rules,
        product,
    };
    [
        variant("the stack", false, 0),
        variant("the stack, 100 more rules", false, 100),
        variant("xdp-operator", true, 0),
        variant("xdp-operator, 100 more rules", true, 100),
        variant("xdp-operator, again", true, 0),
    ]
}

fn show(section: &mut Section, variants: &[Variant<'_>], found: &[Samples], least: f64) {
    let aa = aa_spread(&found[2], &found[4]).max(least);
    let mut rows = Vec::new();
    for (index, (variant, samples)) in variants.iter().zip(found).enumerate() {
        // The variant of the product with as many rules.
        let times = samples.ratio(&found[2 + index % 2]).median();
        section.add_trials(format!("replies: {}", variant.name), "ns per packet", samples);
        rows.push(vec![variant.name.to_owned(), spread(samples), ratio(times, aa)]);
        if !variant.product {
            section.fact(format!("reply_path.out.{}", variant.rules), times);
        }
    }
    let title =
        "datagrams of 18 bytes from a pod to 4,096 clients, sender included: ns per packet that arrived";
    section.table(
        title,
        &["path", "minimum / median / maximum", "relative to xdp-operator"],
        rows,
    );
    let bars = variants.iter().zip(found);
    section.bars(
        "reply-path-replies",
        "ns per reply that arrived, sender included",
        "ns",
        bars.map(|(variant, samples)| (variant.name.to_owned(), samples.median())),
    );
    section.note(format!("Replies: one thread in the pod sends 64 datagrams per call; a tc program at the client counts and drops them. The node tracks connections and has kube-proxy's three rules for forwarded packets, after 0 or 100 rules that do not match; there is no NAT. The stack must have forwarded all packets of its own rows, and none of the rows of xdp-operator. A/A spread of xdp-operator: {} %.", number(100.0 * aa)));
}

/// Tracks flows of all clients, so that the pod's replies to them bypass the stack.
fn track_clients(testbed: &Testbed<'_>, pod: &LabPod) -> Result<()> {
    let status = testbed
        .agent
        .wait_for("the pod's rules are programmed", |status| {
            status.ready(pod.ns.name())
        });
    let slot = status.pod(pod.ns.name()).and_then(|pod| pod["slot"].as_u64());
    let mut established = testbed.established_flows()?;
    for port in FIRST..FIRST + CLIENTS {
        let key = FlowMapKey::new((testbed.nic.client_v4, port), (pod.v4(), PORT), UDP);
        established.insert(key, slot.unwrap_or_default(), 0)?;
    }
    Ok(())
}

/// Counts packets at the client with tc. With an XDP program the veth would copy every packet, which costs
/// more than the node's part.
fn count_at_client(instruments: &Instruments, nic: &Nic) -> Result<OwnedFd> {
    let program = instruments.program("sink")?;
    let index = nic.client.interface(&nic.wire)?.index;
    Ok(nic
        .client
        .run(|| sys::attach(&program, index, BpfAttachType::TcxIngress))??)
}

/// Returns the nanoseconds per packet that arrived.
fn trial(
    testbed: &Testbed<'_>,
    instruments: &Instruments,
    variant: &Variant<'_>,
    packets: usize,
) -> Result<f64> {
    let (IpAddr::V4(own), IpAddr::V4(client)) = (variant.pod.v4(), variant.nic.client_v4) else {
        bail!("the pod has no IPv4 address");
    };
    let filter = Filter::KubeProxy(variant.rules);
    filter.install(testbed)?;
    let (before, forwarded) = (instruments.received()?, testbed.node.forwarded()?);
    let socket = variant.pod.ns.run(|| UdpSocket::bind((own, PORT)))??;
    let took = on_cpu(CPU, || send(&socket, client, packets))?;
    let arrived = instruments.wait_received(&before, packets as u64)?.packets as usize;
    let forwarded = (testbed.node.forwarded()? - forwarded) as usize;
    filter.remove(testbed)?;
    let name = variant.name;
    ensure!(
        arrived * 100 >= packets * 99,
        "`{name}`: {arrived} of {packets} arrived"
    );
    let is_expected = if variant.product {
        forwarded * 100 < packets
    } else {
        forwarded >= arrived
    };
    ensure!(
        is_expected,
        "`{name}`: the stack forwarded {forwarded} of {packets}"
    );
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
