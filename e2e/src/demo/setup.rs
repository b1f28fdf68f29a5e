//! The demo's lab: one client, one NIC, and one pod of each style.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use xdp_lab::{Lab, LabPod, LabPodSpec, Namespace, Nic, NicSpec, Style};

use crate::{Agent, ManifestFolder};

/// A source in `policies.yaml`.
pub(super) const BANNED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));
pub(super) const MONITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));

pub(super) struct Setup {
    pub(super) client: Namespace,
    pub(super) nic: Nic,
    /// Reached by a route on the host.
    pub(super) game: LabPod,
    /// A port of a bridge.
    pub(super) web: LabPod,
    pub(super) manifests: ManifestFolder,
    /// The last field: the others are dropped before it.
    pub(super) lab: Lab,
}

impl Setup {
    pub(super) fn new() -> anyhow::Result<Self> {
        let lab = Lab::new().context("cannot create the lab (run as root)")?;
        let client = lab.namespace("client")?;
        let nic = lab.nic(NicSpec::new("nic0", &client))?;
        nic.receive_xdp_tx()?;
        for address in [BANNED, MONITOR] {
            nic.add_client_address(address)?;
        }
        let game = LabPodSpec::new("game-0", Style::Ptp)
            .v4("10.2.0.5/32".parse()?)
            .v6("fd02::5/128".parse()?);
        let web = LabPodSpec::new("web-0", Style::Bridge)
            .v4("10.3.0.5/24".parse()?)
            .v6("fd03::5/64".parse()?);
        Ok(Self {
            game: lab.pod(&game)?,
            web: lab.pod(&web)?,
            manifests: ManifestFolder::new(&lab)?,
            client,
            nic,
            lab,
        })
    }

    /// Writes the manifests that the agent watches.
    pub(super) fn apply(&self, policies: &str) -> anyhow::Result<()> {
        self.manifests.write("policies.yaml", policies)?;
        self.manifests.write_pod("game-0", "game", &self.game)?;
        self.manifests.write_pod("web-0", "web", &self.web)
    }

    /// Waits until the NIC and the pods are programmed, and describes them.
    pub(super) fn ready(&self, agent: &Agent<'_>) -> Vec<String> {
        let status = agent.wait_for("the program is attached and the pods are ready", |status| {
            status.running()
                && status.nic_mode(&self.nic.name) == Some("Native")
                && ["game-0", "web-0"].iter().all(|pod| status.ready(pod))
        });
        let nic = &status.json()["nics"][0];
        let mut lines = vec![format!(
            "NIC {}: XDP in {} mode, program {} with tag {}",
            self.nic.name,
            nic["mode"].as_str().unwrap_or_default(),
            nic["programId"],
            nic["programTag"].as_str().unwrap_or_default()
        )];
        for name in ["game-0", "web-0"] {
            let pod = status.pod(name).cloned().unwrap_or_default();
            lines.push(format!(
                "pod games/{name}: {}, rules programmed, packets are redirected to {} (index {})",
                pod["readiness"]["state"].as_str().unwrap_or_default(),
                pod["interface"].as_str().unwrap_or_default(),
                pod["ifindex"]
            ));
        }
        lines
    }

    /// The sockets that the policies name.
    pub(super) fn players(&self) -> [SocketAddr; 2] {
        [self.game.v4(), self.game.v6()].map(|ip| SocketAddr::new(ip, 7777))
    }

    pub(super) fn voice(&self) -> SocketAddr {
        SocketAddr::new(self.game.v4(), 9000)
    }

    pub(super) fn queries(&self) -> SocketAddr {
        SocketAddr::new(self.game.v4(), 27015)
    }

    pub(super) fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.web.v4(), 9090)
    }

    pub(super) fn http(&self) -> [SocketAddr; 2] {
        [self.web.v4(), self.web.v6()].map(|ip| SocketAddr::new(ip, 8080))
    }
}
