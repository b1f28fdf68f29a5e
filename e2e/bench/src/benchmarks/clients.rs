//! Real clients through the node: iperf3, and requests that are answered.

mod echo;
mod iperf;

use anyhow::Result;
use xdp_lab::{Namespace, Pod};

use self::echo::{Echo, Transport};
use crate::benchmarks::live::Filter;
use crate::report::{Plot, Section, Series, number, ratio, spread};
use crate::stage::Stage;
use crate::stats::{Samples, interleave};
use crate::suite::Suite;
use crate::workload::Workload;

/// Requests of one trial.
const REQUESTS: u32 = 1500;

/// A client's way to a pod.
struct Way<'a> {
    name: String,
    from: &'a Namespace,
    pod: &'a Pod,
    filter: Filter,
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (rounds, requests, epoch, aa) = (
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
    let throughput = interleave(rounds, &ways, |way| {
        with(stage, way.filter, || iperf::gigabits(way.from, way.pod))
    });
    show(
        &mut section,
        "TCP throughput, one connection (iperf3), Gbit/s",
        "tcp",
        &ways,
        &throughput?,
        aa,
    );
    for (transport, title) in [(Transport::Tcp, "TCP"), (Transport::Udp, "UDP")] {
        let (p50, p99) = latencies(stage, &ways, transport, (rounds, requests))?;
        for (quantile, samples) in [("p50", p50), ("p99", p99)] {
            show(
                &mut section,
                &format!("{title} request and answer of 64 bytes, {quantile}, µs"),
                &format!("{title}.{quantile}"),
                &ways,
                &samples,
                aa,
            );
        }
    }
    drop((echoes, servers));
    notes(&mut section);
    Ok(section)
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
        (Filter::Iptables(1000), ", 1,000 iptables rules"),
    ] {
        let mut add = |name: &str, from, pod| {
            ways.push(Way {
                name: format!("{name}{rules}"),
                from,
                pod,
                filter,
            });
        };
        add("without us", plain, unselected);
        add("attached, pod not selected", ours, unselected);
        add("delivery: Redirect", ours, redirect);
        add("delivery: Peer", ours, peer);
    }
    ways
}

fn with<T>(stage: &Stage<'_>, filter: Filter, work: impl FnOnce() -> Result<T>) -> Result<T> {
    filter.install(stage)?;
    let done = work();
    filter.remove(stage)?;
    done
}

fn show(section: &mut Section, title: &str, fact: &str, ways: &[Way<'_>], samples: &[Samples], aa: f64) {
    let mut rows = Vec::new();
    for (place, (way, one)) in ways.iter().zip(samples).enumerate() {
        // Without us, with as many iptables rules.
        let times = one.ratio(&samples[place / 4 * 4]).median();
        section.keep(format!("{title}: {}", way.name), "", one);
        section.fact(format!("clients.{fact}.{place}"), times);
        rows.push(vec![way.name.clone(), spread(one), ratio(times, aa)]);
    }
    section.table(
        title,
        &["way", "minimum / median / maximum", "against without us"],
        rows,
    );
    section.plots.push(Plot {
        name: format!("clients-{}", fact.to_lowercase().replace('.', "-")),
        title: title.to_owned(),
        x: String::new(),
        y: String::new(),
        series: ways
            .iter()
            .zip(samples)
            .map(|(way, one)| Series {
                name: way.name.clone(),
                points: vec![(0.0, one.median())],
            })
            .collect(),
    });
}

fn notes(section: &mut Section) {
    let fact = |place: u8| {
        section
            .facts
            .get(&format!("clients.tcp.{place}"))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let into_pod = fact(2) / fact(1);
    section.fact("way_back.tcp", into_pod);
    let least = section.facts.get("clients.tcp.1").copied().unwrap_or(f64::NAN);
    section.note(format!("A veth pair stands for the NIC, and one with an XDP program takes no large segments and copies every packet: bulk TCP falls to {}× by the program's mere presence. A NIC's driver makes packets of the same size with and without XDP; this column says nothing about one.", number(least)));
    section.note("Clients, node and pods share the CPUs: a request is answered on the same machine. Netfilter's rules match nothing; answers meet them as well, on every way.");
}
