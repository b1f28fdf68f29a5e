//! The cards that the model can be.

/// What the driver must copy into a send request (`MLX5_CAP_INLINE_MODE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inline {
    /// The Ethernet header.
    Ethernet = 0,
    /// As the virtual port says.
    VirtualPort = 1,
    /// Nothing.
    Nothing = 2,
}

/// A card: what it says about itself.
///
/// Every profile is this project's reading of the driver, not the vendor's data: a card with another firmware
/// or configuration says other things.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability")]
pub struct Profile {
    /// The name of the card.
    pub name: &'static str,
    /// The PCI device id; the vendor is 15b3.
    pub device_id: u16,
    /// The firmware version: major, minor, subminor.
    pub firmware: (u16, u16, u16),
    /// The permanent MAC address.
    pub mac: [u8; 6],
    /// Whether it is a virtual function, which does not control the port.
    pub virtual_function: bool,
    /// The frequency of the clock in kHz.
    pub clock_khz: u64,
    /// Whether the card has striding receive queues.
    pub striding: bool,
    /// Whether a buffer of a striding queue can have few strides. XDP in striding mode needs it.
    pub ext_stride_num_range: bool,
    /// Whether the card sends several packets by one request (`enhanced_multi_pkt_send_wqe`).
    pub multi_packet_send: bool,
    /// Whether the card says it has LRO; the model does not merge.
    pub lro: bool,
    /// Whether the card says it has HW-GRO and header split; the model does neither.
    pub hardware_gro: bool,
    /// What the driver must copy into a send request.
    pub inline: Inline,
}

impl Profile {
    /// ConnectX-4 Lx: no `ext_stride_num_range`, Ethernet headers inline, one packet a request.
    pub const CONNECTX_4_LX: Self = Self {
        name: "ConnectX-4 Lx",
        device_id: 0x1015,
        firmware: (14, 32, 1010),
        ext_stride_num_range: false,
        multi_packet_send: false,
        inline: Inline::Ethernet,
        ..Self::CONNECTX_6_DX
    };
    /// ConnectX-5.
    pub const CONNECTX_5: Self = Self {
        name: "ConnectX-5",
        device_id: 0x1017,
        firmware: (16, 35, 2000),
        ..Self::CONNECTX_6_DX
    };
    /// ConnectX-6 Dx.
    pub const CONNECTX_6_DX: Self = Self {
        name: "ConnectX-6 Dx",
        device_id: 0x101d,
        firmware: (22, 35, 1012),
        mac: [0x02, 0x15, 0xb3, 0, 0, 1],
        virtual_function: false,
        clock_khz: 156_250,
        striding: true,
        ext_stride_num_range: true,
        multi_packet_send: true,
        lro: true,
        hardware_gro: false,
        inline: Inline::Nothing,
    };
    /// ConnectX-7, with HW-GRO.
    pub const CONNECTX_7: Self = Self {
        name: "ConnectX-7",
        device_id: 0x1021,
        firmware: (28, 39, 1002),
        clock_khz: 1_000_000,
        hardware_gro: true,
        ..Self::CONNECTX_6_DX
    };
    /// BlueField-2.
    pub const BLUEFIELD_2: Self = Self {
        name: "BlueField-2",
        device_id: 0xa2d6,
        firmware: (24, 35, 1012),
        ..Self::CONNECTX_6_DX
    };
    /// BlueField-3.
    pub const BLUEFIELD_3: Self = Self {
        name: "BlueField-3",
        device_id: 0xa2dc,
        firmware: (32, 39, 1002),
        ..Self::CONNECTX_7
    };

    /// Every card.
    pub const ALL: [Self; 6] = [
        Self::CONNECTX_4_LX,
        Self::CONNECTX_5,
        Self::CONNECTX_6_DX,
        Self::CONNECTX_7,
        Self::BLUEFIELD_2,
        Self::BLUEFIELD_3,
    ];

    /// Returns the profile with another permanent MAC address.
    #[must_use]
    pub fn with_mac(self, mac: [u8; 6]) -> Self {
        Self { mac, ..self }
    }

    /// Returns the profile with HW-GRO and header split, or without.
    #[must_use]
    pub fn with_hardware_gro(self, hardware_gro: bool) -> Self {
        Self { hardware_gro, ..self }
    }

    /// Returns the profile with a firmware that has no `ext_stride_num_range`.
    #[must_use]
    pub fn without_ext_stride_num_range(self) -> Self {
        Self {
            ext_stride_num_range: false,
            ..self
        }
    }

    /// Returns a virtual function of the card.
    ///
    /// It has the device id of the family's virtual functions (`mlx5_core_pci_table`), and does not manage
    /// the port.
    #[must_use]
    pub fn into_virtual_function(self) -> Self {
        let device_id = match self.device_id {
            0x1015 => 0x1016,
            0x1017 => 0x1018,
            _ => 0x101e,
        };
        Self {
            device_id,
            virtual_function: true,
            ..self
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::CONNECTX_6_DX
    }
}

#[cfg(test)]
mod tests;
