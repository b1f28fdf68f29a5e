//! Generates random packets.

use std::net::IpAddr;

use proptest::{prelude::*, sample::select};

use super::{super::objects::source, Fragment, PacketSpec};

/// Generates packets to one of the destinations or to other addresses, valid and invalid.
pub fn packet(destinations: Vec<IpAddr>) -> impl Strategy<Value = PacketSpec> {
    let elsewhere = [
        IpAddr::from([192, 0, 2, 200]),
        IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1]),
    ];
    let destination = prop_oneof![9 => select(destinations), 1 => select(elsewhere.to_vec())];
    let link = (
        prop_oneof![5 => Just(0), 2 => 1..=2_usize, 1 => Just(3_usize)],
        rare(),
        rare(),
    );
    let head = prop_oneof![ports(), icmp(), any::<[u8; 4]>()];
    let protocol = select(vec![1, 6, 6, 17, 17, 17, 58, 132, 47, 50, 59, 255]);
    let sizes = (prop_oneof![4 => 0..40_usize, 1 => 1400..1600_usize], 0..20_usize);
    let cut = prop_oneof![7 => Just(None), 1 => (14..130_usize).prop_map(Some)];
    let short = prop_oneof![9 => Just(None), 1 => (0..6_usize).prop_map(Some)];
    let ends = (cut, short, rare());
    (destination, link, (protocol, head), sizes, ends, shape()).prop_flat_map(
        |(destination, link, l4, sizes, (cut, short, jumbogram), shape)| {
            source(destination.is_ipv6()).prop_map(move |source| PacketSpec {
                tags: link.0,
                group_mac: link.1,
                arp: link.2,
                source,
                destination,
                options: shape.0,
                extensions: shape.1.clone(),
                fragment: shape.2,
                protocol: l4.0,
                head: l4.1,
                payload: sizes.0,
                short,
                jumbogram,
                padding: sizes.1,
                cut,
            })
        },
    )
}

fn rare() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.04)
}

/// Generates words of options, extension headers, and the fragment. The parser accepts six extension headers,
/// the fragment header included.
fn shape() -> impl Strategy<Value = (usize, Vec<(u8, u8)>, Fragment)> {
    let fragment =
        prop_oneof![4 => Just(Fragment::Whole), 1 => Just(Fragment::First), 1 => Just(Fragment::Later)];
    let extension = (select(vec![43, 51, 60]), 0..3_u8);
    let extensions = prop_oneof![
        2 => Just(Vec::new()),
        2 => prop::collection::vec(extension.clone(), 0..=5),
        1 => prop::collection::vec(extension, 6..=8),
    ];
    (prop_oneof![Just(0), 0..=10_usize], extensions, fragment).prop_map(
        |(options, mut extensions, fragment)| {
            if fragment != Fragment::Whole {
                extensions.truncate(5);
            }
            if options % 2 == 1 && extensions.len() < 5 {
                extensions.insert(0, (0, 0));
            }
            (options, extensions, fragment)
        },
    )
}

fn ports() -> impl Strategy<Value = [u8; 4]> {
    let port = || {
        select(vec![
            0, 1, 53, 54, 67, 68, 79, 80, 81, 93, 443, 546, 547, 7776, 7777, 7778, 7790, 7791, 65534,
            65535_u16,
        ])
    };
    (port(), port()).prop_map(|(source, destination)| {
        let [a, b] = source.to_be_bytes();
        let [c, d] = destination.to_be_bytes();
        [a, b, c, d]
    })
}

fn icmp() -> impl Strategy<Value = [u8; 4]> {
    let heads = vec![
        [3, 4],
        [3, 3],
        [3, 5],
        [2, 0],
        [2, 7],
        [8, 0],
        [8, 1],
        [0, 0],
        [255, 255],
        [128, 0],
        [132, 0],
        [133, 0],
        [135, 0],
        [137, 0],
        [138, 0],
    ];
    select(heads).prop_map(|[kind, code]| [kind, code, 0, 0])
}
