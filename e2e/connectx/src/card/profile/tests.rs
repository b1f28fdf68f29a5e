use std::collections::BTreeSet;

use crate::card::profile::{Inline, Profile};

#[test]
fn cards_have_different_ids() {
    let ids: BTreeSet<u16> = Profile::ALL.iter().map(|profile| profile.device_id).collect();
    assert_eq!(ids.len(), Profile::ALL.len());
}

#[test]
fn a_virtual_function_has_an_id_of_its_own() {
    for profile in Profile::ALL {
        let function = profile.clone().into_virtual_function();
        assert!(function.virtual_function);
        assert!(
            Profile::ALL
                .iter()
                .all(|card| card.device_id != function.device_id),
            "{}",
            profile.name
        );
    }
}

#[test]
fn old_cards_copy_headers_and_have_no_small_strides() {
    let old = Profile::CONNECTX_4_LX;
    assert_eq!(old.inline, Inline::Ethernet);
    assert!(!old.ext_stride_num_range);
    assert!(
        !Profile::CONNECTX_6_DX
            .without_ext_stride_num_range()
            .ext_stride_num_range
    );
}
