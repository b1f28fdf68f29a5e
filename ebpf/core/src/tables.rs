//! The layout of everything the programs and the agent share through pinned maps.
//!
//! Integers are in host byte order: the tables never leave the machine. No type has padding; the sizes are asserted
//! at the end of the file, because a padded type would hand uninitialised bytes to the kernel.
//!
//! How a packet finds its rules: destination → [`maps::INDEX`] (or [`maps::PODS`]) → slot → [`maps::SLOTS`] →
//! [`SlotWord`] → [`maps::POD_BLOCKS`] → [`PodBlock`], and on as the submodule for blocks says. A live block is never
//! overwritten: the agent writes free ones and flips the word.

mod address;
mod blocks;
mod counters;
mod flows;
mod limits;

pub use address::{Address, IndexWord, index_position};
pub use blocks::{
    ActionRecord, Class, NO_MATCH, PORT_LEVELS, PORTS, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS,
    SOURCES, SlotWord, SourceRef, SourcesV4, SourcesV6,
};
pub use counters::{Count, FailureKey, RuleCounters};
pub use flows::{
    DEFAULT_FLOWS, Flow, FlowKey, FragmentKey, MAX_FLOWS, MAX_FRAGMENTS, MIN_FLOWS, REPLY_PATH_MARK,
    recent_places,
};
pub use limits::{LimitSet, TICK_SHIFT, WAYS};

/// Version of this layout. Part of the pin path, so programs and tables of different layouts never meet.
pub const ABI_VERSION: u32 = 5;

/// Names of the maps, as in the object file and below the pin directory.
pub mod maps {
    /// Array: [`super::index_position`] → [`super::IndexWord`] as `u64`.
    pub const INDEX: &str = "INDEX";
    /// Hash: [`super::Address`] → slot (`u32`): IPv6 addresses, and IPv4 addresses whose place in the index is taken.
    pub const PODS: &str = "PODS";
    /// Array: slot → [`super::SlotWord`] as `u64`.
    pub const SLOTS: &str = "SLOTS";
    /// Array of [`super::PodBlock`].
    pub const POD_BLOCKS: &str = "POD_BLOCKS";
    /// Array of [`super::SourcesV4`].
    pub const SOURCES_V4: &str = "SOURCES_V4";
    /// Array of [`super::SourcesV6`].
    pub const SOURCES_V6: &str = "SOURCES_V6";
    /// Array of [`super::Class`].
    pub const CLASSES: &str = "CLASSES";
    /// Array of [`super::Ports`].
    pub const PORT_BLOCKS: &str = "PORT_BLOCKS";
    /// Array: action number → [`super::ActionRecord`].
    pub const ACTIONS: &str = "ACTIONS";
    /// Array: rule id → time in ticks (`u64`), written by programs; the last element limits answers to rejected packets.
    pub const RULE_LIMITS: &str = "RULE_LIMITS";
    /// Array of [`super::LimitSet`], written by programs.
    pub const SOURCE_LIMITS: &str = "SOURCE_LIMITS";
    /// Devmap: slot → the host's end of the pod's veth pair. An entry disappears with its device, and with it nothing is
    /// done to a packet any more but to pass it.
    pub const DEVICES: &str = "DEVICES";
    /// Per-CPU array: rule id → [`super::RuleCounters`].
    pub const RULE_COUNTERS: &str = "RULE_COUNTERS";
    /// Per-CPU array: rule id → [`super::Count`] of packets that the reader saw in a pod.
    pub const DELIVERED: &str = "DELIVERED";
    /// Per-CPU array: code of [`crate::verdict::Unparsed`], [`crate::verdict::Fallback`], [`crate::verdict::Event`] or
    /// [`crate::verdict::FlowEvent`] → [`super::Count`]; see [`super::EVENTS`].
    pub const EVENTS: &str = "EVENTS";
    /// LRU hash: [`super::FlowKey`] → [`super::Flow`]: flows that their pods have answered.
    pub const ESTABLISHED: &str = "ESTABLISHED";
    /// LRU hash: [`super::FlowKey`] → [`super::Flow`]: flows that their pods have not answered yet. Apart, so that a flood
    /// of first packets evicts no others.
    pub const UNREPLIED: &str = "UNREPLIED";
    /// LRU hash: [`super::FlowKey`] → 0 (`u64`): datagrams to pods that are the stack's, because the pod sent the first one
    /// through it. Apart for the same reason.
    pub const STACK: &str = "STACK";
    /// LRU hash: [`super::FragmentKey`] → 0 (`u64`): pods' packets in fragments that leave past the stack.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Array: hash of a [`super::FlowKey`] → tag (`u64`) of the flow that was last seen there, for most packets in place of a
    /// look-up in [`ESTABLISHED`]. A power of two elements, see [`super::recent_places`] and [`super::Config::recent_mask`].
    pub const RECENT: &str = "RECENT";
    /// Hash: [`super::FailureKey`] → packets (`u64`).
    pub const FAILURES: &str = "FAILURES";
    /// Array with one element: [`super::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// Array: rule id → [`super::RuleText`]. Not read by programs.
    pub const RULE_LABELS: &str = "RULE_LABELS";
    /// Array: slot → [`super::Label`]. Not read by programs.
    pub const POD_LABELS: &str = "POD_LABELS";
    /// Array: index → [`super::Label`]: what the agent could not do. Not read by programs.
    pub const PROBLEMS: &str = "PROBLEMS";
}

/// Names of the programs in the object file.
pub mod programs {
    /// XDP, on a NIC.
    pub const NIC: &str = "xdp_nic";
    /// XDP, never attached: what [`NIC`] would make of a packet, for `xdp-agent explain`.
    pub const EXPLAIN: &str = "xdp_explain";
    /// Classifier, ingress of a NIC: hands packets for delivery `Peer` to their pods.
    pub const PEER: &str = "nic_peer";
    /// Classifier, ingress of a pod's eth0.
    pub const READER: &str = "pod_reader";
    /// Classifier, ingress of the host's end of a pod's pair: what the pod sends.
    pub const POD_OUT: &str = "pod_out";
    /// Classifier, egress of the host's end of a pod's pair: what the stack delivers to the pod.
    pub const POD_IN: &str = "pod_in";
    /// Classifier, egress of a NIC.
    pub const NIC_OUT: &str = "nic_out";
    /// Raw tracepoint `xdp_redirect_err`.
    pub const REDIRECT_ERR: &str = "redirect_err";
    /// Raw tracepoint `xdp_devmap_xmit`.
    pub const DEVMAP_XMIT: &str = "devmap_xmit";
    /// Raw tracepoint `xdp_exception`.
    pub const EXCEPTION: &str = "exception";
}

/// Slots, and so target pods, on one node.
pub const MAX_SLOTS: u32 = 1024;
/// Pod blocks: twice the slots, so that every slot can be rewritten while its old block is still in use. So are the
/// others meant: half of each is for what is in force, the other half for what is to come.
pub const MAX_POD_BLOCKS: u32 = 2 * MAX_SLOTS;
/// Elements of [`maps::INDEX`]; a power of two.
pub const INDEX: u32 = 1 << 14;
/// Elements of [`maps::SOURCES_V4`].
pub const MAX_SOURCES_V4: u32 = 1 << 13;
/// Elements of [`maps::SOURCES_V6`].
pub const MAX_SOURCES_V6: u32 = 1 << 12;
/// Elements of [`maps::CLASSES`].
pub const MAX_CLASSES: u32 = 1 << 16;
/// Elements of [`maps::PORT_BLOCKS`].
pub const MAX_PORT_BLOCKS: u32 = 1 << 16;
/// Elements of [`maps::ACTIONS`]: as many as a action number can name.
pub const MAX_ACTIONS: u32 = 1 << 16;
/// Addresses of target pods on one node.
pub const MAX_ADDRESSES: u32 = 4 * MAX_SLOTS;
/// Rules with counters of their own on one node.
pub const MAX_RULES: u32 = 1 << 15;
/// Elements of [`maps::SOURCE_LIMITS`]; a power of two.
pub const LIMIT_SETS: u32 = 1 << 14;
/// Records in [`maps::PROBLEMS`].
pub const MAX_PROBLEMS: u32 = 256;
/// Distinct failures kept in [`maps::FAILURES`].
pub const MAX_FAILURES: u32 = 4096;
/// Elements of [`maps::EVENTS`].
pub const EVENTS: u32 = 64;

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// To the stack.
    Pass = 1,
    /// Nowhere.
    Drop = 2,
    /// Into the pod.
    Redirect = 3,
    /// Nowhere, and the sender is told.
    Reject = 4,
}

impl Action {
    /// The action behind a byte of a [`ActionRecord`]; an unknown one passes.
    #[inline(always)]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            2 => Self::Drop,
            3 => Self::Redirect,
            4 => Self::Reject,
            _ => Self::Pass,
        }
    }
}

/// What programs must know about the machine. Offsets are in bytes, of the running kernel, from its BTF; zero: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// [`ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Kernel id of [`maps::DEVICES`]: redirects through other maps are not ours.
    pub devices_map_id: u32,
    /// Of `ifindex` in `struct net_device`. Without it, the programs that need it count nothing.
    pub net_device_ifindex: u32,
    /// Of `nd_net` in `struct net_device`.
    pub net_device_net: u32,
    /// Of `net_cookie` in `struct net`.
    pub net_cookie: u32,
    /// Answers to rejected packets per second on this node; zero: none.
    pub rejects_per_second: u32,
    /// `SO_NETNS_COOKIE` of the agent's network namespace: interfaces of others have the same numbers. Zero: unknown,
    /// all namespaces are counted.
    pub netns_cookie: u64,
    /// Random, so that nobody can choose sources that share a [`LimitSet`], or flows that share a place in
    /// [`maps::RECENT`].
    pub seed: u64,
    /// Elements of [`maps::RECENT`] less one.
    pub recent_mask: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A short text of the agent's (JSON) that travels with an id, so that `status` needs nothing but the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Text<const BYTES: usize> {
    /// Bytes of `text` in use; zero: none.
    pub len: u32,
    /// UTF-8.
    pub text: [u8; BYTES],
}

/// About a pod, or a problem.
pub type Label = Text<1020>;
/// About a rule: namespace, policy and rule, which Kubernetes keeps below 380 bytes together.
pub type RuleText = Text<444>;

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<PodBlock>() == 20);
    assert!(size_of::<SourcesV4>() == 512);
    assert!(size_of::<SourcesV6>() == 1280);
    assert!(size_of::<Class>() == 24);
    assert!(size_of::<Ports>() == 64);
    assert!(size_of::<ActionRecord>() == 32);
    assert!(size_of::<LimitSet>() == 64);
    assert!(size_of::<RuleCounters>() == 112);
    assert!(size_of::<FailureKey>() == 12);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<Flow>() == 8);
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<Config>() == 48);
    assert!(size_of::<Label>() == 1024);
    assert!(size_of::<RuleText>() == 448);
    assert!(INDEX.is_power_of_two() && LIMIT_SETS.is_power_of_two());
    assert!(MAX_PORT_BLOCKS <= 1 << 16 && MAX_ACTIONS <= 1 << 16 && MAX_SLOTS < 1 << 16);
};
