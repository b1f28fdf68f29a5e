//! A second parser, written as one reads the standards: slices, no care for speed.

use xdp_core::{events::Unparsed, testing::PacketFacts};

type Parsed = Result<PacketFacts, Unparsed>;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn parse(frame: &[u8]) -> Parsed {
    if frame.len() < 14 {
        return Err(Unparsed::Short);
    }
    let mut rest = &frame[12..];
    let mut tags = 0;
    let mut vlans = [(0, 0); 2];
    while [0x8100, 0x88a8].contains(&u16_at(rest, 0)) {
        if tags == 2 {
            return Err(Unparsed::TooManyTags);
        }
        if rest.len() < 6 {
            return Err(Unparsed::Short);
        }
        if let Some(vlan) = vlans.get_mut(tags) {
            *vlan = (u16_at(rest, 0), u16_at(rest, 2) % 0x1000);
        }
        rest = &rest[4..];
        tags += 1;
    }
    let facts = match u16_at(rest, 0) {
        0x0800 => v4(&rest[2..]),
        0x86dd => v6(&rest[2..]),
        _ => Err(Unparsed::NotIp),
    }?;
    Ok(PacketFacts {
        tags,
        vlans,
        mac: frame[..6].iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte)),
        group_mac: frame[0] & 1 == 1 || frame[6] & 1 == 1 || frame[6..12] == [0; 6],
        ..facts
    })
}

fn v4(packet: &[u8]) -> Parsed {
    if packet.len() < 20 {
        return Err(Unparsed::Short);
    }
    let header = usize::from(packet[0] % 16) * 4;
    let ip_len = usize::from(u16_at(packet, 2));
    if packet[0] / 16 != 4 || header < 20 || ip_len < header {
        return Err(Unparsed::BadIpHeader);
    }
    let packet = packet.get(..ip_len).ok_or(Unparsed::Truncated)?;
    let source = u32::from_be_bytes([packet[12], packet[13], packet[14], packet[15]]);
    let offset = u16_at(packet, 6) % 0x2000;
    let facts = PacketFacts {
        v6: false,
        source: source.into(),
        tags: 0,
        vlans: [(0, 0); 2],
        mac: 0,
        group_mac: false,
        ttl: packet[8],
        options: header > 20,
        protocol: packet[9],
        l4: (0, 0),
        tcp_flags: None,
        fragment: offset != 0 || packet[6] & 0x20 != 0,
        later_fragment: offset != 0,
        ip_len,
        unparsed: None,
    };
    upper(facts, &packet[header..])
}

fn v6(packet: &[u8]) -> Parsed {
    if packet.len() < 40 {
        return Err(Unparsed::Short);
    }
    let payload = usize::from(u16_at(packet, 4));
    if packet[0] / 16 != 6 {
        return Err(Unparsed::BadIpHeader);
    }
    let packet = packet.get(..40 + payload).ok_or(Unparsed::Truncated)?;
    let address = |at: usize| u128::from_be_bytes(std::array::from_fn(|byte| packet[at + byte]));
    if address(8) >> 32 == 0xffff || address(24) >> 32 == 0xffff {
        return Err(Unparsed::V4MappedInV6);
    }
    let mut facts = PacketFacts {
        v6: true,
        source: address(8),
        tags: 0,
        vlans: [(0, 0); 2],
        mac: 0,
        group_mac: false,
        ttl: packet[7],
        options: packet[6] == 0,
        protocol: packet[6],
        l4: (0, 0),
        tcp_flags: None,
        fragment: false,
        later_fragment: false,
        ip_len: packet.len(),
        unparsed: None,
    };
    if payload == 0 && packet[6] == 0 {
        return Ok(unknown(facts, Unparsed::Jumbogram));
    }
    let mut rest = &packet[40..];
    for headers in 0.. {
        let length = |units: usize| 8 + units * usize::from(rest.get(1).copied().unwrap_or(0));
        let length = match facts.protocol {
            0 | 43 | 60 => length(8),
            51 => length(4),
            44 => 8,
            _ => return upper(facts, rest),
        };
        if rest.len() < 8 {
            return Ok(unknown(facts, Unparsed::Short));
        }
        if facts.protocol == 44 {
            let part = u16_at(rest, 2);
            facts.fragment |= part & 0xfff9 != 0;
            facts.later_fragment = part & 0xfff8 != 0;
        }
        facts.protocol = rest[0];
        if facts.later_fragment {
            return Ok(facts);
        }
        if headers == 6 {
            return Ok(unknown(facts, Unparsed::TooManyExtensionHeaders));
        }
        rest = rest.get(length..).unwrap_or(&[]);
    }
    Ok(facts)
}

/// A packet whose protocol is not known.
fn unknown(facts: PacketFacts, reason: Unparsed) -> PacketFacts {
    PacketFacts {
        unparsed: Some((reason, false)),
        ..facts
    }
}

fn upper(mut facts: PacketFacts, rest: &[u8]) -> Parsed {
    if !facts.has_ports() && facts.icmp().is_none() {
        return Ok(facts);
    }
    if rest.len() < 4 {
        facts.unparsed = Some((Unparsed::Short, true));
        return Ok(facts);
    }
    facts.l4 = (u16_at(rest, 0), u16_at(rest, 2));
    let is_tcp = rest.len() >= 20 && rest[12] / 16 >= 5 && usize::from(rest[12] / 16) * 4 <= rest.len();
    facts.tcp_flags = is_tcp.then(|| rest[13]);
    Ok(facts)
}
