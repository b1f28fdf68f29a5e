//! A node: a network namespace, and in it containerd, the kubelet and kube-proxy in further namespaces.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use xdp_lab::{Finished, Namespace, Process, wait_until};

use super::{
    PATIENCE,
    artifacts::Artifacts,
    cgroups::Cgroups,
    checked, config, lock,
    options::{self, Addresses, ClusterOptions, Cni},
};

const SCRIPT: &str = include_str!("node.sh");

/// A node of the cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in the API.
    pub name: String,
    /// Its addresses, those of its NIC `eth0`.
    pub addresses: Addresses,
    /// How its pods are connected.
    pub cni: Cni,
    /// Its network namespace.
    pub namespace: Namespace,
    pub(super) number: u8,
    folder: PathBuf,
    logs: PathBuf,
    cgroups: Arc<Cgroups>,
    running: Mutex<Option<Running>>,
}

/// The processes of a started node.
#[derive(Debug)]
struct Running {
    /// Kills all other processes of the node when it ends.
    process: Process,
    /// The first process in the node's own pid namespace.
    init: u32,
    /// Time of the start, in the format of the API.
    since: String,
}

/// Values that all nodes share.
pub(super) struct Shared<'a> {
    pub(super) options: ClusterOptions,
    pub(super) artifacts: &'a Artifacts,
    pub(super) lab_dir: &'a Path,
    pub(super) state: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) cgroups: &'a Arc<Cgroups>,
}

impl Node {
    pub(super) fn new(shared: &Shared<'_>, number: u8, namespace: &Namespace) -> anyhow::Result<Self> {
        let name = namespace.name().to_owned();
        let addresses = shared.options.node(number);
        let folder = shared.state.join(&name);
        config::write(&folder.join("etc"), shared.options, number, &name)?;
        let environment = [
            ("NAME", name.clone()),
            ("NODE_IPS", format!("{},{}", addresses.v4, addresses.v6)),
            ("LAB_DIR", shared.lab_dir.display().to_string()),
            ("BIN", shared.artifacts.bin.display().to_string()),
            ("LOGS", shared.logs.display().to_string()),
            ("CGROUP_VERSION", shared.cgroups.version().to_string()),
        ];
        let lines = environment.map(|(key, value)| format!("{key}='{value}'\n"));
        fs::write(folder.join("environment"), lines.concat())?;
        fs::write(folder.join("node.sh"), SCRIPT)?;
        fs::create_dir_all(folder.join("run"))?;
        Ok(Self {
            name,
            addresses,
            cni: options::cni(number),
            namespace: namespace.clone(),
            number,
            folder,
            logs: shared.logs.to_owned(),
            cgroups: Arc::clone(shared.cgroups),
            running: Mutex::default(),
        })
    }

    /// Starts the node, without waiting: [`Cluster::wait_ready`](super::Cluster::wait_ready) waits until it
    /// accepts pods. As after a boot, its disk is unchanged, and `/run`, the bpffs and the processes are new.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut running = lock(&self.running);
        ensure!(running.is_none(), "{} is already running", self.name);
        let since = now()?;
        fs::write(self.folder.join("cgroups"), self.cgroups.make(&self.name)?)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.logs.join(format!("{}.log", self.name)))?;
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--pid",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
                "--",
                "bash",
            ])
            .arg(self.folder.join("node.sh"))
            .arg(&self.folder)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = self.namespace.spawn(command)?;
        let mut init = None;
        wait_until(&format!("{} has its first process", self.name), PATIENCE, || {
            init = first_child(process.id());
            init.is_some() || matches!(process.try_wait(), Ok(Some(_)))
        })?;
        let init =
            init.with_context(|| format!("{} did not start: see {}", self.name, self.logs.display()))?;
        *running = Some(Running { process, init, since });
        Ok(())
    }

    /// Kills all processes of the node at once, as a power failure does.
    pub fn kill(&self) -> anyhow::Result<()> {
        let running = lock(&self.running).take();
        let running = running.with_context(|| format!("{} is not running", self.name))?;
        running.process.kill()?;
        Ok(wait_until(&format!("{} is gone", self.name), PATIENCE, || {
            ended(running.init)
        })?)
    }

    /// Returns whether the node was started and has not exited by itself.
    pub fn runs(&self) -> bool {
        lock(&self.running)
            .as_ref()
            .is_some_and(|running| matches!(running.process.try_wait(), Ok(None)))
    }

    /// Runs a command in all namespaces of the node, with any exit status. `ctr` and all programs of the
    /// machine are available.
    pub fn exec(&self, command: &[&str]) -> anyhow::Result<Finished> {
        self.enter(command, Stdio::null())
    }

    /// Runs a command as [`exec`](Self::exec) does, which must succeed, and returns its standard output.
    pub fn exec_ok(&self, command: &[&str]) -> anyhow::Result<String> {
        checked(&command.join(" "), self.exec(command)?)
    }

    /// Returns the process id of its first process, as the machine sees it: for `nsenter -t PID -a`.
    pub fn init(&self) -> anyhow::Result<u32> {
        let running = lock(&self.running);
        Ok(running
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))?
            .init)
    }

    /// Returns the time of the start in the format of the API, or `None` if the node is not running.
    pub(super) fn since(&self) -> Option<String> {
        Some(lock(&self.running).as_ref()?.since.clone())
    }

    pub(super) fn load_image(&self, tar: &Path) -> anyhow::Result<()> {
        let file = File::open(tar).with_context(|| format!("cannot open {}", tar.display()))?;
        let command = ["/run/cluster/bin/ctr", "-n", "k8s.io", "images", "import", "-"];
        let finished = self.enter(&command, file.into())?;
        checked(&format!("import {} on {}", tar.display(), self.name), finished)?;
        Ok(())
    }

    /// Starts a command in all namespaces of the node; it ends with the returned process. Its output goes to
    /// `NODE-NAME.log` among the logs.
    pub fn spawn(&self, name: &str, command: &[&str]) -> anyhow::Result<Process> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.logs.join(format!("{}-{name}.log", self.name)))?;
        // nsenter starts the command as a child of its own.
        let bound = [&["setpriv", "--pdeathsig", "KILL", "--"], command].concat();
        let mut nsenter = self.entering(&bound)?;
        nsenter.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(self.namespace.spawn(nsenter)?)
    }

    fn enter(&self, command: &[&str], stdin: Stdio) -> anyhow::Result<Finished> {
        let mut nsenter = self.entering(command)?;
        nsenter.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(self.namespace.spawn(nsenter)?.finish(Duration::from_mins(5))?)
    }

    fn entering(&self, command: &[&str]) -> anyhow::Result<Command> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["-t", &self.init()?.to_string(), "-a", "--"])
            .args(command)
            .env("PATH", path())
            .current_dir("/");
        Ok(nsenter)
    }
}

fn now() -> anyhow::Result<String> {
    let output = Command::new("date").args(["-u", "+%FT%TZ"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Returns the `PATH` on a node.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("/run/cluster/bin:{own}:/usr/sbin:/sbin")
}

fn first_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Returns whether a process has exited. A zombie has, even if its parent has not waited for it yet.
fn ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("\nState:\tZ")
}
