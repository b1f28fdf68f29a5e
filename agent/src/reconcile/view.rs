//! What was read of interfaces and hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use xdp_plan::{
    attach::delivered,
    change::Change,
    drain::Draining,
    facts::{NodeFacts, Pair, WantedAddresses},
    hook::{AttachPoint, Hook},
    installed::{Attachments, Means},
    nics::NicFacts,
    report::Problem,
    targets::Targets,
};

use crate::reconcile::kernel::{ChangeError, Kernel};

/// One reading, brought up to date after each change of the agent.
pub(super) struct View {
    pub(super) facts: Arc<NodeFacts>,
    /// The addresses that `facts` were asked for.
    wanted: WantedAddresses,
    pub(super) nics: Result<Vec<NicFacts>, Problem>,
    pub(super) attachments: Attachments,
    /// Pods whose connections could not be listed, by the index of the host's end.
    pub(super) unlisted: BTreeMap<u32, Problem>,
}

impl View {
    pub(super) fn read(kernel: &mut impl Kernel, wanted: WantedAddresses) -> Result<Self, Problem> {
        Ok(Self {
            facts: Arc::new(kernel.facts(&wanted)?),
            wanted,
            nics: kernel.nics(),
            attachments: kernel.attachments()?,
            unlisted: BTreeMap::new(),
        })
    }

    /// Reads the facts again if they were asked for less than is wanted now.
    pub(super) fn want(&mut self, kernel: &mut impl Kernel, wanted: WantedAddresses) -> Result<(), Problem> {
        let known = |(address, claims): (&IpAddr, &BTreeSet<String>)| {
            let before = self.wanted.get(address);
            before.is_some_and(|before| claims.is_subset(before))
        };
        if !wanted.iter().all(known) {
            self.facts = Arc::new(kernel.facts(&wanted)?);
            self.wanted = wanted;
        }
        Ok(())
    }

    /// Whether a program is first in its tcx hook now and was not when the hook was read, or the reverse.
    pub(super) fn is_order_changed(&self, kernel: &impl Kernel) -> bool {
        let hooks = self.attachments.hooks.iter();
        let mut of_host =
            hooks.filter(|(point, state)| state.means == Some(Means::Tcx) && point.hook != Hook::PodReader);
        of_host.any(|(point, state)| {
            let first = kernel.programs(*point).first().copied();
            (first == state.program_id) != state.before.is_empty()
        })
    }

    /// Reads the interfaces of pods that something is delivered to, as far as they were not read before.
    pub(super) fn read_pods(&mut self, kernel: &mut impl Kernel, targets: &Targets, draining: &[Draining]) {
        for target in delivered(targets, draining) {
            if !self.attachments.pods.contains_key(&target.pair.host.ifindex) {
                self.read_pod(kernel, &target.pair);
            }
        }
    }

    /// Follows a change that was tried. Connections that cannot be listed are a problem until the next full
    /// reading, which tries it again.
    pub(super) fn follow(&mut self, change: &Change, failed: Option<&ChangeError>) {
        self.attachments.noted.follow(change);
        let Change::NoteConnections { host, pod, .. } = change else {
            return;
        };
        match failed {
            Some(error) => drop(
                self.unlisted
                    .insert(*host, unlisted_connections(pod, &error.message)),
            ),
            None => drop(self.unlisted.remove(host)),
        }
    }

    /// Reads again what changes were about, whether they failed or not.
    pub(super) fn update(&mut self, kernel: &mut impl Kernel, changes: &[Change]) {
        let mut nics = false;
        for change in changes {
            match change {
                Change::SetGro { host, .. } => self.read_pod_of(kernel, *host),
                Change::ForgetGro { host } => drop(self.attachments.gro_notes.remove(host)),
                other => {
                    if let Some(point) = other.point() {
                        self.read_hook(kernel, point);
                        nics |= point.hook.is_of_nic();
                    }
                }
            }
        }
        if nics {
            self.nics = kernel.nics();
        }
        self.attachments.migrating = kernel.is_migrating();
    }

    fn read_hook(&mut self, kernel: &mut impl Kernel, point: AttachPoint) {
        if point.hook == Hook::PodReader && self.pair(point.ifindex).is_some() {
            self.read_pod_of(kernel, point.ifindex);
            return;
        }
        let state = kernel.hook(point);
        self.attachments.hooks.insert(point, Arc::new(state));
    }

    fn read_pod_of(&mut self, kernel: &mut impl Kernel, host: u32) {
        if let Some(pair) = self.pair(host).cloned() {
            self.read_pod(kernel, &pair);
        }
    }

    fn read_pod(&mut self, kernel: &mut impl Kernel, pair: &Pair) {
        let host = pair.host.ifindex;
        let reading = kernel.pod(pair);
        let point = AttachPoint::new(Hook::PodReader, host);
        self.attachments.hooks.insert(point, Arc::new(reading.reader));
        self.attachments.pods.insert(host, Arc::new(reading.interface));
    }

    fn pair(&self, host: u32) -> Option<&Pair> {
        self.facts.pairs.iter().find(|pair| pair.host.ifindex == host)
    }
}

fn unlisted_connections(pod: &str, error: &str) -> Problem {
    let message = format!(
        "{error}; rules that drop may end connections that the pod had opened before its first policy, as far as \
         connection tracking does not know them"
    );
    let remedy = "the agent tries again by itself every 30 seconds; see its permissions and the kernel log if it stays";
    Problem::new(format!("Pod {pod}"), "ConnectionsUnknown", message, remedy)
}
