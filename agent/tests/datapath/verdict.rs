//! The program decides as the core does on the host: any list, any packet.

use std::collections::BTreeSet;
use std::mem;

use xdp_core::tables::SlotWord;
use xdp_plan::change::Change;

use crate::judge::{Judge, SHORTEST};
use crate::random::{Random, v4, v6};

const PODS: u32 = 64;
const INSTALLATIONS: u64 = 8;
const FRAMES: usize = 14_000;

#[test]
fn host_and_kernel_agree_on_any_list_and_any_packet() {
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
    assert_eq!(seen.len(), 8, "every kind of verdict is among them: {seen:?}");
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

/// Pods with lists of every length; one in eight has lost its device.
fn installation(random: &mut Random) -> Vec<Change> {
    let mut changes = Vec::new();
    for slot in 0..PODS {
        let block = Box::new(random.block(slot));
        changes.push(Change::WriteBlock {
            slot,
            index: 2 * slot,
            block,
        });
        changes.push(Change::SetWord {
            slot,
            word: SlotWord::new(1, 2 * slot),
        });
        if slot % 8 != 7 {
            changes.push(Change::SetDevice { slot, ifindex: 1 });
        }
        for address in [v4(slot as u8), v6(slot as u8)] {
            changes.push(Change::SetAddress { address, slot });
        }
    }
    changes.push(Change::Fence);
    changes
}
