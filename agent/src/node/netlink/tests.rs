//! What netlink may answer: no bytes make a decoder panic.

use proptest::{collection::vec, prelude::*};

use super::{ReversePathFilters, address, bridge, filter, link, networks, route, tunnel};

/// Returns an attribute, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Attributes in attributes, of kinds that decoders look for, and some that they do not.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0_u16..64, (0_u16..64).prop_map(|kind| kind | 1 << 15)];
    let text = prop_oneof!["veth", "vlan", "vxlan", "bridge", "bond", "macvlan", "ipip"];
    let text = text.prop_map(|text| [text.as_bytes(), &[0]].concat());
    let value = prop_oneof![vec(any::<u8>(), 0..12), text];
    let leaf = (kind.clone(), value).prop_map(|(kind, value)| attribute(kind, &value));
    leaf.prop_recursive(3, 24, 6, move |inner| {
        (kind.clone(), vec(inner, 0..6)).prop_map(|(kind, nested)| attribute(kind, &nested.concat()))
    })
}

fn decode_as_everything(message: &[u8]) {
    let _ = link::decode(message);
    let _ = address::decode(message);
    let _ = route::decode(message);
    let _ = networks::decode(message);
    let _ = filter::decode(message);
    let _ = bridge::decode(message);
    let _ = ReversePathFilters::default().add(message);
    for kind in ["vxlan", "ipip", "wireguard", "veth"] {
        let _ = tunnel::tunnel(kind, message);
    }
}

proptest! {
    /// Headers of all lengths, then attributes, whole or cut short, or with a byte changed.
    #[test]
    fn no_reply_makes_a_decoder_panic(
        header in vec(any::<u8>(), 0..24),
        attributes in vec(attributes(), 0..8),
        cut in 0_usize..256,
        (at, value) in (0_usize..256, any::<u8>()),
    ) {
        let mut message = [header, attributes.concat()].concat();
        decode_as_everything(&message);
        decode_as_everything(message.get(..cut).unwrap_or(&message));
        if let Some(byte) = message.get_mut(at) {
            *byte = value;
        }
        decode_as_everything(&message);
    }
}
