//! Tests of the CRDs.

use kube::CustomResourceExt;
use xdp_crds::{
    API_VERSION, XdpPolicy,
    conditions::{ACCEPTED, PROGRAMMED, READY},
};

#[test]
fn the_crd_has_names_limits_and_defaults() {
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
    assert_eq!(spec["delivery"]["default"], "Redirect");
    let rule = &spec["ingress"]["items"]["properties"];
    assert_eq!(
        rule["rateLimit"]["required"],
        serde_json::json!(["packetsPerSecond"])
    );
}

/// `kubectl wait --for=condition=NAME` and the column NAME are about the same thing.
#[test]
fn a_policys_column_with_the_name_of_a_condition_shows_that_condition() {
    let definition = serde_json::to_value(XdpPolicy::crd()).unwrap();
    let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
    for column in columns.as_array().unwrap() {
        let name = column["name"].as_str().unwrap();
        if [ACCEPTED, PROGRAMMED, READY].contains(&name) {
            let path = format!(r#".status.conditions[?(@.type=="{name}")].status"#);
            assert_eq!(column["jsonPath"], path, "{name}");
        }
    }
}

/// Tools that compare an object with what they have applied replace whole lists, so a default inside one
/// would look like a change each time.
#[test]
fn a_policys_spec_has_no_defaults_inside_lists() {
    fn assert_none(path: &str, schema: &serde_json::Value, in_list: bool) {
        assert!(
            !in_list || schema["default"].is_null(),
            "{path}: {}",
            schema["default"]
        );
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert_none(&format!("{path}.{name}"), field, in_list);
        }
        if schema["items"].is_object() {
            assert_none(&format!("{path}[]"), &schema["items"], true);
        }
    }
    let definition = serde_json::to_value(XdpPolicy::crd()).unwrap();
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_none("spec", &root["properties"]["spec"], false);
}

#[test]
fn absent_fields_have_their_defaults() {
    let text = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "XdpPolicy", "metadata": {"name": "a"}, "spec": {"podSelector": {}}
    });
    let policy: XdpPolicy = serde_json::from_value(text).unwrap();
    assert_eq!((policy.spec.priority, policy.spec.ingress.len()), (500, 0));
}

#[test]
fn every_field_of_every_kind_has_a_description() {
    for definition in xdp_crds::crds() {
        let kind = definition.spec.names.kind.clone();
        let definition = serde_json::to_value(definition).unwrap();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_described(&kind, root);
    }
}

fn assert_described(path: &str, schema: &serde_json::Value) {
    let text = schema["description"].as_str().unwrap_or_default();
    assert!(
        text.len() > 5 && !text.contains("Auto-generated"),
        "{path}: `{text}`"
    );
    // No line of the source ends in the middle of a sentence.
    assert!(!text.replace("\n\n", "").contains('\n'), "{path}: {text:?}");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        assert_described(&format!("{path}.{name}"), field);
    }
    let items = &schema["items"];
    if items["properties"].is_object() {
        assert_described(&format!("{path}[]"), items);
    }
}

#[test]
fn every_list_and_text_that_rules_read_has_a_bound() {
    let definition = serde_json::to_value(xdp_crds::crds().remove(0)).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_bounded("spec", spec);
}

fn assert_bounded(path: &str, schema: &serde_json::Value) {
    if schema["x-kubernetes-int-or-string"] == true {
        assert!(
            schema["maximum"].is_number() && schema["maxLength"].is_u64(),
            "{path}"
        );
    }
    match schema["type"].as_str() {
        Some("array") => {
            assert!(schema["maxItems"].is_u64(), "{path}");
            assert!(schema["x-kubernetes-list-type"].is_string(), "{path}");
            assert_bounded(&format!("{path}[]"), &schema["items"]);
        }
        Some("string") => assert!(
            schema["maxLength"].is_u64() || schema["enum"].is_array(),
            "{path}"
        ),
        Some("integer") => assert!(
            schema["minimum"].is_number() && schema["maximum"].is_number(),
            "{path}"
        ),
        _ if schema["additionalProperties"].is_object() => {
            assert!(schema["maxProperties"].is_u64(), "{path}");
            assert_bounded(&format!("{path}{{}}"), &schema["additionalProperties"]);
        }
        _ => {}
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        assert_bounded(&format!("{path}.{name}"), field);
    }
}

#[test]
fn the_schema_has_no_null_and_only_formats_that_the_api_server_knows() {
    for definition in xdp_crds::crds() {
        let text = serde_json::to_string(&definition).unwrap();
        assert!(
            !text.contains("\"nullable\"") && !text.contains("\"uint"),
            "{text}"
        );
    }
}
