//! The agent's seccomp profile in the chart's objects.

use serde_json::{Value, json};
use xdp_e2e::seccomp::PROFILE;

use super::{find, pods, render};

const KIND: &str = "SeccompProfile";

#[test]
fn the_object_of_the_security_profiles_operator_is_the_charts_profile() {
    let objects = render(&["securityProfilesOperator.seccompProfile=true"]);
    let mut expected: Value = serde_json::from_str(PROFILE).unwrap();
    for rule in expected["syscalls"].as_array_mut().unwrap() {
        rule.as_object_mut().unwrap().remove("comment");
    }
    let object = find(&objects, KIND, "xdp-agent").unwrap();
    assert_eq!(object["spec"], expected);
    assert_eq!(find(&render(&[]), KIND, "xdp-agent"), None);
}

#[test]
fn the_agents_container_has_the_profile_of_the_values() {
    let localhost = json!({"type": "Localhost", "localhostProfile": "operator/xdp-agent.json"});
    let runtimes = json!({"type": "RuntimeDefault"});
    for (values, expected) in [
        (vec![], &runtimes),
        (vec![format!("agent.seccompProfile={localhost}")], &localhost),
    ] {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let objects = render(&values);
        let [agent, _] = pods(&objects);
        let context = &agent["containers"][0]["securityContext"];
        assert_eq!(context["seccompProfile"], *expected);
    }
}
