//! Tools that render the chart and apply what comes out, without Helm's hooks.

use anyhow::ensure;
use serde_json::Value;
use xdp_e2e::installed::{ClusterPodSpec, Installation, NAMESPACE};
use xdp_kubernetes::checked;

use super::{Game, LogsOnFailure, all_replaced, instances, programs, until_ready};

const ACCEPTED: &str = include_str!("../../../../crds/tests/accepted.yaml");

/// Runs `kubectl` with these objects as its input.
fn with(installed: &Installation, arguments: &[&str], objects: &str) -> anyhow::Result<String> {
    let call = [arguments, &["-f", "-"]].concat();
    checked(&call.join(" "), installed.run("kubectl", &call, Some(objects))?)
}

/// Applies objects as Flux does: server-side, without overriding others.
fn apply(installed: &Installation, objects: &str) {
    with(installed, &["apply", "--server-side"], objects).unwrap();
}

/// Fails and shows what would change if these objects were applied again.
#[track_caller]
fn expect_no_difference(installed: &Installation, objects: &str) {
    for how in [
        &["diff", "--server-side"][..],
        &["diff", "--server-side", "--force-conflicts"],
    ] {
        assert_eq!(with(installed, how, objects).unwrap(), "");
    }
}

#[test]
fn a_rendered_chart_installs_and_upgrades_by_apply_and_uninstalls_only_when_asked() {
    let _turn = Installation::together();
    let installed = Installation::bare().unwrap();
    let _logs = LogsOnFailure(&installed);
    installed.kubectl(&["create", "namespace", NAMESPACE]).unwrap();
    let first = installed.render(&[]).unwrap();
    apply(&installed, &first);
    for component in ["agent", "operator"] {
        until_ready(&installed, component, |_| true);
    }
    let game = Game::new(&installed, "game");
    expect_no_difference(&installed, &first);
    let before = programs(&installed);
    apply(&installed, &first);
    assert_eq!(programs(&installed), before);

    game.with_traffic(|traffic| {
        upgrade(&installed);
        assert_eq!(programs(&installed), before);
        an_applied_hook_changes_nothing(&installed);
        assert_eq!(programs(&installed), before);
        game.space.until_programmed("game", 2).unwrap();
        traffic.send_more(500);
    });
    uninstall(&installed);
}

/// Applies the chart with other values.
fn upgrade(installed: &Installation) {
    let (agents, operators) = (instances(installed, "agent"), instances(installed, "operator"));
    let annotations = [
        "--set-string=agent.podAnnotations.version=2",
        "--set-string=operator.podAnnotations.version=2",
    ];
    let second = installed.render(&annotations).unwrap();
    apply(installed, &second);
    until_ready(installed, "agent", |now| all_replaced(&agents, now));
    until_ready(installed, "operator", |now| all_replaced(&operators, now));
    expect_no_difference(installed, &second);
}

/// Someone renders Helm's hooks all the same, and applies them as ordinary objects.
fn an_applied_hook_changes_nothing(installed: &Installation) {
    let hook = ["--set=hooks=Helm", "--show-only=templates/hooks/uninstall.yaml"];
    let hook = installed.render(&hook).unwrap();
    apply(installed, &hook);
    let refused = installed.until("the job refuses", || {
        let pods = installed.components("uninstall")?;
        let ended = pods.iter().find_map(|pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            state["message"].as_str().map(str::to_owned)
        });
        ended.ok_or_else(|| anyhow::anyhow!("it has not ended: {pods:#?}"))
    });
    let message = refused.unwrap();
    let expected = "DaemonSet xdp-system/xdp-agent has no annotation `meta.helm.sh/release-name`";
    assert!(message.contains(expected), "{message}");
    with(installed, &["delete"], &hook).unwrap();
}

/// What the documentation says for tools without hooks.
fn uninstall(installed: &Installation) {
    let job = ["--set=hooks=Manual", "--show-only=templates/hooks/uninstall.yaml"];
    let job = installed.render(&job).unwrap();
    apply(installed, &job);
    let wait = ["wait", "-n", NAMESPACE, "job/xdp-operator-uninstall"];
    let complete = ["--for=condition=Complete", "--timeout=3m"];
    let done = installed.kubectl(&[&wait[..], &complete].concat());
    done.unwrap_or_else(|error| panic!("{error:#}\n{}", installed.describe(NAMESPACE)));
    for node in installed.nodes() {
        assert_eq!(installed.programs(node).unwrap().len(), 0, "{}", node.name);
        assert_eq!(installed.pins(node).unwrap(), [] as [String; 0], "{}", node.name);
    }
    with(installed, &["delete"], &job).unwrap();
    with(installed, &["delete"], &installed.render(&[]).unwrap()).unwrap();
    let gone = installed.until("operator and agents are gone", || {
        let left = ["agent", "operator"].map(|component| installed.components(component));
        for pods in left {
            ensure!(pods?.is_empty());
        }
        Ok(())
    });
    gone.unwrap();
}

/// Returns all policies that the API server accepts, with different names.
fn policies() -> Vec<Value> {
    let cases: Vec<Value> = serde_saphyr::from_str(ACCEPTED).unwrap();
    let objects = cases.into_iter().map(|case| case["object"].clone());
    let policies = objects.filter(|object| object["kind"] == "XdpPolicy");
    let named = policies.enumerate().map(|(number, mut policy)| {
        policy["metadata"]["name"] = format!("accepted-{number}").into();
        policy
    });
    named.collect()
}

/// Checks that a policy has each field of the schema, in at least one item of each list. All label selectors
/// are alike, so their fields are not looked at.
#[track_caller]
fn assert_has_every_field(path: &str, schema: &Value, found: &[&Value]) {
    assert!(!found.is_empty(), "no policy has {path}");
    if schema["properties"]["matchLabels"].is_object() {
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below: Vec<&Value> = found.iter().filter_map(|value| value.get(name)).collect();
        assert_has_every_field(&format!("{path}.{name}"), field, &below);
    }
    if schema["items"].is_object() {
        let lists = found.iter().filter_map(|value| value.as_array());
        let items: Vec<&Value> = lists.flatten().collect();
        assert_has_every_field(&format!("{path}[]"), &schema["items"], &items);
    }
}

#[test]
fn applying_a_policy_again_changes_nothing_whatever_fields_it_has() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let policies = policies();
    let definition = installed.get(&["crd", "xdppolicies.xdp-operator.io"]).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let specs: Vec<&Value> = policies.iter().map(|policy| &policy["spec"]).collect();
    assert_has_every_field("spec", schema, &specs);

    let objects = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": policies}).to_string();
    // Both ways to apply: server-side, and as `kubectl apply` and Argo CD compare by default.
    for (name, server_side) in [("again-server", true), ("again-client", false)] {
        let space = installed.space(name).unwrap();
        let server_side = format!("--server-side={server_side}");
        let apply = ["apply", "-n", name, &server_side];
        with(installed, &apply, &objects).unwrap();
        let generations = || {
            let found = installed.list(&format!(
                "{}/namespaces/{name}/xdppolicies",
                xdp_e2e::installed::API
            ));
            found
                .unwrap()
                .iter()
                .map(|policy| policy["metadata"]["generation"].clone())
                .collect::<Vec<_>>()
        };
        let before = generations();
        let diff = ["diff", "-n", name, &server_side];
        assert_eq!(with(installed, &diff, &objects).unwrap(), "");
        let again = with(installed, &apply, &objects).unwrap();
        assert!(!again.contains("configured"), "{again}");
        assert_eq!(generations(), before);
        drop(space);
    }
}

/// A pod that does not exist yet is not needed to be ready.
#[test]
fn kubectl_waits_for_the_condition_ready() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("wait-ready").unwrap();
    space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
    space.policy("game", "game", &[crate::fixture::PLAYERS]).unwrap();
    let wait = ["wait", "--for=condition=Ready", "xdppolicy/game", "--timeout=1m"];
    space.kubectl(&wait).unwrap();
    let policy = installed.api(&space.policy_path("game")).unwrap();
    assert_eq!(
        policy["status"]["observedGeneration"],
        policy["metadata"]["generation"]
    );
    assert_eq!(policy["status"]["nodes"]["programmed"], 1);
}
