//! Capabilities (QUERY_HCA_CAP).
use crate::card::bits::{Field, set, set_at};
use crate::card::device::Device;
use crate::card::layout;

impl Device {
    pub(crate) fn caps(&self, ty: u16) -> Vec<u8> {
        let mut c = vec![0u8; 4096];
        macro_rules! s { ($($m:ident::$f:ident = $v:expr),* $(,)?) => {{ $( set(&mut c, layout::$m::$f, $v as u64); )* }} }
        match ty {
            0 => s!(
                cmd_hca_cap::LOG_MAX_SRQ_SZ = 15,
                cmd_hca_cap::LOG_MAX_QP_SZ = 15,
                cmd_hca_cap::LOG_MAX_QP = 18,
                cmd_hca_cap::LOG_MAX_CQ_SZ = 22,
                cmd_hca_cap::LOG_MAX_CQ = 16,
                cmd_hca_cap::LOG_MAX_EQ_SZ = 22,
                cmd_hca_cap::LOG_MAX_MKEY = 20,
                cmd_hca_cap::LOG_MAX_EQ = 6,
                cmd_hca_cap::LOG_MAX_MRW_SZ = 30,
                cmd_hca_cap::LOG_MAX_KLM_LIST_SIZE = 16,
                cmd_hca_cap::END_PAD = 1,
                cmd_hca_cap::VPORT_COUNTERS = 1,
                cmd_hca_cap::MAX_QP_CNT = 64,
                cmd_hca_cap::VPORT_GROUP_MANAGER = 1,
                cmd_hca_cap::NIC_FLOW_TABLE = 1,
                cmd_hca_cap::PORTS_CHECK = 1,
                cmd_hca_cap::PORT_TYPE = 1,
                cmd_hca_cap::NUM_PORTS = 1,
                cmd_hca_cap::LOG_MAX_MSG = 30,
                cmd_hca_cap::MAX_TC = 8,
                cmd_hca_cap::CQE_VERSION = 1,
                cmd_hca_cap::STRIDING_RQ = self.profile.striding,
                cmd_hca_cap::UMR_PTR_RLKY = 1,
                cmd_hca_cap::ETH_NET_OFFLOADS = 1,
                cmd_hca_cap::CQ_MODERATION = 1,
                cmd_hca_cap::CQ_PERIOD_MODE_MODIFY = 1,
                cmd_hca_cap::CQ_PERIOD_START_FROM_CQE = 1,
                cmd_hca_cap::BF = 1,
                cmd_hca_cap::LOG_BF_REG_SIZE = 9,
                cmd_hca_cap::MAX_WQE_SZ_SQ = 1024,
                cmd_hca_cap::MAX_WQE_SZ_RQ = 512,
                cmd_hca_cap::LOG_MAX_TRANSPORT_DOMAIN = 10,
                cmd_hca_cap::LOG_MAX_PD = 20,
                cmd_hca_cap::LOG_MAX_RQ = 16,
                cmd_hca_cap::LOG_MAX_SQ = 16,
                cmd_hca_cap::LOG_MAX_TIR = 16,
                cmd_hca_cap::LOG_MAX_TIS = 16,
                cmd_hca_cap::BASIC_CYCLIC_RCV_WQE = 1,
                cmd_hca_cap::LOG_MAX_RQT = 16,
                cmd_hca_cap::LOG_MAX_RQT_SIZE = 11,
                cmd_hca_cap::LOG_MAX_TIS_PER_SQ = 1,
                cmd_hca_cap::LOG_MAX_STRIDE_SZ_RQ = 13,
                cmd_hca_cap::LOG_MIN_STRIDE_SZ_RQ = 6,
                cmd_hca_cap::LOG_MAX_STRIDE_SZ_SQ = 13,
                cmd_hca_cap::LOG_MIN_STRIDE_SZ_SQ = 6,
                cmd_hca_cap::LOG_MAX_WQ_SZ = 20,
                cmd_hca_cap::LOG_MAX_VLAN_LIST = 12,
                cmd_hca_cap::LOG_MAX_CURRENT_MC_LIST = 11,
                cmd_hca_cap::LOG_MAX_CURRENT_UC_LIST = 7,
                cmd_hca_cap::MAX_NUM_EQS = 64,
                cmd_hca_cap::LOG_MAX_L2_TABLE = 0,
                cmd_hca_cap::DEVICE_FREQUENCY_KHZ = 156250,
                cmd_hca_cap::DEVICE_FREQUENCY_MHZ = 156,
                cmd_hca_cap::NUM_OF_UARS_PER_PAGE = 1,
                cmd_hca_cap::MAX_FLOW_COUNTER_15_0 = 0x8000,
                cmd_hca_cap::DRIVER_VERSION = 1,
                cmd_hca_cap::MAX_INDIRECTION = 4,
                cmd_hca_cap::MODIFY_RQ_COUNTER_SET_ID = 1,
                cmd_hca_cap::EXT_STRIDE_NUM_RANGE = self.profile.ext_stride_num_range,
                cmd_hca_cap::OUT_OF_SEQ_CNT = 1,
                cmd_hca_cap::SHAMPO = self.profile.hardware_gro,
                cmd_hca_cap::FIXED_BUFFER_SIZE = self.profile.hardware_gro,
                cmd_hca_cap::HCA_CAP_2 = self.profile.hardware_gro,
            ),
            1 => {
                s!(
                    per_protocol_networking_offload_caps::CSUM_CAP = 1,
                    per_protocol_networking_offload_caps::VLAN_CAP = 1,
                    per_protocol_networking_offload_caps::LRO_CAP = self.profile.lro,
                    per_protocol_networking_offload_caps::WQE_VLAN_INSERT = 1,
                    per_protocol_networking_offload_caps::SELF_LB_EN_MODIFIABLE = 1,
                    per_protocol_networking_offload_caps::MAX_LSO_CAP = 18,
                    per_protocol_networking_offload_caps::WQE_INLINE_MODE =
                        if self.profile.inline_headers { 0 } else { 2 },
                    per_protocol_networking_offload_caps::RSS_IND_TBL_CAP = 11,
                    per_protocol_networking_offload_caps::REG_UMR_SQ = 1,
                    per_protocol_networking_offload_caps::SCATTER_FCS = 1,
                    per_protocol_networking_offload_caps::ENHANCED_MULTI_PKT_SEND_WQE =
                        self.profile.multi_packet_send,
                    per_protocol_networking_offload_caps::LRO_MIN_MSS_SIZE = 64
                );
                let b = layout::per_protocol_networking_offload_caps::LRO_TIMER_SUPPORTED_PERIODS.bit;
                for (i, v) in [8u64, 16, 32, 1024].iter().enumerate() {
                    set(&mut c, Field::new(b + 32 * i, 32), *v);
                }
            }
            7 => {
                s!(flow_table_nic_cap::NIC_RX_MULTI_PATH_TIRS = 1);
                for base in [layout::flow_table_nic_cap::FLOW_TABLE_PROPERTIES_NIC_RECEIVE.bit] {
                    macro_rules! p { ($($m:ident::$f:ident = $v:expr),* $(,)?) => {{ $( set_at(&mut c, base, layout::$m::$f, $v); )* }} }
                    p!(
                        flow_table_prop_layout::FT_SUPPORT = 1,
                        flow_table_prop_layout::FLOW_COUNTER = 1,
                        flow_table_prop_layout::FLOW_MODIFY_EN = 1,
                        flow_table_prop_layout::MODIFY_ROOT = 1,
                        flow_table_prop_layout::IDENTIFIED_MISS_TABLE_MODE = 1,
                        flow_table_prop_layout::FLOW_TABLE_MODIFY = 1,
                        flow_table_prop_layout::LOG_MAX_FT_SIZE = 22,
                        flow_table_prop_layout::MAX_FT_LEVEL = 64,
                        flow_table_prop_layout::LOG_MAX_FT_NUM = 22,
                        flow_table_prop_layout::LOG_MAX_FLOW_COUNTER = 2,
                        flow_table_prop_layout::LOG_MAX_DESTINATION = 6,
                        flow_table_prop_layout::LOG_MAX_FLOW = 24
                    );
                    // outer header fields that the model's matcher knows
                    for f in [
                        layout::flow_table_prop_layout::FT_FIELD_SUPPORT.bit,
                        layout::flow_table_prop_layout::FT_FIELD_BITMASK_SUPPORT.bit,
                    ] {
                        set_at(&mut c, base + f, Field::new(0, 32), 0xffef_fe00);
                    }
                }
            }
            0x20 => s!(
                cmd_hca_cap_2::MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER_VALID = 1,
                cmd_hca_cap_2::MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER = 4
            ),
            0x1d => s!(
                shampo_cap::SHAMPO_LOG_MAX_RESERVATION_SIZE = 16,
                shampo_cap::SHAMPO_LOG_MIN_RESERVATION_SIZE = 12,
                shampo_cap::SHAMPO_MIN_MSS_SIZE = 64,
                shampo_cap::SHAMPO_HEADER_SPLIT = 1,
                shampo_cap::SHAMPO_HEADER_SPLIT_DATA_MERGE = 1,
                shampo_cap::SHAMPO_LOG_MAX_HEADERS_ENTRY_SIZE = 8
            ),
            _ => {}
        }
        c
    }
}
