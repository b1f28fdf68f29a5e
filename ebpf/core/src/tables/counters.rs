//! What programs count.

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// What became of the packets a rule decided. Each is counted in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounters {
    /// Handed to the pod's device. Not yet delivery: see [`super::maps::DELIVERED`] and [`super::maps::FAILURES`].
    pub redirected: Count,
    /// Passed, because the rule says so.
    pub passed: Count,
    /// Dropped, because the rule says so.
    pub dropped: Count,
    /// Rejected: the sender was told, or could not be (why is in [`super::maps::EVENTS`]).
    pub rejected: Count,
    /// Dropped, because the rule's rate limit was exceeded.
    pub limited: Count,
    /// Audit: would have been acted upon, was passed.
    pub audited: Count,
    /// The rule says Redirect, the packet was passed; why is in [`super::maps::EVENTS`].
    pub fell_back: Count,
}

/// What [`super::maps::FAILURES`] counts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FailureKey {
    /// Which tracepoint: [`FailureKey::REDIRECT_ERR`] …
    pub kind: u32,
    /// `xdp_redirect_err`: slot. `xdp_devmap_xmit`: ifindex of the target. `xdp_exception`: ifindex of the NIC.
    pub subject: u32,
    /// A positive errno, 0 where the kernel gives none; for `xdp_exception` the XDP action.
    pub code: u32,
}

impl FailureKey {
    /// `xdp_redirect_err`: refused in the driver's call.
    pub const REDIRECT_ERR: u32 = 1;
    /// `xdp_devmap_xmit`: lost at the flush of the bulk queue.
    pub const DEVMAP_XMIT: u32 = 2;
    /// `xdp_exception`: aborted, unknown action, failed transmission.
    pub const EXCEPTION: u32 = 3;
}
