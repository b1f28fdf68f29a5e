//! The suite's own programs: feeder, ceilings, rivals and receivers.

mod fill;
mod run;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{
        Array, DevMap, HashMap, MapData, PerCpuArray, PerCpuValues, ProgramArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{Program, ProgramFd},
    util::nr_cpus,
};
pub use fill::PodDevice;
pub(crate) use run::on_cpu;
pub use run::{FrameSet, LiveTrial};
use xdp_lab::Namespace;

use crate::shared::{FLOWS, FeederPlan, FeederProgress, FrameBytes, ReceivedPackets};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-bench-ebpf"));

/// The CPU that injects packets.
pub const CPU: usize = 1;

/// One instance of the programs with its own maps.
pub struct Instruments {
    ebpf: Ebpf,
    plan: Array<MapData, FeederPlan>,
    progress: PerCpuArray<MapData, FeederProgress>,
    frames: Array<MapData, FrameBytes>,
    under_test: ProgramArray<MapData>,
    received: PerCpuArray<MapData, ReceivedPackets>,
    devices: DevMap<MapData>,
    indexes: Array<MapData, u32>,
    /// The node, and its NIC, at which packets of test runs arrive; `None`: at no NIC in particular.
    nic: Option<(Namespace, u32)>,
}

impl Instruments {
    /// Loads all programs whose names do not begin with `m_`, or with `micro` only those.
    pub fn load(micro: bool) -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT).context("cannot load the suite's eBPF object")?;
        for (name, program) in ebpf.programs_mut() {
            if name.starts_with("m_") != micro && name != "drop_all" && name != "feed" {
                continue;
            }
            match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => Ok(()),
            }
            .with_context(|| format!("the verifier refuses `{name}`"))?;
        }
        let mut take = |name| ebpf.take_map(name).with_context(|| format!("no map `{name}`"));
        Ok(Self {
            plan: take("PLAN")?.try_into()?,
            progress: take("PROGRESS")?.try_into()?,
            frames: take("FRAMES")?.try_into()?,
            under_test: take("UNDER_TEST")?.try_into()?,
            received: take("RECEIVED")?.try_into()?,
            devices: take("DEVICES")?.try_into()?,
            indexes: take("INDEXES")?.try_into()?,
            ebpf,
            nic: None,
        })
    }

    /// Makes the packets of test runs arrive at a NIC of a node.
    #[must_use]
    pub fn at(self, node: &Namespace, nic: u32) -> Self {
        let nic = Some((node.clone(), nic));
        Self { nic, ..self }
    }

    /// Returns one of its programs.
    pub fn program(&self, name: &str) -> Result<ProgramFd> {
        let fd = match self.ebpf.program(name) {
            Some(Program::Xdp(program)) => program.fd(),
            Some(Program::SchedClassifier(program)) => program.fd(),
            _ => bail!("no program `{name}`"),
        };
        Ok(fd?.try_clone()?)
    }

    /// Sets the device of a key, for redirects and for `bpf_redirect_peer`.
    pub fn add_device(&mut self, node: &Namespace, key: u8, ifindex: u32) -> Result<()> {
        let (devices, indexes) = (&mut self.devices, &mut self.indexes);
        // The kernel looks the interface up in the caller's network namespace.
        node.run(|| devices.set(u32::from(key), ifindex, None, 0))??;
        indexes.set(u32::from(key), ifindex, 0)?;
        Ok(())
    }

    /// Sets the frames of a set, repeated until it is full.
    pub fn set_frames(&mut self, set: FrameSet, frames: &[FrameBytes]) -> Result<()> {
        for (index, frame) in frames.iter().cycle().take(FLOWS as usize).enumerate() {
            self.frames.set(set.0 * FLOWS + index as u32, frame, 0)?;
        }
        Ok(())
    }

    /// Sets frames in as many sets as they need.
    pub fn set_many_frames(&mut self, first: FrameSet, frames: &[FrameBytes]) -> Result<()> {
        for (set, frames) in (first.0..).zip(frames.chunks(FLOWS as usize)) {
            self.set_frames(FrameSet(set), frames)?;
        }
        Ok(())
    }

    /// Returns the sum of the receivers' counts over all CPUs.
    pub fn received(&self) -> Result<ReceivedPackets> {
        let mut sum = ReceivedPackets::default();
        for one in self.received.get(&0, 0)?.iter() {
            sum.packets += one.packets;
            sum.expecting += one.expecting;
            sum.right += one.right;
            sum.wrong += one.wrong;
        }
        Ok(sum)
    }

    /// Returns when a mark first arrived, and how often it did. Only the last twelve bits of a mark count.
    pub fn mark_seen(&self, mark: u32) -> Result<(u64, u64)> {
        let first: Array<_, u64> = self.ebpf.map("FIRST").context("no map `FIRST`")?.try_into()?;
        let counts: PerCpuArray<_, u64> = self.ebpf.map("MARKS").context("no map `MARKS`")?.try_into()?;
        let count = counts.get(&(mark & 4095), 0)?.iter().sum();
        Ok((first.get(&(mark & 4095), 0)?, count))
    }

    /// Fills the maps of the micro benchmarks up to `to` entries, and draws random keys from these.
    pub fn fill_micro(&mut self, from: u32, to: u32) -> Result<()> {
        for key in from..to {
            self.map::<HashMap<_, u32, u64>>("M_HASH4")?.insert(key, 1, 0)?;
            self.map::<HashMap<_, [u32; 4], u64>>("M_HASH16")?
                .insert([key, 1, 2, 3], 1, 0)?;
            self.map::<HashMap<_, [u32; 4], u64>>("M_LRU")?
                .insert([key, 1, 2, 3], 1, 0)?;
            let scattered = key.wrapping_mul(2_654_435_761).to_be_bytes();
            self.map::<LpmTrie<_, [u8; 4], u64>>("M_LPM")?
                .insert(&Key::new(32, scattered), 1, 0)?;
        }
        let draw = [u64::from(to), 88_172_645_463_325_252];
        self.map::<Array<_, [u64; 2]>>("DRAW")?.set(0, draw, 0)?;
        Ok(())
    }
}

fn each_cpu<T: aya::Pod>(value: T) -> Result<PerCpuValues<T>> {
    let cpus = nr_cpus().map_err(|(what, error)| anyhow::Error::new(error).context(what))?;
    Ok(PerCpuValues::try_from(vec![value; cpus])?)
}
