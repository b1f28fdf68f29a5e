//! Events of policies.

use std::{collections::BTreeMap, time::Instant};

use xdp_client::object::ObjectName;
use xdp_crds::{
    API_VERSION, XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED, is_transient, programmed},
};

use super::{EventDraft, PATIENCE, bounded};
use crate::{status, store::PolicyObject};

/// The last Event of each policy, by uid.
#[derive(Debug, Default)]
pub struct PolicyEvents {
    policies: BTreeMap<String, Record>,
}

#[derive(Debug)]
struct Record {
    reported: Option<PolicyEvent>,
    /// A failure that has no Event yet, and when it started.
    failing: Option<(PolicyEvent, Instant)>,
}

/// A state of a policy that has an Event. Transient states have none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PolicyEvent {
    Refused { message: String },
    Programmed { generation: i64 },
    HostPorts { generation: i64 },
    Failing { reason: String },
}

impl PolicyEvents {
    /// Compares the stored status of a policy with its last Event. Returns a new Event, and when to compare
    /// again if the policy fails since a short time.
    pub fn update(
        &mut self,
        name: &ObjectName,
        policy: &PolicyObject,
        now: Instant,
    ) -> (Option<EventDraft>, Option<Instant>) {
        let event = policy.status.as_ref().and_then(event);
        let Some(record) = self.policies.get_mut(&policy.uid) else {
            let record = Record {
                reported: event,
                failing: None,
            };
            self.policies.insert(policy.uid.clone(), record);
            return (None, None);
        };
        let Some(event) = event.filter(|event| record.reported.as_ref() != Some(event)) else {
            record.failing = None;
            return (None, None);
        };
        if let Some(until) = record.wait(&event, now) {
            return (None, Some(until));
        }
        record.failing = None;
        record.reported = Some(event.clone());
        (draft(name, policy, &event), None)
    }

    /// Removes a policy that does not exist any more.
    pub fn remove(&mut self, uid: &str) {
        self.policies.remove(uid);
    }
}

impl Record {
    /// Returns until when to wait for a failure to pass.
    fn wait(&mut self, event: &PolicyEvent, now: Instant) -> Option<Instant> {
        if !matches!(event, PolicyEvent::Failing { .. }) {
            return None;
        }
        let since = match &self.failing {
            Some((failing, since)) if failing == event => *since,
            _ => now,
        };
        self.failing = Some((event.clone(), since));
        let until = since + PATIENCE;
        (now < until).then_some(until)
    }
}

fn event(status: &XdpPolicyStatus) -> Option<PolicyEvent> {
    let accepted = status::find(&status.conditions, ACCEPTED)?;
    let programmed = status::find(&status.conditions, PROGRAMMED)?;
    if accepted.status == "False" {
        let message = accepted.message.clone();
        return Some(PolicyEvent::Refused { message });
    }
    match programmed.reason.as_str() {
        programmed::PROGRAMMED => Some(PolicyEvent::Programmed {
            generation: programmed.observed_generation.unwrap_or_default(),
        }),
        programmed::HOST_PORTS => Some(PolicyEvent::HostPorts {
            generation: programmed.observed_generation.unwrap_or_default(),
        }),
        programmed::NO_PODS => None,
        reason if is_transient(reason) => None,
        reason => Some(PolicyEvent::Failing {
            reason: reason.to_owned(),
        }),
    }
}

fn draft(name: &ObjectName, policy: &PolicyObject, event: &PolicyEvent) -> Option<EventDraft> {
    let conditions = &policy.status.as_ref()?.conditions;
    let (kind, action) = match event {
        PolicyEvent::Refused { .. } => (ACCEPTED, "Validate"),
        PolicyEvent::Programmed { .. } | PolicyEvent::HostPorts { .. } | PolicyEvent::Failing { .. } => {
            (PROGRAMMED, "Program")
        }
    };
    let condition = status::find(conditions, kind)?;
    Some(EventDraft {
        kind: "XdpPolicy",
        api_version: API_VERSION,
        name: name.clone(),
        uid: policy.uid.clone(),
        warning: !matches!(event, PolicyEvent::Programmed { .. }),
        reason: condition.reason.clone(),
        action,
        message: bounded(&condition.message),
        topic: format!("{} {}", policy.generation, condition.reason),
    })
}
