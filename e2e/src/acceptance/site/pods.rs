//! The pods, and the policies for them.

use ipnet::{Ipv4Net, Ipv6Net};
use xdp_lab::{Lab, LabPod, LabPodSpec, Style};

use crate::ManifestFolder;

/// A rule for each port of [`super::ports`].
const RULES: &str = "
  - {name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}
  - {name: passed, ports: [{protocol: UDP, port: 7778}], action: Pass}
  - {name: dropped, ports: [{protocol: UDP, port: 7779}], action: Drop}
  - name: rejected
    ports: [{protocol: UDP, port: 7780}, {protocol: TCP, port: 7780}]
    action: Reject
  - name: limited
    ports: [{protocol: UDP, port: 7781}]
    action: Redirect
    mark: 42
    rateLimit: {packetsPerSecond: 1, burst: 50}
  - name: web
    ports: [{protocol: TCP, port: 80}, {protocol: TCP, port: 8080}, {protocol: UDP, port: 8080}]
    action: Redirect
    mark: 42
";

/// A pod with a host route, one on a bridge, and one with delivery `Peer`.
pub(in crate::acceptance) struct Pods {
    pub(in crate::acceptance) ptp: LabPod,
    pub(in crate::acceptance) bridge: LabPod,
    pub(in crate::acceptance) bulk: LabPod,
}

impl Pods {
    pub(super) fn new(lab: &Lab, manifests: &ManifestFolder) -> anyhow::Result<Self> {
        let pod = |name: &str, style, app: &str, third: u8, number: u8| {
            let (v4, v6) = match style {
                Style::Ptp => (32, 128),
                Style::Bridge => (24, 64),
            };
            let v4 = Ipv4Net::new_assert([10, third, 0, number].into(), v4);
            let net = 0xfd00 + u16::from(third);
            let v6 = Ipv6Net::new_assert([net, 0, 0, 0, 0, 0, 0, number.into()].into(), v6);
            let pod = lab.pod(&LabPodSpec::new(name, style).v4(v4).v6(v6))?;
            manifests.write_pod(name, app, &pod)?;
            anyhow::Ok(pod)
        };
        Ok(Self {
            ptp: pod("ptp", Style::Ptp, "game", 2, 5)?,
            bridge: pod("bridge", Style::Bridge, "game", 3, 6)?,
            bulk: pod("bulk", Style::Ptp, "bulk", 2, 7)?,
        })
    }

    pub(in crate::acceptance) fn all(&self) -> [&LabPod; 3] {
        [&self.ptp, &self.bridge, &self.bulk]
    }

    /// The pods whose packets are redirected on the NIC.
    pub(in crate::acceptance) fn redirected(&self) -> [&LabPod; 2] {
        [&self.ptp, &self.bridge]
    }
}

pub(super) fn write_policies(manifests: &ManifestFolder) -> anyhow::Result<()> {
    let policy = |name: &str, delivery: &str, rules: &str| {
        let text = format!(
            "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: \
             {name}}}\nspec:\n  podSelector: {{matchLabels: {{app: {name}}}}}\n  delivery: \
             {delivery}\n  ingress:{rules}"
        );
        manifests.write(&format!("policy-{name}.yaml"), &text)
    };
    policy("game", "Redirect", RULES)?;
    policy("bulk", "Peer", "\n  - {name: bulk, action: Redirect, mark: 42}\n")
}
