//! The administrator's mask for the marks of rules.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{Fault, Policy, PolicyError};

/// The bits of a packet's mark that rules may set.
///
/// A mark is shared by everything that sees the packet in the pod: routing rules, netfilter, proxies. So the
/// administrator says which bits belong to the rules; all other bits of a packet's mark stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkMask(pub u32);

impl MarkMask {
    /// All bits.
    pub const ANY: Self = Self(u32::MAX);

    /// Returns the bits of a mark that are outside the mask.
    pub const fn outside(self, mark: u32) -> u32 {
        mark & !self.0
    }
}

/// All bits but those that others use; the reference of the chart's values lists them.
impl Default for MarkMask {
    fn default() -> Self {
        Self(0x7f)
    }
}

/// Writes `0x7f`.
impl fmt::Display for MarkMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Not a mask.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a mask of 32 bits; write it as 0x7f, or as a number from 0 to {}",
    u32::MAX
)]
pub struct NotAMask {
    text: String,
}

impl FromStr for MarkMask {
    type Err = NotAMask;

    fn from_str(text: &str) -> Result<Self, NotAMask> {
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            // `from_str_radix` takes a sign.
            Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
            _ => text.parse(),
        };
        let not_a_mask = |_| NotAMask {
            text: text.to_owned(),
        };
        parsed.map(Self).map_err(not_a_mask)
    }
}

impl Policy {
    /// Checks that all marks are inside the administrator's mask.
    pub fn check_marks(&self, allowed: MarkMask) -> Result<(), PolicyError> {
        let marks = self.rules.iter().enumerate();
        let mut marks = marks.filter_map(|(index, rule)| Some((index, rule.mark?)));
        let Some((index, mark)) = marks.find(|(_, mark)| allowed.outside(*mark) != 0) else {
            return Ok(());
        };
        Err(PolicyError {
            object: self.to_string(),
            field: format!("spec.ingress[{index}].mark"),
            value: mark.to_string(),
            fault: Fault::MarkNotAllowed {
                outside: MarkMask(allowed.outside(mark)),
                mask: allowed,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{XdpPolicy, report::Problem};

    fn policy(marks: &[Option<u32>]) -> Policy {
        let rules = marks.iter().enumerate().map(|(index, mark)| match mark {
            Some(mark) => json!({"name": format!("r{index}"), "action": "Redirect", "mark": mark}),
            None => json!({"name": format!("r{index}"), "action": "Drop"}),
        });
        let object = json!({
            "metadata": {"namespace": "games", "name": "players"},
            "spec": {"podSelector": {}, "ingress": rules.collect::<Vec<_>>()},
        });
        let object: XdpPolicy = serde_json::from_value(object).unwrap();
        Policy::try_from(&object).unwrap()
    }

    #[test]
    fn the_first_mark_outside_the_mask_is_named_with_its_bits_and_the_remedy() {
        let refused = policy(&[None, Some(42), Some(1337)])
            .check_marks(MarkMask::default())
            .unwrap_err();
        let problem = Problem::from(&refused);
        assert_eq!(
            (problem.object.as_str(), problem.reason.as_str()),
            ("XdpPolicy games/players", "MarkNotAllowed")
        );
        assert_eq!(
            problem.message,
            "`spec.ingress[2].mark` is `1337`: its bits 0x500 are outside the administrator's mask 0x7f"
        );
        assert_eq!(
            problem.remedy,
            "use a mark with no bits outside 0x7f, or ask the administrator to set `allowedMarkMask`"
        );
    }

    #[test]
    fn a_mark_without_bits_is_inside_every_mask() {
        assert_eq!(policy(&[Some(0)]).check_marks(MarkMask(0)), Ok(()));
    }

    #[test]
    fn the_mark_of_istio_and_the_bits_of_others_are_outside_the_default() {
        let others = [
            ("Istio", 1337),
            ("kube-proxy", 0x4000),
            ("kube-proxy", 0x8000),
            ("CNI portmap", 0x2000),
            ("Cilium", 0x0f00),
            ("Calico", 0xffff_0000),
            ("Amazon VPC CNI", 0x80),
        ];
        for (who, bits) in others {
            assert_ne!(MarkMask::default().outside(bits), 0, "{who}");
        }
    }

    #[test]
    fn masks_are_written_in_hex_or_decimal() {
        let parse = |text: &str| text.parse::<MarkMask>().map(|mask| mask.0).ok();
        assert_eq!(parse("0x7f"), Some(127));
        assert_eq!(parse("0XFFFFFFFF"), Some(u32::MAX));
        assert_eq!(parse("127"), Some(127));
        for bad in ["", "0x", "7f", "-1", "0x+7", "4294967296", "0x100000000", "1e3"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mark_is_allowed_if_each_of_its_bits_is_in_the_mask() {
        let passes = |mark, bits| policy(&[Some(mark)]).check_marks(MarkMask(bits)).is_ok();
        for bit in 0..u32::BITS {
            let mark = 1 << bit;
            assert!(passes(mark, mark) && passes(mark, u32::MAX) && passes(mark, mark | 1));
            assert!(!passes(mark, !mark) && !passes(u32::MAX, !mark));
        }
    }

    #[test]
    fn what_is_displayed_is_parsed() {
        for mask in [0, 0x7f, 0x8000_0000, u32::MAX] {
            assert_eq!(MarkMask(mask).to_string().parse(), Ok(MarkMask(mask)));
        }
    }
}
