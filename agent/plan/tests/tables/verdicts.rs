//! The oracle agrees with the tables, on random packets and at every edge.

use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use xdp_core::verdict::decide;
use xdp_plan::testing::{
    edges::Edges,
    model::TableModel,
    node::{MTU, pair, plan},
    objects,
    oracle::{Oracle, OracleDecision, OracleInterface},
    packets,
};

use crate::nodes::{installed, ips};

const RANDOM: usize = 400_000;
const AT_EDGES: usize = 800_000;

/// Policies, a pod, and packets.
#[derive(Debug)]
struct Case {
    policies: Vec<xdp_crds::XdpPolicy>,
    pod: k8s_openapi::api::core::v1::Pod,
    ready: bool,
    packets: Vec<packets::PacketSpec>,
}

fn case() -> impl Strategy<Value = Case> {
    let packets = vec(packets::packet(ips(0)), 256);
    (
        objects::policies(),
        objects::pod("a", ips(0)),
        any::<bool>(),
        packets,
    )
        .prop_map(|(policies, pod, ready, packets)| Case {
            policies,
            pod,
            ready,
            packets,
        })
}

impl Case {
    fn model(&self) -> (TableModel, Edges) {
        let pods = std::slice::from_ref(&self.pod);
        let desired = plan(&self.policies, pods, vec![pair(10, ips(0))], self.ready);
        let compiled = desired.pods.first().map(|pod| &*pod.rules);
        let none = xdp_plan::compile::Compiled::default();
        (
            installed(&desired),
            Edges::of(&self.policies, compiled.unwrap_or(&none)),
        )
    }

    /// Compares tables and oracle. Returns the number of packets, and of packets that a rule decided about.
    fn check<'p>(
        &self,
        model: &TableModel,
        packets: impl Iterator<Item = std::borrow::Cow<'p, packets::PacketSpec>>,
    ) -> (usize, usize) {
        let oracle = Oracle::new(&self.policies, &self.pod);
        let interface = OracleInterface {
            ready: self.ready,
            mtu: MTU as usize,
        };
        let (mut all, mut decided) = (0, 0);
        for packet in packets {
            let verdict = decide(packet.bytes().as_slice(), model);
            let decision = OracleDecision::of(verdict, &model.installed.rules);
            let expected = oracle.decide(interface, &packet);
            assert_eq!(decision, expected, "{packet:?} under {:#?}", self.policies);
            all += 1;
            decided += usize::from(expected != OracleDecision::Untouched);
        }
        (all, decided)
    }
}

#[test]
fn the_oracle_agrees_with_the_tables_on_any_packet() {
    let mut runner = TestRunner::default();
    let (mut all, mut decided) = (0, 0);
    while all < RANDOM {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (model, _) = case.model();
        let packets = case.packets.iter().map(std::borrow::Cow::Borrowed);
        let (more, of_rules) = case.check(&model, packets);
        all += more;
        decided += of_rules;
    }
    println!("{all} verdicts, {decided} by rules");
    assert!(decided * 10 > all, "{decided} of {all}");
}

#[test]
fn the_oracle_agrees_with_the_tables_at_every_edge() {
    let mut runner = TestRunner::default();
    let (mut all, mut decided) = (0, 0);
    while all < AT_EDGES {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (model, edges) = case.model();
        for destination in ips(0) {
            let packets = edges.packets(destination).map(std::borrow::Cow::Owned);
            let (more, of_rules) = case.check(&model, packets);
            all += more;
            decided += of_rules;
        }
    }
    println!("{all} verdicts at edges, {decided} by rules");
    assert!(decided * 10 > all, "{decided} of {all}");
}
