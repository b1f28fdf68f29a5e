//! Hooks of Helm and of Argo CD, and their absence.

use serde_json::Value;

use super::{find, render, template};

/// Objects that belong to the jobs.
fn of_jobs(objects: &[Value]) -> Vec<&Value> {
    let named = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        name.ends_with("-crds") || name.ends_with("-uninstall")
    };
    objects.iter().filter(named).collect()
}

fn arguments(job: &Value) -> Vec<&str> {
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    arguments
        .unwrap()
        .iter()
        .map(|found| found.as_str().unwrap())
        .collect()
}

/// Most tools apply hooks of Helm as ordinary objects, or run them at other times.
#[test]
fn a_chart_that_is_only_rendered_has_no_jobs_and_none_of_their_rights() {
    for values in [&[][..], &[r#"hooks="None""#]] {
        let objects = render(values);
        assert!(find(&objects, "DaemonSet", "xdp-agent").is_some());
        assert_eq!(of_jobs(&objects), [] as [&Value; 0]);
        assert_eq!(objects.iter().find(|object| object["kind"] == "Job"), None);
        let hook = objects.iter().find(|object| {
            let annotations = object["metadata"]["annotations"].as_object();
            annotations.is_some_and(|all| all.keys().any(|key| key.contains("hook")))
        });
        assert_eq!(hook, None);
    }
}

#[test]
fn every_object_of_a_job_is_a_hook_of_the_tool_that_the_values_name() {
    for (hooks, annotation, events) in [
        (
            "Helm",
            "helm.sh/hook",
            &["pre-install,pre-upgrade", "pre-delete"][..],
        ),
        ("ArgoCD", "argocd.argoproj.io/hook", &["PreDelete"]),
    ] {
        let objects = render(&[&format!("hooks={hooks:?}")]);
        let found = of_jobs(&objects);
        assert!(found.iter().any(|object| object["kind"] == "Job"));
        for object in found {
            let event = object["metadata"]["annotations"][annotation].as_str();
            assert!(event.is_some_and(|event| events.contains(&event)), "{object}");
        }
    }
}

#[test]
fn the_job_that_uninstalls_wants_the_annotation_that_its_tool_adds() {
    for (hooks, annotation) in [
        ("Helm", Some("meta.helm.sh/release-name")),
        ("ArgoCD", Some("argocd.argoproj.io/tracking-id")),
        ("Manual", None),
    ] {
        let objects = render(&[&format!("hooks={hooks:?}")]);
        let job = find(&objects, "Job", "xdp-operator-uninstall").unwrap();
        let found = arguments(job)
            .into_iter()
            .find_map(|found| found.strip_prefix("--require-annotation="));
        assert_eq!(found, annotation, "{hooks}");
        let annotations = &job["metadata"]["annotations"];
        assert_eq!(annotations.is_null(), hooks == "Manual", "{annotations}");
    }
    let kept = render(&[r#"hooks="Helm""#, "uninstall.cleanNodes=false"]);
    assert_eq!(find(&kept, "Job", "xdp-operator-uninstall"), None);
}

#[test]
fn an_unknown_tool_is_refused() {
    let output = template(&[r#"hooks="Flux""#]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("hooks"), "{error}");
}
