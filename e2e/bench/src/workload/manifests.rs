//! Policies as manifests.

use std::fmt::Write as _;

use super::{TCP, Workload, WorkloadRule};

/// Maximum of rules in one policy.
const RULES_OF_A_POLICY: usize = 100;

/// Returns a manifest with the policies of one pod, selected by its label `app: APP`.
pub fn policies(workload: &Workload, target: usize, app: &str) -> String {
    let mut text = String::new();
    for (part, rules) in workload.targets[target]
        .rules
        .chunks(RULES_OF_A_POLICY)
        .enumerate()
    {
        let priority = 100 + part;
        let delivery = if workload.targets[target].peer {
            "\n  delivery: Peer"
        } else {
            ""
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\n\
             metadata: {{namespace: games, name: {app}-{part}}}\nspec:\n  podSelector: {{matchLabels: {{app: {app}}}}}\n  \
             priority: {priority}{delivery}\n  ingress:\n"
        );
        for (index, rule) in rules.iter().enumerate() {
            text.push_str(&line(index, rule, workload.mark(rule.number)));
        }
    }
    text
}

fn line(index: usize, rule: &WorkloadRule, mark: u32) -> String {
    if rule.protocol == 0 {
        return format!("  - {{name: r{index}, action: Redirect, mark: {mark}}}\n");
    }
    let protocol = if rule.protocol == TCP { "TCP" } else { "UDP" };
    let action = if rule.redirect {
        format!("action: Redirect, mark: {mark}")
    } else {
        "action: Drop".to_owned()
    };
    let ports = match (rule.low, rule.high) {
        (low, high) if low == high => format!("port: {low}"),
        (low, high) => format!("port: {low}, endPort: {high}"),
    };
    format!(
        "  - {{name: r{index}, from: [{{ipBlock: {{cidr: \"{}\"}}}}], ports: [{{protocol: {protocol}, {ports}}}], {action}}}\n",
        rule.source.text()
    )
}
