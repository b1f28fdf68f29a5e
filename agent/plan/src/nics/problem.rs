//! Problems of NICs.

use super::{NicFacts, XdpMode};
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
    /// Firmware or driver do not run XDP programs with striding receive queues.
    pub const STRIDING_RECEIVE_QUEUES: &str = "StridingReceiveQueues";
    /// The NIC strips VLAN tags, and VLAN interfaces are above it.
    pub const HIDDEN_VLAN_TAGS: &str = "HiddenVlanTags";
    /// Other parts of the bond are not selected.
    pub const PART_OF_BOND: &str = "PartOfBond";
    /// A tunnel device is over the NIC: what arrives inside is not decided.
    pub const TUNNEL_NOT_DECIDED: &str = "TunnelNotDecided";
    /// A product that may attach XDP programs, too, runs on the node.
    pub const OTHER_XDP_USER: &str = "OtherXdpUser";
    /// The interface vanished.
    pub const DEVICE_GONE: &str = "DeviceGone";
    /// The kernel does not let this process attach.
    pub const NO_PERMISSION: &str = "NoPermission";
    /// The driver refused for a reason it only logs.
    pub const ATTACH_REFUSED: &str = "AttachRefused";
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
pub fn peer_refused(name: &str, message: &str) -> Problem {
    let remedy = "the policies' Redirect rules pass to the stack (NoPeer); see the kernel log".to_owned();
    Problem::of_nic(name, reason::PEER_REFUSED, message, remedy)
}

/// Returns the problem of a NIC without the program of the reply path: no packet is redirected, because its
/// replies could bypass the flow tables.
pub fn no_reply_path(name: &str, message: &str, remedy: String) -> Problem {
    Problem::of_nic(name, reason::NO_REPLY_PATH, message, remedy)
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

/// Returns what to know about Cilium on the node of a NIC: only one of the two can have an XDP program there,
/// and the kernel refuses the second one.
pub fn cilium_runs(name: &str) -> Problem {
    let message = format!(
        "Cilium runs on this node. While the agent's program is attached to `{name}`, Cilium's XDP acceleration cannot \
         be enabled: Cilium's agent would end with `device or resource busy`, and not start again"
    );
    let remedy = "keep `loadBalancer.acceleration: disabled` in the values of Cilium's chart, or leave this NIC out of the selection";
    Problem::of_nic(name, reason::OTHER_XDP_USER, message, remedy)
}

pub(super) fn upper_has_program(nic: &NicFacts, upper: &str, id: Option<u32>) -> Problem {
    let name = &nic.link.name;
    let id = id.map(|id| format!(" with id {id}")).unwrap_or_default();
    let message = format!("the interface {upper} of which `{name}` is a part has an XDP program{id}");
    let remedy =
        "detach that program, or select the upper interface instead if its driver has native XDP".to_owned();
    Problem::of_nic(name, reason::UPPER_HAS_PROGRAM, message, remedy)
}

pub(super) fn queues_in_use(nic: &NicFacts) -> Problem {
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

pub(super) fn striding_queues(nic: &NicFacts) -> Problem {
    let name = &nic.link.name;
    let message = format!(
        "the receive queues of `{name}` are striding, and its firmware or driver does not run XDP programs with \
         them at MTU {}: the firmware lacks the capability ext_stride_num_range, or pages of memory are larger \
         than 8 KiB and the driver is older than that of Linux 7.1",
        nic.link.mtu
    );
    Problem::of_nic(
        name,
        reason::STRIDING_RECEIVE_QUEUES,
        message,
        format!("ethtool --set-priv-flags {name} rx_striding_rq off"),
    )
}

pub(super) fn device_gone(nic: &NicFacts) -> Problem {
    let remedy = "none: the program is attached again when the interface returns".to_owned();
    Problem::of_nic(
        &nic.link.name,
        reason::DEVICE_GONE,
        format!("`{}` vanished", nic.link.name),
        remedy,
    )
}

pub(super) fn no_permission(nic: &NicFacts) -> Problem {
    let message = format!("the kernel does not let the agent attach to `{}`", nic.link.name);
    let remedy = "run it as root with CAP_NET_ADMIN and CAP_BPF in the host's user namespace".to_owned();
    Problem::of_nic(&nic.link.name, reason::NO_PERMISSION, message, remedy)
}

pub(super) fn attach_refused(nic: &NicFacts, errno: i32) -> Problem {
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
