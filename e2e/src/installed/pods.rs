//! Workloads: pods that count the packets they receive.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use xdp_kubernetes::{Node, checked};
use xdp_lab::Finished;

use super::{Counts, Installation, Space, agents::is_ready, http_get};

const IMAGE: &str = "e2e.local/workload:1";
const HTTP: u16 = 8080;
const UDP: u16 = 7777;

/// The description of a pod to be created.
#[derive(Clone, Debug)]
pub struct ClusterPodSpec {
    name: String,
    labels: BTreeMap<String, String>,
    node: usize,
    arguments: Vec<String>,
}

/// A pod of a [`Space`], deleted with it.
#[derive(Clone)]
pub struct ClusterPod<'a> {
    /// Its name.
    pub name: String,
    /// The node it runs on.
    pub node: &'a Node,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its namespace.
    pub namespace: String,
}

impl ClusterPodSpec {
    /// Describes a counting pod with label `app: APP` on a node (counted from 1).
    pub fn new(name: &str, app: &str, node: usize) -> Self {
        Self {
            name: name.to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            node,
            arguments: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Returns the manifest as JSON.
    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": pod_spec(Some(&format!("node{}", self.node)), &self.arguments),
        })
    }
}

/// Returns a pod's spec, also for templates. Without a node the scheduler chooses one.
pub(super) fn pod_spec(node: Option<&str>, arguments: &[String]) -> Value {
    json!({
        "nodeName": node,
        "enableServiceLinks": false,
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_fwmark_accept", "value": "1"}]},
        "containers": [{
            "name": "workload",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "args": arguments,
            "ports": [{"name": "http", "containerPort": HTTP}],
        }],
    })
}

impl<'a> Space<'a> {
    /// Creates pods, and waits until they serve.
    pub fn pods(&self, specs: &[ClusterPodSpec]) -> anyhow::Result<Vec<ClusterPod<'a>>> {
        let items: Vec<Value> = specs.iter().map(ClusterPodSpec::manifest).collect();
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        specs.iter().map(|spec| self.wait_pod(&spec.name)).collect()
    }

    /// Creates a pod, and waits until it serves.
    pub fn pod(&self, spec: &ClusterPodSpec) -> anyhow::Result<ClusterPod<'a>> {
        let mut pods = self.pods(std::slice::from_ref(spec))?;
        pods.pop().context("the pod was created")
    }

    /// Waits until an existing pod serves.
    pub fn wait_pod(&self, name: &str) -> anyhow::Result<ClusterPod<'a>> {
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.name);
        let what = format!("the pod {}/{name} serves", self.name);
        let found = self.installed.until(what, || {
            let object = self.installed.api(&path)?;
            ensure!(is_ready(&object), "it is not ready: {:#}", object["status"]);
            let pod = pod(self.installed, &object)?;
            pod.counts()?;
            Ok(pod)
        });
        found.map_err(|error| anyhow!("{error:#}\n{}", self.installed.describe(&self.name)))
    }
}

/// Reads a pod's object.
pub(super) fn pod<'a>(installed: &'a Installation, object: &Value) -> anyhow::Result<ClusterPod<'a>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("not a string");
    let node = text(&object["spec"]["nodeName"])?;
    let node = installed.nodes().iter().find(|own| own.name == node);
    let addresses = object["status"]["podIPs"].as_array().into_iter().flatten();
    let addresses = addresses
        .map(|entry| Ok(text(&entry["ip"])?.parse()?))
        .collect::<anyhow::Result<Vec<IpAddr>>>()?;
    ensure!(!addresses.is_empty(), "no address yet");
    Ok(ClusterPod {
        name: text(&object["metadata"]["name"])?,
        namespace: text(&object["metadata"]["namespace"])?,
        node: node.context("its node is not in the cluster")?,
        addresses,
    })
}

impl fmt::Debug for ClusterPod<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, .. } = self;
        write!(
            formatter,
            "{namespace}/{name} on {} {:?}",
            self.node.name, self.addresses
        )
    }
}

impl ClusterPod<'_> {
    /// Returns its IPv4 address.
    ///
    /// # Panics
    /// If it has none.
    pub fn v4(&self) -> IpAddr {
        let found = self.addresses.iter().find(|address| address.is_ipv4());
        *found.expect("pods have both addresses")
    }

    /// Returns its IPv6 address.
    ///
    /// # Panics
    /// If it has none.
    pub fn v6(&self) -> IpAddr {
        let found = self.addresses.iter().find(|address| address.is_ipv6());
        *found.expect("pods have both addresses")
    }

    /// Returns the address that receives datagrams.
    pub fn udp(&self) -> SocketAddr {
        SocketAddr::new(self.v4(), UDP)
    }

    /// Returns the address that serves HTTP.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.v4(), HTTP)
    }

    /// Returns what has arrived so far. Queries it from its node, so that the query does not pass a NIC.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        let reply = http_get(&self.node.namespace, self.http(), "/counts")?;
        ensure!(reply.status == 200, "{}: {}", self.name, reply.status);
        Counts::parse(&serde_json::from_str(&reply.body)?).context("not an answer to GET /counts")
    }

    /// Runs a program of the machine, such as `workload`, in the pod's network namespace, and returns its
    /// result whatever its exit status.
    pub fn exec(&self, command: &[&str]) -> anyhow::Result<Finished> {
        let address = format!(" {}/", self.v4());
        let inside = ["bash", "-c", ENTER, "enter", &address];
        self.node.exec(&[&inside, command].concat())
    }

    /// Runs a program in the pod's network namespace that has to succeed, and returns its standard output.
    pub fn exec_ok(&self, command: &[&str]) -> anyhow::Result<String> {
        checked(
            &format!("{}: {}", self.name, command.join(" ")),
            self.exec(command)?,
        )
    }

    /// Sends numbered datagrams to an address, and returns their stream (see [`Counts::of_stream`]).
    pub fn send_udp(&self, to: SocketAddr, packets: u64) -> anyhow::Result<u32> {
        let [to, packets] = [to.to_string(), packets.to_string()];
        let output = self.exec_ok(&["workload", "udp", &to, &packets, "2000"])?;
        let report: Value = serde_json::from_str(&output).with_context(|| output.clone())?;
        report["stream"]
            .as_u64()
            .map(|stream| stream as u32)
            .context("no stream")
    }

    /// Sends a datagram and returns the answer, if there is one.
    pub fn ask_udp(&self, to: SocketAddr) -> anyhow::Result<Option<String>> {
        let script = format!(
            "exec 3<>/dev/udp/{}/{} && echo hello >&3 && timeout 3 head -n 1 <&3",
            to.ip(),
            to.port()
        );
        let answer = self.exec(&["bash", "-c", &script])?.stdout;
        Ok(Some(answer).filter(|answer| !answer.is_empty()))
    }

    /// Sends datagrams one after the other, each from a socket of its own, as resolvers do. Returns how many
    /// were answered.
    pub fn ask_udp_often(&self, to: SocketAddr, times: u64) -> anyhow::Result<u64> {
        let script = format!(
            "for one in $(seq {times}); do \
               exec 3<>/dev/udp/{}/{} && echo hello >&3 && timeout 3 head -n 1 <&3; exec 3>&-; \
             done | wc -l",
            to.ip(),
            to.port()
        );
        Ok(self.exec_ok(&["bash", "-c", &script])?.trim().parse()?)
    }

    /// Requests `http://TO/` and returns the answer, if there is one within seconds.
    pub fn ask_http(&self, to: SocketAddr) -> anyhow::Result<Option<String>> {
        let answer = self.exec(&["workload", "get", &format!("http://{to}/")])?;
        Ok(Some(answer.stdout).filter(|stdout| answer.status.success() && !stdout.is_empty()))
    }
}

/// Finds the process of the pod by its address, which is not a loopback address.
const ENTER: &str = r#"
address=$1; shift
for pid in $(pgrep --exact workload); do
    if nsenter -t "$pid" -n ip -oneline address 2>/dev/null | grep -qF "$address"; then
        exec nsenter -t "$pid" -n "$@"
    fi
done
echo "no pod has$address" >&2
exit 97
"#;
