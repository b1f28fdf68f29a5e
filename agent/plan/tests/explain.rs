//! Explaining mismatches: the result agrees with the oracle.

use std::net::IpAddr;

use proptest::prelude::*;
use rstest::rstest;
use xdp_plan::{
    explain::{ExplainQuery, Mismatch, TransportFields, explain},
    installed::RuleLabel,
    pod::Pod,
    policy::Policy,
    testing::{
        objects,
        oracle::{OracleDecision, OracleInterface, decide},
        packets,
        packets::PacketFields,
    },
};

fn ips() -> Vec<IpAddr> {
    vec![
        [192, 0, 2, 1].into(),
        "2001:db8:f::1".parse().expect("an address"),
    ]
}

fn transport(packet: &PacketFields) -> TransportFields {
    match (packet.protocol, packet.ports, packet.icmp) {
        (None, ..) => TransportFields::LaterFragment,
        (_, Some((_, destination)), _) => TransportFields::Port(destination),
        (_, _, Some((kind, code))) => TransportFields::Icmp(kind, code),
        _ => TransportFields::Other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_rule_before_the_deciding_one_has_a_mismatch_and_that_one_has_none(
        policies in objects::policies(),
        pod in objects::pod("a", ips()),
        packets in prop::collection::vec(packets::packet(ips()), 16),
    ) {
        let known = Pod::try_from(&pod).expect("a pod");
        let mut converted: Vec<Policy> = policies
            .iter()
            .map(|policy| Policy::try_from(policy).expect("a policy"))
            .filter(|policy| policy.selector.matches(&known.labels))
            .collect();
        converted.sort_by(|a, b| a.order().cmp(&b.order()));
        let converted: Vec<&Policy> = converted.iter().collect();
        for packet in packets {
            let Some(fields) = packet.fields() else { continue };
            let interface = OracleInterface { ready: true, mtu: 1500 };
            let decision = decide(&policies, &pod, interface, &packet);
            let OracleDecision::Decided { policy, rule, .. } = decision else {
                continue;
            };
            let decided = RuleLabel { namespace: objects::NAMESPACE.into(), policy, rule };
            let mut query = ExplainQuery {
                source: fields.source,
                protocol: fields.protocol.unwrap_or_default(),
                transport: transport(&fields),
                decided: Some(&decided),
            };
            let before = explain(&converted, &known.ports, &query);
            prop_assert!(before.iter().all(|line| line.mismatch.is_some()), "{before:?}");
            query.decided = None;
            let all = explain(&converted, &known.ports, &query);
            prop_assert_eq!(&all[before.len()].rule, &decided);
            prop_assert_eq!(all[before.len()].mismatch, None);
        }
    }
}

const POLICY: &str = "
apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {name: p, namespace: games}
spec:
  podSelector: {}
  ingress:
  - {name: one, action: Drop, from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.64/26]}}]}
  - {name: two, action: Drop, ports: [{protocol: TCP, port: 80}, {protocol: ICMP, type: 8}]}
  - {name: three, action: Drop, ports: [{protocol: UDP, port: game}]}
  - {name: four, action: Drop}
";

#[rstest]
#[case::excepted([198, 51, 100, 65], 6, TransportFields::Port(443), "source port protocol -")]
#[case::inside([198, 51, 100, 1], 6, TransportFields::Port(443), "- port protocol -")]
#[case::unnamed([192, 0, 2, 1], 17, TransportFields::Port(7777), "source protocol port -")]
#[case::types([192, 0, 2, 1], 1, TransportFields::Icmp(0, 0), "source type protocol -")]
#[case::fragment([192, 0, 2, 1], 17, TransportFields::LaterFragment, "source fragment fragment -")]
#[case::path_mtu([192, 0, 2, 1], 1, TransportFields::Icmp(3, 4), "source type protocol path-mtu")]
#[case::other([192, 0, 2, 1], 47, TransportFields::Other, "source protocol protocol -")]
fn each_mismatch_has_a_word(
    #[case] source: [u8; 4],
    #[case] protocol: u8,
    #[case] transport: TransportFields,
    #[case] words: &str,
) {
    let (objects, errors) = xdp_plan::manifests::parse("p.yaml", POLICY);
    assert_eq!(errors, []);
    let [xdp_plan::manifests::ManifestObject::Policy(policy)] = &objects[..] else {
        panic!("one policy");
    };
    let query = ExplainQuery {
        source: source.into(),
        protocol,
        transport,
        decided: None,
    };
    let lines = explain(&[&**policy], &[].into(), &query);
    let found: Vec<&str> = lines
        .iter()
        .map(|line| line.mismatch.map_or("-", Mismatch::as_str))
        .collect();
    assert_eq!(found.join(" "), words);
}
