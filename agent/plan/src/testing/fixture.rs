//! Validated policies, rules and pods with plain values, for tests to change.

use std::net::IpAddr;

use crate::{
    pod::Pod,
    policy::{Delivery, Enforcement, NetworkPolicyMode, Policy, Rule, RuleAction, Selector, Sources},
};

/// Builds a policy that selects all pods of its namespace, on all nodes.
pub fn policy(namespace: &str, name: &str, rules: Vec<Rule>) -> Policy {
    Policy {
        namespace: namespace.into(),
        name: name.into(),
        uid: String::new(),
        generation: 0,
        priority: 500,
        created: None,
        selector: Selector::default(),
        node_selector: Selector::default(),
        enforcement: Enforcement::Enforce,
        delivery: Delivery::Redirect,
        rules,
        network_policy: NetworkPolicyMode::Honour,
        redirect_permitted: true,
    }
}

/// Builds a rule that matches every source and port.
pub fn rule(name: &str, action: RuleAction) -> Rule {
    Rule {
        name: name.into(),
        from: Sources::Any,
        ports: Vec::new(),
        action,
        mark: None,
        rate_limit: None,
    }
}

/// Builds a running pod without labels.
pub fn pod(namespace: &str, name: &str, addresses: Vec<IpAddr>) -> Pod {
    Pod {
        namespace: namespace.into(),
        name: name.into(),
        addresses,
        ..Pod::default()
    }
}
