//! The layout of everything the programs and the agent share through pinned maps.
//!
//! Integers are in host byte order: the tables never leave the machine. No type has padding; the sizes are
//! asserted at the end of the file, because a padded type would hand uninitialised bytes to the kernel.
//!
//! How a packet finds its rules: destination → [`maps::INDEX`] (or [`maps::PODS`]) → slot → [`maps::SLOTS`] →
//! [`SlotWord`] → [`maps::POD_BLOCKS`] → [`PodBlock`]; the submodule for blocks describes the rest. A live
//! block is never overwritten: the agent writes a free block, then the slot's word.

mod address;
mod blocks;
mod counters;
mod flows;
mod limits;
mod stations;

pub use address::{Address, IndexWord, index_position};
pub use blocks::{
    ActionRecord, Class, NO_MATCH, PORT_LEVELS, PORTS, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS,
    SOURCES, SlotWord, SourceRef, SourcesV4, SourcesV6,
};
pub use counters::{Count, FailureKey, RuleCounters};
pub use flows::{
    DEFAULT_FLOWS, FLOW_CLASSES, FLOW_SHARES, FlowKey, FlowLimits, FlowShare, FlowValue, FragmentKey,
    MAX_FLOWS, MAX_FRAGMENTS, MIN_FLOWS, OPENED_WAYS, OpenedSet, SentPacket, recent_len,
};
pub use limits::{LimitSet, ShareWord, TICK_SHIFT, WAYS};
pub use stations::{Mac, NicEntry, Receiver, Station, TagId, nic_position};

/// Version of this layout. Part of the pin path, so programs and tables of different layouts never meet.
pub const ABI_VERSION: u32 = 7;

/// Names of the maps, as in the object file and below the pin directory.
pub mod maps {
    /// Array: [`super::index_position`] → [`super::IndexWord`] as `u64`.
    pub const INDEX: &str = "INDEX";
    /// Hash: [`super::Address`] → slot (`u32`): IPv6 addresses, and IPv4 addresses whose index element is in
    /// use.
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
    /// Array: rule id → time in ticks (`u64`), written by programs. The elements from [`super::MAX_RULES`] on
    /// limit answers to rejected packets: the first one those of the node, the others those of a namespace,
    /// by its number.
    pub const RULE_LIMITS: &str = "RULE_LIMITS";
    /// Array of [`super::LimitSet`], written by programs.
    pub const SOURCE_LIMITS: &str = "SOURCE_LIMITS";
    /// Array: number of a namespace ([`super::ActionRecord::namespace`]) → [`super::ShareWord`] as `u64`. The
    /// first element is the number of namespaces with Reject rules.
    pub const NAMESPACES: &str = "NAMESPACES";
    /// Devmap: slot → the pod's host-side interface. The kernel deletes an entry with its device. Without the
    /// entry, the pod's packets pass.
    pub const DEVICES: &str = "DEVICES";
    /// Per-CPU array: rule id → [`super::RuleCounters`].
    pub const RULE_COUNTERS: &str = "RULE_COUNTERS";
    /// Per-CPU array: rule id → [`super::Count`] of packets that the reader saw in a pod.
    pub const DELIVERED: &str = "DELIVERED";
    /// Per-CPU array: code of [`crate::events::Unparsed`], [`crate::events::UnparsedDrop`],
    /// [`crate::events::Fallback`], [`crate::events::Event`] or [`crate::events::FlowEvent`] →
    /// [`super::Count`]; see [`super::EVENTS`].
    pub const EVENTS: &str = "EVENTS";
    /// Hash: [`super::FlowKey`] → [`super::FlowValue`]: flows that both ends have confirmed. It evicts
    /// nothing by itself: the agent deletes what a pod has no share for.
    pub const ESTABLISHED: &str = "ESTABLISHED";
    /// LRU hash: [`super::FlowKey`] → [`super::FlowValue`]: flows that are not confirmed yet, or for
    /// which the pod has no more room in [`ESTABLISHED`].
    pub const UNREPLIED: &str = "UNREPLIED";
    /// Array: [`super::FlowShare::index`] → [`super::FlowShare`].
    pub const FLOW_SHARES: &str = "FLOW_SHARES";
    /// LRU hash: [`super::FlowKey`] → 0 (`u64`): flows of datagrams that a pod opened through the stack,
    /// which therefore takes the packets to the pod, too. A separate table, so that these flows evict no
    /// established flows.
    pub const STACK: &str = "STACK";
    /// LRU hash: [`super::FragmentKey`] → 0 (`u64`): fragmented packets of pods that bypass the stack, and
    /// fragmented packets to pods of connections that these opened.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Array: hash of a [`super::FlowKey`] → tag (`u64`) of the last flow there. For most packets it replaces
    /// a look-up in [`ESTABLISHED`]. Its length is a power of two, see [`super::recent_len`] and
    /// [`super::Config::recent_mask`].
    pub const RECENT: &str = "RECENT";
    /// Array of [`super::OpenedSet`]: connections that pods opened through the stack, which the stack answers
    /// for whatever the rules say. Even indexes: connections; odd ones: flows of datagrams.
    pub const OPENED: &str = "OPENED";
    /// Array: for each two elements of [`OPENED`], one byte for each word there (`u64`): few bits of a hash,
    /// zero for unused words.
    pub const OPENED_TAGS: &str = "OPENED_TAGS";
    /// Array: hash of a [`super::FlowKey`] → 48 bits of the hash and 16 bits of time (`u64`): flows of
    /// datagrams that a remote host opened.
    pub const HEARD: &str = "HEARD";
    /// Per-CPU array with one element: [`super::SentPacket`].
    pub const SENT: &str = "SENT";
    /// Array: [`super::nic_position`] → [`super::NicEntry`]: the frames that most packets arrive in. It saves
    /// a look-up in [`STATIONS`].
    pub const NICS: &str = "NICS";
    /// Hash: [`super::Station`] → [`super::Receiver`]: all frames that the node's stack takes from NICs.
    pub const STATIONS: &str = "STATIONS";
    /// Hash: [`super::FailureKey`] → packets (`u64`).
    pub const FAILURES: &str = "FAILURES";
    /// Array with one element: [`super::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// Array: rule id → [`super::RuleText`]. Not read by programs.
    pub const RULE_LABELS: &str = "RULE_LABELS";
    /// Array: slot → [`super::Label`]. Not read by programs.
    pub const POD_LABELS: &str = "POD_LABELS";
    /// Array: index → [`super::Label`]: problems of the agent. Not read by programs.
    pub const PROBLEMS: &str = "PROBLEMS";
}

/// Names of the programs in the object file.
pub mod programs {
    /// XDP, on a NIC.
    pub const NIC: &str = "xdp_nic";
    /// XDP, never attached: returns the verdict of [`NIC`] on a packet, for `xdp-agent explain`.
    pub const EXPLAIN: &str = "xdp_explain";
    /// Classifier, ingress of a NIC: delivers packets to pods with delivery `Peer`.
    pub const PEER: &str = "nic_peer";
    /// Classifier, ingress of a pod's eth0.
    pub const READER: &str = "pod_reader";
    /// Classifier, ingress of a pod's host-side interface: packets from the pod.
    pub const POD_OUT: &str = "pod_out";
    /// Classifier, egress of a pod's host-side interface: packets that the stack delivers to the pod.
    pub const POD_IN: &str = "pod_in";
    /// Classifier, egress of a NIC: packets that leave the node.
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
/// Pod blocks: twice the slots, so that the agent can write a new block for every slot while the old one is
/// in use. The capacities of the other blocks leave half of them free for the same reason.
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
/// Elements of [`maps::ACTIONS`]: all values of an action number.
pub const MAX_ACTIONS: u32 = 1 << 16;
/// Addresses of target pods on one node.
pub const MAX_ADDRESSES: u32 = 4 * MAX_SLOTS;
/// Rules on one node.
pub const MAX_RULES: u32 = 1 << 15;
/// Elements of [`maps::SOURCE_LIMITS`]; a power of two.
pub const LIMIT_SETS: u32 = 1 << 14;
/// Elements of [`maps::NAMESPACES`]: twice the slots, because each slot is that of a pod in one namespace,
/// and the numbers of new namespaces are assigned while the old ones are in use.
pub const MAX_NAMESPACES: u32 = 2 * MAX_SLOTS;
/// The fewest elements of [`maps::SOURCE_LIMITS`] of a namespace whose rules limit sources; a power of two.
/// As many namespaces as there are slots have that many.
pub const MIN_LIMIT_SETS: u32 = LIMIT_SETS / MAX_SLOTS;
/// Elements of [`maps::RULE_LIMITS`].
pub const MAX_LIMITS: u32 = MAX_RULES + MAX_NAMESPACES;
/// Elements of [`maps::OPENED`]; a power of two: room for 262,144 connections, and as many flows of
/// datagrams.
pub const OPENED_SETS: u32 = 1 << 17;
/// Elements of [`maps::HEARD`]; a power of two.
pub const HEARD: u32 = 1 << 17;
/// Elements of [`maps::NICS`]; a power of two.
pub const MAX_NICS: u32 = 1 << 10;
/// Elements of [`maps::STATIONS`].
pub const MAX_STATIONS: u32 = 1 << 14;
/// Records in [`maps::PROBLEMS`].
pub const MAX_PROBLEMS: u32 = 256;
/// Distinct failures kept in [`maps::FAILURES`].
pub const MAX_FAILURES: u32 = 4096;
/// Elements of [`maps::EVENTS`].
pub const EVENTS: u32 = 96;

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// Pass the packet to the stack.
    Pass = 1,
    /// Drop the packet.
    Drop = 2,
    /// Redirect the packet to the pod.
    Redirect = 3,
    /// Drop the packet, and answer the sender.
    Reject = 4,
}

impl Action {
    /// Decodes the byte of an [`ActionRecord`]. An unknown byte is [`Action::Pass`].
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

/// What the programs need to know about the node. Offsets are in bytes, from the BTF of the running kernel;
/// zero: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// [`ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Kernel id of [`maps::DEVICES`]: redirects through other maps do not count.
    pub devices_map_id: u32,
    /// Offset of `ifindex` in `struct net_device`. If unknown, the programs that need it count nothing.
    pub net_device_ifindex: u32,
    /// Offset of `nd_net` in `struct net_device`.
    pub net_device_net: u32,
    /// Offset of `net_cookie` in `struct net`.
    pub net_cookie: u32,
    /// Answers to rejected packets per second on this node; zero: none.
    pub rejects_per_second: u32,
    /// `SO_NETNS_COOKIE` of the agent's network namespace: other namespaces use the same interface indexes.
    /// Zero: unknown; the programs count all namespaces.
    pub netns_cookie: u64,
    /// Random, so that an attacker cannot choose sources that share a [`LimitSet`], or flows that share an
    /// element of [`maps::RECENT`].
    pub seed: u64,
    /// Number of elements of [`maps::RECENT`], minus one.
    pub recent_mask: u32,
    /// The bits of a packet's mark that rules may set ([`crate::metadata::set_mark`]).
    pub mark_mask: u32,
}

/// A short text (JSON) that the agent stores under an id, so that `status` needs only the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Text<const BYTES: usize> {
    /// Bytes of `text` in use.
    pub len: u32,
    /// UTF-8.
    pub text: [u8; BYTES],
}

/// The text of a pod, or of a problem.
pub type Label = Text<1020>;
/// The text of a rule: namespace, policy and rule. Kubernetes limits them to less than 380 bytes.
pub type RuleText = Text<444>;

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<PodBlock>() == 24);
    assert!(size_of::<SourcesV4>() == 512);
    assert!(size_of::<SourcesV6>() == 1280);
    assert!(size_of::<Class>() == 24);
    assert!(size_of::<Ports>() == 64);
    assert!(size_of::<ActionRecord>() == 32);
    assert!(size_of::<LimitSet>() == 64);
    assert!(size_of::<RuleCounters>() == 112);
    assert!(size_of::<FailureKey>() == 12);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowValue>() == 8);
    assert!(size_of::<FlowShare>() == 32);
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<SentPacket>() == 32);
    assert!(size_of::<OpenedSet>() == 32);
    assert!(size_of::<Config>() == 48);
    assert!(size_of::<Label>() == 1024);
    assert!(size_of::<RuleText>() == 448);
    assert!(OPENED_SETS.is_power_of_two() && HEARD.is_power_of_two());
    assert!(size_of::<NicEntry>() == 24);
    assert!(size_of::<Station>() == 16);
    assert!(size_of::<Receiver>() == 8);
    assert!(INDEX.is_power_of_two() && MAX_NICS.is_power_of_two() && LIMIT_SETS.is_power_of_two());
    assert!(LIMIT_SETS < 1 << 16 && MIN_LIMIT_SETS.is_power_of_two() && MAX_NAMESPACES <= 1 << 16);
    assert!(MAX_PORT_BLOCKS <= 1 << 16 && MAX_ACTIONS <= 1 << 16 && MAX_SLOTS < 1 << 16);
};
