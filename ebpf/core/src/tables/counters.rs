//! Counters that the programs increment.

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// The packets that a rule matched. Each packet is counted in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounters {
    /// Redirected to the pod's device. That is not delivery yet: see [`super::maps::DELIVERED`] and
    /// [`super::maps::FAILURES`].
    pub redirected: Count,
    /// Passed: the rule's action.
    pub passed: Count,
    /// Dropped: the rule's action.
    pub dropped: Count,
    /// Rejected, with or without an answer to the sender. [`super::maps::EVENTS`] counts why there was none.
    pub rejected: Count,
    /// Dropped: the rule's rate limit is exceeded.
    pub limited: Count,
    /// Passed: the policy audits only.
    pub audited: Count,
    /// Passed although the rule's action is Redirect. [`super::maps::EVENTS`] counts why.
    pub fell_back: Count,
}

/// Key of [`super::maps::FAILURES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FailureKey {
    /// The tracepoint: [`FailureKey::REDIRECT_ERR`], [`FailureKey::DEVMAP_XMIT`] or
    /// [`FailureKey::EXCEPTION`].
    pub kind: u32,
    /// `xdp_redirect_err`: slot. `xdp_devmap_xmit`: ifindex of the target. `xdp_exception`: ifindex of the
    /// NIC.
    pub subject: u32,
    /// A positive errno, or 0 if the kernel reports none; for `xdp_exception` the XDP action.
    pub code: u32,
}

impl FailureKey {
    /// `xdp_redirect_err`: the redirect failed in the driver's receive loop.
    pub const REDIRECT_ERR: u32 = 1;
    /// `xdp_devmap_xmit`: dropped at the flush of the bulk queue.
    pub const DEVMAP_XMIT: u32 = 2;
    /// `xdp_exception`: aborted, unknown action, failed transmission.
    pub const EXCEPTION: u32 = 3;
}
