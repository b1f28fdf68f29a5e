//! The operator's process, and what it uses.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{time::clock_getcpuclockid, unistd::Pid};
use xdp_kubernetes::{Cluster, PATIENCE, checked};
use xdp_lab::Process;

use super::{RELEASE_NAMESPACE, SimulatedCluster};

/// Where it serves probes.
pub(super) const PROBES: &str = "127.0.0.1:8081";

/// A running operator. It is killed on drop.
#[derive(Debug)]
pub struct OperatorProcess {
    process: Process,
    /// Its log.
    pub log: PathBuf,
}

/// Processes that use as much CPU as they get. They end on drop.
#[derive(Debug)]
pub struct Spinners(Vec<Process>);

/// Returns the operator to test: that of the environment variable `OPERATOR`, or the one of this build.
pub fn operator_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("OPERATOR").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let own = env::current_exe()?;
    // Tests are in a folder below the one of the binaries.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("xdp-operator"))
        .find(|path| path.exists());
    found.context("xdp-operator is not built: cargo build -p xdp-operator")
}

pub(super) fn apply_crds(cluster: &Cluster, binary: &Path) -> Result<()> {
    let mut command = command(cluster, binary);
    command.arg("apply-crds").stderr(Stdio::piped());
    let finished = cluster.control().spawn(command)?.finish(PATIENCE)?;
    checked("xdp-operator apply-crds", finished).map(drop)
}

fn command(cluster: &Cluster, binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("POD_NAMESPACE", RELEASE_NAMESPACE)
        .env("POD_NAME", "simulated")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

impl OperatorProcess {
    /// Starts the operator, with further arguments.
    pub fn start(simulated: &SimulatedCluster, binary: &Path, arguments: &[&str]) -> Result<Self> {
        let log = simulated.cluster().logs().join("operator.log");
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = command(simulated.cluster(), binary);
        command
            .args(["run", "--health-probe-bind-address", PROBES])
            .args(arguments)
            .stdout(file.try_clone()?)
            .stderr(file);
        let process = simulated.cluster().control().spawn(command)?;
        Ok(Self { process, log })
    }

    /// Returns the CPU time of all its threads so far.
    pub fn cpu(&self) -> Result<Duration> {
        self.alive()?;
        let clock = clock_getcpuclockid(Pid::from_raw(self.process.id() as i32))?;
        Ok(clock.now()?.into())
    }

    /// Returns a field of its status in MB, such as `VmRSS`, or its peak, `VmHWM`.
    pub fn megabytes(&self, field: &str) -> Result<f64> {
        self.alive()?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        Ok(kilobytes.with_context(|| format!("no `{field}`"))? / 1000.0)
    }

    fn alive(&self) -> Result<()> {
        let ended = self.process.try_wait()?;
        ensure!(
            ended.is_none(),
            "the operator ended: {ended:?}; log: {}",
            self.log.display()
        );
        Ok(())
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
    }
}

impl Spinners {
    /// Starts `count` of them.
    pub fn start(simulated: &SimulatedCluster, count: usize) -> Result<Self> {
        let spin = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            Ok(simulated.cluster().control().spawn(command)?)
        };
        (0..count).map(spin).collect::<Result<_>>().map(Self)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = process.kill();
        }
    }
}
