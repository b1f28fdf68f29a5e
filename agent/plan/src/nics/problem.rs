//! Problems of NICs, and the meaning of an errno of the attach.

use super::{NicFacts, XdpMode, preflight::merges};
use crate::report::Problem;

/// Reasons of the problems of NICs: constants that scripts may rely on.
pub mod reason {
    /// An entry of the selection fits no interface.
    pub const NO_SUCH_NIC: &str = "NoSuchNic";
    /// The driver cannot run XDP programs, or cannot redirect.
    pub const NO_NATIVE_XDP: &str = "NoNativeXdp";
    /// The program runs in generic mode, as the administrator allows.
    pub const GENERIC_MODE: &str = "GenericMode";
    /// The program for delivery `Peer` cannot be attached.
    pub const PEER_REFUSED: &str = "PeerRefused";
    /// The program that sees what leaves the node cannot be attached.
    pub const NO_REPLY_PATH: &str = "NoReplyPath";
    /// The NIC merges packets before the program could see them.
    pub const HW_GRO_OR_LRO: &str = "HwGroOrLro";
    /// The MTU is above what the driver allows with XDP.
    pub const MTU_TOO_LARGE: &str = "MtuTooLarge";
    /// A program of another owner is attached; the agent never touches it.
    pub const FOREIGN_PROGRAM: &str = "ForeignProgram";
    /// The bond or bridge above has a program.
    pub const UPPER_HAS_PROGRAM: &str = "UpperHasProgram";
    /// TCP header-data split or a memory provider uses the receive queues.
    pub const RECEIVE_QUEUES_IN_USE: &str = "ReceiveQueuesInUse";
    /// The interface vanished.
    pub const DEVICE_GONE: &str = "DeviceGone";
    /// The kernel does not let this process attach.
    pub const NO_PERMISSION: &str = "NoPermission";
    /// The driver refused for a reason it only logs.
    pub const ATTACH_REFUSED: &str = "AttachRefused";
}

/// `XDP_PACKET_HEADROOM`, and `sizeof(struct skb_shared_info)` rounded up to a cache line.
const HEADROOM_AND_TAIL: u32 = 256 + 320;

/// The largest MTU with which packets stay in one page, for the drivers whose formula is known.
pub fn linear_mtu_limit(driver: &str, page_size: u32) -> Option<u32> {
    // Ethernet header, VLAN tag and FCS (`mlx5e_xdp_max_mtu`, same from Linux 5.15 to 7.1).
    (driver == "mlx5_core").then(|| page_size.saturating_sub(HEADROOM_AND_TAIL + 14 + 4 + 4))
}

/// Explains a refused native attach by its errno and the facts about the NIC.
pub fn attach_problem(nic: &NicFacts, errno: i32, page_size: u32) -> Problem {
    let limit = linear_mtu_limit(&nic.driver.name, page_size);
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
        _ => attach_refused(nic, errno),
    }
}

pub(super) fn is_mlx5(nic: &NicFacts) -> bool {
    nic.driver.name == "mlx5_core"
}

pub(super) fn no_such_nic(what: &str, entry: &str) -> Problem {
    let remedy =
        "compare with `ip -details link`; the agent takes the interface as soon as it appears".to_owned();
    Problem::new(
        "NICs",
        reason::NO_SUCH_NIC,
        format!("no interface {what} `{entry}`"),
        remedy,
    )
}

pub(super) fn no_native_xdp(nic: &NicFacts) -> Problem {
    let NicFacts { link, driver, .. } = nic;
    let driver = if driver.name.is_empty() {
        "unknown"
    } else {
        &driver.name
    };
    let message = format!(
        "the driver `{driver}` of `{}` has no native XDP with redirect",
        link.name
    );
    let remedy =
        "select the physical NIC below a VLAN, bridge or bond, or a NIC whose driver has it; `--allow-generic` (chart value \
         `agent.nics.allowGeneric`) attaches in generic mode, which loses the metadata of redirected packets"
            .to_owned();
    Problem::of_nic(&nic.link.name, reason::NO_NATIVE_XDP, message, remedy)
}

/// Returns the problem of a NIC that runs the program in generic mode.
pub fn generic_mode(name: &str) -> Problem {
    let message = format!(
        "`{name}` carries the program in generic mode: it is slower than no program, and packets redirected with delivery \
         `Redirect` reach their pods without metadata, so without marks and without being counted as \
         delivered"
    );
    let remedy = "use `delivery: Peer`, or a NIC whose driver has native XDP".to_owned();
    Problem::of_nic(name, reason::GENERIC_MODE, message, remedy)
}

/// Returns the problem of a NIC without the program for delivery `Peer`: its packets pass to the stack.
pub fn peer_refused(name: &str, error: &str) -> Problem {
    let message = format!("the program for delivery `Peer` cannot be attached to `{name}`: {error}");
    let remedy = "the policies' Redirect rules pass to the stack (NoPeer); see the kernel log".to_owned();
    Problem::of_nic(name, reason::PEER_REFUSED, message, remedy)
}

/// Returns the problem of a NIC without the program of the reply path: no packet is redirected, because its
/// replies could bypass the flow tables.
pub fn no_reply_path(name: &str, program: &str, error: &str) -> Problem {
    let message = format!("`{program}` cannot be attached to `{name}`: {error}");
    Problem::of_nic(name, reason::NO_REPLY_PATH, message, REPLY_PATH_NEEDS.to_owned())
}

/// The remedy when a program of the reply path cannot be attached.
pub const REPLY_PATH_NEEDS: &str = "the policies' Redirect rules pass to the stack (NoReplyPath); run Linux 6.6 or later (tcx), or a \
    kernel with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (modprobe sch_ingress cls_bpf); see \
    the kernel log";

/// Compares the XDP state of a NIC in netlink with the program that the agent attached.
pub fn not_native(nic: &NicFacts) -> Problem {
    let message = format!(
        "the kernel shows {:?} instead of the agent's program in native mode",
        nic.link.xdp
    );
    let remedy = "another program took the interface; remove it with `ip link set DEV xdp off`";
    Problem::of_nic(&nic.link.name, "NotNative", message, remedy)
}

pub(super) fn receive_merging(nic: &NicFacts) -> Problem {
    let name = &nic.link.name;
    let message = format!("`{name}` merges received packets in hardware (LRO or HW-GRO)");
    Problem::of_nic(
        name,
        reason::HW_GRO_OR_LRO,
        message,
        format!("ethtool -K {name} lro off rx-gro-hw off"),
    )
}

pub(super) fn mtu_too_large(nic: &NicFacts, limit: Option<u32>) -> Problem {
    let (name, mtu) = (&nic.link.name, nic.link.mtu);
    match limit {
        Some(limit) => Problem::of_nic(
            name,
            reason::MTU_TOO_LARGE,
            format!("the MTU {mtu} of `{name}` is above {limit}, the limit with XDP"),
            format!("ip link set dev {name} mtu {limit}"),
        ),
        None => Problem::of_nic(
            name,
            reason::MTU_TOO_LARGE,
            format!("the MTU {mtu} of `{name}`, or of its other end, is above the limit with XDP"),
            format!("lower it, for example: ip link set dev {name} mtu 1500"),
        ),
    }
}

pub(super) fn foreign_program(nic: &NicFacts, id: Option<u32>) -> Problem {
    let name = &nic.link.name;
    let mode = match nic.link.xdp.mode {
        XdpMode::Generic => "generic ",
        XdpMode::Offload => "offloaded ",
        XdpMode::None | XdpMode::Native | XdpMode::Multi => "",
    };
    let id = id.map(|id| format!(" with id {id}")).unwrap_or_default();
    let message =
        format!("`{name}` has an XDP program{id} of another owner in {mode}use; the agent leaves it alone");
    let remedy = format!(
        "see whose it is with `bpftool net show dev {name}`, and stop its owner, or leave this NIC out of the selection"
    );
    Problem::of_nic(name, reason::FOREIGN_PROGRAM, message, remedy)
}

pub(super) fn upper_has_program(nic: &NicFacts, upper: &str, id: Option<u32>) -> Problem {
    let name = &nic.link.name;
    let id = id.map(|id| format!(" with id {id}")).unwrap_or_default();
    let message = format!("the interface {upper} of which `{name}` is a part has an XDP program{id}");
    let remedy =
        "detach that program, or select the upper interface instead if its driver has native XDP".to_owned();
    Problem::of_nic(name, reason::UPPER_HAS_PROGRAM, message, remedy)
}

fn queues_in_use(nic: &NicFacts) -> Problem {
    let name = &nic.link.name;
    let message =
        format!("the receive queues of `{name}` are used by TCP header-data split or a memory provider");
    Problem::of_nic(
        name,
        reason::RECEIVE_QUEUES_IN_USE,
        message,
        format!("ethtool -G {name} tcp-data-split off"),
    )
}

fn device_gone(nic: &NicFacts) -> Problem {
    let remedy = "none: the program is attached again when the interface returns".to_owned();
    Problem::of_nic(
        &nic.link.name,
        reason::DEVICE_GONE,
        format!("`{}` vanished", nic.link.name),
        remedy,
    )
}

fn no_permission(nic: &NicFacts) -> Problem {
    let message = format!("the kernel does not let the agent attach to `{}`", nic.link.name);
    let remedy = "run it as root with CAP_NET_ADMIN and CAP_BPF in the host's user namespace".to_owned();
    Problem::of_nic(&nic.link.name, reason::NO_PERMISSION, message, remedy)
}

fn attach_refused(nic: &NicFacts, errno: i32) -> Problem {
    let name = &nic.link.name;
    let error = std::io::Error::from_raw_os_error(errno);
    let message = format!("the driver of `{name}` refused the program: {error}");
    Problem::of_nic(
        name,
        reason::ATTACH_REFUSED,
        message,
        format!("the driver logs why: dmesg | grep {name}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nics::{Driver, HostLink, XdpState};

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
                bus: String::new(),
            },
            features: Some(0x2b),
            ..NicFacts::default()
        }
    }

    fn reason_of(nic: &NicFacts, errno: i32) -> String {
        attach_problem(nic, errno, 4096).reason
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
    fn the_limit_follows_the_page_size_and_is_not_guessed_for_other_drivers() {
        assert_eq!(linear_mtu_limit("mlx5_core", 4096), Some(3498));
        assert_eq!(linear_mtu_limit("mlx5_core", 65536), Some(64938));
        assert_eq!(linear_mtu_limit("ice", 4096), None);
    }
}
