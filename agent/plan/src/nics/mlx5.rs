//! The largest MTU with which the driver `mlx5_core` takes an XDP program without `frags`: every packet has
//! to fit into one buffer.
//!
//! From `mlx5e_rx_is_linear_skb`, `mlx5e_rx_mpwqe_is_linear_skb` and `mlx5e_verify_rx_mpwqe_strides` in
//! drivers/net/ethernet/mellanox/mlx5/core/en/params.c (Linux 5.15 to 7.3), and the constants in
//! include/linux/mlx5/device.h.

use super::NicFacts;

/// Ethernet header, VLAN tag and FCS (`MLX5E_ETH_HARD_MTU`).
const HARD_MTU: u32 = 14 + 4 + 4;
/// `XDP_PACKET_HEADROOM`.
const HEADROOM: u32 = 256;
/// `sizeof(struct skb_shared_info)`, rounded up to a cache line.
const TAIL: u32 = 320;
/// `MLX5_MPWQE_LOG_STRIDE_SZ_BASE` and `MLX5_MPWQE_LOG_STRIDE_SZ_MAX`: a stride is at most 8 KiB.
const LOG_STRIDE: (u32, u32) = (6, 13);
/// `MLX5_MPWRQ_MAX_LOG_WQE_SZ`.
const LOG_WQE: u32 = 18;
/// `MLX5_MPWQE_LOG_NUM_STRIDES_EXT_BASE`, with the capability `ext_stride_num_range`.
const LOG_FEWEST_EXT: u32 = 3;
/// `MLX5_MPWQE_LOG_NUM_STRIDES_BASE`, without it.
const LOG_FEWEST: u32 = 9;

/// Type of the receive queues: the private flag `rx_striding_rq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveQueue {
    /// One buffer of a page per packet (`MLX5_WQ_TYPE_CYCLIC`).
    Cyclic,
    /// Many packets per buffer (`MLX5_WQ_TYPE_LINKED_LIST_STRIDING_RQ`).
    Striding(Strides),
}

/// What firmware and driver allow for strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// The firmware allows fewer than 512 strides per buffer (capability `ext_stride_num_range`).
    pub few: bool,
    /// The driver makes strides smaller than a page while an XDP program is attached (Linux 7.1).
    pub small: bool,
}

impl Strides {
    /// The most that a card and a driver allow.
    const ANY: Self = Self {
        few: true,
        small: true,
    };

    /// Returns the largest stride that holds a whole packet, in bytes.
    fn largest(self, page_size: u32) -> Option<u32> {
        let page = page_size.checked_ilog2()?;
        let smallest = if self.small { LOG_STRIDE.0 } else { page };
        let fewest = if self.few { LOG_FEWEST_EXT } else { LOG_FEWEST };
        let sizes = smallest..=page.min(LOG_STRIDE.1);
        let log = sizes.rev().find(|log| LOG_WQE - log >= fewest)?;
        Some(1 << log)
    }
}

/// Returns the largest MTU. `None`: the driver takes no program with these queues.
pub fn linear_mtu(page_size: u32, queue: ReceiveQueue) -> Option<u32> {
    let buffer = match queue {
        ReceiveQueue::Cyclic => page_size,
        ReceiveQueue::Striding(strides) => strides.largest(page_size)?,
    };
    buffer.checked_sub(HEADROOM + TAIL + HARD_MTU)
}

/// Returns the MTU above which a NIC takes no program, for the drivers whose arithmetic is known. Up to it,
/// firmware or an older driver may still refuse: see [`super::attach_problem`].
pub fn linear_mtu_limit(nic: &NicFacts, page_size: u32) -> Option<u32> {
    let queue = match nic.striding {
        Some(true) => ReceiveQueue::Striding(Strides::ANY),
        Some(false) | None => ReceiveQueue::Cyclic,
    };
    is_mlx5(nic).then(|| linear_mtu(page_size, queue)).flatten()
}

/// Returns whether the firmware allows few strides, from the messages that the driver wrote when it created
/// the interface (`mlx5e_init_rq_type_params`): the stride of a whole packet if it does, and its default of
/// at most 256 bytes if not. `None`: there is no such message.
pub fn few_strides(messages: &[String]) -> Option<bool> {
    const LARGEST_DEFAULT: u32 = 256;
    let size = |message: &String| -> Option<u32> {
        let queues = message.strip_prefix("MLX5E: StrdRq(")?;
        let (_, size) = queues.split_once(" StrdSz(")?;
        size.split_once(')')?.0.parse().ok()
    };
    let last = messages.iter().rev().find_map(size)?;
    Some(last > LARGEST_DEFAULT)
}

pub(super) fn is_mlx5(nic: &NicFacts) -> bool {
    nic.driver.name == "mlx5_core"
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const fn striding(few: bool, small: bool) -> ReceiveQueue {
        ReceiveQueue::Striding(Strides { few, small })
    }

    #[rstest]
    #[case::cyclic_4_kib(4096, ReceiveQueue::Cyclic, Some(3498))]
    #[case::cyclic_16_kib(16384, ReceiveQueue::Cyclic, Some(15_786))]
    #[case::cyclic_64_kib(65536, ReceiveQueue::Cyclic, Some(64_938))]
    #[case::striding_4_kib(4096, striding(true, true), Some(3498))]
    #[case::striding_16_kib(16384, striding(true, true), Some(7594))]
    #[case::striding_64_kib(65536, striding(true, true), Some(7594))]
    #[case::page_strides_4_kib(4096, striding(true, false), Some(3498))]
    #[case::page_strides_16_kib(16384, striding(true, false), None)]
    #[case::page_strides_64_kib(65536, striding(true, false), None)]
    #[case::old_firmware_4_kib(4096, striding(false, false), None)]
    #[case::old_firmware_new_driver_4_kib(4096, striding(false, true), None)]
    #[case::old_firmware_new_driver_64_kib(65536, striding(false, true), None)]
    fn the_mtu_follows_page_size_queue_type_and_strides(
        #[case] page_size: u32,
        #[case] queue: ReceiveQueue,
        #[case] expected: Option<u32>,
    ) {
        assert_eq!(linear_mtu(page_size, queue), expected);
    }

    #[test]
    fn the_drivers_message_tells_whether_few_strides_are_allowed() {
        let message = |size| format!("MLX5E: StrdRq(1) RqSz(8) StrdSz({size}) RxCqeCmprss(0 basic)");
        assert_eq!(few_strides(&[message(2048)]), Some(true));
        assert_eq!(
            few_strides(&[message(2048), message(64), "Link up".to_owned()]),
            Some(false)
        );
        assert_eq!(few_strides(&["Link up".to_owned()]), None);
    }

    #[test]
    fn the_limit_of_other_drivers_is_not_guessed() {
        let mut nic = NicFacts::default();
        nic.driver.name = "ice".to_owned();
        assert_eq!(linear_mtu_limit(&nic, 4096), None);
        nic.driver.name = "mlx5_core".to_owned();
        assert_eq!(linear_mtu_limit(&nic, 16384), Some(15_786));
        nic.striding = Some(true);
        assert_eq!(linear_mtu_limit(&nic, 16384), Some(7594));
    }
}
