//! `xdp-agent uninstall`: the node as it was before.

use std::fmt;
use std::path::Path;

use xdp_plan::facts::Pair;

use crate::datapath::{OpenError, PodEnd, Uninstall, Uninstalled, detach_clsact};
use crate::netns::{Namespaces, Netns};
use crate::{ethtool, netlink};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pins and programs.
    pub removed: Uninstalled,
    /// Pods' interfaces whose GRO is off again.
    pub gro_restored: Vec<String>,
    /// What stays in a pod, and why.
    pub left: Vec<String>,
}

/// Frees the NICs, restores the pods, removes all pins. What does not work is reported, the rest goes on.
pub fn uninstall(pin_dir: &Path) -> Result<Report, OpenError> {
    let uninstall = Uninstall::begin(pin_dir)?;
    let mut report = Report::default();
    let (clsact, gro) = (uninstall.clsact_readers()?, uninstall.gro_switched()?);
    let pairs = match netlink::facts() {
        Ok(facts) => facts.pairs,
        Err(error) => {
            report.left.push(format!("the pods' interfaces: {error}"));
            Vec::new()
        }
    };
    let mut namespaces = Namespaces::default();
    for pair in &pairs {
        let (has_filter, has_gro) = (
            clsact.contains(&pair.host.ifindex),
            gro.contains(&pair.host.ifindex),
        );
        if has_filter || has_gro {
            report.restore(&mut namespaces, pair, has_filter, has_gro);
        }
    }
    report.removed = uninstall.finish()?;
    Ok(report)
}

impl Report {
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uninstalled {
            nics,
            readers,
            pins,
            failures,
        } = &self.removed;
        writeln!(
            f,
            "removed: program of {} NICs, readers of {} pods, {} other pins; GRO off again on {} interfaces",
            nics.len(),
            readers.len(),
            pins.len(),
            self.gro_restored.len()
        )?;
        for (path, error) in failures {
            writeln!(f, "not removed: `{}`: {error}", path.display())?;
        }
        for left in &self.left {
            writeln!(f, "not restored: {left}")?;
        }
        Ok(())
    }
}
