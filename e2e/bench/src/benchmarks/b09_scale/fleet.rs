//! Nodes without kubelets, and the agents on them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::MapInfo,
    programs::{ProgramFd, loaded_programs},
};
use serde_json::{Value, json};
use xdp_kubernetes::{Cluster, PATIENCE, checked};
use xdp_lab::{Namespace, Process, bpf};

use super::server::{Server, tail};
use crate::{
    stats::Samples,
    workload::{ExpectedVerdict, FrameSpec, SOURCE_PORT, TestFlow, UDP, bits, frame},
};

const POLICIES: &str = "/apis/xdp-operator.io/v1alpha1/namespaces/default/xdppolicies";
/// A namespace with one pod, on the first node.
const LONE: &str = "lone";
const LONE_POLICIES: &str = "/apis/xdp-operator.io/v1alpha1/namespaces/lone/xdppolicies";
const XDP_DROP: u32 = 1;

/// All nodes and the operator.
pub(super) struct Fleet<'a> {
    cluster: &'a Cluster,
    nodes: Vec<Node>,
    operator: Process,
}

struct Node {
    namespace: Namespace,
    _pod: Namespace,
    address: Ipv4Addr,
    nic: (u32, [u8; 6]),
    _agent: Process,
    program: Option<ProgramFd>,
}

impl<'a> Fleet<'a> {
    /// Starts the operator, without nodes.
    pub(super) fn new(cluster: &'a Cluster) -> Result<Self> {
        let call = |arguments: &[&str]| {
            let mut command = operator(cluster)?;
            command.args(arguments);
            Ok::<_, anyhow::Error>(cluster.control().spawn(command)?)
        };
        let crds = call(&["apply-crds"])?.finish(PATIENCE)?;
        checked("xdp-operator apply-crds", crds)?;
        cluster.kubectl(&["create", "serviceaccount", "default"])?;
        let running = [
            "run",
            "--health-probe-bind-address",
            "127.0.0.1:8081",
            "--lease-namespace",
            "default",
        ];
        let operator = call(&[&running[..], &["--identity", "bench"]].concat())?;
        cluster.apply(&policy("all", &json!({"app": "bench"}), 1).to_string())?;
        cluster.apply(&policy("only", &json!({"only": "n0"}), 3).to_string())?;
        cluster.kubectl(&["create", "namespace", LONE])?;
        cluster.kubectl(&["create", "serviceaccount", "default", "--namespace", LONE])?;
        let (mut first, mut set) = (policy("first", &json!({}), 1), policy("set", &json!({}), 2));
        set["spec"]["ingress"][0]["from"] = json!([{"podSelector": {"matchLabels": {"member": "1"}}}]);
        for object in [&mut first, &mut set] {
            object["metadata"]["namespace"] = json!(LONE);
            cluster.apply(&object.to_string())?;
        }
        for (namespace, pods) in [(LONE, json!({})), ("default", json!({"only": "n0"}))] {
            cluster.apply(&network_policy(namespace, &pods).to_string())?;
        }
        Ok(Self {
            cluster,
            nodes: Vec::new(),
            operator,
        })
    }

    /// Returns the operator's process id.
    pub(super) fn operator(&self) -> u32 {
        self.operator.id()
    }

    /// Adds nodes with agents until there are `nodes`, and waits until the policy is programmed on all of
    /// them.
    pub(super) fn grow(&mut self, server: &Server<'_>, nodes: usize, port: u16) -> Result<()> {
        let new = self.nodes.len()..nodes;
        let mut objects: Vec<Value> = new.clone().flat_map(objects).collect();
        if new.start == 0 {
            let [_, mut pod] = self::objects(0);
            pod["metadata"]["namespace"] = json!(LONE);
            objects.push(pod);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster.apply(&list.to_string())?;
        for number in new {
            let ip = pod_address(number);
            let status = json!({"status": {"phase": "Running", "podIPs": [{"ip": ip}], "podIP": ip}});
            server.patch(
                &format!("/api/v1/namespaces/default/pods/n{number}/status"),
                &status,
            )?;
            let node = self.node(number)?;
            self.nodes.push(node);
        }
        let ip = "10.200.1.1";
        let status = json!({"status": {"phase": "Running", "podIPs": [{"ip": ip}], "podIP": ip}});
        server.patch("/api/v1/namespaces/lone/pods/n0/status", &status)?;
        self.find_programs()?;
        server.patch(&format!("{POLICIES}/all"), &rules(port))?;
        self.wait_for(port, Instant::now()).map(drop)
    }

    /// Changes one rule for all pods. Returns the time from the request until it applies on each node, in
    /// milliseconds.
    pub(super) fn change(&self, server: &Server<'_>, port: u16) -> Result<Samples> {
        let start = Instant::now();
        thread::scope(|scope| {
            let written = scope.spawn(|| server.patch(&format!("{POLICIES}/all"), &rules(port)));
            let took = self.wait_for(port, start);
            written
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            took
        })
    }

    /// Returns the bytes that the last node's NIC has received.
    pub(super) fn received(&self) -> Result<u64> {
        let last = self.nodes.last().context("there is no node")?;
        Ok(last.namespace.counters("eth0")?.rx_bytes)
    }

    fn wait_for(&self, port: u16, start: Instant) -> Result<Samples> {
        let mut took = Samples::default();
        let mut missing: Vec<usize> = (0..self.nodes.len()).collect();
        while !missing.is_empty() {
            let mut still = Vec::new();
            for number in missing {
                if self.nodes[number].drops(port)? {
                    took.0.push(start.elapsed().as_secs_f64() * 1e3);
                } else {
                    still.push(number);
                }
            }
            missing = still;
            ensure!(
                start.elapsed() < PATIENCE,
                "not programmed on nodes {missing:?}; log of the first one's agent:\n{}",
                tail(&self.log(missing[0]))?
            );
            // A check takes microseconds, but the agents need the CPUs.
            thread::sleep(Duration::from_millis(1));
        }
        Ok(took)
    }

    fn node(&self, number: usize) -> Result<Node> {
        let (lab, name) = (self.cluster.lab(), format!("n{number}"));
        let (fabric, namespace) = (lab.node(), lab.namespace(&name)?);
        fabric.wire(&name, &namespace, "eth0")?;
        fabric.receive_xdp_tx(&name)?;
        fabric.add_port("br0", &name)?;
        let own = self.cluster.client_addresses().v4.octets();
        let address = Ipv4Addr::new(own[0], own[1], own[2], 20 + number as u8);
        namespace.add_address("eth0", address.into(), 24)?;
        let pod = lab.namespace(&format!("{name}p"))?;
        namespace.wire("pod", &pod, "eth0")?;
        pod.add_address("eth0", pod_address(number).into(), 32)?;
        let nic = namespace.interface("eth0")?;
        let agent = namespace.spawn(self.agent(&name, number)?)?;
        Ok(Node {
            nic: (nic.index, nic.mac),
            namespace,
            _pod: pod,
            address: pod_address(number),
            _agent: agent,
            program: None,
        })
    }

    fn agent(&self, name: &str, number: usize) -> Result<Command> {
        let mut command = Command::new(sibling("xdp-agent")?);
        command
            .args(["run", "--nic", "eth0", "--node-name", name, "--pin-dir"])
            .arg(self.pins(number)?)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            // Where the operator writes address sets.
            .env("POD_NAMESPACE", "default")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.log(number))?);
        Ok(command)
    }

    fn pins(&self, number: usize) -> Result<PathBuf> {
        let pins = self.cluster.lab().pin_dir();
        Ok(pins.parent().context("no bpffs")?.join(format!("n{number}")))
    }

    fn log(&self, number: usize) -> PathBuf {
        self.cluster.logs().join(format!("n{number}.log"))
    }

    /// Finds the program of each new agent by the maps that it pinned.
    fn find_programs(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let programs = programs()?;
            for number in 0..self.nodes.len() {
                let slots = slots(&self.pins(number)?);
                if let (None, Some(program)) = (
                    &self.nodes[number].program,
                    slots.and_then(|slots| programs.get(&slots)),
                ) {
                    self.nodes[number].program = Some(program.try_clone()?);
                }
            }
            let Some(missing) = self.nodes.iter().position(|node| node.program.is_none()) else {
                return Ok(());
            };
            ensure!(
                start.elapsed() < PATIENCE,
                "node {missing} has no program; log of its agent:\n{}",
                tail(&self.log(missing))?
            );
            thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Node {
    /// Returns whether the program on its NIC drops packets to this port of its pod.
    fn drops(&self, port: u16) -> Result<bool> {
        let program = self.program.as_ref().context("no program")?;
        let flow = TestFlow {
            target: 0,
            source: bits([33, 0, 0, 1].into()),
            from_port: SOURCE_PORT,
            protocol: UDP,
            port,
            verdict: ExpectedVerdict::Miss,
        };
        let (nic, mac) = self.nic;
        let spec = FrameSpec {
            to: mac,
            pod: IpAddr::V4(self.address),
            mark: None,
        };
        let ran = self
            .namespace
            .run(|| bpf::run_once(program, &frame(&flow, spec), nic))??;
        Ok(ran.action == XDP_DROP)
    }
}

/// A change that only the first node needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Of its pod in a namespace without others.
    Pod,
    /// Of a policy that selects this pod.
    Policy,
    /// Of a policy that selects one pod, in a namespace with pods on all nodes.
    Shared,
    /// Of the addresses that such a policy means.
    Set,
    /// Of a NetworkPolicy for this pod.
    NetworkPolicy,
    /// Of a NetworkPolicy for one pod, in a namespace with pods on all nodes.
    SharedNetworkPolicy,
}

/// Makes a change of this kind.
pub(super) fn change_first(server: &Server<'_>, change: Change, number: u16) -> Result<()> {
    let labels = match change {
        Change::Policy => return server.patch(&format!("{LONE_POLICIES}/first"), &rules(number)),
        Change::Shared => return server.patch(&format!("{POLICIES}/only"), &rules(number)),
        Change::NetworkPolicy => return server.patch(&network_policies(LONE), &ingress(number)),
        Change::SharedNetworkPolicy => return server.patch(&network_policies("default"), &ingress(number)),
        Change::Pod => json!({"turn": number.to_string()}),
        Change::Set => json!({"member": (number % 2).to_string()}),
    };
    server.patch(
        "/api/v1/namespaces/lone/pods/n0",
        &json!({"metadata": {"labels": labels}}),
    )
}

fn operator(cluster: &Cluster) -> Result<Command> {
    let mut command = Command::new(sibling("xdp-operator")?);
    command
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("POD_NAMESPACE", "default")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(cluster.logs().join("operator.log"))?);
    Ok(command)
}

/// Returns the path of another binary of the workspace: Cargo builds all of them into one folder.
fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new("/")).join(name);
    ensure!(
        path.exists(),
        "`{}` is not built: make bench builds it",
        path.display()
    );
    Ok(path)
}

fn pod_address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 200, 0, number as u8 + 1)
}

/// Returns the objects of a node and its pod.
fn objects(number: usize) -> [Value; 2] {
    let name = format!("n{number}");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench", "only": name}},
        "spec": {
            "nodeName": name,
            "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "none"}],
        },
    });
    [node, pod]
}

fn policy(name: &str, labels: &Value, port: u16) -> Value {
    let mut spec = rules(port)["spec"].take();
    spec["podSelector"] = json!({"matchLabels": labels});
    json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    })
}

fn rules(port: u16) -> Value {
    let ports = json!([{"protocol": "UDP", "port": port}]);
    json!({"spec": {"ingress": [{"name": "r", "ports": ports, "action": "Drop"}]}})
}

/// Returns the path of the NetworkPolicy of a namespace.
fn network_policies(namespace: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/first")
}

/// A NetworkPolicy for the first node's pod.
fn network_policy(namespace: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "first", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": pods}, "ingress": [{}]},
    })
}

fn ingress(port: u16) -> Value {
    json!({"spec": {"ingress": [{"ports": [{"protocol": "UDP", "port": port}]}]}})
}

/// Returns the programs for NICs, by the ids of their maps.
fn programs() -> Result<BTreeMap<u32, ProgramFd>> {
    let mut programs = BTreeMap::new();
    for info in loaded_programs().filter_map(Result::ok) {
        if info.name_as_str() != Some("xdp_nic") {
            continue;
        }
        for map in info.map_ids()?.unwrap_or_default() {
            programs.insert(map, info.fd()?);
        }
    }
    Ok(programs)
}

/// Returns the id of the map `SLOTS`, once it is pinned.
fn slots(pins: &Path) -> Option<u32> {
    let abi = fs::read_dir(pins).ok()?.flatten().next()?.path();
    Some(MapInfo::from_pin(abi.join("maps/SLOTS")).ok()?.id())
}
