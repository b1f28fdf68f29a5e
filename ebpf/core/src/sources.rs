//! Decides whether the source of a packet can be trusted: what the stack's routing does before it forwards.
//!
//! The stack drops packets with a martian source (`ip_route_input_slow`, `ip6_rcv_core`, `ip6_forward`), and
//! those whose source fails the reverse path filter (`fib_validate_source`). Only packets that open a flow
//! are asked about: the answer cannot differ for later ones, which have the same source.

use crate::{
    events::Fallback,
    tables::{Address, Receiver},
};

/// Whether no packet on a network may have this source.
///
/// IPv4: `0.0.0.0/8`, `127.0.0.0/8`, multicast and reserved addresses (`224.0.0.0/3`). IPv6: unspecified,
/// loopback, multicast and link-local addresses. The stack accepts sources in `240.0.0.0/4` except the
/// broadcast address; that they take the stack costs them only speed.
#[inline(always)]
pub const fn is_martian(source: &Address) -> bool {
    if source.is_v4() {
        let first = (source.low as u32) >> 24;
        return matches!(first, 0 | 127 | 224..);
    }
    let link_local = source.high >> 54 == 0xfe80 >> 6;
    let multicast = source.high >> 56 == 0xff;
    multicast || link_local || source.high == 0 && source.low <= 1
}

/// What the node's routes say about a packet.
pub trait Routes {
    /// Returns the interface by which the stack would forward the packet that arrived at `device`. `None`:
    /// it would not.
    fn forward(&self, device: u32) -> Option<u32>;

    /// Returns the interface by which a packet to the source of this packet would leave, coming from
    /// `device`. `None`: there is no such route.
    fn back(&self, device: u32) -> Option<u32>;

    /// Whether packets that leave by the interface leave the node: [`crate::tables::Station::outlet`].
    fn leaves(&self, device: u32) -> bool;
}

/// Checks the source of a packet that opens a flow, and that the stack would forward the packet.
#[inline(always)]
pub fn check(source: &Address, receiver: Receiver, routes: &impl Routes) -> Result<(), Fallback> {
    if is_martian(source) {
        return Err(Fallback::Source);
    }
    if receiver.flags & Receiver::ROUTED == 0 {
        return Ok(());
    }
    // By an interface that leads out of the node, it would reach another node's pod.
    let Some(to) = routes.forward(receiver.device).filter(|to| !routes.leaves(*to)) else {
        return Err(Fallback::NotForwarded);
    };
    // The stack looks up the route back as for a packet that the pod sends (`fib_validate_source`).
    let Some(back) = routes.back(to) else {
        return Err(Fallback::Source);
    };
    if back == receiver.device {
        Ok(())
    } else if !routes.leaves(back) {
        Err(Fallback::Source)
    } else if receiver.flags & Receiver::STRICT != 0 && source.is_v4() {
        Err(Fallback::ReversePath)
    } else {
        Ok(())
    }
}
