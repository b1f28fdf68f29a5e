use super::*;
use crate::card::fixture::key;

const PAGE: usize = 4096;

fn none(_: u32) -> Result<&'static MemoryKey, &'static str> {
    Err("no other key")
}

fn pages(entries: &[u64]) -> MemoryKey {
    let translations: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    MemoryKey::parse(&key(PAGES, (entries.len() * PAGE) as u64, 12, &translations))
}

fn translate(key: &MemoryKey, address: u64, length: usize) -> Result<Vec<Piece>, &'static str> {
    key.translate(address, length, Access::Write, none)
}

#[test]
fn a_range_is_divided_at_page_boundaries() {
    let key = pages(&[0x7000 | 3, 0x3000 | 3]);
    let pieces = translate(&key, 4000, 200).unwrap();
    let expected = [
        Piece {
            address: 0x7000 + 4000,
            length: 96,
        },
        Piece {
            address: 0x3000,
            length: 104,
        },
    ];
    assert_eq!(pieces, expected);
}

#[test]
fn each_page_has_its_own_permission() {
    let key = pages(&[0x7000 | 1, 0x3000 | 2]);
    let refused = Err("a translation that does not permit the access");
    assert_eq!(translate(&key, 0, 10), refused);
    assert!(translate(&key, 4096, 10).is_ok());
    assert_eq!(key.translate(4096, 10, Access::Read, none), refused);
    assert!(key.translate(0, 10, Access::Read, none).is_ok());
}

#[test]
fn a_translation_must_be_aligned() {
    let key = pages(&[0x7010 | 3, 0]);
    assert_eq!(
        translate(&key, 0, 10),
        Err("a translation that is not aligned to its page")
    );
}

#[test]
fn nothing_outside_the_key_is_translated() {
    let key = pages(&[0x7000 | 3, 0x3000 | 3]);
    assert!(translate(&key, 8000, 192).is_ok());
    assert_eq!(
        translate(&key, 8000, 193),
        Err("an address behind the memory key")
    );
    assert_eq!(
        translate(&key, u64::MAX, 10),
        Err("an address behind the memory key")
    );
}

#[test]
fn blocks_have_keys_of_their_own() {
    let physical = MemoryKey::parse(&key(PHYSICAL, 0, 0, &[]));
    let blocks: Vec<u8> = [(0x2007_u64, 0x5000_0100_u64), (0x2007, 0x5000_0900)]
        .iter()
        .flat_map(|(key, address)| [key.to_be_bytes(), address.to_be_bytes()].concat())
        .collect();
    let key = MemoryKey::parse(&key(BLOCKS, 4096, 11, &blocks));
    let find = |number| {
        if number == 0x2007 {
            Ok(&physical)
        } else {
            Err("an unknown memory key")
        }
    };
    let pieces = key.translate(2000, 100, Access::Write, find).unwrap();
    let expected = [
        Piece {
            address: 0x5000_0100 + 2000,
            length: 48,
        },
        Piece {
            address: 0x5000_0900,
            length: 52,
        },
    ];
    assert_eq!(pieces, expected);
    assert_eq!(translate(&key, 0, 10), Err("no other key"));
}

#[test]
fn other_modes_are_refused() {
    let key = MemoryKey::parse(&key(2, 4096, 12, &[0; 16]));
    assert_eq!(
        translate(&key, 0, 10),
        Err("a memory key with an access mode that the model does not have")
    );
}

#[test]
fn a_key_without_umr_cannot_be_changed() {
    let mut key = pages(&[0, 0]);
    assert_eq!(key.update(0, &[1; 16], None), Ok(()));
    key.modifiable = false;
    assert_eq!(
        key.update(0, &[1; 16], None),
        Err("a UMR for a memory key without umr_en")
    );
}

#[test]
fn a_free_key_is_not_accessible_until_a_umr_takes_it() {
    let mut key = pages(&[0x7000 | 3, 0x3000 | 3]);
    assert_eq!(key.update(0, &[], Some(true)), Ok(()));
    assert_eq!(translate(&key, 0, 10), Err("a free memory key"));
    assert_eq!(key.update(0, &[], None), Ok(()));
    assert_eq!(translate(&key, 0, 10), Err("a free memory key"));
    assert_eq!(key.update(0, &[], Some(false)), Ok(()));
    assert!(translate(&key, 0, 10).is_ok());
}
