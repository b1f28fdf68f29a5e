//! Which pod an interface of the host belongs to.

use super::{RuleTables, pod};
use crate::tables::{Address, PodBlock};

/// Who has an address, seen from one of the host's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Holder {
    /// No pod with rules.
    Absent = 0,
    /// A pod behind another interface.
    AnotherPod = 1,
    /// The pod behind this interface.
    Pod = 2,
    /// The pod behind this interface, whose tracked flows move to the stack.
    DrainingPod = 3,
}

impl Holder {
    /// Returns the holder with this number; [`Self::Absent`] if there is none.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::AnotherPod,
            2 => Self::Pod,
            3 => Self::DrainingPod,
            _ => Self::Absent,
        }
    }
}

/// Looks up whether the pod with this address is behind the host's interface `host`.
///
/// A pod can send packets with any source address. So a program on the interface of a pod looks at flows of
/// this pod only.
#[inline(always)]
pub fn holder(address: &Address, host: u32, tables: &impl RuleTables) -> Holder {
    match pod(address, tables) {
        Some(pod) if pod.host != host => Holder::AnotherPod,
        Some(pod) if pod.flags & PodBlock::DRAIN != 0 => Holder::DrainingPod,
        Some(_) => Holder::Pod,
        None => Holder::Absent,
    }
}
