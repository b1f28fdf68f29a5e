//! The meaning of an errno of the attach.

use super::{
    NicFacts,
    mlx5::{is_mlx5, linear_mtu_limit},
    preflight::merges,
    problem::{
        attach_refused, device_gone, foreign_program, mtu_too_large, no_native_xdp, no_permission,
        queues_in_use, receive_merging, striding_queues, upper_has_program,
    },
};
use crate::report::Problem;

/// The refusal of an attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachRefusal<'a> {
    /// The kernel's errno; 0 if it gave none.
    pub errno: i32,
    /// What the kernel says about it, empty if nothing is known: its extack, or lines of its log.
    pub text: &'a str,
}

/// Explains a refused native attach by its errno and the facts about the NIC.
pub fn attach_problem(nic: &NicFacts, refusal: AttachRefusal<'_>, page_size: u32) -> Problem {
    let mut problem = explain(nic, refusal.errno, page_size);
    if !refusal.text.is_empty() {
        problem.message = format!("{}; the kernel says: {}", problem.message, refusal.text);
    }
    problem
}

fn explain(nic: &NicFacts, errno: i32, page_size: u32) -> Problem {
    let limit = linear_mtu_limit(nic, page_size);
    let attached = nic.link.xdp.program_id;
    match errno {
        libc::EOPNOTSUPP => no_native_xdp(nic),
        libc::EPERM | libc::EACCES => no_permission(nic),
        libc::ENODEV | libc::ENXIO | libc::ENOLINK => device_gone(nic),
        libc::ERANGE => mtu_too_large(nic, limit),
        libc::EEXIST if attached.is_none() => upper_has_program(nic, "above it", None),
        libc::EBUSY if attached.is_none() => queues_in_use(nic),
        libc::EEXIST | libc::EBUSY => foreign_program(nic, attached),
        libc::EINVAL if merges(nic) => receive_merging(nic),
        libc::EINVAL if limit.is_some_and(|limit| nic.link.mtu > limit) => mtu_too_large(nic, limit),
        libc::EINVAL if is_mlx5(nic) && nic.striding == Some(true) => striding_queues(nic),
        _ => attach_refused(nic, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nics::{Driver, HostLink, XdpMode, XdpState, reason};

    fn nic(driver: &str, mtu: u32, program_id: Option<u32>) -> NicFacts {
        let mode = if program_id.is_some() {
            XdpMode::Generic
        } else {
            XdpMode::None
        };
        NicFacts {
            link: HostLink {
                name: "nic0".to_owned(),
                mtu,
                xdp: XdpState { mode, program_id },
                ..HostLink::default()
            },
            driver: Driver {
                name: driver.to_owned(),
                ..Driver::default()
            },
            features: Some(0x2b),
            ..NicFacts::default()
        }
    }

    fn refused(nic: &NicFacts, errno: i32) -> Problem {
        let text = "";
        attach_problem(nic, AttachRefusal { errno, text }, 4096)
    }

    fn reason_of(nic: &NicFacts, errno: i32) -> String {
        refused(nic, errno).reason
    }

    #[test]
    fn errnos_with_one_meaning() {
        let nic = nic("mlx5_core", 1500, None);
        assert_eq!(reason_of(&nic, libc::EOPNOTSUPP), reason::NO_NATIVE_XDP);
        assert_eq!(reason_of(&nic, libc::EPERM), reason::NO_PERMISSION);
        assert_eq!(reason_of(&nic, libc::ENODEV), reason::DEVICE_GONE);
        assert_eq!(reason_of(&nic, libc::ERANGE), reason::MTU_TOO_LARGE);
    }

    #[test]
    fn busy_and_exists_depend_on_what_is_attached_here() {
        let (free, taken) = (nic("mlx5_core", 1500, None), nic("mlx5_core", 1500, Some(9)));
        assert_eq!(reason_of(&free, libc::EEXIST), reason::UPPER_HAS_PROGRAM);
        assert_eq!(reason_of(&free, libc::EBUSY), reason::RECEIVE_QUEUES_IN_USE);
        assert_eq!(reason_of(&taken, libc::EEXIST), reason::FOREIGN_PROGRAM);
        assert_eq!(reason_of(&taken, libc::EBUSY), reason::FOREIGN_PROGRAM);
    }

    #[test]
    fn einval_is_explained_as_far_as_the_facts_go() {
        assert_eq!(
            reason_of(&nic("mlx5_core", 9000, None), libc::EINVAL),
            reason::MTU_TOO_LARGE
        );
        assert_eq!(
            reason_of(&nic("veth", 9000, None), libc::EINVAL),
            reason::ATTACH_REFUSED
        );
        let merging = NicFacts {
            features: Some(0),
            ..nic("mlx5_core", 9000, None)
        };
        assert_eq!(reason_of(&merging, libc::EINVAL), reason::HW_GRO_OR_LRO);
    }

    #[test]
    fn einval_at_an_allowed_mtu_is_due_to_striding_queues_if_they_are_on() {
        let mut nic = nic("mlx5_core", 1500, None);
        assert_eq!(reason_of(&nic, libc::EINVAL), reason::ATTACH_REFUSED);
        nic.striding = Some(true);
        let problem = refused(&nic, libc::EINVAL);
        assert_eq!(problem.reason, reason::STRIDING_RECEIVE_QUEUES);
        assert_eq!(problem.remedy, "ethtool --set-priv-flags nic0 rx_striding_rq off");
    }

    #[test]
    fn what_the_kernel_says_is_in_the_message() {
        let refusal = AttachRefusal {
            errno: libc::EINVAL,
            text: "MTU is too large for the buffers",
        };
        let problem = attach_problem(&nic("igb", 9000, None), refusal, 4096);
        assert!(
            problem
                .message
                .ends_with("; the kernel says: MTU is too large for the buffers"),
            "{}",
            problem.message
        );
    }
}
