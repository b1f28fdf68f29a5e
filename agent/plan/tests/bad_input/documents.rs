//! Documents of other kinds, and invalid YAML.

use xdp_plan::{
    manifests::{ManifestObject, parse},
    network_policy::KnownPolicy,
};

use crate::error;

#[test]
fn other_kinds_are_refused_by_name() {
    let error = error("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");
    assert_eq!((error.line, error.reason.as_str()), (6, "UnknownKind"));
    assert_eq!(error.object.as_deref(), Some("Deployment default/web"));
    assert!(error.message.contains("`kind` is `Deployment`"), "{error}");
}

#[test]
fn a_network_policy_that_cannot_be_read_is_an_object_that_may_select_any_pod() {
    let text = "apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: p}
spec: {tier: Other}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: games, name: p}
spec: {podSelector: {}, policyTypes: [Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: games, name: all}
spec: {podSelector: {}}
";
    let (objects, errors) = parse("p.yaml", text);
    assert_eq!(errors, []);
    let policies = objects.iter().map(|object| match object {
        ManifestObject::NetworkPolicy(policy) => (policy.name.as_str(), policy.policy.as_ref()),
        other => panic!("{other:?}"),
    });
    let policies: Vec<_> = policies.collect();
    assert!(
        matches!(
            policies[..],
            [
                ("ClusterNetworkPolicy p", Some(KnownPolicy::Unreadable(_))),
                ("NetworkPolicy games/p", None),
                ("NetworkPolicy games/all", Some(KnownPolicy::Ingress(_))),
            ]
        ),
        "{policies:?}"
    );
    let wrong = error("apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: p}\n");
    assert!(wrong.message.contains("`apiVersion` is `v1`"), "{wrong}");
}

#[test]
fn invalid_yaml_is_refused_with_its_line() {
    let error = error("apiVersion: v1\nkind: [Pod\nmetadata: {name: web}\n");
    assert_eq!(error.reason, "BadYaml");
    assert!((5..=9).contains(&error.line), "{error}");
    let duplicate = parse("p.yaml", "kind: Pod\nkind: Pod\n").1.remove(0);
    assert_eq!(
        (duplicate.reason.as_str(), duplicate.line),
        ("BadYaml", 2),
        "{duplicate}"
    );
}

#[test]
fn a_pod_with_a_bad_address_is_refused() {
    let error = error(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nstatus:\n  podIPs:\n  - {ip: 10.0.0.1/24}\n",
    );
    assert_eq!(
        error.message,
        "`status.podIPs[0].ip` is `10.0.0.1/24`: not an IP address"
    );
    assert_eq!(
        (error.line, error.object.as_deref()),
        (10, Some("Pod default/web"))
    );
}

#[test]
fn empty_documents_are_skipped() {
    for text in ["", "---\n", "# nothing\n---\n# at all\n...\n", "null\n"] {
        assert_eq!(parse("p.yaml", text), (Vec::new(), Vec::new()), "{text:?}");
    }
}
