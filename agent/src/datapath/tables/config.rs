//! The configuration of the programs: settings of the administrator, and offsets in the running kernel.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::fd::AsFd,
};

use aya::maps::{Array, MapData};
use xdp_core::{
    btf::field_offset,
    tables::{ABI_VERSION, Config, DEFAULT_FLOWS, maps, recent_len},
};
use xdp_plan::policy::MarkMask;

use crate::datapath::{
    error::OpenError,
    kernel::{pins::Pins, plain::Plain, sys},
    tables::PinnedTables,
};

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Default number of answers to rejected packets that a node sends per second.
pub const REJECTS_PER_SECOND: u32 = 1000;

/// Settings of the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Answers to rejected packets per second on this node; zero disables them.
    pub rejects_per_second: u32,
    /// Capacity of each flow table.
    pub flows: u32,
    /// The bits of a packet's mark that rules may set.
    pub mark_mask: MarkMask,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rejects_per_second: REJECTS_PER_SECOND,
            flows: DEFAULT_FLOWS,
            mark_mask: MarkMask::default(),
        }
    }
}

/// Writes the configuration, if it differs from the present one.
pub(in crate::datapath) fn write(
    pins: &Pins,
    tables: &mut PinnedTables,
    settings: Settings,
) -> Result<(), OpenError> {
    let failed = OpenError::table(maps::CONFIG);
    let Plain(present) = tables.config.get(&0, 0).map_err(&failed)?;
    let mut config = Config {
        abi: ABI_VERSION,
        devices_map_id: devices_map_id(pins)?,
        rejects_per_second: settings.rejects_per_second,
        mark_mask: settings.mark_mask.0,
        recent_mask: recent_len(settings.flows) - 1,
        seed: seed(pins, present.seed),
        ..Config::default()
    };
    set_offsets(&mut config);
    if present == config {
        return Ok(());
    }
    tables.config.set(0, Plain(config), 0).map_err(&failed)
}

/// The seed is kept across restarts: a new one would grant every source a full burst again. It is that of
/// another layout, too, whose programs run next to the new ones for a moment: replies carry it
/// ([`Config::seed`]).
fn seed(pins: &Pins, present: u64) -> u64 {
    let of_another = |pins: Pins| {
        let config: Array<MapData, Plain<Config>> = super::open(&pins, maps::CONFIG).ok()?;
        config.get(&0, 0).ok().map(|Plain(config)| config.seed)
    };
    let others = pins.others().unwrap_or_default();
    let known = [present]
        .into_iter()
        .chain(others.into_iter().filter_map(of_another));
    known.into_iter().find(|seed| *seed != 0).unwrap_or_else(random)
}

/// Returns a random number other than zero.
fn random() -> u64 {
    // The hasher's keys are the system's random numbers.
    RandomState::new().build_hasher().finish().max(1)
}

/// Sets the offsets of the kernel's fields that the programs read. Those that the kernel does not describe
/// stay zero.
fn set_offsets(config: &mut Config) {
    let btf = match fs::read(KERNEL_BTF) {
        Ok(btf) => btf,
        Err(error) => {
            tracing::warn!(%error, path = KERNEL_BTF, "no kernel BTF, failed redirects are not counted");
            return;
        }
    };
    config.net_device_ifindex = field_offset(&btf, "net_device", "ifindex").unwrap_or(0);
    let namespace = (
        field_offset(&btf, "net_device", "nd_net"),
        field_offset(&btf, "net", "net_cookie"),
        sys::netns_cookie(),
    );
    if let (Some(net), Some(cookie), Ok(own)) = namespace {
        (config.net_device_net, config.net_cookie, config.netns_cookie) = (net, cookie, own);
    }
}

fn devices_map_id(pins: &Pins) -> Result<u32, OpenError> {
    let path = pins.map(maps::DEVICES);
    let map = sys::open_pin(&path).map_err(|source| OpenError::pin("open", &path, source))?;
    sys::map_id(map.as_fd()).map_err(|source| OpenError::pin("inspect", &path, source))
}
