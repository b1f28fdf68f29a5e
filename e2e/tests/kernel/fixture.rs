//! A client's wire, a node with a NIC, and a pod.
//!
//! ```text
//! wire: g0 ── nic: n0 │ node │ host veth: h0 ── pod: p0
//! ```
//!
//! `n0` takes the place of the NIC: native XDP runs in veth's receive path on frames from `g0`.

use std::{
    fs, io,
    os::fd::OwnedFd,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use xdp_lab::bpf::{
    BpfAttachType, XDP_FLAGS_DRV_MODE, {self},
};

use crate::{
    namespace::{
        Namespace, {self},
    },
    programs::Programs,
    shared::ProbePlan,
    wire::{
        Wire, {self},
    },
};

pub(crate) const NIC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x02];
pub(crate) const POD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub(crate) const XDP_ABORTED: u32 = 0;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;
/// The pod's key in the devmap.
pub(crate) const SLOT: u32 = 7;

pub(crate) struct Fixture {
    pub(crate) client: Namespace,
    pub(crate) node: Namespace,
    pub(crate) pod: Namespace,
    /// Interface indexes, unique on the machine: tracepoints report an index without its namespace.
    pub(crate) g0: u32,
    pub(crate) nic: u32,
    pub(crate) host: u32,
    pub(crate) eth0: u32,
    pub(crate) wire: Wire,
    pub(crate) programs: Programs,
    /// Links that stay open as long as the fixture.
    pub(crate) links: Vec<OwnedFd>,
}

impl Fixture {
    /// All interfaces are up, the pod can be the target of redirects, and no program is attached.
    pub(crate) fn new() -> Self {
        let fixture = Self::without_gro();
        fixture.pod.command("ethtool -K p0 gro on");
        fixture
    }

    pub(crate) fn without_gro() -> Self {
        let [client, node, pod] = std::array::from_fn(|_| Namespace::new());
        let [g0, nic, host, eth0] = std::array::from_fn(|_| unique_ifindex());
        let (nic_mac, pod_mac) = (mac(NIC_MAC), mac(POD_MAC));
        node.command(&format!(
            "ip link add n0 index {nic} address {nic_mac} type veth peer name g0 index {g0}"
        ));
        node.command(&format!(
            "ip link add h0 index {host} type veth peer name p0 index {eth0} address {pod_mac}"
        ));
        node.command(&format!("ip link set g0 netns {}", client.path()));
        node.command(&format!("ip link set p0 netns {}", pod.path()));
        for (namespace, interface) in [(&client, "g0"), (&node, "n0"), (&node, "h0"), (&pod, "p0")] {
            namespace.command(&format!("ip link set {interface} up"));
        }
        let wire = client.run(|| Wire::open(g0));
        let programs = Programs::load();
        let links = Vec::new();
        Self {
            client,
            node,
            pod,
            g0,
            nic,
            host,
            eth0,
            wire,
            programs,
            links,
        }
    }

    /// XDP on the NIC in driver mode, the reader on the pod's eth0, and the pod in the devmap.
    pub(crate) fn redirecting(plan: ProbePlan) -> Self {
        let mut fixture = Self::new();
        fixture.add_pod_to_devmap();
        fixture.attach_xdp();
        fixture.attach_reader_in_pod();
        fixture.programs.plan(plan);
        fixture
    }

    /// XDP on the NIC in driver mode, and the reader on the same interface.
    pub(crate) fn passing(plan: ProbePlan) -> Self {
        let mut fixture = Self::new();
        fixture.attach_xdp();
        fixture.attach_reader_on_nic();
        fixture.programs.plan(plan);
        fixture
    }

    pub(crate) fn attach_xdp(&mut self) {
        let link = self.try_attach_xdp(XDP_FLAGS_DRV_MODE).unwrap();
        self.links.push(link);
    }

    pub(crate) fn try_attach_xdp(&self, flags: u32) -> io::Result<OwnedFd> {
        let (program, nic) = (self.programs.xdp(), self.nic);
        self.node
            .run(|| bpf::link_create(program, nic, BpfAttachType::Xdp, flags))
    }

    pub(crate) fn attach_reader_in_pod(&mut self) {
        let (program, eth0) = (self.programs.reader(), self.eth0);
        let link = self
            .pod
            .run(|| bpf::link_create(program, eth0, BpfAttachType::TcxIngress, 0));
        self.links.push(link.unwrap());
    }

    pub(crate) fn attach_reader_on_nic(&mut self) {
        let (program, nic) = (self.programs.reader(), self.nic);
        let link = self
            .node
            .run(|| bpf::link_create(program, nic, BpfAttachType::TcxIngress, 0));
        self.links.push(link.unwrap());
    }

    pub(crate) fn add_pod_to_devmap(&mut self) {
        let (devices, host) = (&mut self.programs.devices, self.host);
        self.node.run(|| devices.set(SLOT, host, None, 0)).unwrap();
    }

    /// After the pod's next poll, packets stay in its ring for a minute.
    pub(crate) fn stop_polling_in_pod(&self) {
        self.pod.run(|| {
            namespace::with_sysfs(|sysfs| {
                let device = sysfs.join("class/net/p0");
                fs::write(device.join("gro_flush_timeout"), "60000000000").unwrap();
                fs::write(device.join("napi_defer_hard_irqs"), "1000").unwrap();
            });
        });
    }

    /// Sends frames of 64 bytes to the NIC.
    pub(crate) fn send(&self, frames: usize) {
        let frame = wire::frame(NIC_MAC, 64);
        (0..frames).for_each(|_| self.wire.send(&frame));
    }
}

/// A plan that redirects to the pod with its MAC address as the destination.
pub(crate) fn redirect() -> ProbePlan {
    ProbePlan {
        action: XDP_REDIRECT,
        slot: SLOT,
        redirect_flags: u64::from(XDP_PASS),
        header: wire::header(POD_MAC),
        ..ProbePlan::default()
    }
}

pub(crate) fn pass() -> ProbePlan {
    ProbePlan {
        action: XDP_PASS,
        ..ProbePlan::default()
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Interface indexes are per network namespace; these are unique over tests and processes.
fn unique_ifindex() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    (own_indexes() << 16) + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The upper half of all indexes of this process.
pub(crate) fn own_indexes() -> u32 {
    process::id() & 0x7fff
}
