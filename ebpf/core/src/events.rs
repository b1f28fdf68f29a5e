//! The codes that [`crate::tables::maps::EVENTS`] counts packets by, and the names that users see for them.
//!
//! | enum | codes | counts |
//! |---|---|---|
//! | [`Unparsed`] | 0 to 15 | packets that pass without a rule, because they cannot be parsed |
//! | [`Fallback`] | 16 to 31 | packets that a Redirect rule matches and the stack delivers |
//! | [`Event`] | 32 to 43 | other events |
//! | [`FlowEvent`] | 44 to 59, 88 to 95 | events of tracked flows, and of connections that pods open |
//! | [`UnparsedDrop`] | 64 to 79 | packets that are dropped because they cannot be parsed |
//! | [`ForeignFrame`], [`Fallback`] | 80 to 87 | frames that the node's stack does not take, or may not take |

/// Defines an enum whose variants are indexes into [`crate::tables::maps::EVENTS`].
macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$about])* $variant = $code,)+
        }

        impl $name {
            /// All variants, by code.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$variant),+];

            /// Returns the index into [`crate::tables::maps::EVENTS`].
            #[inline(always)]
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// Returns the name that users see.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

counted! {
    /// Why a packet cannot be parsed. It passes to the stack, unless a rule that drops could match it
    /// ([`UnparsedDrop`]).
    Unparsed {
        /// A header extends beyond the end of the packet.
        Short = 0,
        /// Neither IPv4 nor IPv6: ARP, LLDP, length-framed protocols.
        NotIp = 1,
        /// More than [`crate::parse::MAX_TAGS`] VLAN tags.
        TooManyTags = 2,
        /// The IP header contradicts itself: version, header length, total length.
        BadIpHeader = 3,
        /// The frame ends before the IP packet does.
        Truncated = 4,
        /// More than [`crate::parse::MAX_EXTENSION_HEADERS`] IPv6 extension headers.
        TooManyExtensionHeaders = 5,
        /// IPv6 with an IPv4-mapped address. The stack drops it as well (Linux commit 6af1799aaf3f).
        V4MappedInV6 = 6,
        /// IPv6 without a payload length, but with options that may hold one.
        Jumbogram = 7,
    }
}

counted! {
    /// Why a packet is dropped that cannot be parsed to its ports: a rule that drops could match it. The
    /// variants are those of [`Unparsed`] that the stack may deliver.
    UnparsedDrop {
        /// See [`Unparsed::Short`].
        Short = 64,
        /// See [`Unparsed::TooManyTags`]: the stack removes those that are for the priority alone.
        TooManyTags = 66,
        /// See [`Unparsed::TooManyExtensionHeaders`].
        TooManyExtensionHeaders = 69,
        /// See [`Unparsed::Jumbogram`].
        Jumbogram = 71,
    }
}

impl UnparsedDrop {
    /// Returns the code for the code of an [`Unparsed`].
    #[inline(always)]
    pub(crate) const fn code_of(unparsed: u32) -> u32 {
        unparsed + 64
    }
}

const _: () = {
    assert!(UnparsedDrop::TooManyTags.code() == UnparsedDrop::code_of(Unparsed::TooManyTags.code()));
    assert!(UnparsedDrop::Short.code() == UnparsedDrop::code_of(Unparsed::Short.code()));
    assert!(
        UnparsedDrop::TooManyExtensionHeaders.code()
            == UnparsedDrop::code_of(Unparsed::TooManyExtensionHeaders.code())
    );
    assert!(UnparsedDrop::Jumbogram.code() == UnparsedDrop::code_of(Unparsed::Jumbogram.code()));
};

counted! {
    /// Why a packet passes to the stack although a Redirect rule matches it.
    Fallback {
        /// The pod's interface cannot take redirects ([`crate::tables::PodBlock::NOT_READY`]).
        NotReady = 16,
        /// The destination MAC address is a multicast or broadcast one: other receivers want the frame, too.
        /// Or the source MAC address is not that of a station: a bridge discards the frame.
        NotUnicast = 17,
        /// Longer than the pod's MTU: the stack can fragment the packet, or answer it with an ICMP error.
        TooLong = 18,
        /// The pod's host-side interface is gone, and the agent has not noticed yet.
        NoDevice = 19,
        /// The driver leaves no headroom for the metadata.
        NoMetadata = 20,
        /// The VLAN tags cannot be removed.
        NoUntag = 21,
        /// An IP fragment. Later fragments may match another rule, and `nf_defrag` discards the whole packet
        /// if it misses the first fragment. So all fragments take the same path.
        Fragment = 22,
        /// The pod cannot take packets from the NIC's tc ingress program
        /// ([`crate::tables::PodBlock::NO_PEER`]).
        NoPeer = 23,
        /// The programs of the pod's reply path are not attached ([`crate::tables::PodBlock::REPLY_PATH`]).
        NoReplyPath = 24,
        /// The kernel stack tracks this connection (`ESTABLISHED` in conntrack, or opened by the pod):
        /// bypassing the stack would break it.
        StackFlow = 25,
        /// A protocol without flows (`UNTRACKED`): its replies look like packets that the pod sends on its
        /// own.
        UntrackedProtocol = 26,
        /// The source cannot be trusted: it is martian, or the route back to it does not leave by a NIC. It
        /// is an address of the node, or of a pod on the node, or nothing has a route to it.
        Source = 27,
        /// The route back to the source leaves by another interface, and `rp_filter` of the interface is 1.
        ReversePath = 28,
        /// A router does not forward a packet whose TTL or hop limit is 1 or 0: the stack answers it.
        TimeToLive = 29,
        /// The administrator does not permit redirects in the pod's namespace
        /// ([`crate::tables::PodBlock::NOT_PERMITTED`]).
        NotPermitted = 30,
        /// Several interfaces carry the pod's address, and nothing tells which of them is the pod's
        /// ([`crate::tables::PodBlock::ADDRESS_IN_DOUBT`]).
        AddressInDoubt = 31,
        /// The stack would not forward the packet: forwarding is off, or the route to the pod refuses it.
        NotForwarded = 83,
        /// The NIC is a port of a bond or bridge that may not take the frame: a backup, or not forwarding, or
        /// the bridge filters VLANs.
        PortState = 84,
        /// Every router reads IPv4 options and IPv6 hop-by-hop headers, and may answer or discard the packet.
        IpOptions = 85,
        /// Too many flows of this protocol were opened to the pod within a second
        /// ([`crate::tables::FlowLimits`]).
        FlowLimit = 86,
        /// A NetworkPolicy, or a policy of its kind, does not certainly allow the packet
        /// ([`crate::tables::ActionRecord::NOT_CERTAIN`]).
        NetworkPolicy = 87,
    }
}

counted! {
    /// Why the rules do not apply to a frame for a pod: the node's own stack would not take it from the NIC.
    /// It passes to the stack.
    ForeignFrame {
        /// The agent has not described the NIC yet.
        UnknownNic = 80,
        /// The destination MAC address is that of another station.
        OtherStation = 81,
        /// The node has no interface for the frame's VLAN.
        OtherVlan = 82,
    }
}

counted! {
    /// What else happens to rejected, rate-limited and redirected packets.
    Event {
        /// A rejected packet is not answered: the node's limit of answers per second is reached.
        RejectLimited = 32,
        /// A rejected packet is not answered: the RFCs forbid an answer, or the packet is malformed.
        RejectSilent = 33,
        /// A rejected packet is not answered: the driver leaves no headroom for the answer.
        RejectFailed = 34,
        /// All entries for the source in [`crate::tables::maps::SOURCE_LIMITS`] are in use. The rule's own
        /// limit applies to the packet.
        SourceLimitTableFull = 40,
        /// The MAC address of a pod's interface changed while no agent was running: the reader claimed the
        /// packet for the pod's stack.
        StaleMacAddress = 41,
    }
}

counted! {
    /// What happens to flows, and to the packets of flows.
    FlowEvent {
        /// A packet to a pod belongs to a tracked flow.
        Hit = 44,
        /// A packet to a pod opened a flow (`NEW`): it is tracked from now on, as `[UNREPLIED]`.
        Opened = 45,
        /// Both ends confirmed a flow: it moved from [`crate::tables::maps::UNREPLIED`] to
        /// [`crate::tables::maps::ESTABLISHED`].
        Established = 46,
        /// An ICMP error to a pod, about a tracked flow (`RELATED`).
        ErrorIn = 47,
        /// A packet of a tracked flow reached its pod although no rule redirects it.
        Drained = 48,
        /// A reply left the node past the stack.
        ReplyForwarded = 49,
        /// A pod's ICMP error about a tracked flow (`RELATED`) left the node past the stack.
        ReplyIcmpError = 50,
        /// A later fragment of a reply left the node past the stack.
        ReplyFragment = 51,
        /// The stack delivered a packet that opens a tracked flow: the stack tracks the flow from now on.
        ReclaimedByStack = 52,
        /// A pod opened a flow of datagrams through the stack: packets in the other direction take the stack,
        /// too.
        StackFlowNoted = 53,
        /// A reply is longer than the MTU of its route: it passes to the stack, which fragments or answers
        /// it.
        ReplyTooLong = 54,
        /// A reply has no route past the stack: it passes to the stack. Strict connection tracking may drop
        /// it there (`INVALID`).
        ReplyNoRoute = 55,
        /// A pod's packet belongs to no tracked flow: it passes to the stack.
        ReplyMiss = 56,
        /// A tracked flow was deleted: the pod opened a connection with the same addresses and ports, or the
        /// flow moved to the stack.
        Deleted = 57,
        /// A new flow could not be inserted, because the table is full: the stack tracks the flow.
        InsertFailed = 58,
        /// The table had evicted a flow that was in use. The flow is inserted again.
        Restored = 59,
        /// A packet with the address of another pod came from a pod, or from somewhere else than its pod: it
        /// passes to the stack, and no flow is looked up or changed.
        ReplySpoofed = 88,
        /// A packet of a connection that the pod opened passes to the stack, although a rule would drop it.
        OwnConnection = 89,
    }
}
