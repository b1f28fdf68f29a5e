//! A node with two NICs and many pods, and the product on one of the NICs.
//!
//! The agent only uses `nic0`; `nic1` is the NIC without the product. Both NICs have one MAC address, so a
//! frame can be sent to either NIC.

mod flows;
mod receivers;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramFd, loaded_programs};
pub use flows::{FLOWS, FlowMapKey};
pub use receivers::Receivers;
use xdp_e2e::{Agent, ManifestFolder};
use xdp_lab::{Lab, LabPod, LabPodSpec, Namespace, Nic, NicSpec, Style, bpf};

use crate::{
    instruments::{Instruments, PodDevice},
    workload::{ExpectedVerdict, FrameSpec, TestFlow, Workload, WorkloadPod, frame, policies},
};

/// The usual maximum of pods per node, plus two for comparison and one that no policy selects.
pub const PODS: u8 = 113;
/// The usual maximum of pods per node.
const FULL_NODE: usize = 110;
/// Time limit for the agent.
const PATIENCE: Duration = Duration::from_mins(1);

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The node with its NICs, pods and agent, which are removed when it is dropped.
pub struct Testbed<'a> {
    /// The node.
    pub node: Namespace,
    /// The NIC with the product's program.
    pub nic: Nic,
    /// The NIC without the product.
    pub plain_nic: Nic,
    /// The pods; the last byte of their addresses is their index plus one.
    pub pods: Vec<LabPod>,
    /// The folder that the agent watches.
    pub manifests: ManifestFolder,
    /// The agent.
    pub agent: Agent<'a>,
    program: ProgramFd,
    pins: PathBuf,
    with_rules: BTreeSet<String>,
}

impl<'a> Testbed<'a> {
    /// Creates a node with this many pods, all of them in the manifests, and no policy.
    pub fn new(lab: &'a Lab, pods: u8) -> Result<Self> {
        let node = lab.node().clone();
        let nic = lab.nic(NicSpec::new("nic0", &lab.namespace("client")?))?;
        // The sources of workloads are anywhere.
        nic.make_gateway()?;
        let plain_nic = lab.nic(NicSpec::new("nic1", &lab.namespace("other-client")?))?;
        crate::command::run(&node, &format!("ip link set nic1 address {}", text(nic.mac)))?;
        let manifests = ManifestFolder::new(lab)?;
        let pods = (1..=pods)
            .map(|number| {
                let pod = lab.pod(&spec(number))?;
                manifests.write_pod(&name(number), &name(number), &pod)?;
                Ok(pod)
            })
            .collect::<Result<Vec<LabPod>>>()?;
        let mut agent = Agent::new(lab, &manifests).nics(&["nic0"]).listens().arguments(&[
            "--flows",
            FLOWS,
            "--allowed-mark-mask",
            "0xffffffff",
        ]);
        agent.start()?;
        let program = find_program(&agent)?;
        Ok(Self {
            node,
            nic,
            plain_nic,
            pods,
            manifests,
            agent,
            program,
            pins: lab.pin_dir(),
            with_rules: BTreeSet::new(),
        })
    }

    /// Returns the product's XDP program.
    pub fn product(&self) -> Result<ProgramFd> {
        Ok(self.program.try_clone()?)
    }

    /// Returns the IPv4 addresses of the first pods.
    pub fn v4(&self, pods: usize) -> Vec<IpAddr> {
        self.pods.iter().take(pods).map(LabPod::v4).collect()
    }

    /// Returns the IPv6 addresses of the first pods.
    pub fn v6(&self, pods: usize) -> Vec<IpAddr> {
        self.pods.iter().take(pods).map(LabPod::v6).collect()
    }

    /// Returns a workload of the first pods without rules, for benchmarks that write policies themselves.
    pub fn targets(&self, pods: usize, epoch: u32) -> Workload {
        let target = |address| WorkloadPod {
            address,
            rules: Vec::new(),
            peer: false,
        };
        Workload {
            targets: self.v4(pods).into_iter().map(target).collect(),
            epoch,
        }
    }

    /// Returns the workload of a full node: 110 pods with 100 rules each.
    pub fn full_workload(&self, epoch: u32) -> Workload {
        Workload::new(&self.v4(FULL_NODE), 100, epoch)
    }

    /// Returns the devices of all pods, for the rivals.
    pub fn pod_devices(&self) -> Vec<PodDevice> {
        (1..)
            .zip(&self.pods)
            .map(|(slot, pod)| PodDevice { slot, mac: pod.mac })
            .collect()
    }

    /// Writes the policies of one pod.
    pub fn write(&self, workload: &Workload, target: usize) -> Result<()> {
        let app = app(workload, target);
        self.manifests
            .write(&file(&app), &policies(workload, target, &app))
    }

    /// Stops the agent, uninstalls it, starts it again with these policies, and waits until they are
    /// programmed.
    pub fn reinstall(&mut self, workload: &Workload) -> Result<()> {
        self.reinstall_with(|testbed| testbed.write_all(workload))?;
        self.wait_for(workload)
    }

    /// Stops the agent, uninstalls it, and starts it again after `write` has written manifests.
    pub fn reinstall_with(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.agent.stop()?;
        self.reinstall_after_stop(write)
    }

    /// Uninstalls a stopped agent, and starts it again after `write` has written manifests.
    pub fn reinstall_after_stop(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.agent.uninstall()?;
        write(self)?;
        self.agent.start()?;
        self.program = find_program(&self.agent)?;
        Ok(())
    }

    /// Writes the policies of a workload, and waits until each pod's last rule applies. Returns the time that
    /// took.
    pub fn install(&mut self, workload: &Workload) -> Result<Duration> {
        let start = Instant::now();
        self.write_all(workload)?;
        self.wait_for(workload)?;
        Ok(start.elapsed())
    }

    /// Writes the policies of a workload, and removes those of all other pods.
    fn write_all(&mut self, workload: &Workload) -> Result<()> {
        let apps: BTreeSet<String> = (0..workload.targets.len())
            .map(|target| app(workload, target))
            .collect();
        for target in 0..workload.targets.len() {
            self.write(workload, target)?;
        }
        for gone in self.with_rules.difference(&apps) {
            self.manifests.remove(&file(gone))?;
        }
        self.with_rules = apps;
        Ok(())
    }

    fn wait_for(&self, workload: &Workload) -> Result<()> {
        (0..workload.targets.len())
            .try_for_each(|target| self.wait_until_right(workload, &workload.probe(target)))
    }

    /// Waits until the product's verdict on a flow is the expected one.
    pub fn wait_until_right(&self, workload: &Workload, flow: &TestFlow) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_right(workload, flow)? {
            ensure!(
                Instant::now() < deadline,
                "the rules of pod {} are not programmed: {:?}; log of the agent:\n{}",
                flow.target,
                self.verdict(workload, flow)?,
                tail(&self.agent.log())
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Returns whether the product's verdict on a flow is the expected one.
    pub fn is_right(&self, workload: &Workload, flow: &TestFlow) -> Result<bool> {
        let ran = self.verdict(workload, flow)?;
        Ok(is_right(&ran, workload, flow))
    }

    /// Runs the product's program on a flow.
    pub fn verdict(&self, workload: &Workload, flow: &TestFlow) -> Result<bpf::TestRun> {
        self.run_at_nic(&self.program, workload, flow)
    }

    /// Runs a program on a flow's frame, as if it had arrived at the NIC.
    fn run_at_nic(&self, program: &ProgramFd, workload: &Workload, flow: &TestFlow) -> Result<bpf::TestRun> {
        let (frame, nic) = (self.frame(workload, flow), self.nic.ifindex);
        Ok(self.node.run(|| bpf::run_once(program, &frame, nic))??)
    }

    /// Loads the instruments for this node: what they run sees packets of its NIC.
    pub fn instruments(&self) -> Result<Instruments> {
        Ok(Instruments::load(false)?.at(&self.node, self.nic.ifindex))
    }

    /// Returns the flow's frame. If the flow is redirected, the frame contains the expected mark.
    pub fn frame(&self, workload: &Workload, flow: &TestFlow) -> crate::shared::FrameBytes {
        let mark = match flow.verdict {
            ExpectedVerdict::Redirect(number) => Some(workload.mark(number)),
            ExpectedVerdict::Drop(_) | ExpectedVerdict::Miss => None,
        };
        let pod = workload.targets[flow.target].address;
        frame(
            flow,
            FrameSpec {
                to: self.nic.mac,
                pod,
                mark,
            },
        )
    }

    /// Returns the flows on which a program's verdict is wrong, with its result.
    pub fn wrong(
        &self,
        program: &ProgramFd,
        workload: &Workload,
        flows: &[TestFlow],
    ) -> Result<Vec<(TestFlow, bpf::TestRun)>> {
        let mut wrong = Vec::new();
        for flow in flows {
            let ran = self.run_at_nic(program, workload, flow)?;
            if !is_right(&ran, workload, flow) {
                wrong.push((*flow, ran));
            }
        }
        Ok(wrong)
    }
}

fn is_right(ran: &bpf::TestRun, workload: &Workload, flow: &TestFlow) -> bool {
    let mark = || {
        ran.metadata
            .get(8..12)
            .map(|mark| u32::from_ne_bytes([mark[0], mark[1], mark[2], mark[3]]))
    };
    match flow.verdict {
        ExpectedVerdict::Miss => ran.action == XDP_PASS && ran.metadata.is_empty(),
        ExpectedVerdict::Drop(_) => ran.action == XDP_DROP,
        ExpectedVerdict::Redirect(number) => {
            let action = if workload.targets[flow.target].peer {
                XDP_PASS
            } else {
                XDP_REDIRECT
            };
            ran.action == action && mark() == Some(workload.mark(number))
        }
    }
}

/// Returns the program that the agent attached to its NIC.
fn find_program(agent: &Agent<'_>) -> Result<ProgramFd> {
    let status = agent.wait_for("the program is attached to the NIC", |status| {
        status.nic_mode("nic0") == Some("Native")
    });
    let id = status
        .program_id("nic0")
        .context("the status has no program id")?;
    for info in loaded_programs() {
        let info = info?;
        if u64::from(info.id()) == id {
            return Ok(info.fd()?);
        }
    }
    anyhow::bail!("program {id} is not loaded")
}

/// Returns the name of a workload's pod: its address ends with its number.
fn app(workload: &Workload, target: usize) -> String {
    let number = match workload.targets[target].address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    name(number)
}

fn file(app: &str) -> String {
    format!("policy-{app}.yaml")
}

/// Returns the name of a pod; numbers start with 1.
pub fn name(number: u8) -> String {
    format!("p{number}")
}

fn spec(number: u8) -> LabPodSpec {
    let (v4, v6) = (format!("10.2.0.{number}/32"), format!("fd02::{number:x}/128"));
    let spec = LabPodSpec::new(&name(number), Style::Ptp);
    match (v4.parse(), v6.parse()) {
        (Ok(v4), Ok(v6)) => spec.v4(v4).v6(v6),
        _ => spec,
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
