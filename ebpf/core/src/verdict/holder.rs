//! Which pod an interface of the host belongs to.

use super::{RuleTables, pod};
use crate::tables::{Address, PodBlock};

/// Who has an address, seen from one of the host's interfaces.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'t> {
    /// The pod behind this interface.
    Pod(&'t PodBlock),
    /// A pod behind another interface.
    AnotherPod,
    /// No pod with rules.
    Absent,
}

/// Looks up whether the pod with this address is behind the host's interface `host`.
///
/// A pod can send packets with any source address. So a program on the interface of a pod looks at flows of
/// this pod only.
#[inline(always)]
pub fn holder<'t, T: RuleTables>(address: &Address, host: u32, tables: &'t T) -> Holder<'t> {
    match pod(address, tables) {
        Some(pod) if pod.host == host => Holder::Pod(pod),
        Some(_) => Holder::AnotherPod,
        None => Holder::Absent,
    }
}
