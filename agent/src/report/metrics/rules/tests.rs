use prometheus_client::{collector::Collector, registry::Registry};
use xdp_client::metrics::{Format, encode};

use super::*;

/// Rules in memory: label, and packets that were dropped.
#[derive(Default)]
pub(in crate::report::metrics) struct Rules(pub(in crate::report::metrics) Vec<(RuleLabel, RuleCounts)>);

impl RuleTable for Rules {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn label(&self, rule: u32) -> Option<RuleLabel> {
        self.0.get(rule as usize).map(|(label, _)| label.clone())
    }

    fn counts(&self, rule: u32) -> Result<RuleCounts, OpenError> {
        Ok(self.0[rule as usize].1)
    }
}

impl Collector for RuleSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        Self::encode(self, &mut encoder)
    }
}

fn rules(namespace: &str, policies: usize, each: usize) -> Vec<(RuleLabel, RuleCounts)> {
    let rule = |number: usize| {
        let label = RuleLabel {
            namespace: namespace.to_owned(),
            policy: format!("policy-{}", number / each),
            rule: format!("rule-{number}"),
        };
        let mut counts = RuleCounts::default();
        counts[2].packets = number as u64 + 1;
        (label, counts)
    };
    (0..policies * each).map(rule).collect()
}

fn text(rules: Vec<(RuleLabel, RuleCounts)>, limits: RuleLimits) -> String {
    let series = RuleSeries::read(Box::new(Rules(rules)), limits).unwrap();
    let mut registry = Registry::with_prefix("xdp_agent");
    registry.register_collector(Box::new(series));
    let mut text = String::new();
    encode(&registry, Format::Classic, &mut text).unwrap();
    text
}

/// The values of the dropped packets of a namespace's series, by policy and rule.
fn dropped(text: &str, namespace: &str) -> Vec<(String, String, u64)> {
    let prefix = format!("xdp_agent_rule_packets_total{{namespace=\"{namespace}\",policy=\"");
    let lines = text.lines().filter(|line| line.contains("action=\"dropped\""));
    let series = lines.filter_map(|line| {
        let (policy, rest) = line.strip_prefix(&prefix)?.split_once("\",rule=\"")?;
        let (rule, rest) = rest.split_once('"')?;
        let value = rest.rsplit_once(' ')?.1.parse().ok()?;
        Some((policy.to_owned(), rule.to_owned(), value))
    });
    series.collect()
}

const LIMITS: RuleLimits = RuleLimits {
    total: 60,
    per_namespace: 40,
    rule_label: true,
};

#[test]
fn packets_of_rules_beyond_the_limit_are_counted_by_their_policy() {
    let text = text([rules("a", 10, 100), rules("b", 2, 3)].concat(), LIMITS);
    let series = dropped(&text, "a");
    assert_eq!(series.len(), 40);
    for policy in 0..10_u64 {
        let own = series
            .iter()
            .filter(|(name, ..)| *name == format!("policy-{policy}"));
        let first = policy * 100;
        let expected: u64 = (first + 1..=first + 100).sum();
        assert_eq!(own.map(|(.., packets)| packets).sum::<u64>(), expected);
    }
    let named = series.iter().filter(|(_, rule, _)| !rule.is_empty()).count();
    let unnamed = format!(
        "xdp_agent_rules_without_series{{namespace=\"a\"}} {}",
        1000 - named
    );
    assert!(text.contains(&unnamed), "{unnamed}");
    assert_eq!(dropped(&text, "b").len(), 6, "the other namespace has all");
    assert!(text.contains("xdp_agent_rules_without_series{namespace=\"b\"} 0"));
}

#[test]
fn packets_of_policies_beyond_the_limit_are_counted_by_their_namespace() {
    let text = text(rules("a", 500, 2), LIMITS);
    let series = dropped(&text, "a");
    assert_eq!(series.len(), 40);
    assert!(
        series
            .iter()
            .any(|(policy, rule, _)| policy.is_empty() && rule.is_empty())
    );
    assert_eq!(
        series.iter().map(|(.., packets)| packets).sum::<u64>(),
        (1..=1000).sum::<u64>()
    );
}

#[test]
fn without_rule_labels_rules_are_counted_by_their_policy() {
    let limits = RuleLimits {
        rule_label: false,
        ..LIMITS
    };
    let text = text(rules("a", 3, 100), limits);
    let series = dropped(&text, "a");
    assert_eq!(series.len(), 3);
    assert!(series.iter().all(|(_, rule, _)| rule.is_empty()));
    assert!(
        text.contains("xdp_agent_rules_without_series{namespace=\"a\"} 0"),
        "as configured"
    );
}

/// The number of a rule is given to another one between reading and encoding.
#[test]
fn a_rule_that_was_replaced_meanwhile_has_no_series() {
    let mut series = RuleSeries::read(Box::new(Rules(rules("a", 1, 3))), LIMITS).unwrap();
    let mut changed = rules("a", 1, 3);
    changed[1].0.rule = "rule-0".to_owned();
    series.table = Box::new(Rules(changed));
    let names: Vec<_> = series.series.iter().filter_map(|sum| series.names(sum)).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!((names.len(), unique.len()), (2, 2));
}
