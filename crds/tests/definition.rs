//! The definition that clusters get.

use kube::CustomResourceExt;
use xdp_crds::{API_VERSION, XdpPolicy};

#[test]
fn the_definition_carries_names_limits_and_defaults() {
    let definition = serde_json::to_value(XdpPolicy::crd()).unwrap();
    assert_eq!(definition["spec"]["names"]["shortNames"][0], "xp");
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    let version = &definition["spec"]["versions"][0];
    assert_eq!(
        API_VERSION,
        format!(
            "{}/{}",
            definition["spec"]["group"].as_str().unwrap(),
            version["name"].as_str().unwrap()
        )
    );
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(
        (&spec["priority"]["default"], &spec["priority"]["maximum"]),
        (&500.into(), &1000.0.into())
    );
    assert_eq!(spec["enforcement"]["default"], "Enforce");
}

#[test]
fn what_is_not_written_has_its_default() {
    let text = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "XdpPolicy", "metadata": {"name": "a"}, "spec": {"podSelector": {}}
    });
    let policy: XdpPolicy = serde_json::from_value(text).unwrap();
    assert_eq!((policy.spec.priority, policy.spec.ingress.len()), (500, 0));
}
