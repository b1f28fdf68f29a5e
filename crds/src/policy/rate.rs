//! Rate limits.

use super::{
    BURST_SECONDS, MAX_BURST, MAX_RATE, PacketRateLimit,
    fault::{Fault, FieldFault},
};
use crate::{IngressRule, RuleAction};

pub(super) fn convert(path: &str, rule: &IngressRule) -> Result<Option<PacketRateLimit>, FieldFault> {
    let Some(limit) = &rule.rate_limit else {
        return Ok(None);
    };
    let action = match rule.action {
        RuleAction::Redirect | RuleAction::Pass => None,
        RuleAction::Drop => Some("Drop"),
        RuleAction::Reject => Some("Reject"),
    };
    if let Some(action) = action {
        return Err(FieldFault::new(path, &action, Fault::NothingToLimit));
    }
    let field = format!("{path}.packetsPerSecond");
    let rate = within(&field, limit.packets_per_second, MAX_RATE)?;
    let burst = match limit.burst {
        Some(burst) => bounded(&format!("{path}.burst"), burst, rate)?,
        None => (rate / 10).max(1),
    };
    Ok(Some(PacketRateLimit {
        packets_per_second: rate,
        burst,
        per: limit.per.unwrap_or_default(),
    }))
}

fn bounded(field: &str, value: i64, rate: u32) -> Result<u32, FieldFault> {
    let burst = within(field, value, MAX_BURST)?;
    let largest = rate.saturating_mul(BURST_SECONDS);
    if burst <= largest {
        return Ok(burst);
    }
    Err(FieldFault::new(field, &value, Fault::LongBurst { largest }))
}

fn within(field: &str, value: i64, largest: u32) -> Result<u32, FieldFault> {
    let number = u32::try_from(value)
        .ok()
        .filter(|number| (1..=largest).contains(number));
    number.ok_or_else(|| FieldFault::new(field, &value, Fault::BadRate { largest }))
}
