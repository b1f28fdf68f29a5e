//! Measures durations. They are printed, not asserted. `cargo test --release -p xdp-plan --test tables --
//! --ignored --nocapture`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use xdp_plan::{
    compile::Compiler,
    desired::Desired,
    diff::diff,
    installed::{Blocks, Installed},
    network_policy::{ClusterAddresses, KnownPolicy, KnownSets, NodeCertainty, NodePolicies},
    permission::NamespaceLabels,
    pod::Pod,
    policy::{Protocol, RuleAction},
    programmed::Programmed,
    targets::Targets,
    testing::{fixture, model::TableModel, node::compile_all, workload},
};

use crate::{
    nodes::installed,
    sets::{pod, policy, rule, scattered, single, targets_of},
};

fn node(pods: usize, rules: usize, port: i32) -> Targets {
    let (mut policies, pods) = workload::node(pods, rules);
    policies[0].spec.ingress[0].ports[0].port = Some(xdp_crds::IntOrString::Int(port));
    policies[0].spec.ingress[0].ports[0].end_port = None;
    let policies: Vec<_> = policies.iter().map(|policy| policy.try_into().unwrap()).collect();
    let pods: Vec<_> = pods.iter().map(|pod| pod.try_into().unwrap()).collect();
    targets_of(&policies, &pods)
}

/// The CPU time of this thread, which other load on the machine does not change.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

fn timed<T>(what: &str, mut work: impl FnMut() -> T) -> T {
    const RUNS: u32 = 20;
    let mut times: Vec<Duration> = Vec::new();
    let mut result = work();
    let before = on_cpu();
    for _ in 0..RUNS {
        let start = Instant::now();
        result = work();
        times.push(start.elapsed());
    }
    let cpu = on_cpu().saturating_sub(before) / RUNS;
    times.sort_unstable();
    println!(
        "{what}: {cpu:?} of CPU on average, {:?} to {:?} elapsed",
        times[0], times[19]
    );
    result
}

fn compile(compiler: &mut Compiler, targets: &Targets) -> Desired {
    let desired = compile_all(compiler, targets, &BTreeMap::new());
    assert_eq!(desired.problems, []);
    desired
}

#[test]
#[ignore = "measures"]
fn busy_nodes() {
    for (pods, rules) in [(1, 250), (110, 227), (110, 250)] {
        println!("--- {pods} pods with {rules} rules");
        let targets = [node(pods, rules, 9), node(pods, rules, 10)];
        timed("compile all", || compile(&mut Compiler::default(), &targets[0]));
        let mut compiler = Compiler::default();
        let before = compile(&mut compiler, &targets[0]);
        timed("compile, nothing changed", || compile(&mut compiler, &targets[0]));
        let mut turn = 0;
        timed("compile, one pod changed", || {
            turn += 1;
            compile(&mut compiler, &targets[turn % 2])
        });
        let after = compile(&mut compiler, &targets[1]);
        timed("diff, nothing installed", || diff(&before, &Installed::default()));
        let model: TableModel = installed(&before);
        timed("diff, nothing changed", || diff(&before, &model.installed));
        let changes = timed("diff, one pod changed", || diff(&after, &model.installed));
        println!("{} changes", changes.len());
        timed("read back", || Blocks::read(&model.installed.words, &model));
        timed("all programmed", || {
            let programmed = Programmed::new(&model.installed);
            assert!(before.pods.iter().all(|pod| programmed.holds(pod)));
        });
    }
}

#[test]
#[ignore = "measures"]
fn large_peers() {
    for (rules, addresses) in [(250, 4_096), (32, 63), (1, 100_000)] {
        let of_rule = |index: u16| {
            rule(
                &format!("r{index}"),
                scattered(addresses),
                vec![single(Protocol::Tcp, 2 * index)],
            )
        };
        let policies = [policy("n", "p", (0..rules).map(of_rule).collect())];
        let targets = targets_of(&policies, &[pod("n", [10, 0, 0, 1].into())]);
        timed(
            &format!("compile {rules} rules with the same {addresses} addresses"),
            || compile(&mut Compiler::default(), &targets),
        );
    }
}

/// 1,000 NetworkPolicies that select all of 110 pods, to which a rule redirects.
#[test]
#[ignore = "measures"]
fn network_policies() {
    const PODS: u8 = 110;
    let redirect = fixture::rule("redirect", RuleAction::Redirect);
    let policies = [policy("n", "p", vec![redirect])];
    let pods: Vec<Pod> = (0..PODS)
        .map(|last| Pod {
            name: format!("p{last}"),
            ..pod("n", [10, 0, 0, last].into())
        })
        .collect();
    let free = targets_of(&policies, &pods);
    timed("compile without NetworkPolicies", || {
        compile(&mut Compiler::default(), &free)
    });
    let known: Vec<KnownPolicy> = (0..1000).map(network_policy).collect();
    let changed: Vec<KnownPolicy> = (1..1001).map(network_policy).collect();
    let sets = KnownSets::fixed(ClusterAddresses::default());
    let evaluate = |certainty: &mut NodeCertainty, policies: &[KnownPolicy]| {
        let known = NodePolicies {
            of_namespaces: BTreeMap::from([("n", policies.iter().collect())]),
            ..NodePolicies::default()
        };
        certainty.select(&pods, &known, &NamespaceLabels::default());
        certainty.evaluate(&sets, &NamespaceLabels::default())
    };
    timed("evaluate all", || evaluate(&mut NodeCertainty::default(), &known));
    let mut certainty = NodeCertainty::default();
    let evaluated = evaluate(&mut certainty, &known);
    timed("evaluate, nothing changed", || evaluate(&mut certainty, &known));
    let mut turn = 0;
    timed("evaluate, a policy comes and one goes", || {
        turn += 1;
        evaluate(&mut certainty, [&known, &changed][turn % 2])
    });
    let mut restricted = free.clone();
    restricted.restrict(&evaluated.certainty);
    timed("compile with them", || {
        compile(&mut Compiler::default(), &restricted)
    });
}

/// Allows a network of its own to reach a port of its own.
fn network_policy(number: u16) -> KnownPolicy {
    let object = json!({
        "metadata": {"namespace": "n", "name": format!("p{number}")},
        "spec": {"podSelector": {}, "ingress": [{
            "from": [{"ipBlock": {"cidr": format!("198.{}.{}.0/24", 18 + number / 256, number % 256)}}],
            "ports": [{"protocol": "TCP", "port": 1000 + number}],
        }]},
    });
    let policy = xdp_crds::network_policy::network_policy(&serde_json::from_value(object).unwrap());
    KnownPolicy::Ingress(Arc::new(policy.unwrap().unwrap()))
}
