//! `xdp-agent uninstall`: restores the node to the state before the agent.

use std::{collections::BTreeSet, fmt, path::Path};

use xdp_plan::facts::Pair;

use crate::{
    datapath::{OpenError, PodEnd, Uninstall, Uninstalled, detach_clsact},
    node::{
        ethtool, netlink,
        netns::{Namespaces, Netns},
    },
};

mod wait;

pub(crate) use wait::wait;

/// What was removed, and what remains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UninstallReport {
    /// Pins and programs.
    pub removed: Uninstalled,
    /// Pods' interfaces whose GRO was switched off again.
    pub gro_restored: Vec<String>,
    /// What could not be restored in a pod, and why.
    pub left: Vec<String>,
}

impl UninstallReport {
    /// Lists what could not be removed or restored, one message each.
    pub fn remains(&self) -> Vec<String> {
        let pins = self.removed.failures.iter();
        let pins = pins.map(|(path, error)| format!("not removed: `{}`: {error}", path.display()));
        let pods = self.left.iter().map(|left| format!("not restored: {left}"));
        pins.chain(pods).collect()
    }
}

/// Detaches all programs, restores the pods, and removes all pins. Failures are reported and do not stop the
/// rest. The records about pods that were not restored stay pinned for the next attempt.
pub fn uninstall(pin_dir: &Path) -> Result<UninstallReport, OpenError> {
    let uninstall = Uninstall::begin(pin_dir)?;
    let mut report = UninstallReport::default();
    let clsact: BTreeSet<u32> = uninstall.clsact_readers()?.into_iter().collect();
    let gro: BTreeSet<u32> = uninstall.gro_switched()?.into_iter().collect();
    let unrestored = match netlink::facts() {
        Ok(facts) => report.restore_all(&facts.pairs, &clsact, &gro),
        Err(error) => {
            report.left.push(format!("the pods' interfaces: {error}"));
            clsact.union(&gro).copied().collect()
        }
    };
    report.removed = uninstall.finish(&unrestored)?;
    Ok(report)
}

impl UninstallReport {
    /// Restores the pods. Returns those that failed, by host-side interface index.
    fn restore_all(&mut self, pairs: &[Pair], clsact: &BTreeSet<u32>, gro: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut namespaces = Namespaces::default();
        let mut unrestored = BTreeSet::new();
        for pair in pairs {
            let host = pair.host.ifindex;
            let (has_filter, has_gro) = (clsact.contains(&host), gro.contains(&host));
            let before = self.left.len();
            if has_filter || has_gro {
                self.restore(&mut namespaces, pair, has_filter, has_gro);
            }
            if self.left.len() > before {
                unrestored.insert(host);
            }
        }
        unrestored
    }

    fn restore(&mut self, namespaces: &mut Namespaces, pair: &Pair, has_filter: bool, has_gro: bool) {
        let interface = format!("`{}` behind `{}`", pair.pod.name, pair.host.name);
        let netns = match namespaces.find(pair.netns_id) {
            Ok(netns) => netns,
            Err(error) => return self.left.push(format!("{interface}: {error}")),
        };
        if has_filter {
            self.remove_filter(&netns, pair, &interface);
        }
        if has_gro {
            match netns.run(|| ethtool::set_gro(&pair.pod.name, false)) {
                Ok(Ok(())) => self.gro_restored.push(interface),
                Ok(Err(error)) => self.left.push(format!("GRO of {interface}: {error}")),
                Err(error) => self.left.push(format!("GRO of {interface}: {error}")),
            }
        }
    }

    fn remove_filter(&mut self, netns: &Netns, pair: &Pair, interface: &str) {
        let pod = PodEnd {
            netns,
            ifindex: pair.pod.ifindex,
            name: &pair.pod.name,
        };
        if let Err(error) = detach_clsact(pod) {
            self.left
                .push(format!("the filter of {interface}: {error}: {}", error.source));
        }
    }
}

impl fmt::Display for UninstallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uninstalled {
            nics, readers, pins, ..
        } = &self.removed;
        writeln!(
            f,
            "removed: programs of {} NICs, readers of {} pods, {} other pins; switched GRO off on {} interfaces",
            nics.len(),
            readers.len(),
            pins.len(),
            self.gro_restored.len()
        )?;
        for remains in self.remains() {
            writeln!(f, "{remains}")?;
        }
        Ok(())
    }
}
