//! Converts rules to the records that the programs read.

use xdp_core::tables::{Action, ActionRecord, TICK_SHIFT};

use crate::policy::{Delivery, Enforcement, LimitPer, PacketRateLimit, Policy, Rule, RuleAction};

const TICKS_PER_SECOND: u64 = 1_000_000_000 << TICK_SHIFT;

/// Builds the record of a rule, with `rule` and `namespace` zero. A policy in Audit has no rate limits.
pub(super) fn record(policy: &Policy, rule: &Rule) -> ActionRecord {
    let enforced = policy.enforcement == Enforcement::Enforce;
    let limit = rule.rate_limit.filter(|_| enforced);
    let flags = [
        (rule.mark.is_some(), ActionRecord::MARK),
        (!enforced, ActionRecord::AUDIT),
        (policy.delivery == Delivery::Peer, ActionRecord::PEER),
        (is_per(limit, LimitPer::Rule), ActionRecord::LIMIT_RULE),
        (is_per(limit, LimitPer::Source), ActionRecord::LIMIT_SOURCE),
    ];
    let interval = limit.map_or(0, |limit| interval(limit.packets_per_second));
    ActionRecord {
        mark: rule.mark.unwrap_or_default(),
        action: action(rule.action) as u8,
        flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
        interval,
        window: limit.map_or(0, |limit| interval * u64::from(limit.burst)),
        ..ActionRecord::default()
    }
}

fn is_per(limit: Option<PacketRateLimit>, per: LimitPer) -> bool {
    limit.is_some_and(|limit| limit.per == per)
}

/// Returns ticks per packet, rounded to the nearest. The highest rate has 2,560 ticks, so the error is below
/// one part in 5,000.
fn interval(packets_per_second: u32) -> u64 {
    let rate = u64::from(packets_per_second.max(1));
    (TICKS_PER_SECOND + rate / 2) / rate
}

const fn action(action: RuleAction) -> Action {
    match action {
        RuleAction::Redirect => Action::Redirect,
        RuleAction::Pass => Action::Pass,
        RuleAction::Drop => Action::Drop,
        RuleAction::Reject => Action::Reject,
    }
}

#[cfg(test)]
mod tests {
    use xdp_core::limits::MAX_WINDOW;

    use super::*;
    use crate::policy::{BURST_SECONDS, MAX_BURST, MAX_RATE};

    #[test]
    fn every_rate_is_kept_to_one_part_in_five_thousand() {
        for rate in [1, 2, 3, 7, 999, 1_000, 333_333, 99_999_999, MAX_RATE] {
            let second = interval(rate) * u64::from(rate);
            assert!(
                second.abs_diff(TICKS_PER_SECOND) <= TICKS_PER_SECOND / 5_000,
                "{rate}: {second}"
            );
        }
    }

    #[test]
    fn no_window_is_longer_than_the_programs_expect() {
        assert_eq!(u64::from(BURST_SECONDS), MAX_WINDOW);
        for rate in [1, 7, 999, 333_333, MAX_RATE] {
            let burst = MAX_BURST.min(rate.saturating_mul(BURST_SECONDS));
            assert!(interval(rate) * u64::from(burst) < (MAX_WINDOW + 1) * TICKS_PER_SECOND);
        }
    }
}
