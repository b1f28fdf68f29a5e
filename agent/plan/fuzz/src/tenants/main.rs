//! Policies of two tenants, whatever comes in whatever order: nothing panics, no change of tables is out of
//! order, packets meet the first rule that matches among the accepted policies, and no policy of the one
//! tenant changes the rules of the other.
//!
//! An input is a sequence of steps of eight bytes: what happens, and to which policy.
#![no_main]

mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use libfuzzer_sys::fuzz_target;
use step::{Step, StepKind};
use xdp_core::verdict::decide;
use xdp_plan::{
    compile::{Compiled, Compiler},
    desired::Desired,
    diff::diff,
    facts::NodeFacts,
    pod::Pod,
    policy::{Policy, PortSet, Rule, Source, Sources},
    targets::targets,
    testing::{
        fixture,
        model::TableModel,
        node::{pair, test_stations},
        oracle::OracleDecision,
        packets::{Fragment, PacketSpec},
    },
};

/// The tenant with large policies, and the one whose rules must not change.
const TENANTS: [&str; 2] = ["attacker", "victim"];
const STEP: usize = 8;
/// More turns, and more passes, than anything takes.
const MANY: usize = 2_000;

fn address(tenant: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, 1 + tenant as u8])
}

/// Both tenants' policies by name, and one node.
#[derive(Default)]
struct Fixture {
    policies: [BTreeMap<String, Arc<Policy>>; 2],
    compiler: Compiler,
    model: TableModel,
}

fuzz_target!(|input: &[u8]| {
    let mut fixture = Fixture::default();
    for bytes in input.chunks_exact(STEP).take(8) {
        let step = Step::read(bytes.try_into().expect("of this length"));
        fixture.take(&step);
        fixture.reconcile();
        for tenant in 0..2 {
            fixture.check(&step, tenant);
        }
    }
});

impl Fixture {
    fn take(&mut self, step: &Step) {
        let own = &mut self.policies[step.tenant];
        match step.kind {
            StepKind::Put => {
                for policy in step.policies(TENANTS[step.tenant]) {
                    own.insert(policy.name.clone(), Arc::new(policy));
                }
            }
            StepKind::Remove => {
                let prefix = step.prefix();
                own.retain(|name, _| !name.starts_with(&prefix));
            }
            StepKind::Restart => {
                self.compiler = Compiler::default();
                self.compiler.adopt(&self.model.installed);
            }
        }
    }

    fn desire(compiler: &mut Compiler, policies: &[Arc<Policy>]) -> Desired {
        let pods = [0, 1].map(|tenant| fixture::pod(TENANTS[tenant], "p", vec![address(tenant)]));
        let pairs = (0..2).map(|tenant| pair(10 + tenant as u32, vec![address(tenant)]));
        let facts = NodeFacts {
            pairs: pairs.collect(),
            ..NodeFacts::default()
        };
        let found = targets::<_, Pod>(policies, &pods, &facts);
        Desired {
            stations: Some(test_stations()),
            ..compiler.compile(&found, &BTreeMap::new())
        }
    }

    fn ordered(&self, tenants: &[usize]) -> Vec<Arc<Policy>> {
        let all = tenants
            .iter()
            .flat_map(|tenant| self.policies[*tenant].values().cloned());
        let mut all: Vec<Arc<Policy>> = all.collect();
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        all
    }

    /// Compiles and applies until nothing is left, and looks at the victim's rules after each turn.
    fn reconcile(&mut self) {
        let all = self.ordered(&[0, 1]);
        let alone = Self::desire(&mut Compiler::default(), &self.ordered(&[1]));
        for _ in 0..MANY {
            let desired = Self::desire(&mut self.compiler, &all);
            assert_eq!(rules(&desired, 1), rules(&alone, 1));
            let object = format!("XdpPolicy {}/", TENANTS[1]);
            assert!(
                !desired
                    .problems
                    .iter()
                    .any(|problem| problem.object.starts_with(&object))
            );
            self.apply(&desired);
            if !desired.pending {
                return;
            }
        }
        panic!("the compilation does not end");
    }

    fn apply(&mut self, desired: &Desired) {
        for _ in 0..MANY {
            let changes = diff(desired, &self.model.installed);
            if changes.is_empty() {
                return;
            }
            self.model.apply(&changes);
        }
        panic!("the changes do not end");
    }

    /// Compares the tables with the first rule that matches.
    fn check(&mut self, step: &Step, tenant: usize) {
        let all = self.ordered(&[0, 1]);
        let desired = Self::desire(&mut self.compiler, &all);
        let refused: BTreeSet<&str> = desired.problems.iter().map(|one| one.object.as_str()).collect();
        let policies = self.ordered(&[tenant]);
        for (source, port) in step.packets() {
            let packet = PacketSpec {
                tags: 0,
                group_mac: false,
                arp: false,
                source,
                destination: address(tenant),
                options: 0,
                extensions: Vec::new(),
                fragment: Fragment::Whole,
                protocol: 17,
                head: [0, 7, port.to_be_bytes()[0], port.to_be_bytes()[1]],
                payload: 8,
                short: None,
                jumbogram: false,
                padding: 0,
                cut: None,
            };
            let verdict = decide(packet.bytes().as_slice(), &self.model);
            let found = match OracleDecision::of(verdict, &self.model.installed.rules) {
                OracleDecision::Decided { policy, rule, .. } => Some((policy, rule)),
                OracleDecision::Untouched | OracleDecision::UnparsedDrop => None,
            };
            let accepted = policies
                .iter()
                .filter(|policy| !refused.contains(policy.to_string().as_str()));
            let mut rules = accepted.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
            let first = rules.find(|(_, rule)| matches(rule, source, port));
            let expected = first.map(|(policy, rule)| (policy.name.clone(), rule.name.clone()));
            assert_eq!(found, expected, "{source} to port {port} of {}", TENANTS[tenant]);
        }
    }
}

fn rules(desired: &Desired, tenant: usize) -> Option<&Compiled> {
    let mut pods = desired.pods.iter();
    let pod = pods.find(|pod| pod.identity.namespace == TENANTS[tenant])?;
    Some(&pod.rules)
}

fn matches(rule: &Rule, source: IpAddr, port: u16) -> bool {
    let from = match &rule.from {
        Sources::Any => true,
        Sources::Listed(listed) => listed.iter().any(|one| match one {
            Source::Block(block) => {
                block.cidr.contains(&source) && !block.except.iter().any(|hole| hole.contains(&source))
            }
            Source::Pods(_) => false,
        }),
    };
    let to = rule.ports.iter().any(|one| match &one.ports {
        PortSet::Range(range) => range.contains(&port),
        _ => false,
    });
    from && (rule.ports.is_empty() || to)
}
