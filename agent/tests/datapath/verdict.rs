//! The program decides as the core does on the host: any tables, any packet.

use std::{collections::BTreeSet, mem};

use xdp_core::tables::{IndexWord, SlotWord, Station, TagId, index_position};
use xdp_plan::{
    change::{Change, Content},
    nics::Stations,
    testing::node::test_stations,
};

use crate::{
    judge::{Judge, SHORTEST},
    random::{BLOCKS, Random, VLAN, v4, v6},
};

const PODS: u32 = 64;
const INSTALLATIONS: u64 = 8;
const FRAMES: usize = 14_000;

#[test]
fn host_and_kernel_agree_on_any_tables_and_any_packet() {
    let mut seen = BTreeSet::new();
    let mut verdicts = 0;
    for seed in 1..=INSTALLATIONS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut judge = Judge::new(&installation(&mut random));
        for _ in 0..FRAMES {
            let frame = random.frame();
            let verdict = judge.verdict(&frame);
            seen.insert(format!("{:?}", mem::discriminant(&verdict)));
        }
        judge.check_counters();
        verdicts += judge.verdicts;
    }
    println!("{verdicts} verdicts without a difference");
    assert_eq!(seen.len(), 13, "every kind of verdict is among them: {seen:?}");
}

#[test]
fn host_and_kernel_agree_on_a_packet_cut_at_every_length() {
    let mut random = Random(7);
    let mut judge = Judge::new(&installation(&mut random));
    for _ in 0..200 {
        let frame = random.frame();
        for length in SHORTEST..frame.len() {
            judge.verdict(&frame[..length]);
        }
    }
    judge.check_counters();
    println!("{} verdicts without a difference", judge.verdicts);
}

/// The stations of the NIC of test runs, with interfaces for the VLAN of the random frames.
fn stations() -> Vec<Change> {
    let Stations { nics, stations } = test_stations();
    let vlan = |tag: TagId| {
        if tag == TagId(0) {
            tag
        } else {
            TagId(tag.0 & !0xfff | VLAN)
        }
    };
    let nics = nics
        .into_iter()
        .map(|(position, nic)| Change::SetNic { position, nic });
    let stations = stations.into_iter().map(|(station, receiver)| {
        let tags = station.tags.map(vlan);
        let station = Station { tags, ..station };
        Change::SetStation { station, receiver }
    });
    nics.chain(stations).collect()
}

/// Blocks at random that lead to each other; one pod in eight has lost its device. Every address is in the
/// hash, and every other one in the index as well.
fn installation(random: &mut Random) -> Vec<Change> {
    let mut changes = stations();
    for index in 0..BLOCKS as u32 {
        let contents = [
            Content::SourcesV4(Box::new(random.sources_v4())),
            Content::SourcesV6(Box::new(random.sources_v6())),
            Content::Class(random.class()),
            Content::Ports(Box::new(random.ports())),
        ];
        changes.extend(contents.map(|content| Change::Write { index, content }));
        // Nothing is at NO_MATCH.
        if index > 0 {
            let content = Content::Action(random.action(index));
            changes.push(Change::Write { index, content });
        }
    }
    for slot in 0..PODS {
        let content = Content::Pod(random.pod(slot));
        changes.push(Change::Write { index: slot, content });
        let word = SlotWord::new(1, slot);
        changes.push(Change::SetWord { slot, word });
        if slot % 8 != 7 {
            changes.push(Change::SetDevice { slot, ifindex: 1 });
        }
        for address in [v4(slot as u8), v6(slot as u8)] {
            changes.push(Change::SetAddress { address, slot });
        }
        let v4 = v4(slot as u8).low as u32;
        let word = if slot % 2 == 0 {
            IndexWord::new(v4, slot, slot % 4 == 0)
        } else {
            IndexWord(IndexWord::MORE)
        };
        let position = index_position(v4);
        changes.push(Change::SetIndex { position, word });
    }
    changes.push(Change::Fence);
    changes
}
