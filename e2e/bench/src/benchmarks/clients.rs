//! Real clients through the node: iperf3, and requests to an echo server.

mod echo;
mod iperf;

use anyhow::{Context as _, Result, ensure};
use xdp_lab::{LabPod, Namespace};

use self::echo::Transport;
use crate::{
    benchmarks::filter::Filter,
    report::{Section, number, ratio, spread},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    testbed::Testbed,
    workload::Workload,
};

/// Suffix for the rules of a cluster's node.
const CLUSTER: &str = ", kube-proxy and masquerade";
/// Packets of other traffic that may take the stack during a trial.
const FEW: u64 = 100;
/// Requests of one trial.
const REQUESTS: u32 = 1500;

/// A path from a client to a pod.
struct Variant<'a> {
    name: String,
    from: &'a Namespace,
    pod: &'a LabPod,
    filter: Filter,
    /// Index of the variant without the product, with the same rules.
    without: usize,
}

/// Indexes of some variants.
mod index {
    pub(super) const UNSELECTED: usize = 1;
    pub(super) const REDIRECT: usize = 2;
    /// First variant with the rules of a cluster.
    pub(super) const CLUSTER: usize = 4;
    /// The last one: a copy of `CLUSTER + REDIRECT`.
    pub(super) const AGAIN: usize = 12;
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (passes, requests, epoch, least) = (
        suite.passes(),
        suite.scaled(REQUESTS),
        suite.next_epoch(),
        suite.live_aa,
    );
    let testbed = suite.testbed()?;
    let addresses = testbed.v4(112);
    let mut workload = Workload::new(&addresses[..110], 100, epoch).with_plain(&addresses[110..]);
    workload.targets[111].peer = true;
    testbed.install(&workload)?;
    let testbed = &*testbed;
    let pods = [&testbed.pods[110], &testbed.pods[111], &testbed.pods[112]];
    let echoes = pods
        .iter()
        .map(|pod| echo::serve(pod))
        .collect::<Result<Vec<_>>>()?;
    let servers = pods
        .iter()
        .map(|pod| iperf::serve(pod))
        .collect::<Result<Vec<_>>>()?;
    let variants = variants(testbed);
    let mut section = Section::new("", "");
    let title = "TCP throughput, one connection (iperf3), Gbit/s";
    let found = throughput(testbed, &variants, passes)?;
    show(&mut section, title, "tcp", &variants, &found, least);
    let gain = |from: usize| found[from + index::REDIRECT].ratio(&found[from + index::UNSELECTED]);
    section.fact("reply_path.tcp", gain(index::CLUSTER).median());
    section.fact("reply_path.tcp.bare", gain(0).median());
    for (transport, title) in [(Transport::Tcp, "TCP"), (Transport::Udp, "UDP")] {
        let (p50, p99) = latencies(testbed, &variants, transport, (passes, requests))?;
        for (quantile, samples) in [("p50", p50), ("p99", p99)] {
            let what = format!("{title} request and response of 64 bytes, {quantile}, µs");
            let fact = format!("{title}.{quantile}");
            show(&mut section, &what, &fact, &variants, &samples, least);
        }
    }
    drop((echoes, servers));
    notes(&mut section);
    Ok(section)
}

/// Returns the throughput that receivers counted. The stack must not forward packets of selected pods in
/// either direction.
fn throughput(testbed: &Testbed<'_>, variants: &[Variant<'_>], passes: usize) -> Result<Vec<Samples>> {
    interleave(passes, variants, |variant| {
        with(testbed, variant.filter, || {
            let before = testbed.node.forwarded()?;
            let gigabits =
                iperf::gigabits(variant.from, variant.pod).with_context(|| format!("`{}`", variant.name))?;
            let forwarded = testbed.node.forwarded()? - before;
            let product = variant.pod.ns.name() != testbed.pods[112].ns.name();
            ensure!(
                !product || forwarded < FEW,
                "`{}`: the stack forwarded {forwarded} packets",
                variant.name
            );
            Ok(gigabits)
        })
    })
}

/// Returns the median and the 99th percentile of each trial.
fn latencies(
    testbed: &Testbed<'_>,
    variants: &[Variant<'_>],
    transport: Transport,
    (passes, requests): (usize, u32),
) -> Result<(Vec<Samples>, Vec<Samples>)> {
    let mut slow: Vec<Samples> = variants.iter().map(|_| Samples::default()).collect();
    let numbered: Vec<(usize, &Variant<'_>)> = variants.iter().enumerate().collect();
    let p50 = interleave(passes, &numbered, |(number, variant)| {
        let took = with(testbed, variant.filter, || {
            echo::request(variant.from, variant.pod, transport, requests)
        })?;
        slow[*number].0.push(took.quantile(0.99));
        Ok::<_, anyhow::Error>(took.median())
    })?;
    Ok((p50, slow))
}

fn variants<'a>(testbed: &'a Testbed<'a>) -> Vec<Variant<'a>> {
    let (product, plain) = (&testbed.nic.client, &testbed.plain_nic.client);
    let [redirect, peer, unselected] = [&testbed.pods[110], &testbed.pods[111], &testbed.pods[112]];
    let mut variants = Vec::new();
    for (filter, rules) in [
        (Filter::Empty, ""),
        (Filter::Cluster, CLUSTER),
        (Filter::Iptables(1000), ", 1,000 iptables rules"),
    ] {
        let without = variants.len();
        let variant = |name: &str, from, pod| Variant {
            name: format!("{name}{rules}"),
            from,
            pod,
            filter,
            without,
        };
        variants.extend([
            variant("without xdp-operator", plain, unselected),
            variant("attached, pod not selected", product, unselected),
            variant("delivery: Redirect", product, redirect),
            variant("delivery: Peer", product, peer),
        ]);
    }
    variants.push(Variant {
        name: format!("delivery: Redirect, again{CLUSTER}"),
        from: product,
        pod: redirect,
        filter: Filter::Cluster,
        without: index::CLUSTER,
    });
    variants
}

fn with<T>(testbed: &Testbed<'_>, filter: Filter, work: impl FnOnce() -> Result<T>) -> Result<T> {
    filter.install(testbed)?;
    let done = work();
    filter.remove(testbed)?;
    done
}

fn show(
    section: &mut Section,
    title: &str,
    fact: &str,
    variants: &[Variant<'_>],
    samples: &[Samples],
    least: f64,
) {
    let same = [&samples[index::CLUSTER + index::REDIRECT], &samples[index::AGAIN]];
    let aa = aa_spread(same[0], same[1]).max(least);
    let mut rows = Vec::new();
    for (index, (variant, one)) in variants.iter().zip(samples).enumerate() {
        let times = one.ratio(&samples[variant.without]).median();
        section.add_trials(format!("{title}: {}", variant.name), "", one);
        section.fact(format!("clients.{fact}.{index}"), times);
        rows.push(vec![variant.name.clone(), spread(one), ratio(times, aa)]);
    }
    section.table(
        title,
        &["path", "minimum / median / maximum", "relative to without"],
        rows,
    );
    let name = format!("clients-{}", fact.to_lowercase().replace('.', "-"));
    let bars = variants.iter().zip(samples);
    section.bars(
        &name,
        title,
        "",
        bars.map(|(variant, one)| (variant.name.clone(), one.median())),
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
    section.note("Kube-proxy and masquerade: the rules of kube-proxy 1.36 in iptables mode, which drops packets in conntrack state INVALID, and one masquerade rule of the network plugin for each pod. With Redirect and Peer both directions bypass these rules: in each of those iperf3 trials, the stack must have forwarded almost no packets.");
    section.note(format!("TCP throughput on the same NIC (T24), Redirect relative to a pod that no policy selects: {gain}× behind these rules, {bare}× without rules."));
    section.note(format!("A veth pair replaces the NIC. A veth with an XDP program accepts no GSO segments and copies every packet: bulk TCP falls to {least}× as soon as a program is attached. A NIC driver builds packets of the same size with and without XDP, so the last column says nothing about a NIC."));
    section.note("Clients, node and pods share the CPUs of one machine. The 1,000 rules match nothing; only packets through the stack evaluate them.");
}
