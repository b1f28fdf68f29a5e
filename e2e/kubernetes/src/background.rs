//! The cluster of `make cluster`, which runs until `make cluster-down`.
//!
//! A background process owns it, and removes it when it exits. The machine itself is connected to the fabric,
//! so that the user's own kubectl reaches the API server; nothing else on the machine changes.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write as _},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};
use xdp_lab::{Lab, wait_until};

use super::{Cluster, ClusterOptions, PATIENCE, network::Network};

/// Folder for the files of the cluster. The owner holds a lock on `lock`, which the kernel releases when the
/// owner exits.
const FOLDER: &str = "/run/xdp-cluster";
/// Interface that connects the machine to the fabric.
const INTERFACE: &str = "xdp-cluster";
/// Printed by the owner when the cluster is up.
const READY: &str = "ready";

/// Starts the cluster in the background.
pub fn up() -> anyhow::Result<ExitCode> {
    if owner().is_some() {
        println!("A cluster is already running (`make cluster-down` removes it):\n");
        print!("{}", fs::read_to_string(file("instructions")).unwrap_or_default());
        return Ok(ExitCode::FAILURE);
    }
    fs::create_dir_all(FOLDER)?;
    let errors = File::create(file("errors"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("hold")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    // A process group of its own, so that Ctrl-C in the user's shell does not reach it.
    let mut owner = command.process_group(0).spawn()?;
    let stdout = owner.stdout.take().context("its standard output is piped")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if line == READY {
            print!("\n{}", fs::read_to_string(file("instructions"))?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("{line}");
    }
    let status = owner.wait()?;
    let errors = fs::read_to_string(file("errors")).unwrap_or_default();
    bail!("the cluster did not start ({status}):\n{errors}")
}

/// Removes the cluster, or what is left of it.
pub fn down() -> anyhow::Result<ExitCode> {
    if let Some(pid) = owner() {
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        wait_until("the cluster is gone", PATIENCE, || owner().is_none())?;
        println!("The cluster is removed.");
    } else {
        println!("No cluster is running.");
    }
    // Removes labs whose guards were killed as well.
    let swept = Lab::sweep();
    if swept > 0 {
        println!("Removed the remains of {swept} killed labs.");
    }
    if let Ok(logs) = fs::read_to_string(file("logs")) {
        // The user may have removed them.
        let _ = fs::remove_dir_all(logs);
    }
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Imports an image on all nodes.
pub fn load(tar: &Path) -> anyhow::Result<ExitCode> {
    ensure!(
        owner().is_some(),
        "no cluster is running; run as root: make cluster"
    );
    for init in fs::read_to_string(file("nodes"))?.lines() {
        let image = File::open(tar).with_context(|| format!("cannot open {}", tar.display()))?;
        let import = ["/run/cluster/bin/ctr", "-n", "k8s.io", "images", "import", "-"];
        let mut command = Command::new("nsenter");
        command.args(["-t", init, "-a", "--"]).args(import).stdin(image);
        ensure!(command.status()?.success(), "cannot import {}", tar.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Owns the cluster until a signal arrives: the body of the background process.
pub fn hold() -> anyhow::Result<ExitCode> {
    // Threads inherit the mask, so it is set before any thread starts.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let _lock = claim()?;
    let start = Instant::now();
    let options = ClusterOptions {
        network: free_network()?,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start_with(options, |step| {
        println!("{:5.1} s  {step}", start.elapsed().as_secs_f32());
    })?;
    Network::join(cluster.lab(), INTERFACE, options.machine())?;
    fs::copy(cluster.kubeconfig(), file("kubeconfig"))?;
    let inits: anyhow::Result<Vec<_>> = cluster
        .nodes()
        .iter()
        .map(|node| Ok(node.init()?.to_string()))
        .collect();
    fs::write(file("logs"), cluster.logs().as_os_str().as_encoded_bytes())?;
    fs::write(file("nodes"), inits?.join("\n"))?;
    fs::write(file("instructions"), instructions(&cluster))?;
    println!("{READY}");
    signals.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the process id of the owner, if there is one.
fn owner() -> Option<i32> {
    let lock = File::open(file("lock")).ok()?;
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).err()?;
    fs::read_to_string(file("lock")).ok()?.trim().parse().ok()
}

fn claim() -> anyhow::Result<Flock<File>> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file("lock"))?;
    let Ok(mut lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        bail!("another cluster is starting");
    };
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    Ok(lock)
}

/// Finds a network that no route of the machine covers.
fn free_network() -> anyhow::Result<u8> {
    let output = Command::new("ip")
        .args(["-4", "-o", "route", "show", "table", "all"])
        .output()?;
    ensure!(output.status.success(), "cannot list the routes of the machine");
    let routes = String::from_utf8_lossy(&output.stdout);
    (0..=u8::MAX)
        .find(|number| !is_covered(&routes, *number))
        .context("all of 172.30.0.0/16 is in use on this machine")
}

/// Returns whether a route other than the default covers `172.30.N.0/24`.
fn is_covered(routes: &str, number: u8) -> bool {
    let network = u32::from(Ipv4Addr::new(172, 30, number, 0));
    let covers = |destination: &str| {
        let (address, length) = destination.split_once('/').unwrap_or((destination, "32"));
        let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
            return false;
        };
        let mask = u32::MAX.checked_shl(32 - length.min(24)).unwrap_or_default();
        u32::from(address) & mask == network & mask
    };
    routes
        .lines()
        .flat_map(|line| line.split(' ').take(2))
        .any(covers)
}

fn instructions(cluster: &Cluster) -> String {
    let bin = cluster.bin().display();
    let client = cluster.client().path().display();
    let node = cluster.node(1);
    format!(
        "\
The cluster is running. To use it from this shell, as root:

  export KUBECONFIG={kubeconfig} PATH={bin}:$PATH
  kubectl get nodes -o wide

An external client ({client_v4}, {client_v6}) reaches pods and services:

  nsenter --net={client} curl http://POD:8080/

To import an image (a tar of an OCI layout) on all nodes, and to open a shell on one of them:

  {own} load IMAGE.tar
  nsenter -t {init} -a bash

Logs: {logs}
`make cluster-down` removes the cluster.
",
        kubeconfig = file("kubeconfig").display(),
        client_v4 = cluster.client_addresses().v4,
        client_v6 = cluster.client_addresses().v6,
        own = std::env::current_exe().unwrap_or_default().display(),
        init = node.init().unwrap_or_default(),
        logs = cluster.logs().display(),
    )
}

fn file(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}
