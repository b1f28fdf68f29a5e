//! The control plane: one namespace, four processes.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context as _, bail};
use xdp_lab::{Namespace, Process};

use super::{
    lock,
    options::{ClusterOptions, SERVICES_V4, SERVICES_V6},
};

const ETCD: &str = "http://127.0.0.1:2379";
pub(super) const APISERVER: &str = "kube-apiserver";

/// The control plane and its processes, by name.
#[derive(Debug)]
pub(super) struct Control {
    namespace: Namespace,
    kube: PathBuf,
    state: PathBuf,
    logs: PathBuf,
    options: ClusterOptions,
    processes: Mutex<BTreeMap<&'static str, Process>>,
}

impl Control {
    pub(super) fn new(
        namespace: &Namespace,
        kube: PathBuf,
        state: &Path,
        logs: &Path,
        options: ClusterOptions,
    ) -> Self {
        Self {
            namespace: namespace.clone(),
            kube,
            state: state.to_owned(),
            logs: logs.to_owned(),
            options,
            processes: Mutex::default(),
        }
    }

    pub(super) fn start_storage(&self) -> anyhow::Result<()> {
        let peer = "http://127.0.0.1:2380";
        self.start(
            "etcd",
            &[
                "--data-dir=etcd",
                &format!("--listen-client-urls={ETCD}"),
                &format!("--advertise-client-urls={ETCD}"),
                &format!("--listen-peer-urls={peer}"),
                &format!("--initial-advertise-peer-urls={peer}"),
                &format!("--initial-cluster=default={peer}"),
                // Its data is in memory.
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
    }

    pub(super) fn start_apiserver(&self) -> anyhow::Result<()> {
        let address = self.options.control().v4;
        self.start(
            APISERVER,
            &[
                &format!("--etcd-servers={ETCD}"),
                &format!("--bind-address={address}"),
                &format!("--advertise-address={address}"),
                "--secure-port=6443",
                "--tls-cert-file=pki/apiserver.crt",
                "--tls-private-key-file=pki/apiserver.key",
                "--client-ca-file=pki/ca.crt",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                &format!("--service-cluster-ip-range={SERVICES_V4},{SERVICES_V6}"),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--service-account-key-file=pki/service-accounts.pub",
                "--service-account-signing-key-file=pki/service-accounts.key",
                "--kubelet-client-certificate=pki/apiserver-kubelet.crt",
                "--kubelet-client-key=pki/apiserver-kubelet.key",
                "--kubelet-certificate-authority=pki/ca.crt",
                // There is no DNS for the nodes' names.
                "--kubelet-preferred-address-types=InternalIP",
                "--requestheader-client-ca-file=pki/front-ca.crt",
                "--requestheader-allowed-names=front-proxy",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--proxy-client-cert-file=pki/front.crt",
                "--proxy-client-key-file=pki/front.key",
                // There is no kube-proxy in this namespace: webhooks are called at the addresses of their
                // pods.
                "--enable-aggregator-routing=true",
                &format!(
                    "--enable-priority-and-fairness={}",
                    self.options.priority_and_fairness
                ),
            ],
        )
    }

    pub(super) fn start_controllers(&self) -> anyhow::Result<()> {
        self.start(
            "kube-controller-manager",
            &[
                "--kubeconfig=manager.conf",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--use-service-account-credentials",
                "--service-account-private-key-file=pki/service-accounts.key",
                "--root-ca-file=pki/ca.crt",
                "--cluster-signing-cert-file=pki/ca.crt",
                "--cluster-signing-key-file=pki/ca.key",
                // The node objects already have pod ranges.
                "--controllers=*,-nodeipam,-node-route-controller",
                // Detects a dead node after seconds, but not a slow node on a busy machine.
                "--node-monitor-period=1s",
                "--node-monitor-grace-period=20s",
            ],
        )?;
        self.start(
            "kube-scheduler",
            &[
                "--kubeconfig=scheduler.conf",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
            ],
        )
    }

    /// Kills a process with SIGKILL, and waits until it has exited.
    pub(super) fn kill(&self, name: &str) -> anyhow::Result<()> {
        let process = lock(&self.processes).remove(name);
        process
            .with_context(|| format!("{name} is not running"))?
            .kill()?;
        Ok(())
    }

    /// Returns an error if a process has exited by itself.
    pub(super) fn alive(&self) -> anyhow::Result<()> {
        for (name, process) in lock(&self.processes).iter() {
            if let Some(status) = process.try_wait()? {
                bail!(
                    "{name} exited with {status}; its log: {}",
                    self.log(name).display()
                );
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn start(&self, name: &'static str, arguments: &[&str]) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))?;
        let mut command = Command::new(&self.kube);
        command
            .arg(name)
            .args(arguments)
            .current_dir(&self.state)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = self.namespace.spawn(command)?;
        lock(&self.processes).insert(name, process);
        Ok(())
    }
}
