//! Metadata v1: sixteen bytes in front of a redirected packet, for any consumer in the pod.
//!
//! A tc program on the pod's interface reads them between `data_meta` and `data`. Host byte order; every
//! field at its natural alignment:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | magic, [`MAGIC`] |
//! | 2 | 1 | version, [`VERSION`] |
//! | 3 | 1 | flags: [`Metadata::MARK`], [`Metadata::RX_HASH`]; never [`Metadata::PEER`] |
//! | 4 | 4 | rule id: the rule that matches, as in `xdp-agent status` |
//! | 8 | 4 | mark, meaningful with [`Metadata::MARK`]; inside the administrator's mask |
//! | 12 | 4 | RX hash of the NIC, meaningful with [`Metadata::RX_HASH`] |
//!
//! All fields are constant per flow, so that GRO still merges the flow's packets (GRO compares metadata byte
//! by byte). A later version may be longer (at most 32 bytes) and begins with the same four bytes. No
//! metadata means "not classified", never "trusted".

/// First two bytes of every version.
pub const MAGIC: u16 = 0x5844;
/// The version described here.
pub const VERSION: u8 = 1;
/// Bytes of this version.
pub const LEN: usize = 16;

/// Version 1, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    flags: u8,
    rule: u32,
    mark: u32,
    rx_hash: u32,
}

impl Metadata {
    /// Flag: the mark is meaningful.
    pub const MARK: u8 = 1;
    /// Flag: the RX hash is meaningful.
    pub const RX_HASH: u8 = 2;
    /// Flag: the metadata is for the NIC's tc ingress program. The index of the pod's host-side interface is
    /// in place of the RX hash. A pod sees this flag only if that program is detached, and the packet
    /// went through the stack.
    pub const PEER: u8 = 4;

    /// Returns the metadata of a rule.
    #[inline(always)]
    pub const fn new(rule: u32, mark: Option<u32>) -> Self {
        let (flags, mark) = match mark {
            Some(mark) => (Self::MARK, mark),
            None => (0, 0),
        };
        Self {
            flags,
            rule,
            mark,
            rx_hash: 0,
        }
    }

    /// Returns the metadata with the NIC's RX hash.
    #[must_use]
    pub const fn with_rx_hash(self, rx_hash: u32) -> Self {
        Self {
            flags: self.flags | Self::RX_HASH,
            rx_hash,
            ..self
        }
    }

    /// Returns the metadata for the NIC's tc ingress program, with the pod's host-side interface.
    #[must_use]
    #[inline(always)]
    pub const fn for_peer(self, ifindex: u32) -> Self {
        Self {
            flags: (self.flags & !Self::RX_HASH) | Self::PEER,
            rx_hash: ifindex,
            ..self
        }
    }

    /// Splits what [`Metadata::for_peer`] returned: the interface, and the metadata for the pod.
    #[inline(always)]
    pub const fn take_peer(self) -> Option<(u32, Self)> {
        if self.flags & Self::PEER == 0 {
            return None;
        }
        let flags = self.flags & !Self::PEER;
        Some((
            self.rx_hash,
            Self {
                flags,
                rx_hash: 0,
                ..self
            },
        ))
    }

    /// Returns the rule that matches.
    #[inline(always)]
    pub const fn rule(&self) -> u32 {
        self.rule
    }

    /// Returns the rule's mark, if it has one.
    #[inline(always)]
    pub const fn mark(&self) -> Option<u32> {
        if self.flags & Self::MARK == 0 {
            None
        } else {
            Some(self.mark)
        }
    }

    /// Returns the NIC's RX hash, if the driver provided one.
    pub const fn rx_hash(&self) -> Option<u32> {
        if self.flags & Self::RX_HASH == 0 {
            None
        } else {
            Some(self.rx_hash)
        }
    }

    /// Returns the four 32-bit words in memory order.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        let [m0, m1] = MAGIC.to_ne_bytes();
        [
            u32::from_ne_bytes([m0, m1, VERSION, self.flags]),
            self.rule,
            self.mark,
            self.rx_hash,
        ]
    }

    /// Decodes [`Metadata::words`]. `None` if the words are no metadata, or of an unknown version.
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Option<Self> {
        let [head, rule, mark, rx_hash] = words;
        let [m0, m1, version, flags] = head.to_ne_bytes();
        if u16::from_ne_bytes([m0, m1]) != MAGIC || version != VERSION {
            return None;
        }
        Some(Self {
            flags,
            rule,
            mark,
            rx_hash,
        })
    }

    /// Returns the bytes in front of the packet.
    #[inline(always)]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(self.words()) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Decodes the bytes between `data_meta` and `data`. `None` if they do not begin with metadata of this
    /// version.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<LEN>()?;
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(head.chunks_exact(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        Self::from_words(words)
    }
}

/// Sets the bits of a packet's mark that are in the administrator's mask to those of a rule's mark. The other
/// bits belong to others and stay.
#[inline(always)]
pub const fn set_mark(present: u32, mark: u32, allowed: u32) -> u32 {
    (present & !allowed) | (mark & allowed)
}

// `bpf_xdp_adjust_meta` takes multiples of four, and 32 bytes at most before Linux 6.5.
const _: () = assert!(LEN.is_multiple_of(4) && LEN <= 32);
const _: () = assert!(size_of::<[u32; 4]>() == LEN);
