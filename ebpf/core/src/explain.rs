//! What [`crate::tables::programs::EXPLAIN`] tells: seven words in place of the packet's first bytes, in host byte order.
//!
//! | word | |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | [`Kind`]: what would become of the packet, before limits |
//! | 2 | rule id |
//! | 3 | slot |
//! | 4 | class |
//! | 5 | action number |
//! | 6 | code of the reason: [`crate::verdict::Outcome::reason`] |
//!
//! A word is [`NOWHERE`] where there is nothing to tell.

use crate::verdict::{Decision, Kind, Trace};

/// First word.
pub const MAGIC: u32 = 0x5844_4501;
/// Length in bytes.
pub const LEN: usize = 4 * WORDS;
/// In place of a number.
pub const NOWHERE: u32 = Trace::NOWHERE;
const WORDS: usize = 7;

/// What the program tells about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What would become of it.
    pub kind: Kind,
    /// The rule that decided.
    pub rule: Option<u32>,
    /// Of the pod.
    pub slot: Option<u32>,
    /// Index of the class that the packet's source belongs to.
    pub class: Option<u32>,
    /// Action number; [`crate::tables::NO_MATCH`] if no rule matches.
    pub action: Option<u32>,
    /// Code of [`crate::verdict::Unparsed`], [`crate::verdict::Fallback`] or [`crate::verdict::Event`].
    pub reason: Option<u32>,
}

impl Explained {
    /// What the program leaves in a packet about its decision.
    #[inline(always)]
    pub fn bytes(decision: &Decision<'_>) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(Self::words(decision)) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    #[inline(always)]
    fn words(decision: &Decision<'_>) -> [u32; WORDS] {
        let Decision { outcome, trace, .. } = decision;
        [
            MAGIC,
            outcome.kind as u32,
            decision.rule().unwrap_or(NOWHERE),
            trace.slot,
            trace.class,
            trace.action,
            outcome.reason,
        ]
    }

    /// Reads what [`Explained::bytes`] wrote; `None` if it left nothing.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (head, _) = packet.split_first_chunk::<LEN>()?;
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(head.chunks_exact(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        let [magic, kind, rule, slot, class, action, reason] = words;
        let known = |word| (word != NOWHERE).then_some(word);
        (magic == MAGIC).then_some(Self {
            kind: Kind::from_code(kind)?,
            rule: known(rule),
            slot: known(slot),
            class: known(class),
            action: known(action),
            reason: known(reason),
        })
    }
}
