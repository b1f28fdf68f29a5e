//! Small programs on the NIC, instead of the agent's, which find out what the driver does.

use std::time::Duration;

use anyhow::Context as _;
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, xdp::DevMap},
    programs::{Xdp, loaded_programs},
};
use xdp_e2e_ebpf::{CLIENT, FrameMeasure, LRU_ENTRIES, ProbePlan, ProbeResult};
use xdp_lab::{XdpRefusal, wait_until};

use super::{frames::Flow, site::Site};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-e2e-ebpf"));

/// The limit until sent frames are seen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The name of a program: it executes a [`ProbePlan`].
pub(super) const ACT: &str = "act";
/// The name of a program with frags: it measures frames.
pub(super) const MEASURE: &str = "measure";

/// A program on the NIC while this value lives.
pub(super) struct Probe<'s, 'l> {
    site: &'s Site<'l>,
    ebpf: Ebpf,
}

impl<'s, 'l> Probe<'s, 'l> {
    /// Loads a program and attaches it to the NIC, which has none.
    pub(super) fn attach(site: &'s Site<'l>, program: &str) -> anyhow::Result<Result<Self, XdpRefusal>> {
        let mut ebpf = EbpfLoader::new().load(OBJECT)?;
        let xdp: &mut Xdp = ebpf.program_mut(program).context("no such program")?.try_into()?;
        xdp.load()
            .with_context(|| format!("the kernel does not load `{program}`"))?;
        let attached = site.lab.node().attach_xdp(&site.nic, xdp.fd()?)?;
        Ok(attached.map(|()| Self { site, ebpf }))
    }

    /// Sets what [`ACT`] does.
    pub(super) fn plan(&mut self, plan: ProbePlan) -> anyhow::Result<()> {
        let mut map: Array<_, ProbePlan> = self.map("PLAN")?.try_into()?;
        Ok(map.set(0, plan, 0)?)
    }

    /// Sets the target of redirects, an interface of the node.
    pub(super) fn redirect_to(&mut self, ifindex: u32) -> anyhow::Result<()> {
        let node = self.site.lab.node();
        let mut map: DevMap<_> = self.map("DEVICES")?.try_into()?;
        Ok(node.run(|| map.set(0, ifindex, None, 0))??)
    }

    /// Lets the peer send frames, waits until [`ACT`] has seen all, and returns what it found at the last.
    pub(super) fn act(&mut self, frame: &[u8], count: usize) -> anyhow::Result<ProbeResult> {
        let before = self.seen()?.frames;
        self.site.peer.send(vec![frame.to_vec(); count])?;
        wait_until("the program has seen the frames", PATIENCE, || {
            self.seen().is_ok_and(|seen| seen.frames == before + count as u64)
        })?;
        self.seen()
    }

    /// Lets the peer send frames, waits until [`MEASURE`] has seen all, and returns what it found at the
    /// last.
    pub(super) fn measure(&mut self, frame: &[u8], count: usize) -> anyhow::Result<FrameMeasure> {
        let before = self.measured()?.frames;
        self.site.peer.send(vec![frame.to_vec(); count])?;
        wait_until("the program has seen the frames", PATIENCE, || {
            self.measured()
                .is_ok_and(|seen| seen.frames == before + count as u64)
        })?;
        self.measured()
    }

    fn seen(&mut self) -> anyhow::Result<ProbeResult> {
        let map: Array<_, ProbeResult> = self.map("SEEN")?.try_into()?;
        Ok(map.get(&0, 0)?)
    }

    fn measured(&mut self) -> anyhow::Result<FrameMeasure> {
        let map: Array<_, FrameMeasure> = self.map("MEASURE")?.try_into()?;
        Ok(map.get(&0, 0)?)
    }

    fn map(&mut self, name: &str) -> anyhow::Result<&mut aya::maps::Map> {
        self.ebpf
            .map_mut(name)
            .with_context(|| format!("no map `{name}`"))
    }
}

impl Drop for Probe<'_, '_> {
    fn drop(&mut self) {
        let _ = self.site.lab.node().detach_xdp(&self.site.nic);
    }
}

/// A frame that the programs take as one of the tests.
pub(super) fn frame(flow: Flow, payload: usize) -> Vec<u8> {
    Flow {
        from_mac: CLIENT,
        ..flow
    }
    .udp(&vec![0; payload])
}

/// Inserts twice as many entries into an LRU map as it has room for, and returns which it has in the end.
pub(super) fn overfill_lru() -> anyhow::Result<Vec<u32>> {
    let mut ebpf = EbpfLoader::new().load(OBJECT)?;
    let map = ebpf.map_mut("RECENT").context("no map `RECENT`")?;
    let mut map: HashMap<_, u32, u32> = map.try_into()?;
    for key in 0..2 * LRU_ENTRIES {
        map.insert(key, key, 0)
            .with_context(|| format!("the full map refuses entry {key}"))?;
    }
    Ok(map.keys().collect::<Result<_, _>>()?)
}

/// Returns how many instructions the verifier has processed for each of the agent's programs, by name.
pub(super) fn verified_instructions() -> Vec<(String, u32)> {
    const OWN: [&str; 5] = ["xdp_nic", "nic_peer", "pod_reader", "pod_out", "nic_out"];
    let number = |program: aya::programs::ProgramInfo| {
        let name = program.name_as_str()?.to_owned();
        Some((name, program.verified_instruction_count()?))
    };
    let all = loaded_programs().filter_map(Result::ok).filter_map(number);
    all.filter(|(name, _)| OWN.contains(&name.as_str()) || name == "pod_in")
        .collect()
}
