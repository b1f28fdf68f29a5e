//! Random oddities.

use super::super::{
    case::{Extension, Fragment, Mac, Oddity, Options, Tags},
    host::Place,
};
use crate::Random;

/// Returns up to three random oddities.
pub(super) fn oddities(random: &mut Random, v6: bool, at: Place) -> Vec<Oddity> {
    let count = random.pick(&[0, 0, 1, 1, 1, 2, 2, 3]);
    (0..count).map(|_| oddity(random, v6, at)).collect()
}

fn oddity(random: &mut Random, v6: bool, at: Place) -> Oddity {
    match random.below(20) {
        0..=7 => of_frame(random),
        8..=15 => of_ip_header(random, v6),
        16..=18 => of_rest(random),
        _ => {
            // Behind the addresses of the packet, the ports and the frame's number begin.
            let headers = if v6 { 54 } else { 34 };
            let first = if at.is_pod() { 12 } else { 0 };
            let offset = first + random.below(headers - first);
            Oddity::Byte(offset as u8, random.below(256) as u8)
        }
    }
}

fn of_frame(random: &mut Random) -> Oddity {
    match random.below(8) {
        0..=2 => Oddity::ToMac(random.pick(&MACS)),
        3 => Oddity::FromMac(random.pick(&[Mac::OtherStation, Mac::Nic0, Mac::Multicast, Mac::Zero])),
        4..=6 => Oddity::Tags(random.pick(&TAGS)),
        _ => Oddity::EtherType(random.pick(&[0x0800, 0x86dd, 0x0806, 0x8864, 0x88cc, 60])),
    }
}

fn of_ip_header(random: &mut Random, v6: bool) -> Oddity {
    match random.below(8) {
        0 => Oddity::TimeToLive(random.pick(&[0, 1, 1, 2, 255])),
        1 => Oddity::Fragment(random.pick(&FRAGMENTS)),
        2..=4 if v6 => Oddity::Extension(random.pick(&EXTENSIONS), random.pick(&[1, 1, 1, 2, 5, 6, 7, 9])),
        2 | 3 => Oddity::Options(random.pick(&OPTIONS)),
        4 => Oddity::HeaderChecksum,
        5 => Oddity::Checksum(random.below(4) as u16 * 7777),
        6 => Oddity::Length(random.pick(&[-20, -8, -1, 1, 8, 100])),
        _ => Oddity::FirstByte(random.pick(&[0x44, 0x40, 0x46, 0x4f, 0x55, 0x60, 0x65, 0x05])),
    }
}

/// Of transport headers, and of the frame's end.
fn of_rest(random: &mut Random) -> Oddity {
    match random.below(3) {
        0 => random.pick(&[
            Oddity::UdpLength(-8),
            Oddity::UdpLength(8),
            Oddity::DataOffset(4),
            Oddity::DataOffset(15),
            Oddity::ZeroPort,
        ]),
        1 => Oddity::Cut(random.pick(&[0, 1, 3, 4, 7, 8, 12, 19])),
        _ => random.pick(&[
            Oddity::Truncated(1),
            Oddity::Truncated(30),
            Oddity::Truncated(50),
            Oddity::Padding(1),
            Oddity::Padding(60),
        ]),
    }
}

const MACS: [Mac; 12] = [
    Mac::OtherStation,
    Mac::Broadcast,
    Mac::Multicast,
    Mac::Nic0,
    Mac::Nic1,
    Mac::Zero,
    Mac::Client,
    Mac::Pod,
    Mac::PodHost,
    Mac::PodBridge,
    Mac::Bridge,
    Mac::Macvlan,
];
const TAGS: [Tags; 15] = [
    Tags::Priority,
    Tags::ServicePriority,
    Tags::Known,
    Tags::KnownAsService,
    Tags::Unknown,
    Tags::UnknownService,
    Tags::DoublePriority,
    Tags::PriorityUnknown,
    Tags::PriorityKnown,
    Tags::KnownKnown,
    Tags::KnownUnknown,
    Tags::DoubleUnknown,
    Tags::Triple,
    Tags::TriplePriority,
    Tags::OldService,
];
const FRAGMENTS: [Fragment; 7] = [
    Fragment::Forbidden,
    Fragment::ReservedBit,
    Fragment::First,
    Fragment::Later,
    Fragment::Last,
    Fragment::Beyond,
    Fragment::Atomic,
];
const OPTIONS: [Options; 10] = [
    Options::Nop,
    Options::End,
    Options::RecordRoute,
    Options::Timestamp,
    Options::SourceRoute,
    Options::StrictRoute,
    Options::RouterAlert,
    Options::Security,
    Options::BadLength,
    Options::Full,
];
/// Of options, every way to treat an unknown one is among the types.
const EXTENSIONS: [Extension; 20] = [
    Extension::HopByHop(1),
    Extension::HopByHop(5),
    Extension::HopByHop(0xc2),
    Extension::HopByHop(0x3e),
    Extension::HopByHop(0x7e),
    Extension::HopByHop(0xbe),
    Extension::HopByHop(0xfe),
    Extension::Destination(1),
    Extension::Destination(0xc9),
    Extension::Destination(0xbe),
    Extension::Routing(0, 0),
    Extension::Routing(0, 1),
    Extension::Routing(2, 1),
    Extension::Routing(4, 1),
    Extension::Authentication,
    Extension::Mobility,
    Extension::Hip,
    Extension::Shim6,
    Extension::NoNext,
    Extension::Reserved,
];
