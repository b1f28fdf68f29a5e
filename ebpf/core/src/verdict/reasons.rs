//! Why something else became of a packet than its rule says, and what else happened to it.

/// An enum whose variants are places in [`crate::tables::maps::EVENTS`].
macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$about])* $variant = $code,)+
        }

        impl $name {
            /// All of them, by code.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$variant),+];

            /// Index into [`crate::tables::maps::EVENTS`].
            #[inline(always)]
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// The name users see.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

counted! {
    /// Why a packet that a rule would redirect is passed. Counted under its code in [`crate::tables::maps::EVENTS`].
    Fallback {
        /// The pod cannot take redirects ([`crate::tables::PodBlock::NOT_READY`]).
        NotReady = 16,
        /// The frame was sent to a group address: others want it too.
        NotUnicast = 17,
        /// Longer than the pod's MTU: the stack can fragment it or answer.
        TooLong = 18,
        /// The pod has lost its device, and the agent has not noticed yet.
        NoDevice = 19,
        /// The driver left no room for the metadata.
        NoMetadata = 20,
        /// The VLAN tags could not be taken off.
        NoUntag = 21,
        /// A fragment: its later ones may meet another rule, and a stack that tracks connections (`nf_defrag`) waits for
        /// the first one until it gives the whole packet up. So they all take the same way.
        Fragment = 22,
        /// The pod cannot be delivered to behind the NIC's stack entry ([`crate::tables::PodBlock::NO_PEER`]).
        NoPeer = 23,
        /// The pod's replies cannot take the way past the stack ([`crate::tables::PodBlock::REPLY_PATH`]).
        NoReplyPath = 24,
        /// The stack has the flow: it began there, or the pod began it. Its replies go through the stack, so the packet
        /// does.
        StackFlow = 25,
        /// Of a protocol whose replies cannot be told from the pod's own packets.
        UntrackedProtocol = 26,
    }
}

counted! {
    /// What else happens around rejected and limited packets. Counted under its code in [`crate::tables::maps::EVENTS`].
    Event {
        /// A rejected packet got no answer: this node has sent as many as it may.
        RejectLimited = 32,
        /// A rejected packet got no answer: the protocols forbid one, or it is too broken for one.
        RejectSilent = 33,
        /// A rejected packet got no answer: the driver left no room for it.
        RejectFailed = 34,
        /// A source found no place of its own among the limits of sources, and was judged by its rule's.
        SourceLimitTableFull = 40,
    }
}

counted! {
    /// What happens to flows and their packets. Counted under its code in [`crate::tables::maps::EVENTS`].
    FlowEvent {
        /// A packet to a pod belongs to a flow of ours.
        Hit = 44,
        /// A packet to a pod began a flow of ours.
        Opened = 45,
        /// A pod answered, and its flow moved from [`crate::tables::maps::UNREPLIED`] to [`crate::tables::maps::ESTABLISHED`].
        Established = 46,
        /// An ICMP error to a pod, about a flow of ours.
        ErrorIn = 47,
        /// A packet of a flow of ours that no rule matches any more was delivered all the same.
        Drained = 48,
        /// A pod's packet left past the stack.
        ReplyForwarded = 49,
        /// The same, of an ICMP error about a flow of ours.
        ReplyIcmpError = 50,
        /// The same, of a fragment.
        ReplyFragment = 51,
        /// The stack delivered a packet that opens a flow of ours: it is the stack's from now on.
        ReclaimedByStack = 52,
        /// A pod sent a datagram through the stack: its replies take that way, too.
        StackFlowNoted = 53,
        /// A pod's packet is too long for its way past the stack: the stack answers it.
        ReplyTooLong = 54,
        /// There is no way past the stack for a pod's packet. A stack that tracks connections may drop it.
        ReplyNoRoute = 55,
        /// A pod's packet belongs to no flow of ours: the stack has it.
        ReplyMiss = 56,
        /// A pod opened a connection with the addresses and ports of a flow of ours, or the stack was given the flow: the
        /// entry was deleted.
        Deleted = 57,
        /// There was no room for a new flow: the stack has it.
        InsertFailed = 58,
        /// A flow that was in use had been evicted, and was put back.
        Restored = 59,
    }
}
