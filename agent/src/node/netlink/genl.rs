//! The generic netlink family `netdev` (Linux 6.3 and later): the XDP features that a device has at the
//! moment.

use netlink_packet_core::{
    DecodeError, Emitable, NlasIterator, ParseableParametrized, emit_u16, emit_u32, parse_u64,
};
use netlink_packet_generic::{
    GenlFamily, GenlMessage,
    ctrl::{
        GenlCtrl, GenlCtrlCmd,
        nlas::{GenlCtrlAttrs, McastGrpAttrs},
    },
};

use crate::node::netlink::{NetlinkError, client::Client};

// include/uapi/linux/netdev.h and include/uapi/linux/genetlink.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
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
        Ok(family.map(|(family, attributes)| Self {
            client,
            family,
            mgmt: group(&attributes, "mgmt"),
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

/// Looks up a family: its id and its attributes. Returns `None` on kernels without it.
pub(super) fn resolve(
    client: &mut Client,
    family: &str,
) -> Result<Option<(u16, Vec<GenlCtrlAttrs>)>, NetlinkError> {
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

pub(super) fn decode_family(reply: &[u8]) -> Result<(u16, Vec<GenlCtrlAttrs>), DecodeError> {
    let attributes = GenlMessage::<GenlCtrl>::parse_with_param(reply, 0)?.payload.nlas;
    let id = attributes.iter().find_map(|attribute| {
        let GenlCtrlAttrs::FamilyId(id) = attribute else {
            return None;
        };
        Some(*id)
    });
    let missing = || DecodeError::from("no family id");
    Ok((id.ok_or_else(missing)?, attributes))
}

/// Returns the `xdp-features` of an interface, or `None` on kernels without the family.
pub fn xdp_features(ifindex: u32) -> Result<Option<u64>, NetlinkError> {
    Netdev::open()?
        .map(|mut netdev| netdev.xdp_features(ifindex))
        .transpose()
}

pub(super) fn group(attributes: &[GenlCtrlAttrs], wanted: &str) -> Option<u32> {
    let groups = attributes.iter().find_map(|attribute| {
        let GenlCtrlAttrs::McastGroups(groups) = attribute else {
            return None;
        };
        Some(groups)
    })?;
    let group = groups
        .iter()
        .find(|group| group.contains(&McastGrpAttrs::Name(wanted.to_owned())))?;
    group.iter().find_map(|attribute| match attribute {
        McastGrpAttrs::Id(id) => Some(*id),
        McastGrpAttrs::Name(_) => None,
    })
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
