//! A node with two NICs and two pods, and policies for them.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, sync::Arc};

use xdp_crds::{NicState, PolicyState};
use xdp_plan::{
    compile::Shares,
    facts::NodeFacts,
    manifests::{ManifestObject, parse},
    nics::{Driver, HostLink, NicFacts, NicSelector},
    resolve::NodePolicy,
    testing::node::pair,
};

use super::fake::FakeKernel;
use crate::{
    reconcile::reconciler::{Outcome, Reconciler, Report, Resync},
    source::Objects,
};

/// The NICs.
pub(super) const NICS: [u32; 2] = [2, 3];
/// The host's ends of the pods' pairs.
pub(super) const PODS: [u32; 2] = [10, 11];

pub(super) const REDIRECT: &str = "{name: take, ports: [{protocol: UDP, port: 7777}], action: Redirect}";
pub(super) const DROP: &str = "{name: drop, action: Drop}";
pub(super) const PASS: &str = "{name: pass, action: Pass}";

pub(super) struct Node {
    pub(super) reconciler: Reconciler<FakeKernel>,
    pub(super) objects: Objects,
}

impl Node {
    pub(super) fn new(delivery: &str, rules: &[&str]) -> Self {
        let objects = objects(delivery, rules);
        let pairs = PODS.iter().zip(&objects.pods);
        let facts = NodeFacts {
            pairs: pairs
                .map(|(ifindex, pod)| pair(*ifindex, pod.addresses.clone()))
                .collect(),
            ..NodeFacts::default()
        };
        let kernel = FakeKernel::new(facts, NICS.map(nic).to_vec());
        Self {
            reconciler: Reconciler::new(kernel, selector(&["nic*"]), Shares::default()),
            objects,
        }
    }

    pub(super) fn redirecting() -> Self {
        Self::new("Redirect", &[REDIRECT])
    }

    pub(super) fn kernel(&mut self) -> &mut FakeKernel {
        self.reconciler.kernel()
    }

    pub(super) fn reconcile(&mut self) -> Report {
        self.resync(Resync::Full)
    }

    pub(super) fn resync(&mut self, resync: Resync) -> Report {
        self.reconciler.reconcile(&self.objects, resync, [].into())
    }

    /// Reconciles, and expects that everything is programmed and nothing is left to do.
    #[track_caller]
    pub(super) fn converges(&mut self) {
        let report = self.reconcile();
        assert_programmed(&report);
        self.kernel().take_log();
        let again = self.reconcile();
        assert_eq!(self.kernel().take_log(), []);
        assert_eq!(again.changes, 0);
    }

    /// Another agent starts with what this one left.
    pub(super) fn restart(&mut self, selected: &[&str]) {
        let mut kernel = self.kernel().clone();
        kernel.dies_after = None;
        self.reconciler = Reconciler::new(kernel, selector(selected), Shares::default());
    }
}

#[track_caller]
pub(super) fn assert_programmed(report: &Report) {
    assert_eq!(report.problems, [].into());
    assert_eq!(report.outcome, Outcome::Done);
    assert!(
        report.status.policies.iter().all(|policy| policy.programmed),
        "{:#?}",
        report.status
    );
    assert_eq!(report.status.pods, []);
}

pub(super) fn nic_state<'a>(report: &'a Report, name: &str) -> &'a NicState {
    let mut nics = report.status.nics.iter();
    nics.find(|nic| nic.name == name).expect("the state of the NIC")
}

pub(super) fn policy(report: &Report) -> &PolicyState {
    &report.status.policies[0]
}

pub(super) fn reasons(report: &Report) -> Vec<(&str, &str)> {
    let problems = report.problems.iter();
    problems
        .map(|problem| (problem.object.as_str(), problem.reason.as_str()))
        .collect()
}

pub(super) fn selector(globs: &[&str]) -> NicSelector {
    NicSelector {
        globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        ..NicSelector::default()
    }
}

fn nic(ifindex: u32) -> NicFacts {
    NicFacts {
        link: HostLink {
            ifindex,
            name: format!("nic{ifindex}"),
            up: true,
            mtu: 1500,
            ..HostLink::default()
        },
        driver: Driver {
            name: "mlx5_core".into(),
            ..Driver::default()
        },
        features: Some(0x2b),
        ..NicFacts::default()
    }
}

pub(super) fn objects(delivery: &str, rules: &[&str]) -> Objects {
    let mut yaml = format!(
        "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: players}}\nspec:\n  \
         podSelector: {{}}\n  delivery: {delivery}\n  ingress:\n"
    );
    for rule in rules {
        writeln!(yaml, "  - {rule}").unwrap();
    }
    for (index, ifindex) in PODS.iter().enumerate() {
        let address = IpAddr::from([10, 0, 0, *ifindex as u8]);
        write!(
            yaml,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: games, name: pod{index}}}\nstatus: {{podIPs: [{{ip: \
             '{address}'}}, {{ip: 'fd00::{ifindex}'}}]}}\n"
        )
        .unwrap();
    }
    let (parsed, errors) = parse("test.yaml", &yaml);
    assert!(errors.is_empty(), "{errors:?}");
    let (mut policies, mut pods) = (Vec::new(), Vec::new());
    for object in parsed {
        match object {
            ManifestObject::Policy(policy) => policies.push(policy),
            ManifestObject::Pod(pod) => pods.push(pod),
            ManifestObject::Namespace(_) | ManifestObject::NetworkPolicy(_) => {}
        }
    }
    let node_policy = |policy: &Arc<xdp_plan::policy::Policy>| NodePolicy {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        policy: Some(Arc::clone(policy)),
        obstacle: None,
    };
    Objects {
        node_policies: policies.iter().map(node_policy).collect(),
        policies,
        pods,
        problems: Vec::new(),
        certainty: BTreeMap::new(),
        unfinished: false,
    }
}
