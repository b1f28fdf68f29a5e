//! The generic netlink family `netdev` (Linux 6.3 and later): the XDP features that a device has at the
//! moment.

use std::collections::BTreeMap;

use netlink_packet_core::{
    DecodeError, Emitable, NlasIterator, emit_u16, emit_u32, parse_string, parse_u16, parse_u32, parse_u64,
};
use netlink_packet_generic::{
    GenlFamily, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};

use crate::node::netlink::{NetlinkError, client::Client};

// include/uapi/linux/netdev.h and include/uapi/linux/genetlink.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
const HEADER_LEN: usize = 4;

/// The `netdev` family of the running kernel.
pub struct Netdev {
    client: Client,
    family: u16,
    /// Multicast group for events about changed features.
    pub(crate) mgmt: Option<u32>,
}

impl Netdev {
    /// Looks up the family. Returns `None` on kernels without it.
    pub fn open() -> Result<Option<Self>, NetlinkError> {
        let mut client = Client::generic()?;
        let family = resolve(&mut client, "netdev")?;
        Ok(family.map(|family| Self {
            client,
            family: family.id,
            mgmt: family.groups.get("mgmt").copied(),
        }))
    }

    /// Returns the `xdp-features` of an interface in the namespace in which the family was opened.
    pub fn xdp_features(&mut self, ifindex: u32) -> Result<u64, NetlinkError> {
        let request = "NETDEV_CMD_DEV_GET";
        let mut message = GenlMessage::from_payload(DevGet { ifindex });
        message.set_resolved_family_id(self.family);
        let reply = self.client.get(request, message)?;
        features(&reply).map_err(|source| NetlinkError::Malformed { request, source })
    }
}

/// What the kernel says of a family.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The type of its messages.
    pub(super) id: u16,
    /// Its multicast groups, by name.
    groups: BTreeMap<String, u32>,
}

/// Looks up a family. Returns `None` on kernels without it.
pub(super) fn resolve(client: &mut Client, family: &str) -> Result<Option<Family>, NetlinkError> {
    let request = "CTRL_CMD_GETFAMILY";
    let message = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(family.to_owned())],
    });
    let reply = match client.get(request, message) {
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
        reply => reply?,
    };
    decode_family(&reply)
        .map(Some)
        .map_err(|source| NetlinkError::Malformed { request, source })
}

/// A newer kernel may say more of a family, so only what is needed is decoded.
pub(super) fn decode_family(reply: &[u8]) -> Result<Family, DecodeError> {
    let (mut id, mut groups) = (None, BTreeMap::new());
    for attribute in NlasIterator::new(reply.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            CTRL_ATTR_FAMILY_ID => id = Some(parse_u16(attribute.value())?),
            CTRL_ATTR_MCAST_GROUPS => {
                for group in NlasIterator::new(attribute.value()) {
                    groups.extend(decode_group(group?.value())?);
                }
            }
            _ => {}
        }
    }
    let id = id.ok_or_else(|| DecodeError::from("no family id"))?;
    Ok(Family { id, groups })
}

fn decode_group(nested: &[u8]) -> Result<Option<(String, u32)>, DecodeError> {
    let (mut name, mut id) = (None, None);
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        match attribute.kind() {
            CTRL_ATTR_MCAST_GRP_NAME => name = Some(parse_string(attribute.value())?),
            CTRL_ATTR_MCAST_GRP_ID => id = Some(parse_u32(attribute.value())?),
            _ => {}
        }
    }
    Ok(name.zip(id))
}

/// Returns the `xdp-features` of an interface, or `None` on kernels without the family.
pub fn xdp_features(ifindex: u32) -> Result<Option<u64>, NetlinkError> {
    Netdev::open()?
        .map(|mut netdev| netdev.xdp_features(ifindex))
        .transpose()
}

pub(super) fn features(reply: &[u8]) -> Result<u64, DecodeError> {
    for attribute in NlasIterator::new(reply.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind() == NETDEV_A_DEV_XDP_FEATURES {
            return parse_u64(attribute.value());
        }
    }
    Err(DecodeError::from("no xdp-features"))
}

/// The only request of the family that the agent sends.
#[derive(Clone, Debug)]
struct DevGet {
    ifindex: u32,
}

impl GenlFamily for DevGet {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        NETDEV_CMD_DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for DevGet {
    fn buffer_len(&self) -> usize {
        8
    }

    fn emit(&self, buffer: &mut [u8]) {
        let attribute = "the caller allocates `buffer_len` bytes";
        emit_u16(&mut buffer[..2], 8).expect(attribute);
        emit_u16(&mut buffer[2..4], NETDEV_A_DEV_IFINDEX).expect(attribute);
        emit_u32(&mut buffer[4..8], self.ifindex).expect(attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::netlink::tests::attribute;

    #[test]
    fn what_a_newer_kernel_says_of_a_family_does_not_hide_it() {
        let unknown = attribute(999, b"unknown");
        let group = [
            attribute(CTRL_ATTR_MCAST_GRP_NAME, b"mgmt\0"),
            attribute(CTRL_ATTR_MCAST_GRP_ID, &5_u32.to_ne_bytes()),
            unknown.clone(),
        ];
        let reply = [
            vec![1, 2, 0, 0],
            unknown,
            attribute(CTRL_ATTR_FAMILY_ID, &20_u16.to_ne_bytes()),
            attribute(CTRL_ATTR_MCAST_GROUPS, &attribute(1, &group.concat())),
        ];
        let family = decode_family(&reply.concat()).unwrap();
        assert_eq!((family.id, family.groups.get("mgmt")), (20, Some(&5)));
    }
}
