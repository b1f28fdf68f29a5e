//! Decodes what a link says about its XDP programs.

use netlink_packet_core::{DecodeError, NlasIterator, parse_u8, parse_u32};
use xdp_plan::nics::{XdpMode, XdpState};

// include/uapi/linux/if_link.h
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_HW_PROG_ID: u16 = 7;

/// Decodes `IFLA_XDP`.
pub(super) fn decode(nested: &[u8]) -> Result<XdpState, DecodeError> {
    let mut xdp = XdpState::default();
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_XDP_ATTACHED => xdp.mode = mode(parse_u8(value)?),
            // The ids come in ascending order of the attribute, the driver's first.
            IFLA_XDP_PROG_ID..=IFLA_XDP_HW_PROG_ID if xdp.program_id.is_none() => {
                xdp.program_id = Some(parse_u32(value)?);
            }
            _ => {}
        }
    }
    Ok(xdp)
}

fn mode(attached: u8) -> XdpMode {
    match attached {
        0 => XdpMode::None,
        1 => XdpMode::Native,
        2 => XdpMode::Generic,
        3 => XdpMode::Offload,
        _ => XdpMode::Multi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::netlink::tests::attribute;

    #[test]
    fn of_several_programs_the_drivers_is_named() {
        let id = |kind, id: u32| attribute(kind, &id.to_ne_bytes());
        let nested = [attribute(IFLA_XDP_ATTACHED, &[4]), id(5, 11), id(6, 12)].concat();
        assert_eq!(
            decode(&nested).unwrap(),
            XdpState {
                mode: XdpMode::Multi,
                program_id: Some(11)
            }
        );
    }

    #[test]
    fn no_program_is_no_id() {
        let nested = attribute(IFLA_XDP_ATTACHED, &[0]);
        assert_eq!(decode(&nested).unwrap(), XdpState::default());
    }
}
