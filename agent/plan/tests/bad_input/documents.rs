//! Documents of other kinds, and invalid YAML.

use xdp_plan::manifests::parse;

use crate::error;

#[test]
fn other_kinds_are_refused_by_name() {
    let error = error("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");
    assert_eq!((error.line, error.reason.as_str()), (6, "UnknownKind"));
    assert_eq!(error.object.as_deref(), Some("Deployment default/web"));
    assert!(error.message.contains("`kind` is `Deployment`"), "{error}");
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
