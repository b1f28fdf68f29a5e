//! The generic netlink family `ethtool` (Linux 5.6 and later), for what the older ioctl does not show.

use netlink_packet_core::{DecodeError, Emitable, NlasIterator, emit_u16, emit_u32, parse_u8};
use netlink_packet_generic::{GenlFamily, GenlMessage};

use crate::node::netlink::{NetlinkError, client::Client, genl::resolve};

// include/uapi/linux/ethtool_netlink.h and ethtool_netlink_generated.h
const ETHTOOL_MSG_RINGS_GET: u8 = 15;
const ETHTOOL_A_RINGS_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_RINGS_TCP_DATA_SPLIT: u16 = 11;
const ETHTOOL_TCP_DATA_SPLIT_ENABLED: u8 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
const HEADER_LEN: usize = 4;

/// The `ethtool` family of the running kernel.
pub struct Ethnl {
    client: Client,
    family: u16,
}

impl Ethnl {
    /// Looks up the family. Returns `None` on kernels without it.
    pub fn open() -> Result<Option<Self>, NetlinkError> {
        let mut client = Client::generic()?;
        let family = resolve(&mut client, "ethtool")?;
        Ok(family.map(|family| Self {
            client,
            family: family.id,
        }))
    }

    /// Returns whether headers and data of TCP segments are split into different buffers (Linux 5.17).
    pub fn data_split(&mut self, ifindex: u32) -> Result<bool, NetlinkError> {
        let request = "ETHTOOL_MSG_RINGS_GET";
        let mut message = GenlMessage::from_payload(RingsGet { ifindex });
        message.set_resolved_family_id(self.family);
        let reply = self.client.get(request, message)?;
        is_split(&reply).map_err(|source| NetlinkError::Malformed { request, source })
    }
}

pub(super) fn is_split(reply: &[u8]) -> Result<bool, DecodeError> {
    for attribute in NlasIterator::new(reply.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind() == ETHTOOL_A_RINGS_TCP_DATA_SPLIT {
            return Ok(parse_u8(attribute.value())? == ETHTOOL_TCP_DATA_SPLIT_ENABLED);
        }
    }
    Ok(false)
}

/// The only request of the family that the agent sends.
#[derive(Clone, Debug)]
struct RingsGet {
    ifindex: u32,
}

impl GenlFamily for RingsGet {
    fn family_name() -> &'static str {
        "ethtool"
    }

    fn command(&self) -> u8 {
        ETHTOOL_MSG_RINGS_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for RingsGet {
    fn buffer_len(&self) -> usize {
        12
    }

    fn emit(&self, buffer: &mut [u8]) {
        let attribute = "the caller allocates `buffer_len` bytes";
        emit_u16(&mut buffer[..2], 12).expect(attribute);
        emit_u16(&mut buffer[2..4], ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED).expect(attribute);
        emit_u16(&mut buffer[4..6], 8).expect(attribute);
        emit_u16(&mut buffer[6..8], ETHTOOL_A_HEADER_DEV_INDEX).expect(attribute);
        emit_u32(&mut buffer[8..12], self.ifindex).expect(attribute);
    }
}
