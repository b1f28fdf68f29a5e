//! The compiler's cache.

use std::{collections::BTreeMap, sync::Arc};

use xdp_plan::{
    compile::{Compiled, Compiler},
    pod::Pod,
    policy::{Policy, PortMatch, PortSet, Protocol, Sources},
};

use crate::sets::{pod, policy, rule, single, targets_of};

fn rules(compiler: &mut Compiler, policies: &[Policy], pods: &[Pod]) -> Vec<Arc<Compiled>> {
    let desired = compiler.compile(&targets_of(policies, pods), &BTreeMap::new());
    assert_eq!(desired.problems, []);
    desired.pods.into_iter().map(|pod| pod.rules).collect()
}

fn one_each(port: u16) -> (Vec<Policy>, Vec<Pod>) {
    let only = |namespace, port| {
        let ports = vec![single(Protocol::Tcp, port)];
        policy(namespace, "p", vec![rule("r", Sources::Any, ports)])
    };
    (
        vec![only("m", 1), only("n", port)],
        vec![pod("m", [10, 0, 0, 1].into()), pod("n", [10, 0, 0, 2].into())],
    )
}

#[test]
fn unchanged_policies_are_not_compiled_again() {
    let mut compiler = Compiler::default();
    let (policies, pods) = one_each(80);
    let first = rules(&mut compiler, &policies, &pods);
    let again = rules(&mut compiler, &policies, &pods);
    assert!(first.iter().zip(&again).all(|(a, b)| Arc::ptr_eq(a, b)));
    let changed = rules(&mut compiler, &one_each(81).0, &pods);
    assert!(Arc::ptr_eq(&first[0], &changed[0]));
    assert!(!Arc::ptr_eq(&first[1], &changed[1]));
}

#[test]
fn unused_results_are_dropped() {
    let mut compiler = Compiler::default();
    let (policies, pods) = one_each(80);
    let first = rules(&mut compiler, &policies, &pods).swap_remove(0);
    assert!(Arc::strong_count(&first) > 1);
    rules(&mut compiler, &policies, &pods[1..]);
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn pods_share_compiled_rules_unless_their_named_ports_differ() {
    let port = PortMatch {
        protocol: Protocol::Tcp,
        ports: PortSet::Named("http".into()),
    };
    let policies = [policy("n", "p", vec![rule("r", Sources::Any, vec![port])])];
    let named = |name: &str, last, port: Option<u16>| Pod {
        name: name.into(),
        ports: port
            .map(|port| (("http".to_owned(), Protocol::Tcp), port))
            .into_iter()
            .collect(),
        ..pod("n", [10, 0, 0, last].into())
    };
    let mut other_port = named("c", 3, Some(80));
    other_port.ports.insert(("https".into(), Protocol::Tcp), 443);
    let pods = [
        named("a", 1, Some(80)),
        named("b", 2, Some(81)),
        other_port,
        named("d", 4, None),
    ];
    let compiled = rules(&mut Compiler::default(), &policies, &pods);
    assert!(Arc::ptr_eq(&compiled[0], &compiled[2]));
    assert!(!Arc::ptr_eq(&compiled[0], &compiled[1]));
    assert_eq!(
        compiled[3].rules,
        [],
        "a name that a pod does not have matches nothing"
    );
}
