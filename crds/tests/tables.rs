//! The tables of objects that the API server refuses and accepts (`refused.yaml`, `accepted.yaml`) agree with
//! the validation of the agent and with the CRDs, and so do the policies of the examples. Tests on a cluster
//! check the tables against the API server.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use xdp_crds::{XdpPolicy, policy::Policy};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    object: Value,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    name: String,
    object: Value,
}

fn table<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refused() -> Vec<Refused> {
    table(include_str!("refused.yaml"))
}

fn accepted() -> Vec<Accepted> {
    table(include_str!("accepted.yaml"))
}

fn validate(object: &Value) -> Result<Policy, String> {
    let policy: XdpPolicy = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    Policy::try_from(&policy).map_err(|error| error.to_string())
}

fn is_policy(object: &Value) -> bool {
    object["kind"] == "XdpPolicy"
}

#[test]
fn objects_that_the_api_server_refuses_are_refused_by_the_validation() {
    for entry in refused().iter().filter(|entry| is_policy(&entry.object)) {
        assert!(validate(&entry.object).is_err(), "{}", entry.name);
    }
}

#[test]
fn objects_that_the_api_server_accepts_are_accepted_by_the_validation() {
    for entry in accepted().iter().filter(|entry| is_policy(&entry.object)) {
        assert_eq!(validate(&entry.object).err(), None, "{}", entry.name);
    }
}

#[test]
fn every_example_has_a_policy_and_its_policies_are_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let verdicts: Vec<_> = (documents.iter().filter(|object| is_policy(object)))
            .map(|object| validate(object).map(|policy| policy.name))
            .collect();
        assert!(!verdicts.is_empty(), "{path:?}");
        assert!(verdicts.iter().all(Result::is_ok), "{path:?}: {verdicts:?}");
    }
}

#[test]
fn every_entry_of_the_tables_has_a_unique_name() {
    let names: Vec<String> = (refused().into_iter().map(|entry| entry.name))
        .chain(accepted().into_iter().map(|entry| entry.name))
        .collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
}

#[test]
fn the_message_of_every_rule_is_in_the_table() {
    let expected: Vec<String> = refused().into_iter().map(|entry| entry.message).collect();
    let mut messages = BTreeSet::new();
    for definition in xdp_crds::crds() {
        collect(&serde_json::to_value(definition).unwrap(), &mut messages);
    }
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        assert!(expected.iter().any(|part| message.contains(part)), "{message}");
    }
}

fn collect(value: &Value, messages: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, messages)),
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                let message = rule["message"].as_str();
                messages.insert(message.expect("every rule says what to write instead").to_owned());
            }
            fields.values().for_each(|field| collect(field, messages));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
