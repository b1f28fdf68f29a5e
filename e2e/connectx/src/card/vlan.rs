//! Inserts and strips VLAN tags.

/// Type of an 802.1Q tag.
pub(crate) const CUSTOMER: u16 = 0x8100;
/// Type of an 802.1ad tag.
pub(crate) const SERVICE: u16 = 0x88a8;

const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// Returns the frame with a tag behind the addresses. A frame without complete addresses stays as it is.
pub(crate) fn insert(frame: &[u8], ethertype: u16, control: u16) -> Vec<u8> {
    let mut tagged = frame.to_vec();
    if frame.len() >= ADDRESSES {
        let tag = ethertype.to_be_bytes().into_iter().chain(control.to_be_bytes());
        tagged.splice(ADDRESSES..ADDRESSES, tag);
    }
    tagged
}

/// Removes the outermost tag of a frame that has one.
pub(crate) fn strip(frame: &mut Vec<u8>) {
    frame.drain(ADDRESSES..ADDRESSES + TAG);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::parse::parse;

    fn frame() -> Vec<u8> {
        let mut frame: Vec<u8> = (0..60).collect();
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        frame
    }

    #[test]
    fn an_inserted_tag_is_parsed_and_strips_to_the_original() {
        let mut tagged = insert(&frame(), CUSTOMER, 0x6123);
        assert_eq!(tagged.len(), 64);
        assert_eq!(&tagged[12..18], &[0x81, 0x00, 0x61, 0x23, 0x08, 0x06]);
        assert_eq!(parse(&tagged).vlan, Some(0x6123));
        strip(&mut tagged);
        assert_eq!(tagged, frame());
    }

    #[test]
    fn a_service_tag_is_not_a_tag_to_strip() {
        assert_eq!(parse(&insert(&frame(), SERVICE, 5)).vlan, None);
    }

    #[test]
    fn a_frame_without_addresses_gets_no_tag() {
        assert_eq!(insert(&[1, 2, 3], CUSTOMER, 1), [1, 2, 3]);
    }
}
