//! What the administrator allows policies to do, set in the chart: bits of marks, and redirects by namespace.

use serde_json::json;
use xdp_e2e::installed::{ClusterPodSpec, Installation, condition, policy};

use crate::fixture::{PLAYERS, Rule, deliver};

const POD_SELECTOR: &str = "podSelector: {matchLabels: {app: game}}";

#[test]
fn a_mark_outside_the_mask_is_refused_where_it_is_written() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("marks").unwrap();
    let apply = |mark: u32| {
        let rules = [PLAYERS, &format!("{{name: all, action: Redirect, mark: {mark}}}")];
        space.try_apply(&policy("players", POD_SELECTOR, &rules)).unwrap()
    };
    for mark in [128, 1337, 0x4000, 0x8000_0000, u32::MAX] {
        let refused = apply(mark);
        assert!(!refused.status.success(), "{mark:#x}");
        let expected = format!(
            "the mark {mark} of the rule all has bits outside the administrator's mask 0x7f: use a mark with no bits \
             outside it, or ask the administrator to set allowedMarkMask"
        );
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
    for mark in [0, 42, 127] {
        let accepted = apply(mark);
        assert!(accepted.status.success(), "{mark:#x}: {}", accepted.stderr);
    }
    // The policy above is refused in later versions, too.
    assert!(!apply(128).status.success());
}

/// Sets the chart's values back to those of all other tests.
struct Restored<'a>(&'a Installation);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.upgrade(&[]) {
            println!("the chart's values are not restored: {error:#}");
        }
    }
}

#[test]
fn rules_redirect_only_in_namespaces_that_the_administrator_selects() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("redirects").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();

    let _restored = Restored(installed);
    let selector = r#"redirect.namespaceSelector={"matchLabels":{"redirect":"allowed"}}"#;
    installed.upgrade(&["--set-json", selector]).unwrap();
    let refused = space.until_not_programmed("game", "NotPermitted").unwrap();
    let message = condition(&refused, "Programmed").unwrap()["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("`redirect.namespaceSelector`"), "{message}");
    let rule = Rule {
        installed,
        space: &space,
        policy: "game",
        name: "players",
    };
    let before = rule.packets(&pod, ["redirected", "fell_back"]).unwrap();
    deliver(installed, &pod, 50);
    installed
        .until("the datagrams fall back", || {
            let now = rule.packets(&pod, ["redirected", "fell_back"])?;
            anyhow::ensure!(now == [before[0], before[1] + 50], "{now:?} after {before:?}");
            Ok(())
        })
        .unwrap();

    let label = |value: &str| {
        installed
            .kubectl(&["label", "--overwrite", "namespace", &space.name, value])
            .unwrap()
    };
    label("redirect=allowed");
    space.until_programmed("game", 1).unwrap();
    deliver(installed, &pod, 50);
    label("redirect=no");
    space.until_not_programmed("game", "NotPermitted").unwrap();
}

#[test]
fn a_policy_whose_pods_have_host_ports_says_so() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("host-ports").unwrap();
    let mut object = ClusterPodSpec::new("server", "game", 2).manifest();
    object["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(18080);
    space.apply(&object.to_string()).unwrap();
    space.wait_pod("server").unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    let programmed = space.until_programmed("game", 1).unwrap();
    let condition = condition(&programmed, "Programmed").unwrap();
    assert_eq!(condition["reason"], "HostPorts");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.contains("Pod host-ports/server: TCP 18080: packets to the node's address and this port"),
        "{message}"
    );
}
