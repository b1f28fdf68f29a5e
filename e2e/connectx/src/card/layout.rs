// Generated: bit offsets of the command interface. Do not edit.
pub(crate) mod access_register_in {
    use crate::card::bits::Field;

    pub(crate) const REGISTER_ID: Field = Field::new(80, 16);
}
pub(crate) mod alloc_flow_counter_out {
    use crate::card::bits::Field;

    pub(crate) const FLOW_COUNTER_ID: Field = Field::new(64, 32);
}
pub(crate) mod cmd_hca_cap {
    use crate::card::bits::Field;

    pub(crate) const BASIC_CYCLIC_RCV_WQE: Field = Field::new(896, 1);
    pub(crate) const BF: Field = Field::new(608, 1);
    pub(crate) const CQE_VERSION: Field = Field::new(508, 4);
    pub(crate) const CQ_MODERATION: Field = Field::new(546, 1);
    pub(crate) const CQ_PERIOD_MODE_MODIFY: Field = Field::new(547, 1);
    pub(crate) const CQ_PERIOD_START_FROM_CQE: Field = Field::new(555, 1);
    pub(crate) const DEVICE_FREQUENCY_KHZ: Field = Field::new(1248, 32);
    pub(crate) const DEVICE_FREQUENCY_MHZ: Field = Field::new(1216, 32);
    pub(crate) const DRIVER_VERSION: Field = Field::new(609, 1);
    pub(crate) const END_PAD: Field = Field::new(352, 1);
    pub(crate) const ETH_NET_OFFLOADS: Field = Field::new(540, 1);
    pub(crate) const EXT_STRIDE_NUM_RANGE: Field = Field::new(928, 1);
    pub(crate) const FIXED_BUFFER_SIZE: Field = Field::new(264, 1);
    pub(crate) const HCA_CAP_2: Field = Field::new(32, 1);
    pub(crate) const LOG_BF_REG_SIZE: Field = Field::new(619, 5);
    pub(crate) const LOG_MAX_CQ: Field = Field::new(219, 5);
    pub(crate) const LOG_MAX_CQ_SZ: Field = Field::new(200, 8);
    pub(crate) const LOG_MAX_CURRENT_MC_LIST: Field = Field::new(1011, 5);
    pub(crate) const LOG_MAX_CURRENT_UC_LIST: Field = Field::new(1019, 5);
    pub(crate) const LOG_MAX_EQ: Field = Field::new(252, 4);
    pub(crate) const LOG_MAX_EQ_SZ: Field = Field::new(224, 8);
    pub(crate) const LOG_MAX_KLM_LIST_SIZE: Field = Field::new(282, 6);
    pub(crate) const LOG_MAX_L2_TABLE: Field = Field::new(1155, 5);
    pub(crate) const LOG_MAX_MKEY: Field = Field::new(234, 6);
    pub(crate) const LOG_MAX_MRW_SZ: Field = Field::new(265, 7);
    pub(crate) const LOG_MAX_MSG: Field = Field::new(451, 5);
    pub(crate) const LOG_MAX_PD: Field = Field::new(811, 5);
    pub(crate) const LOG_MAX_QP: Field = Field::new(155, 5);
    pub(crate) const LOG_MAX_QP_SZ: Field = Field::new(136, 8);
    pub(crate) const LOG_MAX_RQ: Field = Field::new(867, 5);
    pub(crate) const LOG_MAX_RQT: Field = Field::new(907, 5);
    pub(crate) const LOG_MAX_RQT_SIZE: Field = Field::new(915, 5);
    pub(crate) const LOG_MAX_SQ: Field = Field::new(875, 5);
    pub(crate) const LOG_MAX_SRQ_SZ: Field = Field::new(128, 8);
    pub(crate) const LOG_MAX_STRIDE_SZ_RQ: Field = Field::new(931, 5);
    pub(crate) const LOG_MAX_STRIDE_SZ_SQ: Field = Field::new(947, 5);
    pub(crate) const LOG_MAX_TIR: Field = Field::new(883, 5);
    pub(crate) const LOG_MAX_TIS: Field = Field::new(891, 5);
    pub(crate) const LOG_MAX_TIS_PER_SQ: Field = Field::new(923, 5);
    pub(crate) const LOG_MAX_TRANSPORT_DOMAIN: Field = Field::new(803, 5);
    pub(crate) const LOG_MAX_VLAN_LIST: Field = Field::new(1003, 5);
    pub(crate) const LOG_MAX_WQ_SZ: Field = Field::new(987, 5);
    pub(crate) const LOG_MIN_STRIDE_SZ_RQ: Field = Field::new(939, 5);
    pub(crate) const LOG_MIN_STRIDE_SZ_SQ: Field = Field::new(955, 5);
    pub(crate) const MAX_FLOW_COUNTER_15_0: Field = Field::new(848, 16);
    pub(crate) const MAX_INDIRECTION: Field = Field::new(256, 8);
    pub(crate) const MAX_NUM_EQS: Field = Field::new(1136, 16);
    pub(crate) const MAX_QP_CNT: Field = Field::new(390, 10);
    pub(crate) const MAX_TC: Field = Field::new(460, 4);
    pub(crate) const MAX_WQE_SZ_RQ: Field = Field::new(688, 16);
    pub(crate) const MAX_WQE_SZ_SQ: Field = Field::new(656, 16);
    pub(crate) const MODIFY_RQ_COUNTER_SET_ID: Field = Field::new(388, 1);
    pub(crate) const NIC_FLOW_TABLE: Field = Field::new(422, 1);
    pub(crate) const NUM_OF_UARS_PER_PAGE: Field = Field::new(1312, 32);
    pub(crate) const NUM_PORTS: Field = Field::new(440, 8);
    pub(crate) const OUT_OF_SEQ_CNT: Field = Field::new(384, 1);
    pub(crate) const PORTS_CHECK: Field = Field::new(434, 1);
    pub(crate) const PORT_TYPE: Field = Field::new(438, 2);
    pub(crate) const SHAMPO: Field = Field::new(683, 1);
    pub(crate) const STRIDING_RQ: Field = Field::new(513, 1);
    pub(crate) const UMR_PTR_RLKY: Field = Field::new(560, 1);
    pub(crate) const VPORT_COUNTERS: Field = Field::new(385, 1);
    pub(crate) const VPORT_GROUP_MANAGER: Field = Field::new(416, 1);
}
pub(crate) mod cmd_hca_cap_2 {
    use crate::card::bits::Field;

    pub(crate) const MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER: Field = Field::new(907, 5);
    pub(crate) const MIN_MKEY_LOG_ENTITY_SIZE_FIXED_BUFFER_VALID: Field = Field::new(1025, 1);
}
pub(crate) mod cqc {
    use crate::card::bits::Field;

    pub(crate) const CQE_SZ: Field = Field::new(8, 3);
    pub(crate) const C_EQN_OR_APU_ELEMENT: Field = Field::new(160, 32);
    pub(crate) const DBR_ADDR: Field = Field::new(448, 64);
    pub(crate) const LOG_CQ_SIZE: Field = Field::new(99, 5);
    pub(crate) const LOG_PAGE_SIZE: Field = Field::new(195, 5);
    pub(crate) const PAGE_OFFSET: Field = Field::new(84, 6);
}
pub(crate) mod create_cq_in {
    use crate::card::bits::Field;

    pub(crate) const CQ_CONTEXT: Field = Field::new(128, 512);
    pub(crate) const PAS: Field = Field::new(2176, 0);
}
pub(crate) mod create_eq_in {
    use crate::card::bits::Field;

    pub(crate) const EQ_CONTEXT_ENTRY: Field = Field::new(128, 512);
    pub(crate) const EVENT_BITMASK: Field = Field::new(704, 256);
    pub(crate) const PAS: Field = Field::new(2176, 0);
}
pub(crate) mod create_flow_group_in {
    use crate::card::bits::Field;

    pub(crate) const END_FLOW_INDEX: Field = Field::new(288, 32);
    pub(crate) const MATCH_CRITERIA: Field = Field::new(512, 4096);
    pub(crate) const MATCH_CRITERIA_ENABLE: Field = Field::new(504, 8);
    pub(crate) const START_FLOW_INDEX: Field = Field::new(224, 32);
    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod create_flow_group_out {
    use crate::card::bits::Field;

    pub(crate) const GROUP_ID: Field = Field::new(72, 24);
}
pub(crate) mod create_flow_table_in {
    use crate::card::bits::Field;

    pub(crate) const FLOW_TABLE_CONTEXT: Field = Field::new(192, 320);
    pub(crate) const TABLE_TYPE: Field = Field::new(128, 8);
}
pub(crate) mod create_flow_table_out {
    use crate::card::bits::Field;

    pub(crate) const TABLE_ID: Field = Field::new(72, 24);
}
pub(crate) mod create_mkey_in {
    use crate::card::bits::Field;

    pub(crate) const KLM_PAS_MTT: Field = Field::new(2176, 0);
    pub(crate) const MEMORY_KEY_MKEY_ENTRY: Field = Field::new(128, 512);
    pub(crate) const TRANSLATIONS_OCTWORD_ACTUAL_SIZE: Field = Field::new(768, 32);
}
pub(crate) mod create_mkey_out {
    use crate::card::bits::Field;

    pub(crate) const MKEY_INDEX: Field = Field::new(72, 24);
}
pub(crate) mod create_rq_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod create_rqt_in {
    use crate::card::bits::Field;

    pub(crate) const RQT_CONTEXT: Field = Field::new(256, 1920);
}
pub(crate) mod create_sq_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod create_tir_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod delete_fte_in {
    use crate::card::bits::Field;

    pub(crate) const FLOW_INDEX: Field = Field::new(256, 32);
    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod destroy_flow_group_in {
    use crate::card::bits::Field;

    pub(crate) const GROUP_ID: Field = Field::new(192, 32);
    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod destroy_flow_table_in {
    use crate::card::bits::Field;

    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod eqc {
    use crate::card::bits::Field;

    pub(crate) const INTR: Field = Field::new(180, 12);
    pub(crate) const LOG_EQ_SIZE: Field = Field::new(99, 5);
    pub(crate) const LOG_PAGE_SIZE: Field = Field::new(195, 5);
    pub(crate) const PAGE_OFFSET: Field = Field::new(84, 6);
}
pub(crate) mod flow_context {
    use crate::card::bits::Field;

    pub(crate) const ACTION: Field = Field::new(112, 16);
    pub(crate) const DESTINATION: Field = Field::new(6144, 0);
    pub(crate) const DESTINATION_LIST_SIZE: Field = Field::new(136, 24);
    pub(crate) const FLOW_TAG: Field = Field::new(72, 24);
    pub(crate) const GROUP_ID: Field = Field::new(32, 32);
    pub(crate) const MATCH_VALUE: Field = Field::new(512, 4096);
}
pub(crate) mod flow_table_context {
    use crate::card::bits::Field;

    pub(crate) const LEVEL: Field = Field::new(8, 8);
    pub(crate) const TABLE_MISS_ACTION: Field = Field::new(4, 4);
    pub(crate) const TABLE_MISS_ID: Field = Field::new(40, 24);
}
pub(crate) mod flow_table_nic_cap {
    use crate::card::bits::Field;

    pub(crate) const FLOW_TABLE_PROPERTIES_NIC_RECEIVE: Field = Field::new(512, 512);
    pub(crate) const NIC_RX_MULTI_PATH_TIRS: Field = Field::new(0, 1);
}
pub(crate) mod flow_table_prop_layout {
    use crate::card::bits::Field;

    pub(crate) const FLOW_COUNTER: Field = Field::new(2, 1);
    pub(crate) const FLOW_MODIFY_EN: Field = Field::new(3, 1);
    pub(crate) const FLOW_TABLE_MODIFY: Field = Field::new(6, 1);
    pub(crate) const FT_FIELD_BITMASK_SUPPORT: Field = Field::new(384, 128);
    pub(crate) const FT_FIELD_SUPPORT: Field = Field::new(256, 128);
    pub(crate) const FT_SUPPORT: Field = Field::new(0, 1);
    pub(crate) const IDENTIFIED_MISS_TABLE_MODE: Field = Field::new(5, 1);
    pub(crate) const LOG_MAX_DESTINATION: Field = Field::new(152, 8);
    pub(crate) const LOG_MAX_FLOW: Field = Field::new(184, 8);
    pub(crate) const LOG_MAX_FLOW_COUNTER: Field = Field::new(144, 8);
    pub(crate) const LOG_MAX_FT_NUM: Field = Field::new(120, 8);
    pub(crate) const LOG_MAX_FT_SIZE: Field = Field::new(34, 6);
    pub(crate) const MAX_FT_LEVEL: Field = Field::new(56, 8);
    pub(crate) const MODIFY_ROOT: Field = Field::new(4, 1);
}
pub(crate) mod fte_match_set_lyr_2_4 {
    use crate::card::bits::Field;

    pub(crate) const CVLAN_TAG: Field = Field::new(144, 1);
    pub(crate) const DMAC_15_0: Field = Field::new(96, 16);
    pub(crate) const DMAC_47_16: Field = Field::new(64, 32);
    pub(crate) const DST_IPV4_DST_IPV6: Field = Field::new(384, 128);
    pub(crate) const ETHERTYPE: Field = Field::new(48, 16);
    pub(crate) const FIRST_PRIO: Field = Field::new(112, 3);
    pub(crate) const FIRST_VID: Field = Field::new(116, 12);
    pub(crate) const FRAG: Field = Field::new(146, 1);
    pub(crate) const IP_DSCP: Field = Field::new(136, 6);
    pub(crate) const IP_ECN: Field = Field::new(142, 2);
    pub(crate) const IP_PROTOCOL: Field = Field::new(128, 8);
    pub(crate) const IP_VERSION: Field = Field::new(147, 4);
    pub(crate) const SMAC_15_0: Field = Field::new(32, 16);
    pub(crate) const SMAC_47_16: Field = Field::new(0, 32);
    pub(crate) const SRC_IPV4_SRC_IPV6: Field = Field::new(256, 128);
    pub(crate) const SVLAN_TAG: Field = Field::new(145, 1);
    pub(crate) const TCP_DPORT: Field = Field::new(176, 16);
    pub(crate) const TCP_FLAGS: Field = Field::new(151, 9);
    pub(crate) const TCP_SPORT: Field = Field::new(160, 16);
    pub(crate) const TTL_HOPLIMIT: Field = Field::new(216, 8);
    pub(crate) const UDP_DPORT: Field = Field::new(240, 16);
    pub(crate) const UDP_SPORT: Field = Field::new(224, 16);
}
pub(crate) mod manage_pages_in {
    use crate::card::bits::Field;

    pub(crate) const INPUT_NUM_ENTRIES: Field = Field::new(96, 32);
    pub(crate) const PAS: Field = Field::new(128, 0);
}
pub(crate) mod manage_pages_out {
    use crate::card::bits::Field;

    pub(crate) const OUTPUT_NUM_ENTRIES: Field = Field::new(64, 32);
    pub(crate) const PAS: Field = Field::new(128, 0);
}
pub(crate) mod mkc {
    use crate::card::bits::Field;

    pub(crate) const ACCESS_MODE_1_0: Field = Field::new(22, 2);
    pub(crate) const ACCESS_MODE_4_2: Field = Field::new(3, 3);
    pub(crate) const LOG_PAGE_SIZE: Field = Field::new(474, 6);
    pub(crate) const START_ADDR: Field = Field::new(128, 64);
    pub(crate) const TRANSLATIONS_OCTWORD_SIZE: Field = Field::new(416, 32);
}
pub(crate) mod modify_flow_table_in {
    use crate::card::bits::Field;

    pub(crate) const FLOW_TABLE_CONTEXT: Field = Field::new(192, 320);
    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod modify_nic_vport_context_in {
    use crate::card::bits::Field;

    pub(crate) const FIELD_SELECT: Field = Field::new(96, 32);
    pub(crate) const NIC_VPORT_CONTEXT: Field = Field::new(2048, 2048);
}
pub(crate) mod modify_nic_vport_field_select {
    use crate::card::bits::Field;

    pub(crate) const ADDRESSES_LIST: Field = Field::new(29, 1);
    pub(crate) const MTU: Field = Field::new(25, 1);
    pub(crate) const PERMANENT_ADDRESS: Field = Field::new(28, 1);
    pub(crate) const PROMISC: Field = Field::new(27, 1);
}
pub(crate) mod modify_rq_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
    pub(crate) const MODIFY_BITMASK: Field = Field::new(128, 64);
}
pub(crate) mod modify_rqt_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod modify_sq_in {
    use crate::card::bits::Field;

    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod modify_tir_bitmask {
    use crate::card::bits::Field;

    pub(crate) const HASH: Field = Field::new(61, 1);
    pub(crate) const PACKET_MERGE: Field = Field::new(63, 1);
}
pub(crate) mod modify_tir_in {
    use crate::card::bits::Field;

    pub(crate) const BITMASK: Field = Field::new(128, 64);
    pub(crate) const CTX: Field = Field::new(256, 1920);
}
pub(crate) mod nic_vport_context {
    use crate::card::bits::Field;

    pub(crate) const ALLOWED_LIST_SIZE: Field = Field::new(1936, 16);
    pub(crate) const ALLOWED_LIST_TYPE: Field = Field::new(1925, 3);
    pub(crate) const CURRENT_UC_MAC_ADDRESS: Field = Field::new(2048, 0);
    pub(crate) const MTU: Field = Field::new(304, 16);
    pub(crate) const NODE_GUID: Field = Field::new(448, 64);
    pub(crate) const PERMANENT_ADDRESS: Field = Field::new(1952, 64);
    pub(crate) const PORT_GUID: Field = Field::new(384, 64);
    pub(crate) const PROMISC_ALL: Field = Field::new(1922, 1);
    pub(crate) const PROMISC_MC: Field = Field::new(1921, 1);
    pub(crate) const PROMISC_UC: Field = Field::new(1920, 1);
    pub(crate) const SIZE: usize = 256;
    pub(crate) const SYSTEM_IMAGE_GUID: Field = Field::new(320, 64);
}
pub(crate) mod paos_reg {
    use crate::card::bits::Field;

    pub(crate) const ADMIN_STATUS: Field = Field::new(20, 4);
    pub(crate) const OPER_STATUS: Field = Field::new(28, 4);
}
pub(crate) mod per_protocol_networking_offload_caps {
    use crate::card::bits::Field;

    pub(crate) const CSUM_CAP: Field = Field::new(0, 1);
    pub(crate) const ENHANCED_MULTI_PKT_SEND_WQE: Field = Field::new(26, 1);
    pub(crate) const LRO_CAP: Field = Field::new(2, 1);
    pub(crate) const LRO_MIN_MSS_SIZE: Field = Field::new(80, 16);
    pub(crate) const LRO_TIMER_SUPPORTED_PERIODS: Field = Field::new(384, 128);
    pub(crate) const MAX_LSO_CAP: Field = Field::new(11, 5);
    pub(crate) const REG_UMR_SQ: Field = Field::new(24, 1);
    pub(crate) const RSS_IND_TBL_CAP: Field = Field::new(20, 4);
    pub(crate) const SCATTER_FCS: Field = Field::new(25, 1);
    pub(crate) const SELF_LB_EN_MODIFIABLE: Field = Field::new(8, 1);
    pub(crate) const VLAN_CAP: Field = Field::new(1, 1);
    pub(crate) const WQE_INLINE_MODE: Field = Field::new(18, 2);
    pub(crate) const WQE_VLAN_INSERT: Field = Field::new(7, 1);
}
pub(crate) mod pmtu_reg {
    use crate::card::bits::Field;

    pub(crate) const ADMIN_MTU: Field = Field::new(64, 16);
    pub(crate) const MAX_MTU: Field = Field::new(32, 16);
    pub(crate) const OPER_MTU: Field = Field::new(96, 16);
}
pub(crate) mod ptys_reg {
    use crate::card::bits::Field;

    pub(crate) const CONNECTOR_TYPE: Field = Field::new(380, 4);
    pub(crate) const ETH_PROTO_ADMIN: Field = Field::new(192, 32);
    pub(crate) const ETH_PROTO_CAPABILITY: Field = Field::new(96, 32);
    pub(crate) const ETH_PROTO_OPER: Field = Field::new(288, 32);
}
pub(crate) mod query_adapter_out {
    use crate::card::bits::Field;

    pub(crate) const QUERY_ADAPTER_STRUCT: Field = Field::new(128, 2048);
}
pub(crate) mod query_adapter_param_block {
    use crate::card::bits::Field;

    pub(crate) const VSD_CONTD_PSID: Field = Field::new(1920, 128);
    pub(crate) const VSD_VENDOR_ID: Field = Field::new(240, 16);
}
pub(crate) mod query_issi_out {
    use crate::card::bits::Field;

    pub(crate) const CURRENT_ISSI: Field = Field::new(80, 16);
    pub(crate) const SUPPORTED_ISSI_DW0: Field = Field::new(864, 32);
}
pub(crate) mod query_pages_out {
    use crate::card::bits::Field;

    pub(crate) const NUM_PAGES: Field = Field::new(96, 32);
}
pub(crate) mod query_q_counter_out {
    use crate::card::bits::Field;

    pub(crate) const OUT_OF_BUFFER: Field = Field::new(384, 32);
}
pub(crate) mod query_special_contexts_out {
    use crate::card::bits::Field;

    pub(crate) const NULL_MKEY: Field = Field::new(128, 32);
    pub(crate) const RESD_LKEY: Field = Field::new(96, 32);
}
pub(crate) mod query_vport_counter_out {
    use crate::card::bits::Field;

    pub(crate) const RECEIVED_ETH_BROADCAST: Field = Field::new(896, 128);
    pub(crate) const RECEIVED_ETH_MULTICAST: Field = Field::new(1408, 128);
    pub(crate) const RECEIVED_ETH_UNICAST: Field = Field::new(1152, 128);
    pub(crate) const TRANSMITTED_ETH_UNICAST: Field = Field::new(1280, 128);
}
pub(crate) mod query_vport_state_out {
    use crate::card::bits::Field;

    pub(crate) const ADMIN_STATE: Field = Field::new(120, 4);
    pub(crate) const STATE: Field = Field::new(124, 4);
}
pub(crate) mod rqc {
    use crate::card::bits::Field;

    pub(crate) const COUNTER_SET_ID: Field = Field::new(96, 8);
    pub(crate) const CQN: Field = Field::new(72, 24);
    pub(crate) const SCATTER_FCS: Field = Field::new(2, 1);
    pub(crate) const STATE: Field = Field::new(8, 4);
    pub(crate) const VSD: Field = Field::new(3, 1);
    pub(crate) const WQ: Field = Field::new(384, 1536);
}
pub(crate) mod rqtc {
    use crate::card::bits::Field;

    pub(crate) const RQT_ACTUAL_SIZE: Field = Field::new(208, 16);
    pub(crate) const SIZE: usize = 240;
}
pub(crate) mod set_flow_table_root_in {
    use crate::card::bits::Field;

    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
    pub(crate) const TABLE_TYPE: Field = Field::new(128, 8);
}
pub(crate) mod set_fte_in {
    use crate::card::bits::Field;

    pub(crate) const FLOW_CONTEXT: Field = Field::new(512, 6144);
    pub(crate) const FLOW_INDEX: Field = Field::new(256, 32);
    pub(crate) const MODIFY_ENABLE_MASK: Field = Field::new(216, 8);
    pub(crate) const TABLE_ID: Field = Field::new(168, 24);
}
pub(crate) mod shampo_cap {
    use crate::card::bits::Field;

    pub(crate) const SHAMPO_HEADER_SPLIT: Field = Field::new(32, 1);
    pub(crate) const SHAMPO_HEADER_SPLIT_DATA_MERGE: Field = Field::new(33, 1);
    pub(crate) const SHAMPO_LOG_MAX_HEADERS_ENTRY_SIZE: Field = Field::new(35, 5);
    pub(crate) const SHAMPO_LOG_MAX_RESERVATION_SIZE: Field = Field::new(3, 5);
    pub(crate) const SHAMPO_LOG_MIN_RESERVATION_SIZE: Field = Field::new(11, 5);
    pub(crate) const SHAMPO_MIN_MSS_SIZE: Field = Field::new(16, 16);
}
pub(crate) mod sqc {
    use crate::card::bits::Field;

    pub(crate) const CQN: Field = Field::new(72, 24);
    pub(crate) const STATE: Field = Field::new(8, 4);
    pub(crate) const WQ: Field = Field::new(384, 1536);
}
pub(crate) mod tirc {
    use crate::card::bits::Field;

    pub(crate) const DISP_TYPE: Field = Field::new(32, 4);
    pub(crate) const INDIRECT_TABLE: Field = Field::new(264, 24);
    pub(crate) const INLINE_RQN: Field = Field::new(232, 24);
    pub(crate) const PACKET_MERGE_MASK: Field = Field::new(148, 4);
    pub(crate) const RX_HASH_FIELD_SELECTOR_OUTER: Field = Field::new(640, 32);
    pub(crate) const RX_HASH_FN: Field = Field::new(288, 4);
    pub(crate) const RX_HASH_TOEPLITZ_KEY: Field = Field::new(320, 320);
}
pub(crate) mod wq {
    use crate::card::bits::Field;

    pub(crate) const DBR_ADDR: Field = Field::new(128, 64);
    pub(crate) const LOG_WQE_NUM_OF_STRIDES: Field = Field::new(308, 4);
    pub(crate) const LOG_WQE_STRIDE_SIZE: Field = Field::new(317, 3);
    pub(crate) const LOG_WQ_PG_SZ: Field = Field::new(275, 5);
    pub(crate) const LOG_WQ_STRIDE: Field = Field::new(268, 4);
    pub(crate) const LOG_WQ_SZ: Field = Field::new(283, 5);
    pub(crate) const PAGE_OFFSET: Field = Field::new(43, 5);
    pub(crate) const PAS: Field = Field::new(1536, 0);
    pub(crate) const WQ_TYPE: Field = Field::new(0, 4);
}
