//! From a policy as users write it to the loaded program: oracle, core on the host and kernel agree on every
//! packet.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use xdp_plan::testing::{
    node::{MTU, pair, plan},
    objects, oracle, packets,
    packets::PacketSpec,
};

use crate::judge::{Judge, SHORTEST};

/// Loopback: a device that is always there. A test run redirects nothing.
const DEVICE: u32 = 1;
const INSTALLATIONS: usize = 500;
const PACKETS: usize = 2_000;
const AT_LEAST: usize = 950_000;

#[test]
fn oracle_host_and_kernel_agree_on_any_policy_and_any_packet() {
    let mut judge = Judge::new(&[]);
    let mut runner = TestRunner::default();
    let mut kinds = BTreeMap::new();
    let mut installations = 0;
    while installations < INSTALLATIONS {
        let (policies, pod, ready, packets) = sample(&mut runner, &case());
        let desired = plan(
            &policies,
            std::slice::from_ref(&pod),
            vec![pair(DEVICE, ips())],
            ready,
        );
        if desired.pods.is_empty() {
            continue;
        }
        installations += 1;
        judge.install(&desired);
        let interface = oracle::OracleInterface {
            ready,
            mtu: MTU as usize,
        };
        let reading = oracle::Oracle::new(&policies, &pod);
        for packet in packets {
            let frame = packet.bytes();
            if frame.len() < SHORTEST {
                continue;
            }
            let verdict = judge.verdict(&frame);
            let decision = oracle::OracleDecision::of(verdict, judge.rule_labels());
            let expected = reading.decide(interface, &packet);
            assert_eq!(decision, expected, "{packet:?} under {policies:#?}");
            *kinds.entry(kind(&expected)).or_insert(0_u32) += 1;
        }
        judge.check_counters();
    }
    println!(
        "{} verdicts of the kernel without a difference: {kinds:?}",
        judge.verdicts
    );
    assert!(judge.verdicts >= AT_LEAST, "{}", judge.verdicts);
    assert!(
        kinds["Untouched"] as usize <= judge.verdicts / 10 * 9,
        "rules decide: {kinds:?}"
    );
    assert_eq!(kinds.len(), 9, "every kind of decision is among them: {kinds:?}");
}

type Case = (
    Vec<xdp_crds::XdpPolicy>,
    k8s_openapi::api::core::v1::Pod,
    bool,
    Vec<PacketSpec>,
);

fn case() -> impl Strategy<Value = Case> {
    let ready = prop::bool::weighted(0.8);
    (
        objects::policies(),
        objects::pod("a", ips()),
        ready,
        vec(packets::packet(ips()), PACKETS),
    )
}

fn sample<T>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

fn ips() -> Vec<IpAddr> {
    vec![
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1]),
    ]
}

fn kind(decision: &oracle::OracleDecision) -> String {
    match decision {
        oracle::OracleDecision::Untouched => "Untouched".to_owned(),
        oracle::OracleDecision::UnparsedDrop => "UnparsedDrop".to_owned(),
        oracle::OracleDecision::Decided {
            outcome: oracle::OracleOutcome::Redirect(_),
            ..
        } => "Redirect".to_owned(),
        oracle::OracleDecision::Decided {
            outcome: oracle::OracleOutcome::Peer(_),
            ..
        } => "Peer".to_owned(),
        oracle::OracleDecision::Decided { outcome, .. } => format!("{outcome:?}"),
    }
}
