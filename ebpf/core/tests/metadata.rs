//! Metadata v1, as a consumer in a pod relies on it.

use xdp_core::metadata::{LEN, Metadata};

#[test]
#[cfg(target_endian = "little")]
fn the_bytes_of_version_1_are_pinned() {
    let metadata = Metadata::new(0x0102_0304, Some(42)).with_rx_hash(0xaabb_ccdd);
    assert_eq!(
        metadata.to_bytes(),
        [0x44, 0x58, 1, 3, 4, 3, 2, 1, 42, 0, 0, 0, 0xdd, 0xcc, 0xbb, 0xaa]
    );
}

#[test]
fn a_reader_gets_back_what_was_written() {
    for metadata in [
        Metadata::new(7, None),
        Metadata::new(7, Some(0)),
        Metadata::new(u32::MAX, Some(u32::MAX)),
    ] {
        assert_eq!(Metadata::read(&metadata.to_bytes()), Some(metadata));
        assert_eq!(Metadata::from_words(metadata.words()), Some(metadata));
    }
}

#[test]
fn no_mark_is_not_mark_zero() {
    assert_eq!(Metadata::new(7, None).mark(), None);
    assert_eq!(Metadata::new(7, Some(0)).mark(), Some(0));
    assert_eq!(Metadata::new(7, None).rx_hash(), None);
}

#[test]
fn bytes_after_the_metadata_are_ignored_and_missing_ones_are_not() {
    let mut bytes = Metadata::new(7, Some(1)).to_bytes().to_vec();
    bytes.extend([0xff; 16]);
    assert!(Metadata::read(&bytes).is_some());
    assert_eq!(Metadata::read(&bytes[..LEN - 1]), None);
}

#[test]
fn foreign_bytes_and_other_versions_are_not_classified() {
    let mut other_version = Metadata::new(7, None).to_bytes();
    other_version[2] = 2;
    assert_eq!(Metadata::read(&other_version), None);
    assert_eq!(Metadata::read(&[0; LEN]), None);
    assert_eq!(Metadata::read(&[]), None);
}

#[test]
fn what_is_on_its_way_through_the_stack_carries_the_interface_and_the_pod_does_not_see_it() {
    let metadata = Metadata::new(7, Some(42)).with_rx_hash(1);
    let marked = Metadata::read(&metadata.for_peer(1023).to_bytes());
    let expected = (1023, Metadata::new(7, Some(42)));
    assert_eq!(marked.and_then(Metadata::take_peer), Some(expected));
    assert_eq!(marked.and_then(|marked| marked.rx_hash()), None);
    assert_eq!(metadata.take_peer(), None);
}
