//! The cluster itself: it comes up, its pods can be reached every way that tests use, and nothing is left of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use xdp_e2e::cluster::{Cluster, Options, PATIENCE};
use xdp_lab::{UdpSender, wait_until};

/// Set for the process that runs [`doomed`].
const DOOMED: &str = "XDP_CLUSTER_TEST_DOOMED";

const WEB: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {sysctls: [{name: net.ipv4.tcp_fwmark_accept, value: "1"}]}
      containers:
      - name: web
        image: e2e.local/workload:1
        imagePullPolicy: Never
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        securityContext:
          runAsNonRoot: true
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          seccompProfile: {type: RuntimeDefault}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// A pod of the DaemonSet.
#[derive(Debug)]
struct Pod {
    name: String,
    node: String,
    /// IPv4, then IPv6.
    urls: Vec<String>,
    v4: std::net::IpAddr,
}

#[test]
fn pods_of_both_nodes_are_reached_from_outside_and_from_each_other() {
    let cluster = Cluster::start(Options::default()).unwrap();
    let pods = web(&cluster).unwrap();
    let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    assert_eq!(nodes, ["node1", "node2"]);
    for pod in &pods {
        reached_from_outside(&cluster, pod);
        for from in &pods {
            for url in &pod.urls {
                let answer = exec(&cluster, from, &["get", url]).unwrap();
                assert!(answer.contains(&format!("hello from {}", pod.name)), "{answer}");
            }
        }
    }
    let service = cluster.get(&["service", "web"]).unwrap();
    for address in service["spec"]["clusterIPs"].as_array().unwrap() {
        let url = url(address.as_str().unwrap(), 80);
        let answer = cluster.wait_for("the service answers", PATIENCE, || cluster.curl(&url));
        assert!(answer.unwrap().contains("hello from web-"));
    }
    counted(&cluster, &pods[0]);
    counted(&cluster, &pods[1]);
    comes_back(&cluster);
    an_api_server_that_is_gone_comes_back(&cluster);

    let traces = Traces::of(&cluster);
    assert!(traces.there());
    drop(cluster);
    assert!(traces.gone(), "{traces:?}");
}

fn reached_from_outside(cluster: &Cluster, pod: &Pod) {
    let client = cluster.client_addresses();
    for (url, client) in pod
        .urls
        .iter()
        .zip([client.v4.to_string(), client.v6.to_string()])
    {
        let answer = cluster.curl(url).unwrap();
        assert_eq!(answer, format!("hello from {} to {client}, mark 0\n", pod.name));
    }
}

/// The lab's sender and the pod's receiver speak of the same datagrams.
fn counted(cluster: &Cluster, pod: &Pod) {
    let mut sender = UdpSender::new(cluster.client(), SocketAddr::new(pod.v4, 7777)).unwrap();
    sender.send_paced(500, 5000).unwrap();
    let arrived = cluster.wait_for("all datagrams are counted", PATIENCE, || {
        let counts: Value = serde_json::from_str(&cluster.curl(&format!("{}counts", pod.urls[0]))?)?;
        let streams = counts["streams"].as_array().context("streams")?;
        let stream = streams.iter().find(|stream| stream["stream"] == sender.stream());
        let stream = stream.context("the sender's stream")?.clone();
        ensure!(stream["distinct"] == 500, "{stream}");
        Ok(stream)
    });
    assert_eq!(arrived.unwrap()["missing"], 0);
}

/// As after a power failure.
fn comes_back(cluster: &Cluster) {
    let node = cluster.node(2);
    let first = node.init().unwrap();
    node.kill().unwrap();
    assert!(
        !Path::new("/proc")
            .join(first.to_string())
            .join("root/run")
            .exists()
    );
    node.start().unwrap();
    cluster.wait_ready().unwrap();
    cluster
        .wait_for("node2's pod is back, and started once more", PATIENCE, || {
            let pods = cluster.get(&["pods", "-l", "app=web", "--field-selector=spec.nodeName=node2"])?;
            let status = &pods["items"][0]["status"]["containerStatuses"][0];
            ensure!(status["ready"] == true && status["restartCount"] == 1, "{status}");
            Ok(())
        })
        .unwrap();
    let pods = web(cluster).unwrap();
    reached_from_outside(cluster, &pods[1]);
}

fn an_api_server_that_is_gone_comes_back(cluster: &Cluster) {
    cluster.stop_apiserver().unwrap();
    assert!(
        cluster
            .kubectl(&["get", "nodes", "--request-timeout=2s"])
            .is_err()
    );
    cluster.start_apiserver().unwrap();
    cluster.kubectl(&["get", "nodes"]).unwrap();
}

#[test]
fn nothing_is_left_when_its_process_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "doomed", "--ignored", "--nocapture"])
        .env(DOOMED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("doomed "))
        .expect("a cluster that is up");
    let traces = Traces::parse(&line);
    assert!(traces.there());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    wait_until("its guard has removed it", PATIENCE, || traces.gone())
        .unwrap_or_else(|error| panic!("{error}: {traces:?}"));
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "runs until it is killed; another test starts it"]
fn doomed() {
    if std::env::var_os(DOOMED).is_none() {
        return;
    }
    let cluster = Cluster::start(Options {
        nodes: 1,
        ..Options::default()
    })
    .unwrap();
    web(&cluster).unwrap();
    println!("\n{}", Traces::of(&cluster).line());
    // Ends with the test that started it, at the latest.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// One pod on each node, in the nodes' order.
fn web(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    cluster.apply(WEB)?;
    cluster.kubectl(&["rollout", "status", "daemonset/web", "--timeout=120s"])?;
    let list = cluster.get(&["pods", "-l", "app=web"])?;
    let items = list["items"].as_array().context("pods")?;
    let mut pods: Vec<Pod> = items.iter().filter_map(pod).collect();
    pods.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(pods)
}

fn pod(item: &Value) -> Option<Pod> {
    let addresses = item["status"]["podIPs"].as_array()?;
    let addresses: Vec<&str> = addresses.iter().filter_map(|ip| ip["ip"].as_str()).collect();
    Some(Pod {
        name: item["metadata"]["name"].as_str()?.to_owned(),
        node: item["spec"]["nodeName"].as_str()?.to_owned(),
        urls: addresses.iter().map(|ip| url(ip, 8080)).collect(),
        v4: addresses.first()?.parse().ok()?,
    })
}

fn url(ip: &str, port: u16) -> String {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    format!("http://{}/", SocketAddr::new(ip, port))
}

fn exec(cluster: &Cluster, pod: &Pod, arguments: &[&str]) -> anyhow::Result<String> {
    let command = [&["exec", &pod.name, "--", "/workload"], arguments].concat();
    cluster.kubectl(&command)
}

/// What a cluster is made of, as the machine sees it.
#[derive(Debug)]
struct Traces {
    dir: PathBuf,
    id: String,
    /// The nodes' namespaces, as `/proc/PID/ns` names them.
    namespaces: Vec<String>,
}

impl Traces {
    fn of(cluster: &Cluster) -> Self {
        let namespaces = cluster.nodes().iter().flat_map(|node| {
            let init = node.init().unwrap();
            ["pid", "mnt", "net", "cgroup"].map(|kind| link(init, kind).unwrap())
        });
        Self {
            dir: cluster.lab().dir().to_owned(),
            id: cluster.lab().id().to_owned(),
            namespaces: namespaces.collect(),
        }
    }

    fn line(&self) -> String {
        format!(
            "doomed {} {} {}",
            self.dir.display(),
            self.id,
            self.namespaces.join(" ")
        )
    }

    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        Self {
            dir: words[1].into(),
            id: words[2].to_owned(),
            namespaces: words[3..].iter().map(|&word| word.to_owned()).collect(),
        }
    }

    fn there(&self) -> bool {
        self.dir.exists() && !self.processes().is_empty() && !self.cgroups().is_empty()
    }

    fn gone(&self) -> bool {
        !self.dir.exists() && self.processes().is_empty() && self.cgroups().is_empty() && !self.mounted()
    }

    /// Everybody in one of its namespaces.
    fn processes(&self) -> Vec<u32> {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let links = ["pid", "mnt", "net", "cgroup"].map(|kind| link(*pid, kind));
            links
                .into_iter()
                .flatten()
                .any(|link| self.namespaces.contains(&link))
        })
        .collect()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let name = format!("xdp-lab-{}", self.id);
        let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(folder) = folders.pop() {
            if folder.file_name().is_some_and(|own| own == name.as_str()) {
                found.push(folder);
                continue;
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        found
    }

    fn mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.contains(&format!("{}/", self.dir.display()))
    }
}

fn link(pid: u32, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}
