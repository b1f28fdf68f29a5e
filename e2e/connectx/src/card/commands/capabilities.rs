//! Capabilities (`QUERY_HCA_CAP`), by group.
//!
//! Fields that are not here are 0: the card cannot do it.

use crate::card::{
    bits::Field,
    layout::{
        cmd_hca_cap, cmd_hca_cap_2, flow_table_nic_cap, flow_table_prop_layout,
        per_protocol_networking_offload_caps as ethernet, shampo_cap,
    },
    profile::Profile,
};

/// The length of a group in bytes.
pub(super) const LENGTH: usize = 4096;

/// Groups (`enum mlx5_cap_type`).
const GENERAL: u16 = 0;
const ETHERNET: u16 = 1;
const FLOW_TABLE: u16 = 7;
const SHAMPO: u16 = 0x1d;
const GENERAL_2: u16 = 0x20;

/// What every card has.
const GENERAL_ALWAYS: &[(Field, u64)] = {
    use cmd_hca_cap as cap;
    &[
        (cap::LOG_MAX_SRQ_SZ, 15),
        (cap::LOG_MAX_QP_SZ, 15),
        (cap::LOG_MAX_QP, 18),
        (cap::LOG_MAX_CQ_SZ, 22),
        (cap::LOG_MAX_CQ, 16),
        (cap::LOG_MAX_EQ_SZ, 22),
        (cap::LOG_MAX_MKEY, 20),
        (cap::LOG_MAX_EQ, 6),
        (cap::MAX_NUM_EQS, 64),
        (cap::MAX_INDIRECTION, 4),
        (cap::LOG_MAX_MRW_SZ, 30),
        (cap::LOG_MAX_KLM_LIST_SIZE, 16),
        (cap::END_PAD, 1),
        (cap::OUT_OF_SEQ_CNT, 1),
        (cap::VPORT_COUNTERS, 1),
        (cap::MODIFY_RQ_COUNTER_SET_ID, 1),
        (cap::MAX_QP_CNT, 64),
        (cap::NIC_FLOW_TABLE, 1),
        (cap::PORTS_CHECK, 1),
        (cap::PORT_TYPE, 1),
        (cap::NUM_PORTS, 1),
        (cap::LOG_MAX_MSG, 30),
        (cap::MAX_TC, 8),
        (cap::CQE_VERSION, 1),
        (cap::UMR_PTR_RLKY, 1),
        (cap::ETH_NET_OFFLOADS, 1),
        (cap::CQ_MODERATION, 1),
        (cap::CQ_PERIOD_MODE_MODIFY, 1),
        (cap::CQ_PERIOD_START_FROM_CQE, 1),
        (cap::BF, 1),
        (cap::DRIVER_VERSION, 1),
        (cap::LOG_BF_REG_SIZE, 9),
        (cap::MAX_WQE_SZ_SQ, 1024),
        (cap::MAX_WQE_SZ_RQ, 512),
        (cap::LOG_MAX_TRANSPORT_DOMAIN, 10),
        (cap::LOG_MAX_PD, 10),
        (cap::MAX_FLOW_COUNTER_15_0, 0x8000),
        (cap::LOG_MAX_RQ, 16),
        (cap::LOG_MAX_SQ, 16),
        (cap::LOG_MAX_TIR, 16),
        (cap::LOG_MAX_TIS, 10),
        (cap::BASIC_CYCLIC_RCV_WQE, 1),
        (cap::LOG_MAX_RQT, 16),
        (cap::LOG_MAX_RQT_SIZE, 11),
        (cap::LOG_MAX_TIS_PER_SQ, 1),
        (cap::LOG_MAX_STRIDE_SZ_RQ, 13),
        (cap::LOG_MIN_STRIDE_SZ_RQ, 6),
        (cap::LOG_MAX_STRIDE_SZ_SQ, 13),
        (cap::LOG_MIN_STRIDE_SZ_SQ, 6),
        (cap::LOG_MAX_WQ_SZ, 20),
        (cap::LOG_MAX_VLAN_LIST, 12),
        (cap::LOG_MAX_CURRENT_MC_LIST, 11),
        (cap::LOG_MAX_CURRENT_UC_LIST, 7),
        (cap::NUM_OF_UARS_PER_PAGE, 1),
    ]
};

const ETHERNET_ALWAYS: &[(Field, u64)] = {
    use ethernet as cap;
    &[
        (cap::CSUM_CAP, 1),
        (cap::VLAN_CAP, 1),
        (cap::WQE_VLAN_INSERT, 1),
        (cap::SELF_LB_EN_MODIFIABLE, 1),
        (cap::MAX_LSO_CAP, 18),
        (cap::RSS_IND_TBL_CAP, 11),
        (cap::REG_UMR_SQ, 1),
        (cap::SCATTER_FCS, 1),
        (cap::LRO_MIN_MSS_SIZE, 64),
    ]
};

/// LRO timeouts in microseconds.
const LRO_PERIODS: [u64; 4] = [8, 16, 32, 1024];

const RECEIVE_TABLES: &[(Field, u64)] = {
    use flow_table_prop_layout as cap;
    &[
        (cap::FT_SUPPORT, 1),
        (cap::FLOW_COUNTER, 1),
        (cap::FLOW_MODIFY_EN, 1),
        (cap::MODIFY_ROOT, 1),
        (cap::IDENTIFIED_MISS_TABLE_MODE, 1),
        (cap::FLOW_TABLE_MODIFY, 1),
        (cap::LOG_MAX_FT_SIZE, 22),
        (cap::MAX_FT_LEVEL, 64),
        (cap::LOG_MAX_FT_NUM, 22),
        (cap::LOG_MAX_FLOW_COUNTER, 2),
        (cap::LOG_MAX_DESTINATION, 6),
        (cap::LOG_MAX_FLOW, 24),
    ]
};

/// The fields of outer headers that entries can match (`struct mlx5_ifc_flow_table_fields_supported_bits`).
const OUTER_HEADERS: u64 = 0xffef_fe00;

const GENERAL_2_FIELDS: &[(Field, u64)] = {
    use cmd_hca_cap_2 as cap;
    &[
        (cap::MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER_VALID, 1),
        (cap::MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER, 4),
    ]
};

const SHAMPO_FIELDS: &[(Field, u64)] = {
    use shampo_cap as cap;
    &[
        (cap::SHAMPO_LOG_MAX_RESERVATION_SIZE, 16),
        (cap::SHAMPO_LOG_MIN_RESERVATION_SIZE, 12),
        (cap::SHAMPO_MIN_MSS_SIZE, 64),
        (cap::SHAMPO_HEADER_SPLIT, 1),
        (cap::SHAMPO_HEADER_SPLIT_DATA_MERGE, 1),
        (cap::SHAMPO_LOG_MAX_HEADERS_ENTRY_SIZE, 8),
    ]
};

/// Returns a group of capabilities.
pub(super) fn group(profile: &Profile, group: u16) -> Vec<u8> {
    let mut capabilities = vec![0; LENGTH];
    match group {
        GENERAL => general(profile, &mut capabilities),
        ETHERNET => ethernet(profile, &mut capabilities),
        FLOW_TABLE => flow_tables(&mut capabilities),
        SHAMPO => set(&mut capabilities, SHAMPO_FIELDS),
        GENERAL_2 => set(&mut capabilities, GENERAL_2_FIELDS),
        _ => {}
    }
    capabilities
}

fn set(capabilities: &mut [u8], fields: &[(Field, u64)]) {
    for (field, value) in fields {
        field.set(capabilities, *value);
    }
}

fn general(profile: &Profile, capabilities: &mut [u8]) {
    use cmd_hca_cap as cap;

    let is = u64::from;
    set(capabilities, GENERAL_ALWAYS);
    set(
        capabilities,
        &[
            (cap::VPORT_GROUP_MANAGER, is(!profile.virtual_function)),
            (cap::STRIDING_RQ, is(profile.striding)),
            (cap::EXT_STRIDE_NUM_RANGE, is(profile.ext_stride_num_range)),
            (cap::SHAMPO, is(profile.hardware_gro)),
            (cap::FIXED_BUFFER_SIZE, is(profile.hardware_gro)),
            (cap::HCA_CAP_2, is(profile.hardware_gro)),
            (cap::DEVICE_FREQUENCY_KHZ, profile.clock_khz),
            (cap::DEVICE_FREQUENCY_MHZ, profile.clock_khz / 1000),
        ],
    );
}

fn ethernet(profile: &Profile, capabilities: &mut [u8]) {
    use ethernet as cap;

    set(capabilities, ETHERNET_ALWAYS);
    set(
        capabilities,
        &[
            (cap::LRO_CAP, u64::from(profile.lro)),
            (cap::WQE_INLINE_MODE, profile.inline as u64),
            (
                cap::ENHANCED_MULTI_PKT_SEND_WQE,
                u64::from(profile.multi_packet_send),
            ),
        ],
    );
    for (index, period) in LRO_PERIODS.into_iter().enumerate() {
        Field::new(cap::LRO_TIMER_SUPPORTED_PERIODS.bit + 32 * index, 32).set(capabilities, period);
    }
}

fn flow_tables(capabilities: &mut [u8]) {
    use flow_table_prop_layout::{FT_FIELD_BITMASK_SUPPORT, FT_FIELD_SUPPORT};

    flow_table_nic_cap::NIC_RX_MULTI_PATH_TIRS.set(capabilities, 1);
    let receive = flow_table_nic_cap::FLOW_TABLE_PROPERTIES_NIC_RECEIVE;
    for (field, value) in RECEIVE_TABLES {
        field.inside(receive).set(capabilities, *value);
    }
    for field in [FT_FIELD_SUPPORT, FT_FIELD_BITMASK_SUPPORT] {
        Field::new(field.bit, 32)
            .inside(receive)
            .set(capabilities, OUTER_HEADERS);
    }
}
