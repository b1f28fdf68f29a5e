//! A node without problems. Each test breaks one thing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use xdp_crds::{NicMode, NicState, XdpNodeStateStatus, conditions::node};
use xdp_plan::{
    compile::compile,
    desired::Desired,
    diff::{Differ, diff},
    facts::{Deliveries, NodeFacts, NotReady, Readiness},
    installed::Installed,
    node_state::{Reconciled, TableState, node_state},
    pod::Pod,
    policy::{LimitPer, PacketRateLimit, Policy, PortMatch, PortSet, Protocol, Rule, RuleAction},
    report::Problem,
    resolve::NodePolicy,
    targets::{PodCertainty, Target, Targets, targets},
    testing::{fixture, model::TableModel, node::pair},
};

pub(crate) fn policy(rules: usize, action: RuleAction) -> Policy {
    let port = |index: usize| PortMatch {
        protocol: Protocol::Tcp,
        ports: PortSet::Range(index as u16..=index as u16),
    };
    let rule = |index| Rule {
        ports: vec![port(index)],
        rate_limit: (action == RuleAction::Redirect).then_some(PacketRateLimit {
            packets_per_second: 10,
            burst: 10,
            per: LimitPer::Source,
        }),
        ..fixture::rule(&format!("r{index}"), action)
    };
    Policy {
        uid: "u".into(),
        generation: 7,
        ..fixture::policy("games", "players", (0..rules).map(rule).collect())
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

pub(crate) fn pod(last: u8) -> Pod {
    fixture::pod("games", &format!("server-{last}"), vec![ip(last)])
}

/// A node with two pods and without problems.
pub(crate) struct Node {
    pub(crate) policy: NodePolicy,
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) with_interface: Vec<u8>,
    pub(crate) readiness: Readiness,
    pub(crate) peer: Readiness,
    pub(crate) reply_path: Readiness,
    pub(crate) nics: Vec<NicState>,
    pub(crate) selected: Option<BTreeSet<String>>,
    pub(crate) problems: BTreeSet<Problem>,
    pub(crate) certainty: PodCertainty,
    pub(crate) read_error: Option<Problem>,
    pub(crate) damage: fn(&mut Installed),
}

impl Default for Node {
    fn default() -> Self {
        Self::with(policy(2, RuleAction::Redirect))
    }
}

impl Node {
    pub(crate) fn with(policy: Policy) -> Self {
        let nic = NicState {
            name: "eth0".into(),
            mode: NicMode::Native,
            ..NicState::default()
        };
        Self {
            policy: NodePolicy {
                namespace: policy.namespace.clone(),
                name: policy.name.clone(),
                uid: policy.uid.clone(),
                generation: policy.generation,
                policy: Some(Arc::new(policy)),
                obstacle: None,
            },
            pods: vec![pod(1).into(), pod(2).into()],
            with_interface: vec![1, 2],
            readiness: Readiness::Ready,
            peer: Readiness::Ready,
            reply_path: Readiness::Ready,
            nics: vec![nic],
            selected: Some(BTreeSet::from(["eth0".into()])),
            problems: BTreeSet::new(),
            certainty: PodCertainty::new(),
            read_error: None,
            damage: |_| {},
        }
    }

    fn plan(&self) -> (Targets, Desired) {
        let pairs = self.with_interface.iter();
        let pairs = pairs.map(|last| pair(10 + u32::from(*last), vec![ip(*last)]));
        let facts = NodeFacts {
            pairs: pairs.collect(),
            ..NodeFacts::default()
        };
        let policies: Vec<Policy> = self
            .policy
            .policy
            .iter()
            .map(|policy| (**policy).clone())
            .collect();
        let targets = targets(&policies, &self.pods, &facts);
        let deliveries = Deliveries {
            redirect: self.readiness.clone(),
            peer: self.peer.clone(),
            reply_path: self.reply_path.clone(),
        };
        let not_wanted = || Readiness::NotReady {
            reason: NotReady::NotPrepared,
            message: String::new(),
        };
        let of_drops = Deliveries {
            redirect: not_wanted(),
            peer: not_wanted(),
            reply_path: self.reply_path.clone(),
        };
        let of_target = |target: &Target| {
            if target.wants_redirect || target.wants_peer {
                Some(deliveries.clone())
            } else {
                target.wants_connections.then(|| of_drops.clone())
            }
        };
        let deliveries: BTreeMap<u32, Deliveries> = targets
            .targets
            .iter()
            .filter_map(|target| Some((target.pair.host.ifindex, of_target(target)?)))
            .collect();
        let desired = compile(&targets, &deliveries);
        (targets, desired)
    }

    pub(crate) fn state(&self) -> XdpNodeStateStatus {
        let (targets, desired) = self.plan();
        let mut model = TableModel::default();
        model.apply(&diff(&desired, &Installed::default()));
        (self.damage)(&mut model.installed);
        let tables = TableState {
            targets: &targets,
            desired: &desired,
            installed: &model.installed,
            differ: &Differ::default(),
        };
        node_state(&Reconciled {
            node_policies: std::slice::from_ref(&self.policy),
            pods: &self.pods,
            certainty: &self.certainty,
            tables: self.read_error.clone().map_or(Ok(tables), Err),
            nics: &self.nics,
            selected: self.selected.as_ref(),
            problems: &self.problems,
        })
    }

    /// Returns reason, message and number of programmed pods of the one policy.
    pub(crate) fn policy_state(&self) -> (String, String, u32) {
        let state = self.state();
        let [policy] = &*state.policies else {
            panic!("one policy: {state:?}")
        };
        assert_eq!(policy.programmed, policy.reason == node::PROGRAMMED);
        assert_eq!((policy.uid.as_str(), policy.observed_generation), ("u", 7));
        (
            policy.reason.clone(),
            policy.message.clone(),
            policy.pods.programmed,
        )
    }
}

pub(crate) fn not_ready(reason: NotReady) -> Readiness {
    let message = "no".into();
    Readiness::NotReady { reason, message }
}

pub(crate) fn problem(object: &str, reason: &str) -> Problem {
    Problem::new(object, reason, "it broke", "fix it")
}
