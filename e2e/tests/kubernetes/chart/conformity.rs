//! `helm lint`, kubeconform and `promtool check rules`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::template;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `checks` with this input.
fn checks(arguments: &[&str], files: &[PathBuf], input: &[u8]) -> Output {
    let mut child = Command::new(xdp_kubernetes::programs().unwrap().join("checks"))
        .args(arguments)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // If the program does not read, its exit status says why.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Validates objects with kubeconform against the schemas of Kubernetes and of the CRDs.
fn conform(objects: &[u8]) -> Output {
    let swagger = xdp_kubernetes::programs().unwrap().join("swagger.json");
    let definitions = fs::read_dir(repository().join("charts/xdp-operator/crds")).unwrap();
    let files = definitions.map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = std::iter::once(swagger).chain(files).collect();
    checks(&["conform"], &files, objects)
}

#[track_caller]
fn assert_success(what: &str, output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
}

/// Values that switch on what is off by default.
const EVERYTHING: [&str; 11] = [
    "serviceMonitor.enabled=true",
    "dashboard.enabled=true",
    "userRoles.aggregateToEdit=true",
    r#"networkPolicy.metricsFrom=[{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]"#,
    "networkPolicy.apiServer.ports=[6443]",
    r#"networkPolicy.apiServer.to=[{"ipBlock": {"cidr": "192.0.2.0/24"}}]"#,
    r#"metrics.certificateSecret="metrics-tls""#,
    r#"metrics.readers=[{"namespace": "monitoring", "name": "prometheus"}]"#,
    r#"redirect.namespaceSelector={"matchLabels": {"redirect": "allowed"}}"#,
    r#"imagePullSecrets=[{"name": "registry"}]"#,
    r#"agent.affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "nic", "operator": "Exists"}]}]}}}"#,
];

#[test]
fn what_the_chart_renders_conforms_to_the_schemas() {
    for values in [&[][..], &EVERYTHING] {
        for hooks in ["Helm", "ArgoCD", "Manual", "None"] {
            let hooks = format!("hooks={hooks:?}");
            let rendered = template(&[values, &[&hooks]].concat());
            assert_success("helm template", &rendered);
            assert_success(&hooks, &conform(&rendered.stdout));
        }
    }
}

#[test]
fn examples_conform_to_the_schemas_and_misspelt_ones_do_not() {
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_success(&path.display().to_string(), &conform(text.as_bytes()));
        let wrong = text.replace("podSelector", "podSelektor");
        let output = conform(wrong.as_bytes());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("'podSelektor' not allowed"), "{error}");
    }
}

#[test]
fn the_chart_has_no_lint() {
    let helm = xdp_kubernetes::programs().unwrap().join("helm");
    for values in [&[][..], &EVERYTHING] {
        let mut command = Command::new(&helm);
        command
            .args(["lint", "--strict"])
            .arg(repository().join("charts/xdp-operator"));
        command.args(values.iter().map(|value| format!("--set-json={value}")));
        assert_success("helm lint", &command.output().unwrap());
    }
}

/// The alerts of the documentation, as users copy them.
#[test]
fn prometheus_accepts_the_documented_alerts() {
    let page = fs::read_to_string(repository().join("docs/reference/metrics.md")).unwrap();
    let (_, rules) = page.split_once("```yaml\ngroups:").unwrap();
    let (rules, _) = rules.split_once("```").unwrap();
    let rules = format!("groups:{rules}");
    assert_success("checks rules", &checks(&["rules"], &[], rules.as_bytes()));
    let wrong = rules.replacen("expr: ", "expr: sum(", 1);
    assert!(!checks(&["rules"], &[], wrong.as_bytes()).status.success());
}
