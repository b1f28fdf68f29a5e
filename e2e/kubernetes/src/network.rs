//! The network: one bridge, the fabric, that connects the control plane, a client and the nodes.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use xdp_lab::{Lab, Namespace};

use super::options::{self, Addresses, ClusterOptions, SERVICES_V4, SERVICES_V6};

const BRIDGE: &str = "br0";
const SOON: Duration = Duration::from_mins(1);

/// The cluster's namespaces. The lab's own node is the fabric.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) control: Namespace,
    pub(super) client: Namespace,
    pub(super) nodes: Vec<Namespace>,
}

impl Network {
    pub(super) fn make(lab: &Lab, options: ClusterOptions) -> anyhow::Result<Self> {
        let fabric = lab.node();
        fabric.add_bridge(BRIDGE)?;
        // Bridged frames must not traverse the filters of this namespace. Some kernels do not have these
        // settings.
        let _ = fabric.set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
        let _ = fabric.set_sysctl("net/bridge/bridge-nf-call-ip6tables", "0");
        let plug = |name: &str, addresses: Addresses| -> anyhow::Result<Namespace> {
            let namespace = lab.namespace(name)?;
            fabric.wire(name, &namespace, "eth0")?;
            fabric.receive_xdp_tx(name)?;
            fabric.add_port(BRIDGE, name)?;
            namespace.add_address("eth0", addresses.v4.into(), 24)?;
            namespace.add_address("eth0", addresses.v6.into(), 64)?;
            Ok(namespace)
        };
        let network = Self {
            control: plug("control", options.control())?,
            client: plug("client", options.client())?,
            nodes: (1..=options.nodes)
                .map(|number| plug(&format!("node{number}"), options.node(number)))
                .collect::<Result<_, _>>()?,
        };
        network.route(options)?;
        Ok(network)
    }

    /// Adds routes to every pod through its node, and from the client to services through the first node.
    fn route(&self, options: ClusterOptions) -> anyhow::Result<()> {
        for namespace in [&self.control, &self.client] {
            ip(namespace, &to_pods(options, None))?;
        }
        let Addresses { v4, v6 } = options.node(1);
        let services = format!("route add {SERVICES_V4} via {v4}\nroute add {SERVICES_V6} via {v6}\n");
        ip(&self.client, &services)?;
        // Until a service is programmed, the node forwards its packets to the default gateway and sends ICMP
        // redirects, which the client would follow for minutes.
        for setting in [
            "ipv4/conf/all",
            "ipv4/conf/eth0",
            "ipv6/conf/all",
            "ipv6/conf/eth0",
        ] {
            self.client
                .set_sysctl(&format!("net/{setting}/accept_redirects"), "0")?;
        }
        for (number, node) in (1..).zip(&self.nodes) {
            node.set_sysctl("net/ipv4/ip_forward", "1")?;
            node.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
            // The gateway forwards nothing, but kube-proxy translates the address of a service only after
            // routing.
            let Addresses { v4, v6 } = options.control();
            let default = format!("route add default via {v4}\nroute add ::/0 via {v6}\n");
            ip(node, &(to_pods(options, Some(number)) + &default))?;
        }
        Ok(())
    }

    /// Connects the machine itself to the fabric.
    pub(super) fn join(lab: &Lab, name: &str, address: Addresses) -> anyhow::Result<()> {
        let fabric = lab.node();
        let port = "machine";
        let own = std::process::id();
        let commands =
            format!("link add {port} type veth peer name {name} netns {own}\nlink set {port} up\n");
        ip(fabric, &commands)?;
        fabric.add_port(BRIDGE, port)?;
        for arguments in [
            &["addr", "add", &format!("{}/24", address.v4), "dev", name][..],
            &["link", "set", name, "up"],
        ] {
            let output = Command::new("ip").args(arguments).output()?;
            ensure!(
                output.status.success(),
                "ip {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

fn to_pods(options: ClusterOptions, without: Option<u8>) -> String {
    let others = (1..=options.nodes).filter(|number| Some(*number) != without);
    let routes = others.map(|number| {
        let [pods_v4, pods_v6] = options::pods(number);
        let Addresses { v4, v6 } = options.node(number);
        format!("route add {pods_v4} via {v4}\nroute add {pods_v6} via {v6}\n")
    });
    routes.collect::<Vec<_>>().concat()
}

/// Runs commands of ip(8), one per line.
fn ip(namespace: &Namespace, commands: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = namespace.spawn(command)?;
    process
        .stdin
        .take()
        .context("its standard input is piped")?
        .write_all(commands.as_bytes())?;
    let finished = process.finish(SOON)?;
    ensure!(
        finished.status.success(),
        "ip in {}: {}\n{commands}",
        namespace.name(),
        finished.stderr
    );
    Ok(())
}
