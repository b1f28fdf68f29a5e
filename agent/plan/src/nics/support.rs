//! Which rules work on a NIC.

use serde::Serialize;

use super::{NicFacts, mlx5::is_mlx5, reason};
use crate::report::Problem;

/// How a kind of rules works on a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Support {
    /// In the driver.
    Native,
    /// In generic mode, which the administrator has to allow.
    Generic,
    /// Not at all: the packets pass to the stack.
    None,
}

impl Support {
    /// Returns the name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "Native",
            Self::Generic => "Generic",
            Self::None => "None",
        }
    }
}

/// How rules work on a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSupport {
    /// Pass, Drop, Reject and rate limits.
    pub filter: Support,
    /// Redirect with delivery `Redirect`, which needs metadata in front of packets.
    pub redirect: Support,
    /// Redirect with delivery `Peer`.
    pub peer: Support,
}

/// Returns how rules work on a NIC with these problems, on this version of Linux.
pub fn rule_support(nic: &NicFacts, problems: &[Problem], kernel: (u32, u32)) -> RuleSupport {
    let generic = |problem: &Problem| problem.reason == reason::NO_NATIVE_XDP;
    let filter = if problems.is_empty() {
        Support::Native
    } else if problems.iter().all(generic) {
        Support::Generic
    } else {
        Support::None
    };
    RuleSupport {
        filter,
        redirect: match filter {
            Support::Native if has_metadata(nic, kernel) => Support::Native,
            _ => Support::None,
        },
        peer: filter,
    }
}

/// Whether the driver leaves room for metadata. There is no feature bit for it: mlx5 does since Linux 5.18
/// (commit c1e80bf4ad3e), vmxnet3 does not (Linux 7.3).
fn has_metadata(nic: &NicFacts, kernel: (u32, u32)) -> bool {
    nic.driver.name != "vmxnet3" && (!is_mlx5(nic) || kernel >= (5, 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: (Support, Support, Support) = (Support::Native, Support::Native, Support::Native);

    fn support(driver: &str, reasons: &[&str], kernel: (u32, u32)) -> (Support, Support, Support) {
        let mut nic = NicFacts::default();
        nic.driver.name = driver.to_owned();
        let problem = |reason: &&str| Problem::of_nic("nic0", *reason, "", "");
        let problems: Vec<Problem> = reasons.iter().map(problem).collect();
        let RuleSupport {
            filter,
            redirect,
            peer,
        } = rule_support(&nic, &problems, kernel);
        (filter, redirect, peer)
    }

    #[test]
    fn without_a_problem_everything_works_in_the_driver() {
        assert_eq!(support("mlx5_core", &[], (6, 1)), NATIVE);
    }

    #[test]
    fn without_native_xdp_generic_mode_does_all_but_delivery_redirect() {
        let expected = (Support::Generic, Support::None, Support::Generic);
        assert_eq!(support("bridge", &[reason::NO_NATIVE_XDP], (6, 1)), expected);
    }

    #[test]
    fn any_other_problem_leaves_nothing() {
        let reasons = [reason::NO_NATIVE_XDP, reason::FOREIGN_PROGRAM];
        let expected = (Support::None, Support::None, Support::None);
        assert_eq!(support("mlx5_core", &reasons, (6, 1)), expected);
    }

    #[test]
    fn without_metadata_only_delivery_redirect_does_not_work() {
        let expected = (Support::Native, Support::None, Support::Native);
        assert_eq!(support("mlx5_core", &[], (5, 17)), expected);
        assert_eq!(support("vmxnet3", &[], (7, 3)), expected);
    }
}
