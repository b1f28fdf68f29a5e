//! What the tracepoint programs must know about the running kernel.

use std::os::fd::AsFd;

use btf_rs::{Btf, Type};
use xdp_core::tables::{ABI_VERSION, Config, maps};

use super::error::OpenError;
use super::pins::Pins;
use super::raw::Raw;
use super::sys;
use super::tables::Tables;

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Writes the configuration, unless it is there already.
pub(super) fn write(pins: &Pins, tables: &mut Tables) -> Result<(), OpenError> {
    let config = Config {
        abi: ABI_VERSION,
        devices_map_id: devices_map_id(pins)?,
        net_device_ifindex: net_device_ifindex().unwrap_or(0),
        reserved: 0,
    };
    let failed = OpenError::table(maps::CONFIG);
    let Raw(present) = tables.config.get(&0, 0).map_err(&failed)?;
    if present == config {
        return Ok(());
    }
    tables.config.set(0, Raw(config), 0).map_err(&failed)
}

fn devices_map_id(pins: &Pins) -> Result<u32, OpenError> {
    let path = pins.map(maps::DEVICES);
    let map = sys::open_pin(&path).map_err(|source| OpenError::pin("open", &path, source))?;
    sys::map_id(map.as_fd()).map_err(|source| OpenError::pin("inspect", &path, source))
}

/// Byte offset of `ifindex` in `struct net_device`, if the kernel describes its types.
fn net_device_ifindex() -> Option<u32> {
    let btf = Btf::from_file(KERNEL_BTF)
        .inspect_err(|error| tracing::warn!(%error, "no kernel BTF: flush failures are not counted"))
        .ok()?;
    let types = btf.resolve_types_by_name("net_device").ok()?;
    types.into_iter().find_map(|found| match found {
        Type::Struct(found) => member_offset(&btf, &found, "ifindex"),
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
