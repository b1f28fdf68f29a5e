//! Real clients through the node: iperf3, and requests that are answered.

mod echo;
mod iperf;

use anyhow::{Context as _, Result, ensure};
use xdp_lab::{Namespace, Pod};

use self::echo::{Echo, Transport};
use crate::{
    benchmarks::filter::Filter,
    report::{Section, number, ratio, spread},
    stage::Stage,
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    workload::Workload,
};

/// Rules as a cluster's node has them.
const CLUSTER: &str = ", kube-proxy and masquerade";
/// Packets that may go through the stack beside those of a trial.
const FEW: u64 = 100;
/// Requests of one trial.
const REQUESTS: u32 = 1500;

/// A client's way to a pod.
struct Way<'a> {
    name: String,
    from: &'a Namespace,
    pod: &'a Pod,
    filter: Filter,
    /// The way without us, behind the same rules.
    without: usize,
}

/// Their places among the ways.
mod place {
    pub(super) const UNSELECTED: usize = 1;
    pub(super) const REDIRECT: usize = 2;
    /// The same behind the rules of a cluster.
    pub(super) const CLUSTER: usize = 4;
    /// The last one: as `CLUSTER + REDIRECT`.
    pub(super) const AGAIN: usize = 12;
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (rounds, requests, epoch, least) = (
        suite.rounds(),
        suite.scaled(REQUESTS),
        suite.next_epoch(),
        suite.live_aa,
    );
    let stage = suite.stage()?;
    let addresses = stage.v4(112);
    let mut workload = Workload::new(&addresses[..110], 100, epoch).with_plain(&addresses[110..]);
    workload.targets[111].peer = true;
    stage.install(&workload)?;
    let stage = &*stage;
    let pods = [&stage.pods[110], &stage.pods[111], &stage.pods[112]];
    let echoes = pods
        .iter()
        .map(|pod| Echo::start(pod))
        .collect::<Result<Vec<_>>>()?;
    let servers = pods
        .iter()
        .map(|pod| iperf::serve(pod))
        .collect::<Result<Vec<_>>>()?;
    let ways = ways(stage);
    let mut section = Section::new("", "");
    let title = "TCP throughput, one connection (iperf3), Gbit/s";
    let found = throughput(stage, &ways, rounds)?;
    show(&mut section, title, "tcp", &ways, &found, least);
    let gain = |from: usize| found[from + place::REDIRECT].ratio(&found[from + place::UNSELECTED]);
    section.fact("reply_path.tcp", gain(place::CLUSTER).median());
    section.fact("reply_path.tcp.bare", gain(0).median());
    for (transport, title) in [(Transport::Tcp, "TCP"), (Transport::Udp, "UDP")] {
        let (p50, p99) = latencies(stage, &ways, transport, (rounds, requests))?;
        for (quantile, samples) in [("p50", p50), ("p99", p99)] {
            let what = format!("{title} request and answer of 64 bytes, {quantile}, µs");
            let fact = format!("{title}.{quantile}");
            show(&mut section, &what, &fact, &ways, &samples, least);
        }
    }
    drop((echoes, servers));
    notes(&mut section);
    Ok(section)
}

/// What receivers counted. Packets that we deliver must not be the stack's in either direction.
fn throughput(stage: &Stage<'_>, ways: &[Way<'_>], rounds: usize) -> Result<Vec<Samples>> {
    interleave(rounds, ways, |way| {
        with(stage, way.filter, || {
            let before = stage.node.forwarded()?;
            let gigabits = iperf::gigabits(way.from, way.pod).with_context(|| format!("`{}`", way.name))?;
            let forwarded = stage.node.forwarded()? - before;
            let ours = way.pod.ns.name() != stage.pods[112].ns.name();
            ensure!(
                !ours || forwarded < FEW,
                "`{}`: the stack forwarded {forwarded} packets",
                way.name
            );
            Ok(gigabits)
        })
    })
}

/// Median and 99th percentile of each trial.
fn latencies(
    stage: &Stage<'_>,
    ways: &[Way<'_>],
    transport: Transport,
    (rounds, requests): (usize, u32),
) -> Result<(Vec<Samples>, Vec<Samples>)> {
    let mut slow: Vec<Samples> = ways.iter().map(|_| Samples::default()).collect();
    let numbered: Vec<(usize, &Way<'_>)> = ways.iter().enumerate().collect();
    let p50 = interleave(rounds, &numbered, |(who, way)| {
        let took = with(stage, way.filter, || {
            echo::request(way.from, way.pod, transport, requests)
        })?;
        slow[*who].0.push(took.quantile(0.99));
        Ok::<_, anyhow::Error>(took.median())
    })?;
    Ok((p50, slow))
}

fn ways<'a>(stage: &'a Stage<'a>) -> Vec<Way<'a>> {
    let (ours, plain) = (&stage.nic.client, &stage.plain_nic.client);
    let [redirect, peer, unselected] = [&stage.pods[110], &stage.pods[111], &stage.pods[112]];
    let mut ways = Vec::new();
    for (filter, rules) in [
        (Filter::Empty, ""),
        (Filter::Cluster, CLUSTER),
        (Filter::Iptables(1000), ", 1,000 iptables rules"),
    ] {
        let without = ways.len();
        let way = |name: &str, from, pod| Way {
            name: format!("{name}{rules}"),
            from,
            pod,
            filter,
            without,
        };
        ways.extend([
            way("without us", plain, unselected),
            way("attached, pod not selected", ours, unselected),
            way("delivery: Redirect", ours, redirect),
            way("delivery: Peer", ours, peer),
        ]);
    }
    ways.push(Way {
        name: format!("delivery: Redirect, the same again{CLUSTER}"),
        from: ours,
        pod: redirect,
        filter: Filter::Cluster,
        without: place::CLUSTER,
    });
    ways
}

fn with<T>(stage: &Stage<'_>, filter: Filter, work: impl FnOnce() -> Result<T>) -> Result<T> {
    filter.install(stage)?;
    let done = work();
    filter.remove(stage)?;
    done
}

fn show(section: &mut Section, title: &str, fact: &str, ways: &[Way<'_>], samples: &[Samples], least: f64) {
    let same = [&samples[place::CLUSTER + place::REDIRECT], &samples[place::AGAIN]];
    let aa = aa_spread(same[0], same[1]).max(least);
    let mut rows = Vec::new();
    for (place, (way, one)) in ways.iter().zip(samples).enumerate() {
        let times = one.ratio(&samples[way.without]).median();
        section.keep(format!("{title}: {}", way.name), "", one);
        section.fact(format!("clients.{fact}.{place}"), times);
        rows.push(vec![way.name.clone(), spread(one), ratio(times, aa)]);
    }
    section.table(
        title,
        &["way", "minimum / median / maximum", "against without us"],
        rows,
    );
    let name = format!("clients-{}", fact.to_lowercase().replace('.', "-"));
    let bars = ways.iter().zip(samples);
    section.bars(
        &name,
        title,
        "",
        bars.map(|(way, one)| (way.name.clone(), one.median())),
    );
    section.note(format!("{title}: A/A spread {} %.", number(100.0 * aa)));
}

fn notes(section: &mut Section) {
    let fact = |name: &str| number(section.facts.get(name).copied().unwrap_or(f64::NAN));
    let (least, gain, bare) = (
        fact("clients.tcp.1"),
        fact("reply_path.tcp"),
        fact("reply_path.tcp.bare"),
    );
    section.note("Kube-proxy and masquerade: the rules of a real kube-proxy of Kubernetes 1.36 (iptables mode, which drops what connection tracking calls INVALID) and a rule of the network plugin for each pod that translates what it sends. With Redirect and Peer both directions go past them: the stack must have forwarded next to nothing in each of those iperf3 trials.");
    section.note(format!("What the fast path gives TCP on one and the same NIC (T24), Redirect against a pod that no policy selects: {gain}× behind these rules, {bare}× with none."));
    section.note(format!("A veth pair stands for the NIC, and one with an XDP program takes no large segments and copies every packet: bulk TCP falls to {least}× by the program's mere presence. A NIC's driver makes packets of the same size with and without XDP; the last column says nothing about one."));
    section.note("Clients, node and pods share the CPUs: a request is answered on the same machine. The 1,000 rules match nothing; only what goes through the stack meets them.");
}
