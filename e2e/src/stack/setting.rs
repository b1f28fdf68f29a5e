//! The settings of a node that cases are tried with.

use xdp_lab::LabError;

use super::{
    case::Mac,
    host::{Host, Place},
    macs::{eth0, mac, text},
    oddity::{KNOWN_INNER_VLAN, KNOWN_SERVICE_VLAN, KNOWN_VLAN},
};

/// How the node is set up, and what the agent does there.
#[derive(Clone, Copy, Debug)]
pub struct StackSetting {
    /// The name in messages.
    pub name: &'static str,
    /// `Redirect` or `Peer`.
    pub delivery: &'static str,
    /// The sysctl of the node.
    pub rp_filter: u8,
    /// Whether the node forwards.
    pub forwarding: bool,
    /// What is on top of `nic0`.
    pub top: StackedOn,
    /// The NICs with a program.
    pub nics: &'static str,
    /// Whether a netfilter rule forbids packets from pod to pod.
    pub separate_pods: bool,
}

/// What is on top of `nic0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackedOn {
    /// No interface.
    Nothing,
    /// A bridge.
    Bridge,
    /// A macvlan interface.
    Macvlan,
    /// A VLAN, and two VLANs in each other.
    Vlan,
}

impl StackSetting {
    /// An ordinary node, with a strict reverse path filter.
    pub const ORDINARY: Self = Self {
        name: "rp_filter=1",
        delivery: "Redirect",
        rp_filter: 1,
        forwarding: true,
        top: StackedOn::Nothing,
        nics: "nic*",
        separate_pods: false,
    };
    /// A node with VLANs on its NIC.
    pub const VLAN: Self = Self {
        name: "VLAN",
        rp_filter: 0,
        top: StackedOn::Vlan,
        ..Self::ORDINARY
    };

    /// The interface with the node's addresses on the first wire.
    fn link0(self) -> &'static str {
        if self.top == StackedOn::Bridge {
            "top0"
        } else {
            "nic0"
        }
    }

    /// Commands of `ip` that make the interfaces on top of `nic0`. A kernel may lack their type.
    pub(super) fn top(self) -> Vec<String> {
        let [bridge, macvlan] = [Mac::Bridge, Mac::Macvlan].map(|name| text(mac(name)));
        match self.top {
            StackedOn::Nothing => Vec::new(),
            StackedOn::Bridge => vec![
                format!("link add top0 address {bridge} type bridge stp_state 0 forward_delay 0"),
                "addr flush dev nic0".to_owned(),
                "link set nic0 master top0".to_owned(),
                "link set top0 up".to_owned(),
                "addr add 10.1.0.1/24 dev top0".to_owned(),
                "addr add fd01::1/64 dev top0 nodad".to_owned(),
            ],
            StackedOn::Macvlan => vec![
                format!("link add link nic0 name top0 address {macvlan} type macvlan mode bridge"),
                "link set top0 up".to_owned(),
                "addr add 10.1.0.3/32 dev top0".to_owned(),
                "addr add fd01::3/128 dev top0 nodad".to_owned(),
            ],
            StackedOn::Vlan => vec![
                format!("link add link nic0 name top0 type vlan id {KNOWN_VLAN}"),
                format!("link add link nic0 name top1 type vlan proto 802.1ad id {KNOWN_SERVICE_VLAN}"),
                format!("link add link top1 name top2 type vlan id {KNOWN_INNER_VLAN}"),
                "link set top0 up".to_owned(),
                "link set top1 up".to_owned(),
                "link set top2 up".to_owned(),
            ],
        }
    }

    /// Commands of `ip` on the node: routes, and neighbours that need no resolution.
    pub(super) fn node(self, host_interface: impl Fn(Place) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        let link0 = self.link0();
        for v6 in [false, true] {
            let ip = |host: Host| host.address(v6);
            let client1 = "02:00:00:00:01:01".to_owned();
            let mut neighbour = |ip, mac: &str, device: &str| {
                lines.push(format!(
                    "neigh replace {ip} lladdr {mac} dev {device} nud permanent"
                ));
            };
            let client0 = text(mac(Mac::Client));
            neighbour(ip(Host::Client), &client0, link0);
            neighbour(ip(Host::Stranger), &client0, link0);
            neighbour(ip(Host::Client1), &client1, "nic1");
            for pod in Place::PODS {
                let device = host_interface(pod);
                neighbour(ip(pod.host()), &text(eth0(pod)), &device);
            }
            for (to, via, device) in [
                (Host::Routed0, Host::Client, link0),
                (Host::Routed1, Host::Client1, "nic1"),
            ] {
                lines.push(format!("route replace {} via {} dev {device}", ip(to), ip(via)));
            }
        }
        lines
    }

    /// Sysctls of the node.
    pub(super) fn node_sysctls(self) -> Vec<(String, String)> {
        let forwarding = u8::from(self.forwarding).to_string();
        let reverse_path = self.rp_filter.to_string();
        [
            ("net/ipv4/conf/all/rp_filter", &reverse_path),
            ("net/ipv4/ip_forward", &forwarding),
            ("net/ipv6/conf/all/forwarding", &forwarding),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .to_vec()
    }
}

/// Sysctls of every namespace: no limits of answers, nothing that packets change, and the reverse path.
pub(super) fn sysctls() -> Vec<(String, String)> {
    let mut all = vec![
        ("net/ipv4/icmp_ratelimit".to_owned(), "0".to_owned()),
        ("net/ipv6/icmp/ratelimit".to_owned(), "0".to_owned()),
    ];
    for conf in ["all", "default"] {
        for key in [
            "ipv4 accept_redirects",
            "ipv4 send_redirects",
            "ipv6 accept_redirects",
        ] {
            let (family, key) = key.split_once(' ').unwrap_or_default();
            all.push((format!("net/{family}/conf/{conf}/{key}"), "0".to_owned()));
        }
    }
    all
}

/// Whether the kernel has no such type of interface.
pub(super) fn is_unknown_type(error: &str) -> bool {
    error.contains("Unknown device type") || error.contains("not supported")
}

/// Sets sysctls, and lifts the limit of ICMP errors.
pub(super) fn set(namespace: &xdp_lab::Namespace, sysctls: &[(String, String)]) -> Result<(), LabError> {
    for key in ["icmp_msgs_per_sec", "icmp_msgs_burst"] {
        // Older kernels have one limit for all namespaces, which a test leaves alone.
        let _ = namespace.set_sysctl(&format!("net/ipv4/{key}"), "1000000");
    }
    sysctls
        .iter()
        .try_for_each(|(key, value)| namespace.set_sysctl(key, value))
}
