//! What agents receive: watches of one process, as the agents of these nodes hold them.

use std::{collections::BTreeMap, net::Ipv4Addr, thread, time::Duration};

use anyhow::Result;
use xdp_e2e::simulated::{ApiRequest, CrowdPod, CrowdSize, SimulatedCluster, Watchers, requests};

use crate::report::{Section, number};

/// Nodes whose agents are simulated; of more nodes, these are a sample.
const MOST: usize = 1000;
/// With two requests for everything, each watch costs the API server an event for each change.
const MOST_OF_ALL: usize = 200;
/// Longer than the operator takes to write, and the API server to send.
const SILENCE: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(super) struct Rows(Vec<Vec<String>>);

impl Rows {
    /// Measures the lists, and changes of a pod's address, a policy and a status.
    pub(super) fn measure(&mut self, simulated: &SimulatedCluster, size: CrowdSize) -> Result<()> {
        let sets = labels(simulated)?;
        let sampled = size.nodes.min(if sets.is_some() { MOST } else { MOST_OF_ALL });
        let requests = requests(size, 0..sampled, sets.as_ref());
        let count = requests.len();
        let mut watchers = Watchers::open(simulated, &requests)?;
        let mut cells = vec![
            size.nodes.to_string(),
            sampled.to_string(),
            number(count as f64 / sampled as f64),
            number(mean(&watchers.listed) / 1e3),
        ];
        // The first tenant's pod on the first node, whose group has a set.
        let pod = size.pod(size.nodes + 1);
        let changes: [&dyn Fn() -> Result<()>; 3] = [
            &|| {
                let status = CrowdPod::status(Ipv4Addr::new(10, 252, 0, 1));
                simulated
                    .send(&ApiRequest::patch(pod.path() + "/status", &status))
                    .map(drop)
            },
            &|| simulated.change_port(size, 1, 8100).map(drop),
            &|| simulated.change_port(size, size.policies, 9100).map(drop),
        ];
        thread::sleep(SILENCE);
        for change in changes {
            let before = watchers.received()?;
            change()?;
            thread::sleep(SILENCE);
            let after = watchers.received()?;
            let received = after.iter().map(|(node, bytes)| (*node, bytes - before[node]));
            let received: BTreeMap<usize, u64> = received.collect();
            let nodes = received.values().filter(|bytes| **bytes > 0).count();
            let all = mean(&received) * size.nodes as f64 / 1e3;
            cells.push(format!(
                "{} on {:.0} %",
                number(all),
                100.0 * nodes as f64 / sampled as f64
            ));
        }
        self.0.push(cells);
        Ok(())
    }

    pub(super) fn table(self, section: &mut Section) {
        section.table(
            "what agents receive: kB on all nodes, and the share of the nodes that receive anything",
            &[
                "nodes",
                "simulated",
                "watches of each",
                "first lists of each, kB",
                "a pod's address",
                "a rule of a tenant",
                "a rule for a pod on each node",
            ],
            self.0,
        );
        section.note("Simulated agents hold the watches of the real ones and count the bytes; of 5,000 nodes, the agents of 1,000 are a sample. An operator whose sets have no labels is measured with agents that watch all policies and sets of the cluster.");
    }
}

/// Returns the label of each set by its selection; `None` if sets have no labels.
fn labels(simulated: &SimulatedCluster) -> Result<Option<BTreeMap<String, String>>> {
    let mut labels = BTreeMap::new();
    for set in simulated.peer_sets()? {
        let selection = set["spec"]["selection"].as_str();
        let label = set["metadata"]["labels"]["xdp-operator.io/peer-set"].as_str();
        if let (Some(selection), Some(label)) = (selection, label) {
            labels.insert(selection.to_owned(), label.to_owned());
        }
    }
    Ok((!labels.is_empty()).then_some(labels))
}

fn mean(bytes: &BTreeMap<usize, u64>) -> f64 {
    let sum: u64 = bytes.values().sum();
    sum as f64 / bytes.len().max(1) as f64
}
