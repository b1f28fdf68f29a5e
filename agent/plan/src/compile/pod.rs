//! Builds the desired tables of a pod around its rules.

use std::{collections::BTreeMap, sync::Arc};

use super::{build::Prepared, compiled::Compiled};
use crate::{
    desired::DesiredPod,
    facts::{Deliveries, NotReady, Readiness},
    installed::SlotIdentity,
    network_policy::CertainTraffic,
    targets::Target,
};

/// Builds the desired tables of a target with these rules.
pub(super) fn pod(
    target: &Target,
    rules: Arc<Compiled>,
    deliveries: &BTreeMap<u32, Deliveries>,
) -> DesiredPod {
    let Target { pair, .. } = target;
    let ready = || deliveries.get(&pair.host.ifindex).cloned();
    let Deliveries {
        redirect,
        peer,
        reply_path,
    } = match &target.doubt {
        Some(doubt) => Deliveries::in_doubt(doubt),
        None => ready().unwrap_or_else(not_prepared),
    };
    DesiredPod {
        identity: identity(target),
        interface: pair.host.name.clone(),
        addresses: target.addresses.clone(),
        readiness: redirect,
        peer,
        reply_path,
        draining: false,
        not_permitted: target.lacks_permission(),
        mtu: pair.host.mtu.min(pair.pod.mtu),
        rules,
    }
}

/// Returns what identifies a target.
pub(crate) fn identity(target: &Target) -> SlotIdentity {
    let Target { pod, pair, .. } = target;
    SlotIdentity {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        ifindex: pair.host.ifindex,
        mac: pair.pod.mac,
    }
}

fn not_prepared() -> Deliveries {
    let not_prepared = Readiness::NotReady {
        reason: NotReady::NotPrepared,
        message: "no rule of this pod redirects, so its interface is not prepared".into(),
    };
    Deliveries {
        redirect: not_prepared.clone(),
        peer: not_prepared.clone(),
        reply_path: not_prepared,
    }
}

/// Builds the desired tables of a draining pod, without rules.
pub(crate) fn without_rules(target: &Target, deliveries: &BTreeMap<u32, Deliveries>) -> DesiredPod {
    let rules = Prepared::new(&[], &BTreeMap::new(), &CertainTraffic::everything()).and_then(Prepared::build);
    pod(
        target,
        Arc::new(rules.expect("nothing exceeds no limit")),
        deliveries,
    )
}
