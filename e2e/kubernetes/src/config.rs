//! Configuration files of a node's programs.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::options::{self, Addresses, ClusterOptions, Cni, PODS_V4, PODS_V6};

/// Path of the cluster's files on a node (`node.sh`).
pub(super) const STATE: &str = "/run/cluster/state";

/// Writes all files below `etc`; the node has copies of them below `/etc`.
pub(super) fn write(etc: &Path, options: ClusterOptions, number: u8, name: &str) -> anyhow::Result<()> {
    let file = |path: &str, content: String| -> anyhow::Result<()> {
        let path = etc.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, content)?)
    };
    let Addresses { v4, v6 } = options.node(number);
    file("hostname", format!("{name}\n"))?;
    file(
        "hosts",
        format!("127.0.0.1 localhost\n::1 localhost\n{v4} {name}\n{v6} {name}\n"),
    )?;
    file("machine-id", format!("{:032x}\n", 0xe2e_0000 + u32::from(number)))?;
    // There is no DNS; programs would query the machine's own resolver for cluster.local.
    file("resolv.conf", String::new())?;
    file("containerd/config.toml", CONTAINERD.to_owned())?;
    file("cni/net.d/10-e2e.conflist", cni(options, number).to_string())?;
    file("kubernetes/kubelet.json", kubelet(v4, name).to_string())?;
    file("kubernetes/proxy.json", proxy(options, name).to_string())
}

/// `restrict_oom_score_adj`: lowering a score requires `CAP_SYS_RESOURCE`, which root lacks in many
/// containers, and no pod would start. The pause image would be pulled unless it is named; the loopback
/// plugin is not needed.
const CONTAINERD: &str = "\
version = 3
[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = 'e2e.local/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/run/cluster/bin/cni']
conf_dir = '/etc/cni/net.d'
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '/run/cluster/bin/runc'
SystemdCgroup = false
";

fn cni(options: ClusterOptions, number: u8) -> Value {
    let ranges: Vec<Value> = options::pods(number)
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    let mut main = json!({
        "type": options::cni(number).name(),
        "mtu": 1500,
        "ipMasq": options.masquerade,
        "ipam": {
            "type": "host-local",
            // Empty after a restart of the node: the addresses of its pods are free again.
            "dataDir": "/run/cni",
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    });
    if options::cni(number) == Cni::Bridge {
        main["bridge"] = json!("cni0");
        main["isGateway"] = json!(true);
        main["hairpinMode"] = json!(true);
    }
    let portmap = json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "1.0.0", "name": "e2e", "plugins": [main, portmap]})
}

fn kubelet(address: std::net::Ipv4Addr, name: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{STATE}/pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{STATE}/pki/{name}-serving.crt"),
        "tlsPrivateKeyFile": format!("{STATE}/pki/{name}-serving.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        // A root without CAP_SYS_RESOURCE may not use the defaults of these two.
        "oomScoreAdj": 0,
        "maxOpenFiles": 16384,
        // The nodes share the machine's memory and disks with other programs.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 10,
        "syncFrequency": "10s",
        "maxPods": 60,
        // Makes accepted sockets inherit the mark of the packet that opened the connection.
        "allowedUnsafeSysctls": ["net.ipv4.tcp_fwmark_accept"],
    })
}

fn proxy(options: ClusterOptions, name: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": format!("{STATE}/proxy.conf")},
        "clusterCIDR": format!("{PODS_V4},{PODS_V6}"),
        "hostnameOverride": name,
        "mode": options.proxy.name(),
        "oomScoreAdj": 0,
        // The size of the conntrack table can only be set in the machine's own network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
