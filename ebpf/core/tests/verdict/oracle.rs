//! A second, naive implementation: a packet is described first and written down afterwards, so nothing is parsed; and
//! each entry is judged by looking back at all entries before it.

use proptest::prelude::*;
use xdp_core::metadata::Metadata;
use xdp_core::tables::{Address, Entry};
use xdp_core::verdict::{Fallback, Redirect, Verdict};

const EDGE_PORTS: [u16; 8] = [0, 1, 67, 68, 546, 547, 65534, 65535];
const PROTOCOLS: [u8; 7] = [1, 6, 17, 58, 132, 47, 0xff];
const V4_SOURCES: [[u8; 4]; 5] = [[0; 4], [10, 0, 0, 1], [10, 0, 0, 255], [10, 0, 1, 0], [255; 4]];

/// A packet to the pod, described.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a packet")]
pub(crate) struct Shape {
    v6: bool,
    tags: usize,
    group_mac: bool,
    source: usize,
    protocol: u8,
    /// Ports; or type and code and two bytes.
    l4: (u16, u16),
    later_fragment: bool,
    /// 32-bit words of IPv4 options, or IPv6 extension headers of eight bytes.
    extra: usize,
    long: bool,
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let port = || prop_oneof![prop::sample::select(EDGE_PORTS.to_vec()), any::<u16>()];
    let icmp = prop_oneof![
        Just(0x0304),
        Just(0x0303),
        Just(0x0200),
        0x8500..=0x8900_u16,
        any::<u16>()
    ];
    (
        any::<(bool, bool, bool)>(),
        (0..3_usize, 0..V4_SOURCES.len(), 0..6_usize),
        prop::sample::select(PROTOCOLS.to_vec()),
        (prop_oneof![port(), icmp], port()),
        (prop::bool::weighted(0.2), prop::bool::weighted(0.1)),
    )
        .prop_map(
            |((v6, more, group), (tags, source, extra), protocol, l4, (later_fragment, long))| Shape {
                v6,
                tags,
                group_mac: group && more,
                source,
                protocol,
                l4,
                later_fragment,
                extra,
                long,
            },
        )
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let lengths = prop::sample::select(vec![0, 8, 64, 96, 96 + 8, 96 + 24, 127, 128]);
    let ports = (prop::sample::select(EDGE_PORTS.to_vec()), any::<u16>());
    (
        (0..V4_SOURCES.len(), any::<bool>(), lengths),
        (0..9_u32, any::<u32>(), ports),
        (prop::sample::select(PROTOCOLS.to_vec()), 0..5_u8, any::<u16>()),
    )
        .prop_map(
            |((source, v6, length), (rule, mark, (a, b)), (protocol, action, flags))| {
                // Fewer audits: they hide what an entry would have done.
                let flags = flags & if rule == 0 { 0x7f } else { 0x7f & !Entry::AUDIT };
                let named = if flags & Entry::PORTS == 0 {
                    0
                } else {
                    Entry::PROTOCOL
                };
                Entry {
                    source: address(v6, source),
                    mask: Address::mask(length),
                    rule,
                    mark,
                    port_first: a.min(b),
                    port_last: a.max(b),
                    protocol,
                    action,
                    flags: flags | named,
                }
            },
        )
}

fn address(v6: bool, index: usize) -> Address {
    if v6 {
        // Some differ in the first half only, some in the second.
        let mut bytes = [0x20; 16];
        bytes[[0, 7, 8, 14, 15][index]] = 0x21;
        Address::v6(bytes)
    } else {
        Address::v4(V4_SOURCES[index])
    }
}

impl Shape {
    fn has_ports(&self) -> bool {
        [6, 17, 132].contains(&self.protocol) && !self.later_fragment
    }

    fn icmp(&self) -> Option<[u8; 2]> {
        let own = if self.v6 { 58 } else { 1 };
        (self.protocol == own && !self.later_fragment).then(|| self.l4.0.to_be_bytes())
    }

    fn payload_len(&self) -> usize {
        if self.long { 1481 } else { 8 }
    }

    fn ip_len(&self) -> usize {
        let fragment_header = if self.later_fragment { 8 } else { 0 };
        if self.v6 {
            40 + 8 * self.extra.min(5) + fragment_header + self.payload_len()
        } else {
            20 + 4 * self.extra + self.payload_len()
        }
    }

    /// Written down.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = vec![
            if self.group_mac { 1 } else { 2 },
            0,
            0,
            0,
            0,
            1,
            2,
            0,
            0,
            0,
            0,
            2,
        ];
        for tag in 0..self.tags {
            frame.extend(if tag == 0 && self.tags == 2 {
                [0x88, 0xa8]
            } else {
                [0x81, 0]
            });
            frame.extend([0, 9]);
        }
        if self.v6 {
            self.v6_header(&mut frame);
        } else {
            self.v4_header(&mut frame);
        }
        let payload = frame.len();
        frame.extend(self.l4.0.to_be_bytes());
        frame.extend(self.l4.1.to_be_bytes());
        frame.resize(payload + self.payload_len(), 0);
        frame
    }

    fn v4_header(&self, frame: &mut Vec<u8>) {
        let [l0, l1] = (self.ip_len() as u16).to_be_bytes();
        frame.extend([8, 0, 0x45 + self.extra as u8, 0, l0, l1, 0, 0]);
        frame.extend(if self.later_fragment { [0x20, 1] } else { [0x40, 0] });
        frame.extend([64, self.protocol, 0, 0]);
        frame.extend(V4_SOURCES[self.source]);
        frame.extend([10, 0, 0, 2]);
        frame.resize(frame.len() + 4 * self.extra, 1);
    }

    fn v6_header(&self, frame: &mut Vec<u8>) {
        let [l0, l1] = ((self.ip_len() - 40) as u16).to_be_bytes();
        let mut chain = vec![60; self.extra.min(5)];
        if self.later_fragment {
            chain.push(44);
        }
        chain.push(self.protocol);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, l0, l1, chain[0], 64]);
        frame.extend(address(true, self.source).octets());
        frame.extend(super::POD_V6.octets());
        for pair in chain.windows(2) {
            frame.extend([pair[1], 0, 0, if pair[0] == 44 { 8 } else { 0 }, 0, 0, 0, 0]);
        }
    }

    fn is_control(&self) -> bool {
        let dhcp = if self.v6 { [546, 547] } else { [67, 68] };
        let is_dhcp = self.protocol == 17 && self.has_ports();
        (is_dhcp && dhcp.contains(&self.l4.0) && dhcp.contains(&self.l4.1))
            || (self.v6 && self.icmp().is_some_and(|[kind, _]| (133..=137).contains(&kind)))
    }

    fn is_path_mtu(&self) -> bool {
        self.icmp().is_some_and(|[kind, code]| {
            if self.v6 {
                kind == 2
            } else {
                kind == 3 && code == 4
            }
        })
    }

    fn is_from(&self, entry: &Entry) -> bool {
        let source = address(self.v6, self.source).octets();
        (0..16).all(|i| (source[i] ^ entry.source.octets()[i]) & entry.mask.octets()[i] == 0)
    }

    fn matches(&self, entry: &Entry) -> bool {
        let names_protocol = entry.flags & Entry::PROTOCOL != 0;
        let protocol = !names_protocol || (!self.later_fragment && entry.protocol == self.protocol);
        let ports = entry.flags & Entry::PORTS == 0
            || (self.has_ports() && (entry.port_first..=entry.port_last).contains(&self.l4.1));
        self.is_from(entry) && protocol && ports && (names_protocol || !self.is_path_mtu())
    }

    fn is_excluded(&self, list: &[Entry], index: usize) -> bool {
        (0..index).any(|before| {
            list[before].flags & Entry::EXCEPT != 0
                && self.is_from(&list[before])
                && list[before + 1..index]
                    .iter()
                    .all(|entry| entry.flags & Entry::PEER_END == 0)
        })
    }

    /// What must become of the packet.
    pub(crate) fn verdict(&self, list: &[Entry]) -> Verdict {
        if self.is_control() {
            return Verdict::NotConsidered;
        }
        let decides = |&index: &usize| {
            list[index].flags & Entry::EXCEPT == 0
                && self.matches(&list[index])
                && !self.is_excluded(list, index)
        };
        let Some(entry) = (0..list.len()).find(decides).map(|index| list[index]) else {
            return Verdict::NoMatch;
        };
        let rule = entry.rule;
        match entry.action {
            _ if entry.flags & Entry::AUDIT != 0 => Verdict::Audit { rule },
            2 => Verdict::Drop { rule },
            3 => self.redirect(&entry),
            _ => Verdict::Pass { rule },
        }
    }

    fn redirect(&self, entry: &Entry) -> Verdict {
        let fall_back = |reason| Verdict::FallBack {
            rule: entry.rule,
            reason,
        };
        if entry.flags & Entry::NOT_READY != 0 {
            fall_back(Fallback::NotReady)
        } else if self.group_mac {
            fall_back(Fallback::GroupMac)
        } else if self.later_fragment {
            fall_back(Fallback::Fragment)
        } else if self.ip_len() > 1500 {
            fall_back(Fallback::TooLong)
        } else {
            let mark = (entry.flags & Entry::MARK != 0).then_some(entry.mark);
            Verdict::Redirect(Redirect {
                slot: super::SLOT,
                mac: super::MAC,
                tags: self.tags as u32,
                metadata: Metadata::new(entry.rule, mark),
            })
        }
    }
}
