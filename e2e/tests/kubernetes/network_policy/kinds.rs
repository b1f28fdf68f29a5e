//! Other kinds than `NetworkPolicy`: their CRDs come and go while the agents run.

use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPodSpec, Installation};

use super::Server;

/// A CRD, removed on drop with its objects.
struct Kind<'a> {
    installed: &'a Installation,
    crd: String,
}

impl<'a> Kind<'a> {
    /// Creates the CRD of a cluster-scoped kind without a schema.
    fn serve(installed: &'a Installation, (group, version): (&str, &str), kind: &str, plural: &str) -> Self {
        let crd = format!("{plural}.{group}");
        let version = json!({
            "name": version, "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        });
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": crd,
                "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
            },
            "spec": {
                "group": group, "scope": "Cluster", "versions": [version],
                "names": {
                    "kind": kind, "plural": plural,
                    "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
                },
            },
        });
        installed.apply(&object.to_string()).unwrap();
        Self { installed, crd }
    }

    fn apply(&self, object: &Value) {
        let what = format!("the API server takes an object of {}", self.crd);
        self.installed
            .until(what, || self.installed.apply(&object.to_string()))
            .unwrap();
    }

    fn remove(&self) {
        let call = ["delete", "crd", "--ignore-not-found", &self.crd];
        if let Err(error) = self.installed.kubectl(&call) {
            println!("{} is not removed: {error:#}", self.crd);
        }
    }
}

impl Drop for Kind<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[test]
fn policies_of_tiers_count_as_soon_as_their_kind_is_served() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let server = Server::start(installed, "np-tiers");
    let kind = Kind::serve(
        installed,
        ("policy.networking.k8s.io", "v1alpha2"),
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
    );
    let client = ClusterPodSpec::new("client", "other", 2);
    let client = server.space.pod(&client).unwrap();
    let of_namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "np-tiers"}});
    let policy = |action: &str| {
        json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2",
            "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "from-pods"},
            "spec": {
                "tier": "Admin", "priority": 10, "subject": {"namespaces": of_namespace},
                "ingress": [{"action": action, "from": [{"namespaces": {}}]}],
            },
        })
    };
    server.expect_pod(&client, true);
    kind.apply(&policy("Deny"));
    server.expect_pod(&client, false);
    server.expect_outside(true);
    let message = server.until_condition("True", "Restricted");
    assert!(message.contains("ClusterNetworkPolicy from-pods"), "{message}");
    kind.apply(&policy("Pass"));
    server.expect_pod(&client, true);
    kind.apply(&policy("Deny"));
    server.expect_pod(&client, false);
    kind.remove();
    server.expect_pod(&client, true);
    server.until_condition("True", "Unrestricted");
}

#[test]
fn a_policy_of_another_engine_that_might_restrict_a_pod_ends_its_redirects() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let server = Server::start(installed, "np-foreign");
    let kind = Kind::serve(
        installed,
        ("crd.projectcalico.org", "v1"),
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
    );
    let policy = |selector: &str| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "web"},
            "spec": {"selector": selector, "types": ["Ingress"], "ingress": [{"action": "Allow"}]},
        })
    };
    kind.apply(&policy("app == 'web'"));
    server.expect_outside(true);
    kind.apply(&policy("app == 'web' || has(app)"));
    server.expect_outside(false);
    let message = server.until_condition("True", "Restricted");
    assert!(
        message.contains("GlobalNetworkPolicy.crd.projectcalico.org web"),
        "{message}"
    );
    // A language that cannot be read.
    kind.apply(&policy("app === 'web'"));
    server.expect_outside(false);
    kind.apply(&policy("!has(app)"));
    server.expect_outside(true);
    kind.apply(&policy("all()"));
    server.expect_outside(false);
    kind.remove();
    server.expect_outside(true);
}
