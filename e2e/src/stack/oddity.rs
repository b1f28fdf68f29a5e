//! Applies oddities to a frame's draft, and builds the frames of a case.

use super::{
    case::{Case, Extension, Fragment, Mac, Oddity, Options, Step, Tags, Upper},
    draft::Draft,
    host::Place,
    macs::{eth0, host_veth, mac, nic},
    upper::{Ends, ICMP, ICMP6, TCP, UDP, upper},
};

/// The VLANs that the node has an interface for, where the kernel has VLANs.
pub(super) const KNOWN_VLAN: u16 = 7;
pub(super) const KNOWN_SERVICE_VLAN: u16 = 30;
/// In the latter.
pub(super) const KNOWN_INNER_VLAN: u16 = 40;
const UNKNOWN_VLAN: u16 = 999;
const TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

/// Returns the frames of a case, in order. The first has the number `id`.
pub(super) fn frames(case: &Case, client_port: u16, id: u32) -> Vec<Vec<u8>> {
    let number = |index: usize| id + index as u32;
    let steps = case.steps.iter().enumerate();
    steps
        .map(|(index, step)| draft(case, step, client_port, number(index)).frame())
        .collect()
}

fn draft(case: &Case, step: &Step, client_port: u16, id: u32) -> Draft {
    let (from_port, to_port) = if step.at.is_pod() {
        (case.port, client_port)
    } else {
        (client_port, case.port)
    };
    let ends = Ends {
        from: step.from.address(case.v6),
        to: step.to.address(case.v6),
        from_port,
        to_port,
    };
    let macs = match step.at {
        Place::Wire0 => [nic(0), mac(Mac::Client)],
        Place::Wire1 => [nic(1), [2, 0, 0, 0, 1, 1]],
        pod => [host_veth(pod), eth0(pod)],
    };
    let mut draft = Draft::new(macs, &ends, id, upper(step.upper, &ends, id));
    if case.v6 && step.upper == Upper::Ah {
        // The header is an extension header here, but no other than in IPv4.
        draft.protocol = 51;
    }
    for oddity in &step.oddities {
        draft.apply(*oddity, step.at);
    }
    draft
}

impl Draft {
    fn apply(&mut self, oddity: Oddity, at: Place) {
        let mac_of = |name| match name {
            Mac::Pod if at.is_pod() => eth0(at),
            Mac::PodHost if at.is_pod() => host_veth(at),
            other => mac(other),
        };
        match oddity {
            Oddity::ToMac(name) => self.to_mac = mac_of(name),
            Oddity::FromMac(name) => self.from_mac = mac_of(name),
            Oddity::Tags(tags) => self.tags = tags.tags(),
            Oddity::EtherType(kind) => self.ethertype = Some(kind),
            Oddity::TimeToLive(ttl) => self.ttl = ttl,
            Oddity::FirstByte(byte) => self.first_byte = Some(byte),
            Oddity::Length(more) => self.more_length = more,
            Oddity::HeaderChecksum => self.bad_header_checksum = true,
            Oddity::Options(options) => self.options = options.bytes(),
            Oddity::Fragment(fragment) => self.fragment(fragment),
            Oddity::Extension(extension, times) => {
                let header = extension.header();
                self.extensions
                    .extend(std::iter::repeat_n(header, usize::from(times)));
            }
            Oddity::Truncated(bytes) => self.truncated = bytes.into(),
            Oddity::Padding(bytes) => self.padding = bytes.into(),
            Oddity::Byte(offset, value) => self.bytes.push((offset.into(), value)),
            of_upper => self.apply_to_upper(of_upper),
        }
    }

    fn apply_to_upper(&mut self, oddity: Oddity) {
        match oddity {
            Oddity::Checksum(sum) => {
                let at = match self.protocol {
                    UDP => 6,
                    TCP => 16,
                    ICMP | ICMP6 => 2,
                    _ => 8,
                };
                self.upper_word(at, |_| sum);
            }
            Oddity::UdpLength(more) => self.upper_word(4, |length| length.wrapping_add_signed(more)),
            Oddity::DataOffset(offset) => {
                self.upper_word(12, |word| word & 0xfff | u16::from(offset) << 12);
            }
            Oddity::ZeroPort => self.upper_word(2, |_| 0),
            Oddity::Cut(length) => self.upper.truncate(length.into()),
            _ => {}
        }
    }

    fn upper_word(&mut self, at: usize, change: impl FnOnce(u16) -> u16) {
        if let Some(bytes) = self.upper.get_mut(at..at + 2) {
            let word = change(u16::from_be_bytes([bytes[0], bytes[1]]));
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }

    fn fragment(&mut self, fragment: Fragment) {
        let (flags, offset) = match fragment {
            Fragment::Forbidden => (2, 0),
            Fragment::ReservedBit => (4, 0),
            Fragment::First => (1, 0),
            Fragment::Later => (1, 3),
            Fragment::Last => (0, 3),
            Fragment::Beyond => (0, 0x1fff),
            Fragment::Atomic => (0, 0),
        };
        if self.from.is_ipv4() {
            self.fragment = flags << 13 | offset;
        } else {
            let [high, low] = (offset << 3 | flags & 1).to_be_bytes();
            self.extensions.push((44, vec![0, 0, high, low, 0, 0, 0, 9]));
        }
        if offset != 0 {
            // What follows is not a header, and must still show the frame's number.
            let payload = self.upper.len().saturating_sub(16) / 8 * 8;
            self.upper.drain(..payload);
        }
    }
}

impl Tags {
    fn tags(self) -> Vec<[u16; 2]> {
        match self {
            Self::Priority => vec![[TAG, 0x6000]],
            Self::ServicePriority => vec![[SERVICE_TAG, 0]],
            Self::Known => vec![[TAG, KNOWN_VLAN]],
            Self::KnownAsService => vec![[SERVICE_TAG, KNOWN_VLAN]],
            Self::Unknown => vec![[TAG, UNKNOWN_VLAN]],
            Self::UnknownService => vec![[SERVICE_TAG, UNKNOWN_VLAN]],
            Self::DoublePriority => vec![[TAG, 0], [TAG, 0]],
            Self::PriorityUnknown => vec![[TAG, 0], [TAG, UNKNOWN_VLAN]],
            Self::PriorityKnown => vec![[TAG, 0], [TAG, KNOWN_VLAN]],
            Self::KnownKnown => vec![[SERVICE_TAG, KNOWN_SERVICE_VLAN], [TAG, KNOWN_INNER_VLAN]],
            Self::KnownUnknown => vec![[SERVICE_TAG, KNOWN_SERVICE_VLAN], [TAG, UNKNOWN_VLAN]],
            Self::DoubleUnknown => vec![[SERVICE_TAG, UNKNOWN_VLAN], [TAG, 998]],
            Self::Triple => vec![[TAG, KNOWN_VLAN]; 3],
            Self::TriplePriority => vec![[TAG, 0]; 3],
            Self::OldService => vec![[0x9100, KNOWN_VLAN]],
        }
    }
}

impl Options {
    fn bytes(self) -> Vec<u8> {
        let hop = [10, 1, 1, 2];
        let route = |kind| [&[kind, 7, 4][..], &hop, &[0]].concat();
        match self {
            Self::Nop => vec![1; 4],
            Self::End => vec![0; 4],
            Self::RecordRoute => route(7),
            Self::Timestamp => vec![68, 8, 5, 0, 0, 0, 0, 0],
            Self::SourceRoute => route(131),
            Self::StrictRoute => route(137),
            Self::RouterAlert => vec![148, 4, 0, 0],
            Self::Security => vec![130, 3, 0, 0],
            Self::BadLength => vec![7, 40, 4, 0],
            Self::Full => vec![1; 40],
        }
    }
}

impl Extension {
    fn header(self) -> (u8, Vec<u8>) {
        let option = |kind| match kind {
            5 => vec![0, 0, 5, 2, 0, 0, 1, 0],
            kind => vec![0, 0, kind, 4, 0, 0, 0, 0],
        };
        match self {
            Self::HopByHop(kind) => (0, option(kind)),
            Self::Destination(kind) => (60, option(kind)),
            Self::Routing(kind, left) => {
                let mut header = vec![0; 24];
                header[1..4].copy_from_slice(&[2, kind, left]);
                header[8..10].copy_from_slice(&[0xfd, 2]);
                header[23] = 7;
                (43, header)
            }
            Self::Authentication => (51, [&[0, 4][..], &[0; 22]].concat()),
            Self::Mobility => (135, vec![0; 8]),
            Self::Hip => (139, vec![0; 8]),
            Self::Shim6 => (140, vec![0; 8]),
            Self::NoNext => (59, vec![0; 8]),
            Self::Reserved => (253, vec![0; 8]),
        }
    }
}
