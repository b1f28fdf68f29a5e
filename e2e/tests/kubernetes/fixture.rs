//! Helpers that most tests use.

use std::net::{IpAddr, SocketAddr};

use anyhow::ensure;
use xdp_e2e::installed::{ClusterPod, Counts, Installation, Space};
use xdp_lab::{Namespace, UdpSender};

/// Redirects UDP to port 7777 with mark 42.
pub(crate) const PLAYERS: &str =
    "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";

/// Datagrams per second, slow enough for receivers with small buffers on a busy machine.
const PER_SECOND: u32 = 2000;

/// Sends `packets` datagrams to a pod, waits until they have arrived, and returns all counts of the pod.
pub(crate) fn deliver(installed: &Installation, pod: &ClusterPod<'_>, packets: u64) -> Counts {
    deliver_to(installed, installed.client(), pod, pod.udp(), packets)
}

/// Sends `packets` datagrams from a namespace to one of the pod's addresses, and waits as [`deliver`] does.
pub(crate) fn deliver_to(
    installed: &Installation,
    from: &Namespace,
    pod: &ClusterPod<'_>,
    to: SocketAddr,
    packets: u64,
) -> Counts {
    let mut sender = UdpSender::new(from, to).unwrap();
    sender.send_paced(packets, PER_SECOND).unwrap();
    let arrived = installed.until(format!("{packets} datagrams arrive at {}", pod.name), || {
        let counts = pod.counts()?;
        let arrived = counts.of_stream(sender.stream());
        ensure!(arrived == packets, "{arrived} arrived: {counts:?}");
        Ok(counts)
    });
    arrived.unwrap()
}

/// Sends `packets` datagrams that must not arrive, and returns their stream.
pub(crate) fn send(from: &Namespace, to: SocketAddr, packets: u64) -> u32 {
    let mut sender = UdpSender::new(from, to).unwrap();
    sender.send_paced(packets, PER_SECOND).unwrap();
    sender.stream()
}

/// A rule of a policy, whose packets the agents count.
pub(crate) struct Rule<'a> {
    pub(crate) installed: &'a Installation,
    pub(crate) space: &'a Space<'a>,
    pub(crate) policy: &'a str,
    pub(crate) name: &'a str,
}

impl Rule<'_> {
    /// Returns the packets that the pod's node has counted for each of these actions, all from one scrape.
    pub(crate) fn packets<const N: usize>(
        &self,
        pod: &ClusterPod<'_>,
        actions: [&str; N],
    ) -> anyhow::Result<[u64; N]> {
        let rule = (self.policy, self.name);
        let metrics = self.installed.agent_metrics(pod.node)?;
        let counted = |action| metrics.rule_packets(&self.space.name, rule, action);
        Ok(actions.map(|action| counted(action).unwrap_or(0)))
    }

    /// Waits until the pod's node has counted exactly `expected` for the rule.
    #[track_caller]
    pub(crate) fn expect(&self, pod: &ClusterPod<'_>, expected: &[(&str, u64)]) {
        let actions = [
            "redirected",
            "passed",
            "dropped",
            "rejected",
            "limited",
            "audited",
            "fell_back",
            "delivered",
        ];
        let wanted = actions.map(|action| {
            let found = expected.iter().find(|(name, _)| *name == action);
            found.map_or(0, |(_, packets)| *packets)
        });
        let what = format!("{} on {} counted {expected:?}", self.name, pod.node.name);
        let counted = self.installed.until(what, || {
            let counted = self.packets(pod, actions)?;
            ensure!(counted == wanted, "it counted {counted:?} of {actions:?}");
            Ok(())
        });
        counted.unwrap();
    }
}

/// Returns the client's address of the same family.
pub(crate) fn client(installed: &Installation, pod: IpAddr) -> IpAddr {
    let addresses = installed.client_addresses();
    match pod {
        IpAddr::V4(_) => addresses.v4.into(),
        IpAddr::V6(_) => addresses.v6.into(),
    }
}
