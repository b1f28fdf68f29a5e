//! Converts the API object to the validated policy.

use std::collections::BTreeMap;

use super::{
    MAX_PRIORITY, MAX_RULE_NAME, Policy, Rule, Selector, Sources,
    fault::{Fault, FieldFault, PolicyError},
    ports, rate, selector,
    selector::is_word,
    sources,
};
use crate::{IngressRule, RuleAction, XdpPolicy, pod::DEFAULT_NAMESPACE};

impl TryFrom<&XdpPolicy> for Policy {
    type Error = PolicyError;

    fn try_from(object: &XdpPolicy) -> Result<Self, PolicyError> {
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let name = meta.name.as_deref().unwrap_or_default();
        policy(object, namespace, name).map_err(|fault| PolicyError {
            object: format!("XdpPolicy {namespace}/{name}"),
            field: fault.field,
            value: fault.value,
            fault: fault.fault,
        })
    }
}

fn policy(object: &XdpPolicy, namespace: &str, name: &str) -> Result<Policy, FieldFault> {
    if name.is_empty() {
        return Err(FieldFault::new("metadata.name", &"", Fault::NoName));
    }
    let spec = &object.spec;
    let priority = u16::try_from(spec.priority)
        .ok()
        .filter(|priority| *priority <= MAX_PRIORITY);
    let priority =
        priority.ok_or_else(|| FieldFault::new("spec.priority", &spec.priority, Fault::BadPriority))?;
    let rules = spec.ingress.iter().enumerate();
    let rules = rules
        .map(|(index, rule)| convert_rule(&format!("spec.ingress[{index}]"), rule))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&rules)?;
    Ok(Policy {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        priority,
        created: object.metadata.creation_timestamp.clone(),
        selector: selector::convert("spec.podSelector", &spec.pod_selector)?,
        node_selector: match &spec.node_selector {
            Some(nodes) => selector::convert("spec.nodeSelector", nodes)?,
            None => Selector::default(),
        },
        enforcement: spec.enforcement,
        delivery: spec.delivery,
        rules,
        network_policy: spec.network_policy,
        redirect_permitted: true,
    })
}

fn convert_rule(path: &str, rule: &IngressRule) -> Result<Rule, FieldFault> {
    check_name(&format!("{path}.name"), &rule.name)?;
    let sources = rule.from.iter().enumerate();
    let sources = sources
        .map(|(index, source)| sources::convert(&format!("{path}.from[{index}]"), source))
        .collect::<Result<Vec<_>, _>>()?;
    let entries = rule.ports.iter().enumerate();
    let ports = entries
        .map(|(index, port)| ports::convert(&format!("{path}.ports[{index}]"), port))
        .collect::<Result<_, _>>()?;
    Ok(Rule {
        name: rule.name.clone(),
        from: if sources.is_empty() {
            Sources::Any
        } else {
            Sources::Listed(sources)
        },
        ports,
        action: rule.action,
        mark: convert_mark(&format!("{path}.mark"), rule)?,
        rate_limit: rate::convert(&format!("{path}.rateLimit"), rule)?,
    })
}

fn convert_mark(field: &str, rule: &IngressRule) -> Result<Option<u32>, FieldFault> {
    let Some(mark) = rule.mark else {
        return Ok(None);
    };
    if rule.action != RuleAction::Redirect {
        return Err(FieldFault::new(field, &mark, Fault::MarkWithoutRedirect));
    }
    u32::try_from(mark)
        .map(Some)
        .map_err(|_| FieldFault::new(field, &mark, Fault::BadMark))
}

fn check_name(field: &str, name: &str) -> Result<(), FieldFault> {
    if name.is_empty() {
        return Err(FieldFault::new(field, &name, Fault::NoName));
    }
    if name.len() > MAX_RULE_NAME || !is_word(name) {
        return Err(FieldFault::new(field, &name, Fault::BadRuleName));
    }
    Ok(())
}

fn check_names(rules: &[Rule]) -> Result<(), FieldFault> {
    let mut seen = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        if let Some(first) = seen.insert(&rule.name, index) {
            let field = format!("spec.ingress[{index}].name");
            return Err(FieldFault::new(field, &rule.name, Fault::DuplicateRule { first }));
        }
    }
    Ok(())
}
