//! Paths from outside to a pod.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::ensure;
use serde_json::json;
use xdp_e2e::installed::{ClusterPod, Installation, Space, http_get_within};
use xdp_kubernetes::Node;
use xdp_lab::Namespace;

/// A request without a response within this time has failed.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The protocol of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// A pod, and the paths to it. From outside: directly, by ClusterIP (through the first node), by the NodePort
/// of the pod's own node, by that of the other node. From a pod of the other node: by ClusterIP.
pub(super) struct Paths<'a> {
    pub(super) pod: ClusterPod<'a>,
    /// On the other node.
    inside: ClusterPod<'a>,
    installed: &'a Installation,
    protocol: Protocol,
    pub(super) to: [SocketAddr; 4],
}

impl<'a> Paths<'a> {
    pub(super) fn new(
        installed: &'a Installation,
        space: &Space<'a>,
        [pod, inside]: [&ClusterPod<'a>; 2],
        protocol: Protocol,
    ) -> Self {
        let (cluster_ip, node_ports) = service(installed, space, &pod.name);
        let (number, direct) = match protocol {
            Protocol::Udp => (0, pod.udp()),
            Protocol::Tcp => (1, pod.http()),
        };
        let node_port = |node: &Node| SocketAddr::from((node.addresses.v4, node_ports[number]));
        let to = [
            direct,
            SocketAddr::new(cluster_ip, direct.port()),
            node_port(pod.node),
            node_port(inside.node),
        ];
        Self {
            pod: pod.clone(),
            inside: inside.clone(),
            installed,
            protocol,
            to,
        }
    }

    /// Returns the mark that the pod saw on each path, or `None` if there was no response.
    fn marks(&self) -> [Option<u32>; 5] {
        thread::scope(|scope| {
            let requests = self.to.map(|to| scope.spawn(move || mark(self.ask(to).as_ref())));
            let inside = mark(self.ask_from_inside().as_ref());
            let [direct, cluster_ip, own, other] = requests.map(|requests| requests.join().unwrap());
            [direct, cluster_ip, own, other, inside]
        })
    }

    fn ask_from_inside(&self) -> Option<String> {
        let [_, cluster_ip, ..] = self.to;
        let answer = match self.protocol {
            Protocol::Udp => self.inside.ask_udp(cluster_ip),
            Protocol::Tcp => self.inside.ask_http(cluster_ip),
        };
        answer.unwrap()
    }

    fn ask(&self, to: SocketAddr) -> Option<String> {
        let client = self.installed.client();
        match self.protocol {
            Protocol::Udp => ask_udp(client, to),
            Protocol::Tcp => Some(http_get_within(client, to, "/", TIMEOUT).ok()?.body),
        }
    }

    #[track_caller]
    pub(super) fn expect(&self, expected: [Option<u32>; 5]) {
        let what = format!(
            "{} sees marks directly, by ClusterIP, by its NodePort, by the other, from inside",
            self.pod.name
        );
        let found = self.installed.until(what, || {
            let found = self.marks();
            ensure!(found == expected, "{found:?}, not {expected:?}");
            Ok(())
        });
        found.unwrap();
    }
}

/// Parses the mark of a response such as `hello from POD to CLIENT, mark 42`.
pub(super) fn mark(answer: Option<&String>) -> Option<u32> {
    let (_, mark) = answer?.trim().rsplit_once(' ')?;
    mark.parse().ok()
}

fn ask_udp(from: &Namespace, to: SocketAddr) -> Option<String> {
    let socket = from.run(|| UdpSocket::bind("0.0.0.0:0")).ok()?.ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    // Ignores responses from other addresses.
    from.run(|| socket.connect(to)).ok()?.ok()?;
    socket.send(b"hello").ok()?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Starts an echo server that runs until the end of the process, and returns its address.
pub(super) fn echo(namespace: &Namespace, address: IpAddr) -> SocketAddr {
    let socket = namespace.run(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
    let own = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            // The client may be gone.
            let _ = socket.send_to(&datagram[..length], from);
        }
    });
    own
}

/// Creates a service for the pods with this `app`, and returns its ClusterIP and its `NodePorts` for UDP and
/// TCP.
pub(super) fn service(installed: &Installation, space: &Space<'_>, app: &str) -> (IpAddr, [u16; 2]) {
    let port =
        |name: &str, protocol: &str, port: u16| json!({"name": name, "protocol": protocol, "port": port});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app},
        "spec": {
            "type": "NodePort",
            "selector": {"app": app},
            "ports": [port("game", "UDP", 7777), port("http", "TCP", 8080)],
        },
    });
    space.apply(&service.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/{}/services/{app}", space.name);
    let made = installed.api(&path).unwrap();
    let address = made["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let ports = [0, 1].map(|index| made["spec"]["ports"][index]["nodePort"].as_u64().unwrap() as u16);
    (address, ports)
}
