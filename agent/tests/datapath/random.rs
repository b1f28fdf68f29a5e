//! Tables and packets at random, from pools so small that they often meet.

use xdp_core::tables::{
    Action, ActionRecord, Address, Class, MAX_CLASSES, MAX_SOURCES_V4, PORTS, PodBlock, PortRef, PortTarget,
    Ports, SOURCES, SourceRef, SourcesV4, SourcesV6,
};

use crate::judge::SHORTEST;

/// Packets go to the pods below, and to one or two that are none.
const PODS: u64 = 64;
/// The VLAN of tags.
pub(crate) const VLAN: u16 = 5;
/// Of each kind.
pub(crate) const BLOCKS: u64 = 48;

pub(crate) fn v4(last: u8) -> Address {
    Address::v4([10, 0, 0, last])
}

pub(crate) fn v6(last: u8) -> Address {
    Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// Xorshift: the same packets in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn port(&mut self) -> u16 {
        self.pick(&[0, 1, 53, 67, 68, 80, 443, 546, 547, 7777, 7778, 65534, 65535])
    }

    fn protocol(&mut self) -> u8 {
        self.pick(&[1, 6, 6, 17, 17, 17, 58, 132, 47, 255])
    }

    fn address(&mut self, six: bool, last: u8) -> Vec<u8> {
        let other = self.below(4) as u8;
        match (six, self.below(24)) {
            (false, 0) => vec![255; 4],
            (false, 1) => vec![0; 4],
            (true, 0) => Address::v4([10, 0, 0, last]).octets().to_vec(),
            (true, 1) => vec![0; 16],
            (false, _) => vec![10, other, 0, last],
            (true, _) => {
                let mut bytes = v6(last).octets();
                bytes[7] = other;
                bytes.to_vec()
            }
        }
    }

    pub(crate) fn pod(&mut self, slot: u32) -> PodBlock {
        PodBlock {
            mtu: self.pick(&[60, 100, 1500]),
            sources_v4: self.source_ref(),
            sources_v6: self.source_ref(),
            mac: [2, 0, 0, 0, 1, slot as u8],
            flags: self.pick(&[0, 0, 0, PodBlock::NOT_READY, PodBlock::NO_PEER])
                | self.pick(&[0, PodBlock::DRAIN])
                | self.pick(&[
                    0,
                    PodBlock::REPLY_PATH,
                    PodBlock::REPLY_PATH,
                    PodBlock::REPLY_PATH,
                ]),
            host: slot,
        }
    }

    /// In any order, and leading anywhere, itself included: what tables of ours never hold.
    pub(crate) fn sources_v4(&mut self) -> SourcesV4 {
        let mut bounds = [0; SOURCES];
        for bound in &mut bounds {
            let last = self.below(64) as u8;
            *bound = u32::from_be_bytes(self.address(false, last).try_into().unwrap());
        }
        if !self.one_in(4) {
            bounds.sort_unstable();
        }
        SourcesV4 {
            bounds,
            targets: [(); SOURCES].map(|()| self.source_ref()),
        }
    }

    pub(crate) fn sources_v6(&mut self) -> SourcesV6 {
        let mut bounds = [(); SOURCES].map(|()| {
            let last = self.below(64) as u8;
            let bytes: [u8; 16] = self.address(true, last).try_into().unwrap();
            Address::v6(bytes)
        });
        if !self.one_in(4) {
            bounds.sort_unstable();
        }
        SourcesV6 {
            bounds,
            targets: [(); SOURCES].map(|()| self.source_ref()),
        }
    }

    fn source_ref(&mut self) -> SourceRef {
        let index = self.below(BLOCKS) as u32;
        match self.below(40) {
            0 => SourceRef::class(MAX_CLASSES + index),
            1 => SourceRef::block(MAX_SOURCES_V4 + index),
            2..16 => SourceRef::block(index),
            _ => SourceRef::class(index),
        }
    }

    pub(crate) fn class(&mut self) -> Class {
        Class {
            tcp: self.port_ref(),
            udp: self.port_ref(),
            sctp: self.port_ref(),
            icmp: self.port_ref(),
            icmpv6: self.port_ref(),
            portless: self.below(BLOCKS) as u16,
            drops: self.next() as u16 & self.next() as u16,
        }
    }

    fn port_ref(&mut self) -> PortRef {
        let index = self.below(BLOCKS) as u16;
        PortRef::new(match self.below(8) {
            0 => PortTarget::Action(index),
            1..3 => PortTarget::Top(index),
            3 => PortTarget::Root(index),
            _ => PortTarget::Leaf(index),
        })
    }

    pub(crate) fn ports(&mut self) -> Ports {
        let mut bounds = [(); PORTS].map(|()| self.port());
        if !self.one_in(4) {
            bounds.sort_unstable();
        }
        Ports {
            bounds,
            targets: [(); PORTS].map(|()| self.below(BLOCKS) as u16),
        }
    }

    pub(crate) fn action(&mut self, rule: u32) -> ActionRecord {
        let rare = [ActionRecord::AUDIT, ActionRecord::PEER];
        let mut flags = self.pick(&[0, ActionRecord::MARK]);
        flags |= rare
            .into_iter()
            .filter(|_| self.one_in(5))
            .fold(0, |flags, bit| flags | bit);
        ActionRecord {
            rule,
            mark: self.next() as u32,
            action: self.pick(&[
                Action::Pass,
                Action::Drop,
                Action::Redirect,
                Action::Redirect,
                Action::Reject,
            ]) as u8,
            flags,
            ..ActionRecord::default()
        }
    }

    /// A frame, now and then with a mistake.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let six = self.one_in(2);
        let pod = self.below(PODS + 2) as u8;
        let mut frame = vec![
            if self.one_in(12) { 3 } else { 2 },
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
        for _ in 0..self.pick(&[0, 0, 0, 0, 1, 2, 3]) {
            frame.extend(self.pick(&[[0x81, 0], [0x88, 0xa8]]));
            frame.extend(VLAN.to_be_bytes());
        }
        let ip = if six { self.ipv6(pod) } else { self.ipv4(pod) };
        frame.extend(match (self.below(40), six) {
            (0, _) => [8, 6],
            (_, true) => [0x86, 0xdd],
            (_, false) => [8, 0],
        });
        frame.extend(ip);
        if self.one_in(8) {
            frame.extend([0; 6]);
        }
        if self.one_in(10) {
            let at = 12 + self.below(frame.len() as u64 - 12) as usize;
            frame[at] = self.next() as u8;
        }
        if self.one_in(20) {
            frame.truncate(SHORTEST + self.below((frame.len() - SHORTEST) as u64) as usize);
        }
        frame
    }

    fn ipv4(&mut self, pod: u8) -> Vec<u8> {
        let protocol = self.protocol();
        let transport = self.transport(protocol);
        let options = self.pick(&[0, 0, 0, 4, 40]);
        let length = (20 + options + transport.len()) as u16;
        let fragment: u16 = self.pick(&[0, 0, 0, 0x4000, 0x2000, 0x2010, 0x0010]);
        let mut packet = vec![0x45 + (options / 4) as u8, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        let last = self.below(64) as u8;
        packet.extend(self.address(false, last));
        packet.extend([10, 0, 0, pod]);
        packet.extend(vec![1; options]);
        packet.extend(transport);
        packet
    }

    fn ipv6(&mut self, pod: u8) -> Vec<u8> {
        let protocol = self.protocol();
        let headers: Vec<u8> = (0..self.pick(&[0, 0, 0, 1, 2, 9]))
            .map(|_| self.pick(&[0, 43, 44, 51, 60, 135]))
            .collect();
        let mut payload = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            let next = headers.get(index + 1).copied().unwrap_or(protocol);
            let fragment: u16 = if *header == 44 {
                self.pick(&[0, 1, 0x20])
            } else {
                0
            };
            let length = if *header == 44 { 0 } else { self.pick(&[0, 0, 1]) };
            payload.extend([next, length]);
            payload.extend(fragment.to_be_bytes());
            // An authentication header counts its length in four bytes, less two.
            let bytes = if *header == 51 {
                4 * length + 8
            } else {
                8 * length + 8
            };
            payload.extend(vec![0; bytes as usize - 4]);
        }
        payload.extend(self.transport(protocol));
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([headers.first().copied().unwrap_or(protocol), 64]);
        let last = self.below(64) as u8;
        packet.extend(self.address(true, last));
        packet.extend(v6(pod).octets());
        packet.extend(payload);
        packet
    }

    fn transport(&mut self, protocol: u8) -> Vec<u8> {
        let mut bytes = match protocol {
            1 => vec![self.pick(&[0, 3, 8]), self.pick(&[0, 3, 4])],
            58 => vec![self.pick(&[1, 2, 128, 133, 137, 138]), 0],
            _ => [self.port().to_be_bytes(), self.port().to_be_bytes()].concat(),
        };
        let rest = self.pick(&[4, 8, 16, 40, 90]);
        bytes.extend(vec![0; rest]);
        bytes
    }
}
