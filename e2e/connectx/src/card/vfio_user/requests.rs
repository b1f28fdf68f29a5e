//! What the client asks for.

use nix::errno::Errno;

use crate::card::{
    configuration,
    device::{BAR_SIZE, Device},
    findings::Finding,
    interrupts::VECTORS,
    vfio_user::{LONGEST_TRANSFER, Request},
};

/// Commands (`enum vfio_user_command`).
mod command {
    pub(super) const VERSION: u16 = 1;
    pub(super) const DMA_MAP: u16 = 2;
    pub(super) const DMA_UNMAP: u16 = 3;
    pub(super) const DEVICE_GET_INFO: u16 = 4;
    pub(super) const DEVICE_GET_REGION_INFO: u16 = 5;
    pub(super) const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub(super) const DEVICE_SET_IRQS: u16 = 8;
    pub(super) const REGION_READ: u16 = 9;
    pub(super) const REGION_WRITE: u16 = 10;
    pub(super) const DEVICE_RESET: u16 = 13;
}

/// Capabilities of the server, and the limits that they state.
const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}\0";

/// Flags of the device (`VFIO_DEVICE_FLAGS_*`): it can be reset and is a PCI device.
const DEVICE_FLAGS: u32 = 1 | 2;
/// The number of regions and of kinds of interrupts of a PCI device.
const REGIONS: u32 = 9;
const INTERRUPTS: u32 = 5;
/// The regions and the kind of interrupts that the card has.
const BAR_0: u32 = 0;
const CONFIGURATION: u32 = 7;
const MSI_X: u32 = 2;
/// Flags of a region: it can be read and written.
const READ_WRITE: u32 = 1 | 2;
/// Flags of interrupts: they are eventfds; and of setting them: with eventfds.
const EVENTFD: u32 = 1;
const DATA_EVENTFD: u32 = 4;

pub(super) fn handle(request: Request, device: &mut Device) -> Result<Vec<u8>, Errno> {
    match request.command {
        command::VERSION => version(&request),
        command::DMA_MAP => map(&request, device),
        command::DMA_UNMAP => unmap(request, device),
        command::DEVICE_GET_INFO => Ok(words(&[16, DEVICE_FLAGS, REGIONS, INTERRUPTS])),
        command::DEVICE_GET_REGION_INFO => region(&request),
        command::DEVICE_GET_IRQ_INFO => {
            let kind = request.u32(8)?;
            Ok(words(&[
                16,
                EVENTFD,
                kind,
                if kind == MSI_X { VECTORS as u32 } else { 0 },
            ]))
        }
        command::DEVICE_SET_IRQS => set_interrupts(request, device),
        command::REGION_READ => read(&request, device),
        command::REGION_WRITE => write(&request, device),
        command::DEVICE_RESET => {
            device.reset();
            Ok(Vec::new())
        }
        command => {
            device.findings.push(Finding::Transport { command });
            Err(Errno::ENOSYS)
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Answers with the client's version and our capabilities.
fn version(request: &Request) -> Result<Vec<u8>, Errno> {
    let mut answer = words(&[request.u32(0)?]);
    answer.extend(CAPABILITIES);
    Ok(answer)
}

/// Maps memory: length of the arguments, flags, offset, address, size.
fn map(request: &Request, device: &mut Device) -> Result<Vec<u8>, Errno> {
    let (offset, address, size) = (request.u64(8)?, request.u64(16)?, request.u64(24)?);
    // Without a descriptor the client would do the DMA itself, which the card never asks for.
    if let Some(file) = request.descriptors.first() {
        device
            .memory
            .map(address, size, offset, file)
            .map_err(|_| Errno::EINVAL)?;
    }
    Ok(Vec::new())
}

fn unmap(request: Request, device: &mut Device) -> Result<Vec<u8>, Errno> {
    device.memory.unmap(request.u64(8)?, request.u64(16)?);
    Ok(request.body)
}

/// Describes a region: length of the answer, flags, index, offset of capabilities, size, offset.
fn region(request: &Request) -> Result<Vec<u8>, Errno> {
    let index = request.u32(8)?;
    let size = match index {
        BAR_0 => BAR_SIZE as u32,
        CONFIGURATION => configuration::SIZE as u32,
        _ => 0,
    };
    let flags = if size > 0 { READ_WRITE } else { 0 };
    Ok(words(&[32, flags, index, 0, size, 0, 0, 0]))
}

/// Sets interrupts: length of the arguments, flags, kind, first, count.
fn set_interrupts(request: Request, device: &mut Device) -> Result<Vec<u8>, Errno> {
    let (flags, kind) = (request.u32(4)?, request.u32(8)?);
    let (first, count) = (request.u32(12)? as usize, request.u32(16)? as usize);
    if kind != MSI_X {
        return Ok(Vec::new());
    }
    if flags & DATA_EVENTFD != 0 {
        let end = first
            .checked_add(count)
            .filter(|end| *end <= VECTORS)
            .ok_or(Errno::EINVAL)?;
        let mut events = request.descriptors.into_iter();
        for vector in first..end {
            device.interrupts.set(vector, events.next());
        }
    } else if count == 0 {
        device.interrupts.clear();
    }
    Ok(Vec::new())
}

/// Reads a region: offset, region, count.
fn read(request: &Request, device: &Device) -> Result<Vec<u8>, Errno> {
    let (offset, region, count) = (request.u64(0)?, request.u32(8)?, request.u32(12)? as usize);
    if count > LONGEST_TRANSFER {
        return Err(Errno::EINVAL);
    }
    let mut data = vec![0; count];
    match region {
        BAR_0 => device.read_registers(offset, &mut data),
        CONFIGURATION => device.configuration.read(offset, &mut data),
        _ => {}
    }
    let mut answer = request.body.get(..16).ok_or(Errno::EINVAL)?.to_vec();
    answer.extend(data);
    Ok(answer)
}

/// Writes a region: offset, region, count, data.
fn write(request: &Request, device: &mut Device) -> Result<Vec<u8>, Errno> {
    let (offset, region) = (request.u64(0)?, request.u32(8)?);
    let (head, data) = request.body.split_at_checked(16).ok_or(Errno::EINVAL)?;
    match region {
        BAR_0 => device.write_registers(offset, data),
        CONFIGURATION => device.configuration.write(offset, data),
        _ => {}
    }
    Ok(head.to_vec())
}
