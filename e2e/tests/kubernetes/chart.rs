//! What the chart renders, without a cluster.

mod conformity;
mod hooks;
mod network_policies;
mod openshift;
mod profiles;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

fn template(values: &[&str]) -> Output {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/xdp-operator");
    let helm = xdp_kubernetes::programs().unwrap().join("helm");
    let mut command = Command::new(helm);
    command
        .args(["template", "xdp-operator", "--namespace=xdp"])
        .arg(chart);
    command.args(values.iter().map(|value| format!("--set-json={value}")));
    command.output().unwrap()
}

/// Renders the chart with these values, and returns its objects.
fn render(values: &[&str]) -> Vec<Value> {
    let output = template(values);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n");
    let objects = documents.map(|document| serde_saphyr::from_str(document).unwrap());
    objects.filter(|object: &Value| object.is_object()).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it)
}

/// The pod of agent and operator.
fn pods(objects: &[Value]) -> [&Value; 2] {
    [("DaemonSet", "xdp-agent"), ("Deployment", "xdp-operator")]
        .map(|(kind, name)| &find(objects, kind, name).unwrap()["spec"]["template"]["spec"])
}

fn has_argument(pod: &Value, argument: &str) -> bool {
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    arguments.iter().any(|found| found == argument)
}

fn may_review(objects: &[Value], name: &str) -> bool {
    let rules = find(objects, "ClusterRole", name).unwrap()["rules"].as_array();
    rules
        .unwrap()
        .iter()
        .any(|rule| rule["resources"] == json!(["tokenreviews"]))
}

#[test]
fn metrics_and_probes_of_a_component_cannot_have_the_same_port() {
    for (values, message) in [
        (
            ["agent.port=9466"],
            "agent.port and agent.probePort are both 9466",
        ),
        (
            ["operator.probePort=8080"],
            "operator.port and operator.probePort are both 8080",
        ),
    ] {
        let output = template(&values);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{values:?}");
        assert!(
            error.contains(message) && error.contains("set one of them"),
            "{error}"
        );
    }
    let same_port_elsewhere = render(&["agent.probePort=8080"]);
    assert!(!same_port_elsewhere.is_empty(), "they are in different networks");
}

#[test]
fn without_secure_metrics_no_process_may_review_tokens() {
    let (secure, open) = (render(&[]), render(&["metrics.secure=false"]));
    for (objects, is_secure) in [(&secure, true), (&open, false)] {
        for pod in pods(objects) {
            assert!(
                has_argument(pod, &format!("--metrics-secure={is_secure}")),
                "{pod}"
            );
        }
        for role in ["xdp-agent", "xdp-operator"] {
            assert_eq!(may_review(objects, role), is_secure, "{role}");
        }
        let reader = find(objects, "ClusterRole", "xdp-operator-metrics-reader");
        assert_eq!(reader.is_some(), is_secure);
    }
}

#[test]
fn the_certificate_of_a_secret_is_mounted_where_the_process_reads_it() {
    let secret = r#"metrics.certificateSecret="metrics-tls""#;
    let directory = "/etc/xdp-operator/metrics";
    let has_volume = |pod: &Value| {
        let volumes = pod["volumes"].as_array();
        volumes.is_some_and(|all| {
            all.iter()
                .any(|found| found["secret"]["secretName"] == "metrics-tls")
        })
    };
    let has_mount = |pod: &Value| {
        let mounts = pod["containers"][0]["volumeMounts"].as_array();
        mounts.is_some_and(|all| all.iter().any(|found| found["mountPath"] == directory))
    };
    for (values, is_mounted) in [
        (vec![secret], true),
        (vec![], false),
        (vec![secret, "metrics.secure=false"], false),
    ] {
        for pod in pods(&render(&values)) {
            let argument = format!("--metrics-cert-dir={directory}");
            assert_eq!(has_argument(pod, &argument), is_mounted, "{values:?}");
            assert_eq!(
                (has_volume(pod), has_mount(pod)),
                (is_mounted, is_mounted),
                "{values:?}"
            );
        }
    }
}

#[test]
fn the_readers_of_the_values_may_read_the_metrics() {
    let name = "xdp-operator-metrics-reader";
    let readers = r#"metrics.readers=[{"namespace": "monitoring", "name": "prometheus-k8s"}]"#;
    let objects = render(&[readers]);
    let rules = &find(&objects, "ClusterRole", name).unwrap()["rules"];
    assert_eq!(
        *rules,
        json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    );
    let binding = find(&objects, "ClusterRoleBinding", name).unwrap();
    let subjects = json!([{"kind": "ServiceAccount", "name": "prometheus-k8s", "namespace": "monitoring"}]);
    assert_eq!(binding["subjects"], subjects);
    assert_eq!(binding["roleRef"]["name"], name);
    for values in [vec![], vec![readers, "metrics.secure=false"]] {
        assert_eq!(
            find(&render(&values), "ClusterRoleBinding", name),
            None,
            "{values:?}"
        );
    }
}

#[test]
fn a_service_monitor_scrapes_as_the_metrics_are_served() {
    let enabled = "serviceMonitor.enabled=true";
    let secret = r#"metrics.certificateSecret="metrics-tls""#;
    let ca =
        r#"serviceMonitor.tlsConfig={"serverName": "xdp", "ca": {"configMap": {"name": "ca", "key": "ca"}}}"#;
    for (values, scheme, tls) in [
        (vec![enabled], json!("https"), json!({"insecureSkipVerify": true})),
        (vec![enabled, secret], json!("https"), Value::Null),
        (
            vec![enabled, secret, ca],
            json!("https"),
            json!({"serverName": "xdp", "ca": {"configMap": {"name": "ca", "key": "ca"}}}),
        ),
        (vec![enabled, "metrics.secure=false"], Value::Null, Value::Null),
    ] {
        let objects = render(&values);
        for (name, port) in [("agent", 9465), ("operator", 8080)] {
            let monitor = find(&objects, "ServiceMonitor", &format!("xdp-{name}")).unwrap();
            let endpoint = &monitor["spec"]["endpoints"][0];
            assert_eq!(endpoint["scheme"], scheme, "{values:?}");
            assert_eq!(endpoint["tlsConfig"], tls, "{values:?}");
            assert_eq!(endpoint["bearerTokenFile"].is_string(), scheme == "https");
            let service = find(&objects, "Service", &format!("xdp-{name}-metrics")).unwrap();
            assert_eq!(service["spec"]["ports"][0]["port"], port);
            let labels = &monitor["spec"]["selector"]["matchLabels"];
            assert_eq!(*labels, service["spec"]["selector"]);
        }
    }
    assert_eq!(find(&render(&[]), "ServiceMonitor", "xdp-agent"), None);
}

#[test]
fn the_agents_get_the_limits_of_series() {
    let all = |objects: &[Value], arguments: [&str; 3]| {
        let [agent, operator] = pods(objects);
        for argument in arguments {
            assert!(has_argument(agent, argument), "{argument} in {agent}");
            assert!(!has_argument(operator, argument), "it has no rules");
        }
    };
    let defaults = [
        "--metrics-max-rules=4096",
        "--metrics-max-rules-per-namespace=1024",
        "--metrics-rule-label=true",
    ];
    all(&render(&[]), defaults);
    let values = [
        "metrics.maxRules=32768",
        "metrics.maxRulesPerNamespace=10",
        "metrics.ruleLabel=false",
    ];
    let changed = [
        "--metrics-max-rules=32768",
        "--metrics-max-rules-per-namespace=10",
        "--metrics-rule-label=false",
    ];
    all(&render(&values), changed);
    assert!(!template(&["metrics.maxRules=0"]).status.success());
}
