//! Traces of a lab, and a witness of the destruction of its namespaces.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use xdp_lab::{Lab, wait_until};

use crate::fixture::{Fixture, SOON};

/// Traces of a lab that outlive their owner's handles.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    pub(crate) dir: PathBuf,
    pub(crate) node: PathBuf,
    /// A process that the lab started, and a child of it.
    pub(crate) processes: Vec<u32>,
}

impl Traces {
    /// Creates one of each kind: namespaces, mounts, pins (a directory takes their place), processes.
    pub(crate) fn make(fixture: &Fixture) -> Self {
        fs::create_dir(fixture.lab.pin_dir()).unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped());
        let mut shell = fixture.ptp.ns.spawn(shell).unwrap();
        let mut sleep = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut sleep)
            .unwrap();
        Self {
            dir: fixture.lab.dir().to_owned(),
            node: fixture.lab.node().path().to_owned(),
            processes: vec![shell.id(), sleep.trim().parse().unwrap()],
        }
    }

    pub(crate) fn all_there(&self) -> bool {
        self.dir.join("bpf/xdp-operator").exists()
            && mounts_below(&self.dir) >= 5
            && self.lock().exists()
            && self.processes.iter().all(|pid| alive(*pid))
    }

    pub(crate) fn all_gone(&self) -> bool {
        !self.dir.exists()
            && mounts_below(&self.dir) == 0
            && !self.lock().exists()
            && !self.processes.iter().any(|pid| alive(*pid))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.with_extension("lock")
    }
}

/// An interface in another lab whose other end is in the node: the kernel deletes it when it destroys the
/// node's namespace, and not earlier.
pub(crate) struct Witness {
    lab: Lab,
}

impl Witness {
    pub(crate) fn of(traces: &Traces) -> Self {
        let lab = Lab::new().unwrap();
        let mut ip = Command::new("ip");
        ip.args("link add witness type veth peer name observed netns".split(' '))
            .arg(&traces.node);
        assert!(
            lab.node()
                .spawn(ip)
                .unwrap()
                .finish(SOON)
                .unwrap()
                .status
                .success()
        );
        let witness = Self { lab };
        assert!(witness.sees());
        witness
    }

    fn sees(&self) -> bool {
        self.lab.node().find_interface("witness").unwrap().is_some()
    }

    pub(crate) fn wait(&self, traces: &Traces) {
        wait_until("all traces of the lab are gone", SOON, || traces.all_gone()).unwrap();
        wait_until("the namespace is destroyed", SOON, || !self.sees()).unwrap();
    }
}

/// Returns whether a process is alive. A zombie is not: its parent has to wait for it.
fn alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("\nState:") && !status.contains("\nState:\tZ")
}

fn mounts_below(dir: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_str().unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| {
            point
                .strip_prefix(dir)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .count()
}
