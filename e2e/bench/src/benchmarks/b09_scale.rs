//! Many nodes: real agents and the real operator with a real API server. The nodes have no kubelet: each is a
//! network namespace with a NIC and a pod.

mod fleet;
mod server;

use anyhow::Result;
use xdp_kubernetes::{Cluster, ClusterOptions};

use self::{
    fleet::{Change, Fleet, change_first},
    server::Server,
};
use crate::{
    process,
    report::{Section, number},
    stats::Samples,
    suite::Suite,
};

/// Numbers of nodes.
const SIZES: [usize; 2] = [10, 100];
/// Changes that affect all nodes.
const CHANGES: u16 = 8;
/// Changes of each kind that affect one node only.
const OF_ONE: u16 = 3;
/// Port of the first rule; every change has another port.
const FIRST_PORT: u16 = 1000;

/// Changes that only the first node needs: what changes, and the name of the fact.
const OF_THE_FIRST: [(&str, &str, Change); 6] = [
    ("a pod of another node", "cluster.reads.pod", Change::Pod),
    (
        "a policy for a pod of another node",
        "cluster.reads.policy",
        Change::Policy,
    ),
    (
        "a policy for a pod of another node, in a namespace with pods on all nodes",
        "cluster.reads.shared",
        Change::Shared,
    ),
    (
        "an address set of a policy for a pod of another node",
        "cluster.reads.set",
        Change::Set,
    ),
    (
        "a NetworkPolicy for a pod of another node",
        "cluster.reads.network-policy",
        Change::NetworkPolicy,
    ),
    (
        "a NetworkPolicy for a pod of another node, in a namespace with pods on all nodes",
        "cluster.reads.network-policy.shared",
        Change::SharedNetworkPolicy,
    ),
];

/// Rows of both tables.
#[derive(Default)]
struct Rows {
    times: Vec<Vec<String>>,
    costs: Vec<Vec<String>>,
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let cluster = Cluster::start(ClusterOptions {
        nodes: 0,
        ..ClusterOptions::default()
    })?;
    let server = Server::new(&cluster)?;
    let mut fleet = Fleet::new(&cluster)?;
    let (mut section, mut rows) = (Section::new("", ""), Rows::default());
    // A quick run only measures the smaller number.
    for nodes in SIZES.into_iter().take(if suite.options.quick { 1 } else { 2 }) {
        fleet.grow(&server, nodes, FIRST_PORT)?;
        server.wait_idle()?;
        rows.costs.push(started(nodes, &fleet)?);
        for_all(&mut section, &mut rows, nodes, &server, &fleet)?;
        for (what, fact, kind) in OF_THE_FIRST {
            let (before, bytes) = (server.cost()?, fleet.received()?);
            for change in 0..OF_ONE {
                change_first(&server, kind, nodes as u16 + change)?;
                server.wait_idle()?;
            }
            let reads = server.cost()?.since(&before);
            let each = f64::from(OF_ONE);
            if nodes == SIZES[1] {
                section.fact(fact, reads.reads_of_others(nodes) / each);
            }
            let arrived = (fleet.received()? - bytes) as f64 / each;
            rows.costs.push(vec![
                nodes.to_string(),
                what.to_owned(),
                number(reads.requests / each),
                number(reads.sent() / each),
                number(reads.bytes / each),
                number(reads.reads_of_others(nodes) / each),
                number(arrived),
            ]);
        }
    }
    tables(&mut section, rows);
    Ok(section)
}

/// Returns the row of an agent's start: the last node's, which starts together with others.
fn started(nodes: usize, fleet: &Fleet<'_>) -> Result<Vec<String>> {
    let dash = || "–".to_owned();
    Ok(vec![
        nodes.to_string(),
        "nothing: the agent starts".to_owned(),
        dash(),
        dash(),
        dash(),
        dash(),
        number(fleet.received()? as f64),
    ])
}

/// Measures changes of a rule for the pods of all nodes.
fn for_all(
    section: &mut Section,
    rows: &mut Rows,
    nodes: usize,
    server: &Server<'_>,
    fleet: &Fleet<'_>,
) -> Result<()> {
    let operator = fleet.operator();
    let (cpu, before) = (process::cpu_seconds(operator)?, server.cost()?);
    let (mut all, mut last) = (Samples::default(), Samples::default());
    for change in 1..=CHANGES {
        let took = fleet.change(server, FIRST_PORT + change)?;
        last.0.push(took.max());
        all.0.extend(took.0);
        server.wait_idle()?;
    }
    let (cost, each) = (server.cost()?.since(&before), f64::from(CHANGES));
    let used = 1e3 * (process::cpu_seconds(operator)? - cpu) / each;
    section.add_trials(format!("{nodes} nodes: API write → programmed"), "ms", &all);
    section.add_trials(
        format!("{nodes} nodes: API write → programmed on the last"),
        "ms",
        &last,
    );
    if nodes == SIZES[1] {
        section.fact("cluster.p99", all.quantile(0.99) / 1e3);
    }
    rows.times.push(vec![
        nodes.to_string(),
        number(all.median()),
        number(all.quantile(0.99)),
        number(last.median()),
        number(last.max()),
        number(used),
        number(process::kilobytes(operator, "VmRSS")? / 1000.0),
    ]);
    rows.costs.push(vec![
        nodes.to_string(),
        "a policy for pods of all nodes".to_owned(),
        number(cost.requests / each),
        number(cost.sent() / each),
        number(cost.bytes / each),
        "–".to_owned(),
        "–".to_owned(),
    ]);
    Ok(())
}

fn tables(section: &mut Section, rows: Rows) {
    section.table(
        "a rule changed for pods of all nodes: request to the API server → rule in effect on each node, ms",
        &[
            "nodes",
            "p50 of nodes",
            "p99",
            "last node, p50",
            "maximum",
            "operator CPU per change, ms",
            "operator resident, MB",
        ],
        rows.times,
    );
    section.table(
        "cost of a change for the API server, and for an unaffected node",
        &[
            "nodes",
            "changed",
            "requests",
            "objects sent to watchers",
            "bytes of these objects",
            "objects an unaffected node reads",
            "bytes its NIC receives",
        ],
        rows.costs,
    );
    section.note("Agents, operator, API server and etcd are the real programs. All of them share this machine's CPUs; a node of a real cluster has its own. Nodes are network namespaces with a NIC and a pod each, and have no kubelet.");
    section.note("An agent watches the policies of the namespaces that have pods on its node, and the address sets that these policies need. The changed policy is in a namespace with one pod, where the table does not say otherwise. Pods, the node and its state are read only on their own node. The reads of an unaffected node are the objects that the API server sent, minus one read by the operator and one by the affected node, in whole objects; bookmarks are included.");
}
