//! Cases: one packet, or a few that concern one flow, each with oddities.

use super::host::{Host, Place};

/// Packets that are sent one after the other. The ports are those of one flow: the client's is the case's
/// own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Case {
    /// The pod's port.
    pub(super) port: u16,
    pub(super) v6: bool,
    pub(super) steps: Vec<Step>,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    /// Where it is sent.
    pub(super) at: Place,
    pub(super) from: Host,
    pub(super) to: Host,
    pub(super) upper: Upper,
    pub(super) oddities: Vec<Oddity>,
}

/// What follows the IP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Upper {
    Udp,
    /// With these flags.
    Tcp(u8),
    /// With a chunk of this type.
    Sctp(u8),
    Echo,
    EchoReply,
    /// An error about a packet from the first to the second.
    Error(IcmpError, Host, Host),
    /// Another type of ICMP.
    Icmp(u8),
    Esp,
    /// With UDP in it.
    Ah,
    /// Another IP protocol.
    Protocol(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IcmpError {
    Unreachable,
    TooBig,
    TimeExceeded,
    Redirect,
}

/// What makes a packet different from an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Oddity {
    ToMac(Mac),
    FromMac(Mac),
    Tags(Tags),
    EtherType(u16),
    TimeToLive(u8),
    /// The first byte of the IP header.
    FirstByte(u8),
    /// Is added to the IP header's length.
    Length(i16),
    HeaderChecksum,
    Options(Options),
    Fragment(Fragment),
    /// An IPv6 extension header, this many times.
    Extension(Extension, u8),
    Checksum(u16),
    /// Is added to UDP's length.
    UdpLength(i16),
    /// TCP's data offset.
    DataOffset(u8),
    ZeroPort,
    /// The packet ends after this many bytes behind the IP headers.
    Cut(u8),
    /// The last bytes of the frame are missing.
    Truncated(u8),
    /// Bytes behind the packet.
    Padding(u8),
    /// A byte of the frame's headers has another value.
    Byte(u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mac {
    OtherStation,
    Broadcast,
    Multicast,
    Nic0,
    Nic1,
    Zero,
    Client,
    /// Of the pod's own interface.
    Pod,
    /// Of the pod's host-side interface.
    PodHost,
    /// Of the pods' bridge.
    PodBridge,
    /// Of the bridge over `nic0`, if there is one.
    Bridge,
    /// Of the macvlan interface on `nic0`, if there is one.
    Macvlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tags {
    Priority,
    ServicePriority,
    /// The node has an interface for it, where the kernel has VLANs.
    Known,
    KnownAsService,
    Unknown,
    UnknownService,
    DoublePriority,
    PriorityUnknown,
    PriorityKnown,
    KnownKnown,
    KnownUnknown,
    DoubleUnknown,
    Triple,
    TriplePriority,
    /// A tag type of the time before the standard.
    OldService,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Options {
    Nop,
    End,
    RecordRoute,
    Timestamp,
    SourceRoute,
    StrictRoute,
    RouterAlert,
    Security,
    BadLength,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fragment {
    Forbidden,
    ReservedBit,
    First,
    Later,
    Last,
    Beyond,
    /// IPv6: a fragment header on a whole packet.
    Atomic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Extension {
    /// With an option of this type.
    HopByHop(u8),
    Destination(u8),
    /// Type, and segments left.
    Routing(u8, u8),
    Authentication,
    Mobility,
    Hip,
    Shim6,
    /// Nothing follows.
    NoNext,
    /// A protocol that is no extension header.
    Reserved,
}

impl Case {
    /// Returns what is unusual, which is the name of a class of differences.
    pub(super) fn class(&self) -> String {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let steps: Vec<String> = self.steps.iter().map(Step::class).collect();
        format!("{family} {}", steps.join(", then "))
    }
}

impl Step {
    fn class(&self) -> String {
        let mut words = vec![format!(
            "{:?}: {:?}, {:?} to {:?}",
            self.at, self.upper, self.from, self.to
        )];
        words.extend(self.oddities.iter().map(|oddity| format!("{oddity:?}")));
        words.join(", ")
    }
}
