//! A scrape with thousands of rules.

use std::{sync::Arc, time::Instant};

use xdp_agent::{
    datapath::Datapath,
    report::{
        metrics::{AgentMetrics, registry},
        status,
    },
};
use xdp_client::metrics::{Format, encode};
use xdp_plan::{
    change::{Change, ChangeResult},
    installed::RuleLabel,
};

use crate::bpffs::Bpffs;

const RULES: u32 = 4000;
/// Packets and bytes of eight actions.
const SERIES: usize = 16 * RULES as usize;

#[test]
fn a_scrape_shows_all_of_four_thousand_rules() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let label = |rule: u32| RuleLabel {
        namespace: format!("namespace-{}", rule / 50),
        policy: format!("policy-{}", rule / 10),
        rule: format!("rule-{rule}"),
    };
    let changes: Vec<Change> = (0..RULES)
        .map(|rule| Change::SetRuleLabel {
            rule,
            label: Arc::new(label(rule)),
        })
        .collect();
    let outcomes = datapath.apply(&changes);
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, ChangeResult::Applied))
    );

    let started = Instant::now();
    let status = status::collect(&bpffs.pin_dir()).unwrap();
    let read = started.elapsed();
    let registry = registry(&AgentMetrics::default(), Some(status));
    let mut text = String::new();
    encode(&registry, Format::Classic, &mut text).unwrap();
    println!(
        "read in {read:?}, written in {:?}, {} bytes",
        started.elapsed().saturating_sub(read),
        text.len()
    );
    let rules = text.lines().filter(|line| line.starts_with("xdp_agent_rule_"));
    assert_eq!(rules.count(), SERIES);
}
