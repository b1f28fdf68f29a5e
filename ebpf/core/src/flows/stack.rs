//! What the stack does with flows is seen where it hands packets to a pod, and where they leave the node.

use super::{Flows, Role, Subject, Table, forget};
use crate::verdict::FlowEvent;

/// The stack delivered a packet to a pod: `leaving` says whether it is to be given the pod's flows as they go on
/// ([`crate::tables::PodBlock::DRAIN`], or no rules any more). Asked only where that matters.
#[inline(always)]
pub fn delivered(subject: &Subject, leaving: impl Fn() -> bool, flows: &impl Flows) -> Option<FlowEvent> {
    let event = match subject.role {
        Role::Opens | Role::Datagram => FlowEvent::ReclaimedByStack,
        Role::Follows | Role::Unsettled if leaving() => FlowEvent::Deleted,
        Role::Follows | Role::Unsettled | Role::Error | Role::Other => return None,
    };
    forget(&subject.key, flows).then_some(event)
}

/// A pod's datagram left the node through the stack, with these addresses: what answers it is the stack's.
#[inline(always)]
pub fn departed(subject: &Subject, flows: &impl Flows) -> Option<FlowEvent> {
    let key = &subject.key;
    if flows.slot(Table::Stack, key).is_some() {
        return None;
    }
    if !flows.insert(Table::Stack, key, 0) {
        flows.note(FlowEvent::InsertFailed);
    }
    forget(key, flows);
    Some(FlowEvent::StackFlowNoted)
}
