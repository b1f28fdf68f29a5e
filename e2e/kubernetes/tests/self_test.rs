//! Tests of the cluster itself: it starts, its pods are reachable on all paths that tests use, and it leaves
//! nothing behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use xdp_kubernetes::{Cluster, ClusterOptions, PATIENCE};
use xdp_lab::{UdpSender, wait_until};

/// Time limit for the arrival of sent datagrams.
const LAST_ONES: Duration = Duration::from_secs(5);
/// Set for the process that runs [`process_to_kill`].
const KILLED: &str = "XDP_CLUSTER_TEST_PROCESS_TO_KILL";

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

/// A pod of the daemon set.
#[derive(Debug)]
struct Pod {
    name: String,
    node: String,
    /// URLs with its IPv4 and its IPv6 address.
    urls: Vec<String>,
    v4: std::net::IpAddr,
}

#[test]
fn pods_of_both_nodes_are_reached_from_outside_and_from_each_other() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let pods = web(&cluster).unwrap();
    let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    assert_eq!(nodes, ["node1", "node2"]);
    for pod in &pods {
        reached_from_outside(&cluster, pod);
        for from in &pods {
            for url in &pod.urls {
                let answer = cluster.wait_for("pods reach each other", PATIENCE, || {
                    exec(&cluster, from, &["get", url])
                });
                let answer = answer.unwrap();
                assert!(answer.contains(&format!("hello from {}", pod.name)), "{answer}");
            }
        }
    }
    let service = cluster.get(&["service", "web"]).unwrap();
    for address in service["spec"]["clusterIPs"].as_array().unwrap() {
        let url = url(address.as_str().unwrap(), 80);
        let answer = cluster.wait_for("the service responds", PATIENCE, || cluster.curl(&url));
        assert!(answer.unwrap().contains("hello from web-"));
    }
    datagrams_are_counted(&cluster, &pods[0]);
    datagrams_are_counted(&cluster, &pods[1]);
    a_node_restarts(&cluster);
    the_api_server_restarts(&cluster);

    let traces = Traces::of(&cluster);
    assert!(traces.exist());
    drop(cluster);
    traces.wait_gone("nothing is left");
}

fn reached_from_outside(cluster: &Cluster, pod: &Pod) {
    let client = cluster.client_addresses();
    for (url, client) in pod
        .urls
        .iter()
        .zip([client.v4.to_string(), client.v6.to_string()])
    {
        let answer = cluster.wait_for("the pod responds", PATIENCE, || cluster.curl(url));
        assert_eq!(
            answer.unwrap(),
            format!("hello from {} to {client}, mark 0\n", pod.name)
        );
    }
}

/// Expects that the pod counts the datagrams of the lab's sender. A busy machine may lose some, so every
/// attempt uses a new stream.
fn datagrams_are_counted(cluster: &Cluster, pod: &Pod) {
    let tried = cluster.wait_for("all datagrams are counted", PATIENCE, || {
        let mut sender = UdpSender::new(cluster.client(), SocketAddr::new(pod.v4, 7777))?;
        sender.send_paced(500, 500)?;
        cluster.wait_for("the last datagrams have arrived", LAST_ONES, || {
            all_arrived(cluster, pod, sender.stream())
        })
    });
    tried.unwrap();
}

fn all_arrived(cluster: &Cluster, pod: &Pod, stream: u32) -> anyhow::Result<()> {
    let counts: Value = serde_json::from_str(&cluster.curl(&format!("{}counts", pod.urls[0]))?)?;
    let streams = counts["streams"].as_array().context("streams")?;
    let found = streams.iter().find(|other| other["stream"] == stream);
    let found = found.context("the sender's stream")?;
    ensure!(found["distinct"] == 500 && found["missing"] == 0, "{found}");
    Ok(())
}

/// Kills a node as a power failure does, and starts it again.
fn a_node_restarts(cluster: &Cluster) {
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
        .wait_for("the pod of node2 has restarted", PATIENCE, || {
            let pods = cluster.get(&["pods", "-l", "app=web", "--field-selector=spec.nodeName=node2"])?;
            let status = &pods["items"][0]["status"]["containerStatuses"][0];
            let again = status["restartCount"].as_u64() >= Some(1);
            ensure!(status["ready"] == true && again, "{status}");
            Ok(())
        })
        .unwrap();
    let pods = web(cluster).unwrap();
    reached_from_outside(cluster, &pods[1]);
}

fn the_api_server_restarts(cluster: &Cluster) {
    cluster.stop_apiserver().unwrap();
    assert!(
        cluster
            .kubectl(&["get", "nodes", "--request-timeout=2s"])
            .is_err()
    );
    cluster.start_apiserver().unwrap();
    cluster
        .wait_for("the API server responds", PATIENCE, || {
            cluster.kubectl(&["get", "nodes"])
        })
        .unwrap();
}

#[test]
fn nothing_is_left_when_its_process_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_kill", "--ignored", "--nocapture"])
        .env(KILLED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("cluster "))
        .expect("a running cluster");
    let traces = Traces::parse(&line);
    assert!(traces.exist());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    traces.wait_gone("the guard has removed it");
}

/// Body of the process that [`nothing_is_left_when_its_process_is_killed`] kills.
#[test]
#[ignore = "runs until it is killed; another test starts it"]
fn process_to_kill() {
    if std::env::var_os(KILLED).is_none() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions {
        nodes: 1,
        ..ClusterOptions::default()
    })
    .unwrap();
    web(&cluster).unwrap();
    println!("\n{}", Traces::of(&cluster).line());
    // Exits at the latest when the test that started it exits.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Creates one pod on each node, and returns them in the order of the nodes.
fn web(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    cluster.apply(WEB)?;
    // Calls of kubectl are killed after ten minutes, without an error of kubectl.
    cluster.kubectl(&["rollout", "status", "daemonset/web", "--timeout=9m"])?;
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

/// Everything that a cluster creates on the machine.
#[derive(Debug)]
struct Traces {
    dir: PathBuf,
    id: String,
    /// Namespaces of the nodes, with their names in `/proc/PID/ns`.
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
            "cluster {} {} {}",
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

    fn exist(&self) -> bool {
        self.dir.exists() && !self.processes().is_empty() && !self.cgroups().is_empty()
    }

    fn wait_gone(&self, what: &str) {
        wait_until(what, PATIENCE, || self.left().is_empty())
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.left()));
    }

    fn left(&self) -> Vec<String> {
        let processes = self.processes().into_iter().map(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid} {}", command.replace('\0', " "))
        });
        let cgroups = self
            .cgroups()
            .into_iter()
            .map(|path| format!("cgroup {}", path.display()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts
            .lines()
            .filter(|line| line.split(' ').any(|word| Path::new(word).starts_with(&self.dir)));
        let folder = self.dir.exists().then(|| self.dir.display().to_string());
        let mounts = mounts.map(str::to_owned);
        processes.chain(cgroups).chain(mounts).chain(folder).collect()
    }

    /// Returns all processes in one of its namespaces, except zombies.
    fn processes(&self) -> Vec<u32> {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if status.contains("\nState:\tZ") {
                return false;
            }
            let links = ["pid", "mnt", "net", "cgroup"].map(|kind| link(*pid, kind));
            let mut links = links.into_iter().flatten();
            links.any(|link| self.namespaces.contains(&link)) && !self.is_foreign(*pid)
        })
        .collect()
    }

    /// Returns whether a process belongs to another lab. The kernel reuses numbers of namespaces at once,
    /// also for the cluster of the other test. Such a process is in the other lab's cgroup, or its command
    /// line or environment names that lab.
    fn is_foreign(&self, pid: u32) -> bool {
        let texts = ["cgroup", "cmdline", "environ"].map(|file| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&text).replace("/xdp-lab/", "/xdp-lab-")
        });
        let own = format!("xdp-lab-{}", self.id);
        let mut parts = texts.iter().flat_map(|text| text.split(['/', '\n', '\0']));
        texts.iter().any(|text| text.contains("/xdp-lab-")) && !parts.any(|part| part == own)
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
}

fn link(pid: u32, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}
