//! What the programs must know about the running kernel and the administrator's wishes.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::fd::AsFd,
};

use btf_rs::{Btf, Type};
use xdp_core::tables::{ABI_VERSION, Config, DEFAULT_FLOWS, maps, recent_places};

use crate::datapath::{
    error::OpenError,
    kernel::{pins::Pins, plain::Raw, sys},
    tables::Tables,
};

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Answers to rejected packets that a node sends in a second, unless the administrator says otherwise.
pub const REJECTS_PER_SECOND: u32 = 1000;

/// The administrator's wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Answers to rejected packets per second on this node; zero: none.
    pub rejects_per_second: u32,
    /// Flows that each of the tables of flows can hold.
    pub flows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rejects_per_second: REJECTS_PER_SECOND,
            flows: DEFAULT_FLOWS,
        }
    }
}

/// Writes the configuration, unless it is there already.
pub(in crate::datapath) fn write(
    pins: &Pins,
    tables: &mut Tables,
    settings: Settings,
) -> Result<(), OpenError> {
    let failed = OpenError::table(maps::CONFIG);
    let Raw(present) = tables.config.get(&0, 0).map_err(&failed)?;
    let mut config = Config {
        abi: ABI_VERSION,
        devices_map_id: devices_map_id(pins)?,
        rejects_per_second: settings.rejects_per_second,
        recent_mask: recent_places(settings.flows) - 1,
        seed: if present.seed == 0 { random() } else { present.seed },
        ..Config::default()
    };
    kernel_layout(&mut config);
    if present == config {
        return Ok(());
    }
    tables.config.set(0, Raw(config), 0).map_err(&failed)
}

/// Not zero. Made once: with another one, every source would begin anew with a whole burst.
fn random() -> u64 {
    // The hasher's keys are the system's random numbers.
    RandomState::new().build_hasher().finish().max(1)
}

/// Where the running kernel keeps what the programs read, as far as it describes its types.
fn kernel_layout(config: &mut Config) {
    let btf = match Btf::from_file(KERNEL_BTF) {
        Ok(btf) => btf,
        Err(error) => return tracing::warn!(%error, "no kernel BTF: flush failures are not counted"),
    };
    let offset = |structure, member| offset(&btf, structure, member);
    config.net_device_ifindex = offset("net_device", "ifindex").unwrap_or(0);
    let namespace = (
        offset("net_device", "nd_net"),
        offset("net", "net_cookie"),
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

fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    types.into_iter().find_map(|found| match found {
        Type::Struct(found) => member_offset(btf, &found, member),
        _ => None,
    })
}

/// Offset of a member in bytes; anonymous structures count as their parent's part.
fn member_offset(btf: &Btf, parent: &btf_rs::Struct, name: &str) -> Option<u32> {
    parent.members.iter().find_map(|member| {
        let offset = member.bit_offset() / 8;
        match btf.resolve_name(member).ok()?.as_str() {
            "" => match btf.resolve_chained_type(member).ok()? {
                Type::Struct(inner) | Type::Union(inner) => Some(offset + member_offset(btf, &inner, name)?),
                _ => None,
            },
            found => (found == name).then_some(offset),
        }
    })
}
