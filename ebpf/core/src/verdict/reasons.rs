//! Why something else became of a packet than its rule says.

/// Why a packet that a rule would redirect is passed. Counted under its code in [`crate::tables::maps::EVENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fallback {
    /// The pod cannot take redirects ([`crate::tables::PodBlock::NOT_READY`]).
    NotReady = 16,
    /// The frame was sent to a group address: others want it too.
    GroupMac = 17,
    /// Longer than the pod's MTU: the stack can fragment it or answer.
    TooLong = 18,
    /// The pod has lost its device, and the agent has not noticed yet.
    NoDevice = 19,
    /// The driver left no room for the metadata.
    NoMetadata = 20,
    /// The VLAN tags could not be taken off.
    NoUntag = 21,
    /// A fragment: its later ones may meet another rule, and a stack that tracks connections (`nf_defrag`) waits for
    /// the first one until it gives the whole packet up. So they all take the same way.
    Fragment = 22,
    /// The pod cannot be delivered to behind the NIC's stack entry ([`crate::tables::PodBlock::NO_PEER`]).
    NoPeer = 23,
}

impl Fallback {
    /// All reasons, by code.
    pub const ALL: [Self; 8] = [
        Self::NotReady,
        Self::GroupMac,
        Self::TooLong,
        Self::NoDevice,
        Self::NoMetadata,
        Self::NoUntag,
        Self::Fragment,
        Self::NoPeer,
    ];

    /// Index into [`crate::tables::maps::EVENTS`].
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "NotReady",
            Self::GroupMac => "GroupMac",
            Self::TooLong => "TooLong",
            Self::NoDevice => "NoDevice",
            Self::NoMetadata => "NoMetadata",
            Self::NoUntag => "NoUntag",
            Self::Fragment => "Fragment",
            Self::NoPeer => "NoPeer",
        }
    }
}

/// What else happens around rejected and limited packets. Counted under its code in [`crate::tables::maps::EVENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Event {
    /// A rejected packet got no answer: this node has sent as many as it may.
    RejectLimited = 32,
    /// A rejected packet got no answer: the protocols forbid one, or it is too broken for one.
    RejectSilent = 33,
    /// A rejected packet got no answer: the driver left no room for it.
    RejectFailed = 34,
    /// A source found no place of its own among the limits of sources, and was judged by its rule's.
    CrowdedSources = 40,
}

impl Event {
    /// All events, by code.
    pub const ALL: [Self; 4] = [
        Self::RejectLimited,
        Self::RejectSilent,
        Self::RejectFailed,
        Self::CrowdedSources,
    ];

    /// Index into [`crate::tables::maps::EVENTS`].
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RejectLimited => "RejectLimited",
            Self::RejectSilent => "RejectSilent",
            Self::RejectFailed => "RejectFailed",
            Self::CrowdedSources => "CrowdedSources",
        }
    }
}
