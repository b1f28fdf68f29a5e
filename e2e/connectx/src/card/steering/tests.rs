use super::*;
use crate::card::{
    bits::Field,
    fixture::{Content, MAC},
    layout::fte_match_set_lyr_2_4 as outer,
    parse::parse,
};

fn table(level: u8, miss: Option<u32>) -> FlowTable {
    let mut input = vec![0; 64];
    let context = create_flow_table_in::FLOW_TABLE_CONTEXT;
    flow_table_context::LEVEL
        .inside(context)
        .set(&mut input, level.into());
    flow_table_context::TABLE_MISS_ACTION
        .inside(context)
        .set(&mut input, miss.is_some().into());
    flow_table_context::TABLE_MISS_ID
        .inside(context)
        .set(&mut input, miss.unwrap_or(0).into());
    FlowTable::parse(&input)
}

fn group(first: u64, last: u64, fields: &[Field]) -> FlowGroup {
    let mut input = vec![0; 1024];
    create_flow_group_in::START_FLOW_INDEX.set(&mut input, first);
    create_flow_group_in::END_FLOW_INDEX.set(&mut input, last);
    create_flow_group_in::MATCH_CRITERIA_ENABLE.set(&mut input, u64::from(!fields.is_empty()));
    for field in fields {
        field
            .inside(create_flow_group_in::MATCH_CRITERIA)
            .set(&mut input, u64::MAX);
    }
    FlowGroup::parse(&input).unwrap()
}

fn entry_context(group: u64, action: u64, list: &[u32], counters: usize, values: &[(Field, u64)]) -> Vec<u8> {
    let mut context = vec![0; flow_context::DESTINATION.byte()];
    flow_context::GROUP_ID.set(&mut context, group);
    flow_context::ACTION.set(&mut context, action);
    flow_context::FLOW_TAG.set(&mut context, 5);
    flow_context::DESTINATION_LIST_SIZE.set(&mut context, (list.len() - counters) as u64);
    flow_context::FLOW_COUNTER_LIST_SIZE.set(&mut context, counters as u64);
    for (field, value) in values {
        field.inside(flow_context::MATCH_VALUE).set(&mut context, *value);
    }
    for item in list {
        context.extend_from_slice(&item.to_be_bytes());
        context.extend_from_slice(&[0; 4]);
    }
    context
}

fn to_tir(group: u64, tir: u32, values: &[(Field, u64)]) -> FlowEntry {
    FlowEntry::parse(&entry_context(group, FORWARD, &[2 << 24 | tir], 0, values)).unwrap()
}

fn to_table(group: u64, table: u32, values: &[(Field, u64)]) -> FlowEntry {
    FlowEntry::parse(&entry_context(group, FORWARD, &[1 << 24 | table], 0, values)).unwrap()
}

fn tirs(tables: &BTreeMap<u32, FlowTable>, content: &Content) -> Vec<u32> {
    let frame = content.frame();
    walk(tables, Some(1), &parse(&frame).fields)
        .destinations
        .into_iter()
        .map(|(tir, _)| tir)
        .collect()
}

const DESTINATION: [Field; 2] = [outer::DMAC_47_16, outer::DMAC_15_0];

fn destination(mac: [u8; 6]) -> Vec<(Field, u64)> {
    let number = mac.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    vec![
        (outer::DMAC_47_16, number >> 16),
        (outer::DMAC_15_0, number & 0xffff),
    ]
}

#[test]
fn only_frames_to_a_listed_mac_address_pass() {
    let mut table = table(1, None);
    table.groups.insert(1, group(0, 9, &DESTINATION));
    table
        .entries
        .insert(3, to_tir(1, 0x20, &destination([2, 2, 2, 2, 2, 2])));
    let mut tables = BTreeMap::from([(1, table)]);
    assert_eq!(tirs(&tables, &Content::default()), [0; 0]);
    let entry = to_tir(1, 0x21, &destination(MAC));
    tables.get_mut(&1).unwrap().entries.insert(4, entry);
    assert_eq!(tirs(&tables, &Content::default()), [0x21]);
}

#[test]
fn a_group_without_a_mask_is_promiscuous() {
    let mut table = table(1, None);
    table.groups.insert(1, group(0, 0, &[]));
    table.entries.insert(0, to_tir(1, 0x20, &[]));
    assert_eq!(tirs(&BTreeMap::from([(1, table)]), &Content::default()), [0x20]);
}

#[test]
fn the_multicast_bit_alone_can_match() {
    let mut multicast = group(0, 0, &[]);
    let mut mask = [0; OUTER];
    mask[outer::DMAC_47_16.byte()] = 1;
    multicast.mask = Some(mask);
    let mut table = table(1, None);
    table.groups.insert(1, multicast);
    table
        .entries
        .insert(0, to_tir(1, 0x20, &[(Field::new(outer::DMAC_47_16.bit, 8), 1)]));
    let tables = BTreeMap::from([(1, table)]);
    let mut frame = Content::default().frame();
    assert_eq!(walk(&tables, Some(1), &parse(&frame).fields).destinations, []);
    frame[0] |= 1;
    assert_eq!(
        walk(&tables, Some(1), &parse(&frame).fields).destinations,
        [(0x20, 5)]
    );
}

#[test]
fn the_entry_with_the_lowest_index_decides() {
    let mut table = table(1, None);
    table.groups.insert(1, group(0, 9, &[outer::ETHERTYPE]));
    table.groups.insert(2, group(10, 19, &[]));
    table.entries.insert(10, to_tir(2, 0x30, &[]));
    table
        .entries
        .insert(4, to_tir(1, 0x20, &[(outer::ETHERTYPE, 0x0800)]));
    let tables = BTreeMap::from([(1, table)]);
    assert_eq!(tirs(&tables, &Content::default()), [0x20]);
    assert_eq!(
        tirs(
            &tables,
            &Content {
                version: 6,
                ..Content::default()
            }
        ),
        [0x30]
    );
}

/// The driver's order: rules of the user, VLANs, MAC addresses, protocols.
#[test]
fn frames_go_through_levels_and_miss_tables() {
    let mut rules = table(1, Some(2));
    rules
        .groups
        .insert(1, group(0, 9, &[outer::IP_PROTOCOL, outer::UDP_DPORT]));
    rules.entries.insert(
        0,
        to_tir(1, 0x77, &[(outer::IP_PROTOCOL, 17), (outer::UDP_DPORT, 53)]),
    );
    let mut vlans = table(2, None);
    vlans
        .groups
        .insert(1, group(0, 9, &[outer::CVLAN_TAG, outer::FIRST_VID]));
    vlans.groups.insert(2, group(10, 10, &[outer::CVLAN_TAG]));
    vlans
        .entries
        .insert(0, to_table(1, 3, &[(outer::CVLAN_TAG, 1), (outer::FIRST_VID, 9)]));
    vlans.entries.insert(10, to_table(2, 3, &[(outer::CVLAN_TAG, 0)]));
    let mut protocols = table(3, None);
    protocols.groups.insert(1, group(0, 9, &[outer::IP_VERSION]));
    protocols
        .entries
        .insert(0, to_tir(1, 0x40, &[(outer::IP_VERSION, 4)]));
    protocols
        .entries
        .insert(1, to_tir(1, 0x60, &[(outer::IP_VERSION, 6)]));
    let tables = BTreeMap::from([(1, rules), (2, vlans), (3, protocols)]);
    let tcp = Content {
        tcp: true,
        ..Content::default()
    };
    assert_eq!(tirs(&tables, &Content::default()), [0x77]);
    assert_eq!(tirs(&tables, &tcp), [0x40]);
    assert_eq!(
        tirs(
            &tables,
            &Content {
                version: 6,
                ..tcp.clone()
            }
        ),
        [0x60]
    );
    assert_eq!(
        tirs(
            &tables,
            &Content {
                vlan: Some(9),
                ..tcp.clone()
            }
        ),
        [0x40]
    );
    assert_eq!(tirs(&tables, &Content { vlan: Some(8), ..tcp }), [0; 0]);
}

#[test]
fn an_entry_can_drop_and_count() {
    let mut table = table(1, None);
    table.groups.insert(1, group(0, 0, &[]));
    let context = entry_context(1, DROP | COUNT, &[0x99], 1, &[]);
    table.entries.insert(0, FlowEntry::parse(&context).unwrap());
    let walk = walk(&BTreeMap::from([(1, table)]), Some(1), &[0; OUTER]);
    assert_eq!(
        walk,
        Walk {
            destinations: vec![],
            counters: vec![0x99],
            dropped: true
        }
    );
}

#[test]
fn an_entry_can_have_several_destinations() {
    let mut table = table(1, None);
    table.groups.insert(1, group(0, 0, &[]));
    let context = entry_context(1, FORWARD, &[2 << 24 | 0x20, 2 << 24 | 0x21], 0, &[]);
    table.entries.insert(0, FlowEntry::parse(&context).unwrap());
    let tables = BTreeMap::from([(1, table)]);
    assert_eq!(tirs(&tables, &Content::default()), [0x20, 0x21]);
    assert!(tables[&1].has_destination(Destination::Tir(0x21)));
    assert!(!tables[&1].refers_to(2));
}

#[test]
fn without_a_root_table_nothing_matches() {
    assert_eq!(walk(&BTreeMap::new(), None, &[0; OUTER]), Walk::default());
}

#[test]
fn masks_and_actions_that_the_model_does_not_have_are_refused() {
    let mut input = vec![0; 1024];
    create_flow_group_in::MATCH_CRITERIA_ENABLE.set(&mut input, 0b11);
    assert!(FlowGroup::parse(&input).is_err());
    assert!(FlowEntry::parse(&entry_context(1, 1 << 7, &[], 0, &[])).is_err());
    assert!(FlowEntry::parse(&entry_context(1, FORWARD, &[6 << 24], 0, &[])).is_err());
}

#[test]
fn a_modification_replaces_the_miss_table() {
    let mut table = table(1, Some(2));
    table.modify(&[0; 64]);
    assert_eq!(table.miss, None);
}

#[test]
fn a_ring_of_miss_tables_ends() {
    let tables = BTreeMap::from([(1, table(1, Some(2))), (2, table(2, Some(1)))]);
    assert_eq!(walk(&tables, Some(1), &[0; OUTER]), Walk::default());
}
