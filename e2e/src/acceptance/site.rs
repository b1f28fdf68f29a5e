//! The place of an acceptance: a node with the NIC, pods with servers, an agent and a peer.

mod addresses;
mod counting;
mod link;
mod pods;
mod streaming;

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    collections::BTreeMap,
    fs,
    net::IpAddr,
    time::Duration,
};

pub(super) use addresses::{at, node_addresses, peer_of};
use addresses::{node_of, peer_addresses};
use anyhow::Context as _;
use pods::Pods;
use serde_json::Value;
use xdp_core::tables::ABI_VERSION;
use xdp_lab::{Lab, LabPod};

use super::{
    AcceptanceOptions, PeerConnection,
    frames::Flow,
    host::{self, nic_name},
    protocol::{PeerDescription, PeerRequest},
};
use crate::{Agent, ManifestFolder, Status};

/// The limit for anything that succeeds, on an emulated machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(80);

/// The MTU of the wire.
pub(super) const MTU: u32 = 1500;

/// One port for each action: rules never change, so that their counters do not begin again.
pub(super) mod ports {
    pub(crate) const REDIRECT: u16 = 7777;
    pub(crate) const PASS: u16 = 7778;
    pub(crate) const DROP: u16 = 7779;
    pub(crate) const REJECT: u16 = 7780;
    pub(crate) const LIMIT: u16 = 7781;
    pub(crate) const WEB: u16 = 80;
    pub(crate) const ECHO: u16 = 8080;
}

/// The mark of redirected packets.
pub(super) const MARK: u32 = 42;
/// Packets that the limited rule lets through at once.
pub(super) const LIMIT_BURST: u64 = 50;

/// The node, its pods, and the peer.
pub(super) struct Site<'a> {
    pub(super) lab: &'a Lab,
    pub(super) peer: PeerConnection,
    pub(super) other: PeerDescription,
    pub(super) manifests: ManifestFolder,
    pub(super) pods: Pods,
    pub(super) nic: String,
    pub(super) driver: String,
    mac: [u8; 6],
    ifindex: Cell<u32>,
    agent: RefCell<Agent<'a>>,
    pub(super) facts: RefCell<BTreeMap<String, Value>>,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        options: &AcceptanceOptions,
        nic: &str,
        peer: PeerConnection,
    ) -> anyhow::Result<Self> {
        let manifests = ManifestFolder::new(lab)?;
        let mut agent = Agent::new(lab, &manifests).nics(&[nic]);
        if let Some(program) = &options.agent {
            agent = agent.program(program);
        }
        let pods = Pods::new(lab, &manifests)?;
        let about = host::command(lab.node(), &format!("ethtool -i {nic}"))?;
        let site = Self {
            lab,
            other: peer.describe()?,
            peer,
            manifests,
            pods,
            nic: nic.to_owned(),
            driver: host::key_values(&about).remove("driver").unwrap_or_default(),
            mac: lab.node().interface(nic)?.mac,
            ifindex: Cell::new(0),
            agent: RefCell::new(agent),
            facts: RefCell::default(),
        };
        pods::write_policies(&site.manifests)?;
        site.connect().context("cannot connect the NIC with its peer")?;
        Ok(site)
    }

    /// Configures the NIC in the node, and the peer's end.
    pub(super) fn connect(&self) -> anyhow::Result<()> {
        let node = self.lab.node();
        node.set_mtu(&self.nic, MTU)?;
        node.set_up(&self.nic, true)?;
        for (ip, length) in node_addresses() {
            node.add_address(&self.nic, ip, length)?;
        }
        let routes = self.pods.all().into_iter().flat_map(LabPod::addresses);
        let routes = routes.map(|ip| (ip, node_of(ip))).collect();
        let addresses = peer_addresses().to_vec();
        self.peer.done(&PeerRequest::SetMtu(MTU))?;
        self.peer.done(&PeerRequest::Configure { addresses, routes })?;
        node.wait_for_carrier(&self.nic, PATIENCE)?;
        self.ifindex.set(node.interface(&self.nic)?.index);
        Ok(())
    }

    pub(super) fn agent(&self) -> Ref<'_, Agent<'a>> {
        self.agent.borrow()
    }

    pub(super) fn agent_mut(&self) -> RefMut<'_, Agent<'a>> {
        self.agent.borrow_mut()
    }

    /// Starts the agent if it does not run, and waits until the NIC is attached and the pods are ready.
    pub(super) fn ready(&self) -> anyhow::Result<Status> {
        if !matches!(self.agent().ended(), Ok(None)) {
            let mut agent = self.agent_mut();
            // It has ended, or was never started.
            let _ = agent.stop();
            agent.start()?;
        }
        self.wait_for("the NIC is attached and the pods are ready", |status| {
            self.is_ready(status)
        })
    }

    /// Stops the agent and detaches its program from the NIC, and from nothing else. [`Site::ready`] starts
    /// it again.
    pub(super) fn detach(&self) -> anyhow::Result<()> {
        let is_stopped = self.agent().ended().is_err();
        if is_stopped && self.pods_are_programmed() && self.kernel_program().is_none() {
            return Ok(());
        }
        self.ready()?;
        self.agent_mut().stop()?;
        let links = self.lab.pin_dir().join(format!("abi-{ABI_VERSION}/links"));
        let pin = links.join(format!("nic-{}", self.ifindex()));
        fs::remove_file(&pin).with_context(|| {
            let pin = pin.display();
            format!(
                "cannot remove `{pin}`; the agent must have the table layout {ABI_VERSION} of this program"
            )
        })?;
        // The kernel detaches it once the last reference is gone.
        xdp_lab::wait_until("the NIC has no program", PATIENCE, || {
            self.kernel_program().is_none()
        })?;
        self.has_carrier()
    }

    /// Returns what `xdp-agent preflight` says in JSON; `None` if this agent cannot.
    pub(super) fn preflight(&self) -> anyhow::Result<Option<String>> {
        let finished = self
            .agent()
            .call(&["preflight", "--nic", &self.nic, "-o", "json"])?;
        Ok((!finished.stderr.contains("unrecognized subcommand")).then_some(finished.stdout))
    }

    fn pods_are_programmed(&self) -> bool {
        self.agent()
            .status()
            .is_some_and(|status| status.programmed("ptp"))
    }

    /// Returns the NIC's entry of [`Site::preflight`].
    pub(super) fn preflight_of_nic(&self) -> anyhow::Result<Option<Value>> {
        let Some(text) = self.preflight()? else {
            return Ok(None);
        };
        let all: Value = serde_json::from_str(&text)?;
        let nics = all["nics"].as_array().into_iter().flatten();
        Ok(nics
            .into_iter()
            .find(|nic| nic["name"] == self.nic.as_str())
            .cloned())
    }

    pub(super) fn is_ready(&self, status: &Status) -> bool {
        status.running()
            && status.nic_mode(&self.nic) == Some("Native")
            && ["ptp", "bridge"].iter().all(|pod| status.ready(pod))
            && status.programmed("bulk")
    }

    /// Waits until the status is as wanted.
    pub(super) fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        self.agent().wait_within(PATIENCE, what, wanted)
    }

    /// The index of the NIC when it was last connected.
    pub(super) fn ifindex(&self) -> u32 {
        self.ifindex.get()
    }

    /// A flow of raw frames to a pod's address.
    pub(super) fn flow(&self, to: IpAddr, port: u16) -> anyhow::Result<Flow> {
        Ok(Flow {
            to_mac: self.lab.node().interface(&self.nic)?.mac,
            from_mac: self.other.mac,
            from: peer_of(to),
            to,
            port,
        })
    }

    /// Notes something measured.
    pub(super) fn fact(&self, name: &str, value: impl Into<Value>) {
        self.facts.borrow_mut().insert(name.to_owned(), value.into());
    }

    /// Notes something measured that depends on the type of mlx5's receive queues.
    pub(super) fn fact_of_queues(&self, name: &str, value: impl Into<Value>) {
        let flags = host::command(
            self.lab.node(),
            &format!("ethtool --show-priv-flags {}", self.nic),
        );
        let flags = host::key_values(&flags.unwrap_or_default());
        match flags.get("rx_striding_rq").map(String::as_str) {
            Some("on") => self.fact(&format!("{name}, striding queues"), value),
            Some(_) => self.fact(&format!("{name}, cyclic queues"), value),
            None => self.fact(name, value),
        }
    }

    /// The mark that redirected packets have: none where the driver takes no metadata.
    pub(super) fn mark(&self) -> u32 {
        // `xdp_prepare_buff` without `meta_valid` (drivers/net/vmxnet3/vmxnet3_xdp.c, Linux 6.12).
        if self.driver == "vmxnet3" { 0 } else { MARK }
    }

    pub(super) fn is_mlx5(&self) -> bool {
        self.driver == "mlx5_core"
    }
}

/// Finds the NIC and moves it into the node, or makes a veth pair.
pub(super) fn adopt_nic(lab: &Lab, options: &AcceptanceOptions) -> anyhow::Result<Option<String>> {
    let Some(selector) = &options.nic else {
        return Ok(None);
    };
    let name = nic_name(selector)?;
    lab.node().adopt(&name)?;
    Ok(Some(name))
}
