//! Programs and GRO of pods' interfaces.

use std::collections::{BTreeMap, BTreeSet};

use super::{RefusedStep, Situation, delivered, watched};
use crate::{
    change::XdpAttach,
    desired::DesiredProgram,
    facts::{Deliveries, Link, NotReady, Pair, Readiness},
    hook::{AttachPoint, Hook, Interface},
    report::Problem,
    targets::Target,
};

/// Pairs with `ndo_xdp_xmit`.
const REDIRECT_KINDS: [&str; 1] = ["veth"];
/// Pairs with `ndo_get_peer_dev`, which `bpf_redirect_peer` needs; netkit since Linux 6.7.
const PEER_KINDS: [&str; 2] = ["veth", "netkit"];

/// The pods that something is delivered to, or whose connections are noted.
pub(super) struct Pods<'a> {
    situation: &'a Situation<'a>,
    /// Why no pod can rely on the NICs' part of the reply path.
    reply_path: Option<Problem>,
    /// Why no pod can rely on the NICs for delivery `Peer`.
    peer: Option<Problem>,
    pub(super) hooks: BTreeMap<AttachPoint, DesiredProgram>,
    pub(super) gro: BTreeSet<u32>,
    pub(super) deliveries: BTreeMap<u32, Deliveries>,
}

impl<'a> Pods<'a> {
    pub(super) const fn new(
        situation: &'a Situation<'a>,
        reply_path: Option<Problem>,
        peer: Option<Problem>,
    ) -> Self {
        Self {
            situation,
            reply_path,
            peer,
            hooks: BTreeMap::new(),
            gro: BTreeSet::new(),
            deliveries: BTreeMap::new(),
        }
    }

    pub(super) fn decide(&mut self) {
        let targets = self.situation.targets;
        // First: a pod that drains, too, needs more.
        for target in watched(targets).chain(delivered(targets, self.situation.draining)) {
            self.pod(target);
        }
    }

    fn pod(&mut self, target: &Target) {
        let host = target.pair.host.ifindex;
        if target.doubt.is_some() {
            self.leave(host);
            return;
        }
        let mut redirect = if target.wants_redirect {
            self.redirect(&target.pair)
        } else {
            not_wanted()
        };
        let mut peer = if target.wants_peer {
            self.peer(&target.pair)
        } else {
            not_wanted()
        };
        if redirect == Readiness::Ready {
            self.gro.insert(host);
        }
        if target.wants_redirect || target.wants_peer {
            let reader = AttachPoint::new(Hook::PodReader, host);
            let program = self.reader(reader, &target.pair, &mut [&mut redirect, &mut peer]);
            self.hooks.insert(reader, program);
        }
        let ready = redirect == Readiness::Ready || peer == Readiness::Ready;
        let reply_path = match self.host_end(&target.pair, ready || target.wants_connections) {
            Readiness::Ready if !ready => not_wanted(),
            readiness => readiness,
        };
        let deliveries = Deliveries {
            redirect,
            peer,
            reply_path,
        };
        self.deliveries.insert(host, deliveries);
    }

    /// Leaves the programs of an interface as they are: it may not be the pod's.
    fn leave(&mut self, host: u32) {
        for hook in [Hook::PodReader].into_iter().chain(Hook::POD) {
            let point = AttachPoint::new(hook, host);
            self.hooks.entry(point).or_insert(DesiredProgram::Unchanged);
        }
    }

    fn redirect(&self, pair: &Pair) -> Readiness {
        let host = pair.host.ifindex;
        if let Err(obstacle) = self.reachable(pair, &REDIRECT_KINDS) {
            return obstacle;
        }
        if let Some((reason, message)) = self.situation.refused.gro.get(&host) {
            return not_ready(*reason, message.clone());
        }
        match self.situation.installed.pods.get(&host).map(|pod| &pod.gro) {
            Some(Err((reason, message))) => not_ready(*reason, message.clone()),
            _ => Readiness::Ready,
        }
    }

    fn peer(&self, pair: &Pair) -> Readiness {
        if let Some(problem) = &self.peer {
            return not_ready(
                NotReady::PeerRefused,
                format!("{}: {}", problem.object, problem.message),
            );
        }
        self.reachable(pair, &PEER_KINDS)
            .err()
            .unwrap_or(Readiness::Ready)
    }

    /// Checks what both deliveries need of an interface.
    fn reachable(&self, pair: &Pair, kinds: &[&str]) -> Result<(), Readiness> {
        check_kind(&pair.host, kinds)?;
        check_up(pair)?;
        let pod = self.situation.installed.pods.get(&pair.host.ifindex);
        let Some(pod) = pod else { return Ok(()) };
        match (&pod.unreachable, &pod.other_exit) {
            (Some(message), _) => Err(not_ready(NotReady::NetnsUnreachable, message.clone())),
            (None, Some(message)) => Err(not_ready(NotReady::SeveralInterfaces, message.clone())),
            (None, None) => Ok(()),
        }
    }

    /// Without the reader, marks would be lost, by either delivery.
    fn reader(&self, point: AttachPoint, pair: &Pair, deliveries: &mut [&mut Readiness]) -> DesiredProgram {
        let mut ready: Vec<&mut Readiness> = deliveries
            .iter_mut()
            .map(|readiness| &mut **readiness)
            .filter(|readiness| **readiness == Readiness::Ready)
            .collect();
        if let Some(refusal) = self.situation.refused.attach(point.hook, point.ifindex) {
            let message = format!("{}; marks would be lost; see the kernel log", refusal.error);
            for readiness in &mut ready {
                **readiness = not_ready(NotReady::ReaderRefused, message.clone());
            }
        }
        if ready.is_empty() || self.situation.refused.hooks.contains_key(&point) {
            return DesiredProgram::Unchanged;
        }
        DesiredProgram::Attached {
            interface: super::pod_end(pair).1,
            mode: XdpAttach::default(),
        }
    }

    /// The pod's part of the reply path, which also notes the connections that the pod opens: both programs,
    /// or none.
    fn host_end(&mut self, pair: &Pair, wanted: bool) -> Readiness {
        let refused = &self.situation.refused;
        let Link { ifindex, name, .. } = &pair.host;
        let points = Hook::POD.map(|hook| AttachPoint::new(hook, *ifindex));
        for point in points
            .into_iter()
            .filter(|point| refused.hooks.contains_key(point))
        {
            self.hooks.insert(point, DesiredProgram::Unchanged);
        }
        if let Some(problem) = &self.reply_path {
            let Problem {
                object,
                message,
                remedy,
                ..
            } = problem;
            return no_replies(&format!("{object}: {message}; {remedy}"));
        }
        if !wanted {
            let unchanged = points.map(|point| (point, DesiredProgram::Unchanged));
            self.hooks.extend(unchanged);
            return not_wanted();
        }
        let refusal = Hook::POD
            .iter()
            .find_map(|hook| Some((hook, refused.attach(*hook, *ifindex)?)));
        if let Some((hook, refusal)) = refusal {
            if refusal.step == RefusedStep::MoveFirst {
                // Tracked flows go on, so the stack's deliveries have to be noted, too.
                let unchanged = points.map(|point| (point, DesiredProgram::Unchanged));
                self.hooks.extend(unchanged);
            }
            let message = refusal.explain(hook.program(), name);
            return no_replies(&format!("{message}; {}", refusal.remedy(name)));
        }
        let interface = Interface {
            ifindex: *ifindex,
            name: name.clone(),
            netns_id: None,
        };
        let mode = XdpAttach::default();
        let attached = points.map(|point| {
            (
                point,
                DesiredProgram::Attached {
                    interface: interface.clone(),
                    mode,
                },
            )
        });
        for (point, program) in attached {
            self.hooks.entry(point).or_insert(program);
        }
        Readiness::Ready
    }
}

fn check_kind(host: &Link, kinds: &[&str]) -> Result<(), Readiness> {
    if kinds.contains(&host.kind.as_str()) {
        return Ok(());
    }
    let message = format!(
        "interface `{}` is of kind `{}`, which takes no packets this way: only {} does",
        host.name,
        host.kind,
        kinds.join(" or ")
    );
    Err(not_ready(NotReady::NotVeth, message))
}

fn check_up(pair: &Pair) -> Result<(), Readiness> {
    for (end, place) in [(&pair.pod, "in the pod"), (&pair.host, "on the host")] {
        if !end.up {
            let message = format!("interface `{}` {place} is down; set it up", end.name);
            return Err(not_ready(NotReady::LinkDown, message));
        }
    }
    Ok(())
}

fn no_replies(message: &str) -> Readiness {
    not_ready(NotReady::NoReplyPath, message.to_owned())
}

fn not_wanted() -> Readiness {
    not_ready(
        NotReady::NotPrepared,
        "none of the pod's rules redirects this way".to_owned(),
    )
}

const fn not_ready(reason: NotReady, message: String) -> Readiness {
    Readiness::NotReady { reason, message }
}
