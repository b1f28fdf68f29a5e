//! The cards that the model can be.

/// A card: what it says about itself.
///
/// Every profile is this project's reading of the driver, not the vendor's data.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name of the card.
    pub name: &'static str,
    /// The PCI device id; the vendor is 15b3.
    pub device_id: u16,
    /// The firmware version: major, minor, subminor.
    pub firmware: (u16, u16, u16),
    /// The permanent MAC address.
    pub mac: [u8; 6],
    /// Whether the card has striding receive queues.
    pub striding: bool,
    /// Whether a work request of a striding queue can be small (`ext_stride_num_range`); XDP in striding mode needs it.
    pub ext_stride_num_range: bool,
    /// Whether the card sends several packets by one work request (`enhanced_multi_pkt_send_wqe`).
    pub multi_packet_send: bool,
    /// Whether the card says it has LRO; the model does not merge.
    pub lro: bool,
    /// Whether the card says it has HW-GRO and header split; the model does neither.
    pub hardware_gro: bool,
    /// Whether the driver must copy the headers into the work request (`wqe_inline_mode` 0).
    pub inline_headers: bool,
}

impl Profile {
    /// ConnectX-4 Lx: no `ext_stride_num_range`, headers inline.
    pub const CONNECTX_4_LX: Self = Self {
        name: "ConnectX-4 Lx",
        device_id: 0x1015,
        firmware: (14, 32, 1010),
        ext_stride_num_range: false,
        multi_packet_send: false,
        inline_headers: true,
        ..Self::CONNECTX_6_DX
    };
    /// ConnectX-6 Dx.
    pub const CONNECTX_6_DX: Self = Self {
        name: "ConnectX-6 Dx",
        device_id: 0x101d,
        firmware: (22, 35, 1012),
        mac: [0x02, 0x15, 0xb3, 0, 0, 1],
        striding: true,
        ext_stride_num_range: true,
        multi_packet_send: true,
        lro: true,
        hardware_gro: false,
        inline_headers: false,
    };

    /// Returns the profile with another permanent MAC address.
    #[must_use]
    pub fn with_mac(self, mac: [u8; 6]) -> Self {
        Self { mac, ..self }
    }

    /// Returns the profile with HW-GRO and header split announced.
    #[must_use]
    pub fn with_hardware_gro(self) -> Self {
        Self {
            hardware_gro: true,
            ..self
        }
    }

    /// Returns the profile with the firmware's `ext_stride_num_range` missing.
    #[must_use]
    pub fn without_ext_stride_num_range(self) -> Self {
        Self {
            ext_stride_num_range: false,
            ..self
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::CONNECTX_6_DX
    }
}
