//! What most tests need.

use std::net::{IpAddr, SocketAddr};

use anyhow::ensure;
use xdp_e2e::installed::{Counts, Installed, Pod, Space};
use xdp_lab::{Namespace, UdpSender};

/// Redirects UDP to port 7777 with mark 42.
pub(crate) const PLAYERS: &str =
    "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";

/// Slow enough for receivers with small buffers, on a machine that is busy with something else.
const PER_SECOND: u32 = 2000;

/// Sends so many datagrams to a pod, waits until they have arrived, and returns all it has counted.
pub(crate) fn deliver(installed: &Installed, pod: &Pod<'_>, packets: u64) -> Counts {
    deliver_to(installed, installed.client(), pod, pod.udp(), packets)
}

/// The same from another namespace, to any address that is the pod's.
pub(crate) fn deliver_to(
    installed: &Installed,
    from: &Namespace,
    pod: &Pod<'_>,
    to: SocketAddr,
    packets: u64,
) -> Counts {
    let mut sender = UdpSender::new(from, to).unwrap();
    sender.send_paced(packets, PER_SECOND).unwrap();
    let arrived = installed.until(format!("{packets} datagrams arrive at {}", pod.name), || {
        let counts = pod.counts()?;
        let arrived = counts.of_stream(sender.stream());
        ensure!(arrived == packets, "{arrived} have: {counts:?}");
        Ok(counts)
    });
    arrived.unwrap()
}

/// Sends so many datagrams that shall not arrive.
pub(crate) fn send(from: &Namespace, to: SocketAddr, packets: u64) -> u32 {
    let mut sender = UdpSender::new(from, to).unwrap();
    sender.send_paced(packets, PER_SECOND).unwrap();
    sender.stream()
}

/// Packets of a rule, by what became of them, on the pod's node.
pub(crate) struct Rule<'a> {
    pub(crate) installed: &'a Installed,
    pub(crate) space: &'a Space<'a>,
    pub(crate) policy: &'a str,
    pub(crate) name: &'a str,
}

impl Rule<'_> {
    /// What it has counted on the pod's node, by what became of the packets, in the order asked for: of one moment.
    pub(crate) fn packets<const N: usize>(
        &self,
        pod: &Pod<'_>,
        actions: [&str; N],
    ) -> anyhow::Result<[u64; N]> {
        let rule = (self.policy, self.name);
        let metrics = self.installed.agent_metrics(pod.node)?;
        let counted = |action| metrics.rule_packets(&self.space.name, rule, action);
        Ok(actions.map(|action| counted(action).unwrap_or(0)))
    }

    /// Waits until the rule has counted exactly these, and nothing else, on the pod's node.
    #[track_caller]
    pub(crate) fn expect(&self, pod: &Pod<'_>, expected: &[(&str, u64)]) {
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
        let what = format!("{} on {} has counted {expected:?}", self.name, pod.node.name);
        let counted = self.installed.until(what, || {
            let counted = self.packets(pod, actions)?;
            ensure!(counted == wanted, "it has counted {counted:?} of {actions:?}");
            Ok(())
        });
        counted.unwrap();
    }
}

/// The client's address of the same family.
pub(crate) fn client(installed: &Installed, pod: IpAddr) -> IpAddr {
    let addresses = installed.client_addresses();
    match pod {
        IpAddr::V4(_) => addresses.v4.into(),
        IpAddr::V6(_) => addresses.v6.into(),
    }
}
