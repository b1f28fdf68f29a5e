//! The frames that the node's stack takes from NICs.
//!
//! A frame is for a station: the NIC that it arrives at, its destination MAC address and its VLAN. The stack
//! takes it if an interface of the node receives it. That is the NIC, or an interface stacked on it: VLAN,
//! bond, bridge or macvlan.

/// A destination MAC address as a number: the first byte is the highest of six.
pub type Mac = u64;

/// One element of [`super::maps::NICS`]: the untagged frames for the NIC's own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct NicEntry {
    /// The NIC's MAC address.
    pub mac: Mac,
    /// The NIC's interface index; zero: the element is unused.
    pub ifindex: u32,
    /// Always zero.
    pub reserved: u32,
    /// The interface that receives these frames.
    pub receiver: Receiver,
}

/// Returns the index of a NIC in [`super::maps::NICS`]. Of NICs with the same index, one has an element; the
/// others are in [`super::maps::STATIONS`] only.
#[inline(always)]
pub const fn nic_position(ifindex: u32) -> u32 {
    ifindex & (super::MAX_NICS - 1)
}

/// A VLAN tag: protocol and VLAN id in one number. Zero: no tag, or a tag for the priority alone (VLAN 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TagId(pub u16);

impl TagId {
    const VLAN: u16 = 0xfff;
    const SERVICE: u16 = 0x1000;
    const SERVICE_PROTOCOL: u16 = 0x88a8;

    /// Returns the tag with this protocol number and this control information.
    #[inline(always)]
    pub const fn new(protocol: u16, control: u16) -> Self {
        let vlan = control & Self::VLAN;
        if vlan == 0 {
            Self(0)
        } else if protocol == Self::SERVICE_PROTOCOL {
            Self(vlan | Self::SERVICE)
        } else {
            Self(vlan)
        }
    }
}

/// The key of [`super::maps::STATIONS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Station {
    /// Destination MAC address, or [`Station::GROUP`].
    pub mac: Mac,
    /// Interface index of the NIC at which the frame arrives.
    pub nic: u32,
    /// Outer and inner VLAN tag, without those for the priority alone. With one tag, the inner one is zero.
    pub tags: [TagId; 2],
}

impl Station {
    /// Stands for all multicast and broadcast addresses.
    pub const GROUP: Mac = 0xffff_ffff_ffff;
    /// Longer than the address of any frame.
    const NO_FRAME: Mac = 1 << 48;

    /// Returns the key that is in the table if `ifindex` receives frames of any NIC: packets that the stack
    /// routes to this interface leave the node.
    #[inline(always)]
    pub const fn outlet(ifindex: u32) -> Self {
        Self {
            mac: Self::NO_FRAME,
            nic: ifindex,
            tags: [TagId(0); 2],
        }
    }
}

/// The interface that receives frames, and how it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Receiver {
    /// Its interface index.
    pub device: u32,
    /// The flags below.
    pub flags: u32,
}

impl Receiver {
    /// The first packet of a flow asks the node's routes: see [`crate::sources::check`]. The agent always
    /// sets it. Without it, the program works where there are no routes, as in a test run.
    pub const ROUTED: u32 = 1;
    /// `rp_filter` is 1: the route back has to leave by this interface.
    pub const STRICT: u32 = 2;
    /// Whether the stack takes the frames is not certain: [`crate::events::Fallback::PortState`].
    pub const UNCERTAIN: u32 = 4;
    /// Some rule of the node drops packets: [`crate::events::UnparsedDrop::TooManyTags`].
    pub const DROPS: u32 = 8;
}
