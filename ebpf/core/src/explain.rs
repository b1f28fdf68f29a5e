//! The answer of [`crate::tables::programs::EXPLAIN`]: seven words that overwrite the packet's first bytes,
//! in host byte order.
//!
//! | word | |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | [`Kind`] of the verdict, before limits |
//! | 2 | rule id |
//! | 3 | slot |
//! | 4 | class |
//! | 5 | action number |
//! | 6 | code of the reason: [`crate::verdict::VerdictCode::reason`] |
//!
//! A word is [`ABSENT`] if there is no value.

use crate::verdict::{Decision, Kind, Trace};

/// First word.
pub const MAGIC: u32 = 0x5844_4501;
/// Length in bytes.
pub const LEN: usize = 4 * WORDS;
/// In place of an absent number.
pub const ABSENT: u32 = Trace::ABSENT;
const WORDS: usize = 7;

/// A decoded answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Kind of the verdict.
    pub kind: Kind,
    /// The rule that decided.
    pub rule: Option<u32>,
    /// The pod's slot.
    pub slot: Option<u32>,
    /// Index of the class that the packet's source belongs to.
    pub class: Option<u32>,
    /// Action number; [`crate::tables::NO_MATCH`] if no rule matches.
    pub action: Option<u32>,
    /// Code of [`crate::events::Unparsed`], [`crate::events::UnparsedDrop`],
    /// [`crate::events::Fallback`] or [`crate::events::Event`].
    pub reason: Option<u32>,
}

impl Explained {
    /// Encodes a decision.
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
            decision.rule().unwrap_or(ABSENT),
            trace.slot,
            trace.class,
            trace.action,
            outcome.reason,
        ]
    }

    /// Decodes an answer. `None` if the packet holds none.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (head, _) = packet.split_first_chunk::<LEN>()?;
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(head.chunks_exact(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        let [magic, kind, rule, slot, class, action, reason] = words;
        let known = |word| (word != ABSENT).then_some(word);
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
