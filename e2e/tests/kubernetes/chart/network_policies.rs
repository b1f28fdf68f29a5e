//! The network policies of the operator. No network plugin of the test cluster enforces them, so this
//! compares them with what the pods do.

use serde_json::{Value, json};

use super::{find, pods, render};

const OPERATOR: &str = "xdp-operator";
const JOBS: &str = "xdp-operator-jobs";

fn policy<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    &find(objects, "NetworkPolicy", name).unwrap()["spec"]
}

/// Ports of all rules, sorted.
fn ports(rules: &Value) -> Vec<u64> {
    let rules = rules.as_array().unwrap();
    let listed = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    let mut ports: Vec<u64> = listed.map(|port| port["port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn exactly_the_ports_that_the_operator_serves_can_be_reached() {
    for values in [
        &[][..],
        &["operator.port=9000", "operator.probePort=8999"],
        &[r#"networkPolicy.metricsFrom=[{"podSelector": {}}]"#],
    ] {
        let objects = render(values);
        let [_, operator] = pods(&objects);
        let served = operator["containers"][0]["ports"].as_array().unwrap();
        let mut served: Vec<u64> = served
            .iter()
            .map(|port| port["containerPort"].as_u64().unwrap())
            .collect();
        served.sort_unstable();
        assert_eq!(
            ports(&policy(&objects, OPERATOR)["ingress"]),
            served,
            "{values:?}"
        );
    }
}

#[test]
fn only_the_metrics_can_be_restricted_to_sources() {
    let monitoring = json!([{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]);
    let objects = render(&[&format!("networkPolicy.metricsFrom={monitoring}")]);
    let rules = policy(&objects, OPERATOR)["ingress"].as_array().unwrap();
    for rule in rules {
        let is_metrics = rule["ports"][0]["port"] == 8080;
        let expected = if is_metrics { &monitoring } else { &Value::Null };
        assert_eq!(&rule["from"], expected, "{rule}");
    }
}

#[test]
fn the_policies_select_the_pods_of_the_operator_and_of_the_jobs_and_no_agent() {
    let objects = render(&[r#"hooks="Helm""#]);
    let labels = |kind: &str, name: &str| {
        find(&objects, kind, name).unwrap()["spec"]["template"]["metadata"]["labels"].clone()
    };
    let selects = |name: &str, labels: &Value| {
        let selector = &policy(&objects, name)["podSelector"];
        let mut all = selector["matchLabels"].as_object().unwrap().iter();
        let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        all.all(|(key, value)| labels[key] == *value)
            && expressions.all(|one| {
                let value = &labels[one["key"].as_str().unwrap()];
                one["operator"] == "In" && one["values"].as_array().unwrap().contains(value)
            })
    };
    for (kind, name, policies) in [
        ("Deployment", "xdp-operator", [true, false]),
        ("Job", "xdp-operator-crds", [false, true]),
        ("Job", "xdp-operator-uninstall", [false, true]),
        ("DaemonSet", "xdp-agent", [false, false]),
    ] {
        let labels = labels(kind, name);
        assert_eq!(
            [OPERATOR, JOBS].map(|policy| selects(policy, &labels)),
            policies,
            "{name}"
        );
    }
    assert_eq!(policy(&objects, JOBS)["ingress"], Value::Null);
    assert_eq!(policy(&objects, JOBS)["policyTypes"], json!(["Ingress"]));
}

#[test]
fn with_the_api_servers_ports_nothing_else_can_be_reached_from_the_pods() {
    let server = json!([{"ipBlock": {"cidr": "192.0.2.0/24"}}]);
    let to = format!("networkPolicy.apiServer.to={server}");
    let objects = render(&["networkPolicy.apiServer.ports=[443,6443]", &to]);
    for name in [OPERATOR, JOBS] {
        let spec = policy(&objects, name);
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(ports(&spec["egress"]), [443, 6443]);
        assert_eq!(spec["egress"][0]["to"], server);
        assert_eq!(spec["egress"].as_array().unwrap().len(), 1);
    }
    let off = render(&["networkPolicy.enabled=false"]);
    assert!(off.iter().all(|object| object["kind"] != "NetworkPolicy"));
}
