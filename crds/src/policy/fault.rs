//! Faults of policies, with their remedies.

use thiserror::Error;

use super::{MAX_PORT_NAME, MAX_PRIORITY, MAX_RULE_NAME, MarkMask};
use crate::report::Problem;

/// A refused policy, and the field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{object}: `{field}` is `{value}`: {fault}")]
pub struct PolicyError {
    /// The policy: `XdpPolicy games/players`.
    pub object: String,
    /// The path of the field: `spec.ingress[0].from[0].ipBlock.cidr`.
    pub field: String,
    /// The value of the field.
    pub value: String,
    /// The fault.
    pub fault: Fault,
}

/// A fault at a field, before the policy is known.
pub(crate) struct FieldFault {
    pub(crate) field: String,
    pub(crate) value: String,
    pub(crate) fault: Fault,
}

impl FieldFault {
    pub(super) fn new(field: impl Into<String>, value: &impl ToString, fault: Fault) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            fault,
        }
    }
}

impl From<&PolicyError> for Problem {
    fn from(error: &PolicyError) -> Self {
        Self::new(
            &error.object,
            error.fault.reason(),
            format!("`{}` is `{}`: {}", error.field, error.value, error.fault),
            error.fault.remedy(),
        )
    }
}

/// A fault of a field's value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// `metadata.name` or a rule's name is missing.
    #[error("a name is missing")]
    NoName,
    /// The name of a rule is invalid.
    #[error("not a valid rule name")]
    BadRuleName,
    /// Two rules of a policy have the same name.
    #[error("rule {first} of this policy has the same name")]
    DuplicateRule {
        /// Index of the earlier rule.
        first: usize,
    },
    /// The priority is out of range.
    #[error("not in 0 to {MAX_PRIORITY}")]
    BadPriority,
    /// The mark is out of range.
    #[error("not in 0 to {}", u32::MAX)]
    BadMark,
    /// A mark of a rule that does not redirect.
    #[error("only redirected packets carry a mark")]
    MarkWithoutRedirect,
    /// A mark has bits that the administrator does not allow.
    #[error("its bits {outside} are outside the administrator's mask {mask}")]
    MarkNotAllowed {
        /// Those bits.
        outside: MarkMask,
        /// The administrator's mask.
        mask: MarkMask,
    },
    /// A peer has neither addresses nor a selector.
    #[error("neither addresses nor a selector")]
    EmptyPeer,
    /// A peer has both addresses and a selector.
    #[error("addresses and selectors in one peer")]
    MixedPeer,
    /// A network is not an address with a prefix length.
    #[error("not a network in CIDR notation")]
    NotCidr,
    /// The prefix is longer than an address of the family.
    #[error("the prefix is longer than {longest} bits")]
    PrefixTooLong {
        /// Length of an address in bits.
        longest: u8,
    },
    /// The address has host bits.
    #[error("bits are set beyond the prefix")]
    HostBits {
        /// The network without host bits.
        network: String,
    },
    /// An IPv4 network is written as IPv6.
    #[error("an IPv4-mapped IPv6 network")]
    MappedV4,
    /// An `except` is of the other address family.
    #[error("not of the same address family as its cidr `{cidr}`")]
    MixedFamilies {
        /// The `cidr` of the peer.
        cidr: String,
    },
    /// An `except` is not inside its `cidr`.
    #[error("not inside its cidr `{cidr}`")]
    ExceptOutside {
        /// The `cidr` of the peer.
        cidr: String,
    },
    /// The port is out of range.
    #[error("not in 0 to {}", u16::MAX)]
    BadPort,
    /// A range ends before it starts.
    #[error("less than port `{port}`")]
    EndBeforePort {
        /// First port of the range.
        port: i32,
    },
    /// A range has no first port.
    #[error("endPort without port")]
    EndWithoutPort,
    /// The protocol has no ports.
    #[error("{protocol} has no ports")]
    PortWithoutPorts {
        /// The protocol.
        protocol: &'static str,
    },
    /// The name of a port is invalid.
    #[error("not the name of a container port")]
    BadPortName,
    /// A range starts with the name of a port.
    #[error("endPort with the name of a port")]
    EndOfName,
    /// The protocol has no types and codes.
    #[error("{protocol} has no types and codes")]
    TypeWithoutTypes {
        /// The protocol.
        protocol: &'static str,
    },
    /// A code has no type.
    #[error("code without type")]
    CodeWithoutType,
    /// A type or code is out of range.
    #[error("not in 0 to {}", u8::MAX)]
    BadType,
    /// A rate limit of a rule that neither redirects nor passes packets.
    #[error("only packets that are redirected or passed can be limited")]
    NothingToLimit,
    /// A rate or a burst is out of range.
    #[error("not in 1 to {largest}")]
    BadRate {
        /// The largest valid value.
        largest: u32,
    },
    /// A burst of more than a minute.
    #[error("more than packetsPerSecond lets through in a minute")]
    LongBurst {
        /// The largest valid value.
        largest: u32,
    },
    /// `In` or `NotIn` has no values.
    #[error("{operator} without values")]
    NoValues {
        /// The operator.
        operator: &'static str,
    },
    /// `Exists` or `DoesNotExist` has values.
    #[error("{operator} with values")]
    UnexpectedValues {
        /// The operator.
        operator: &'static str,
    },
    /// A requirement has no key.
    #[error("an empty label key")]
    NoKey,
    /// The key of a label is invalid.
    #[error("not a label key")]
    BadLabelKey,
    /// The value of a label is invalid.
    #[error("not a label value")]
    BadLabelValue,
}

impl Fault {
    /// Returns the reason, as a constant in CamelCase.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoName => "NoName",
            Self::BadRuleName => "BadRuleName",
            Self::DuplicateRule { .. } => "DuplicateRule",
            Self::BadPriority => "BadPriority",
            Self::BadMark => "BadMark",
            Self::MarkWithoutRedirect => "MarkWithoutRedirect",
            Self::MarkNotAllowed { .. } => "MarkNotAllowed",
            Self::EmptyPeer => "EmptyPeer",
            Self::MixedPeer => "MixedPeer",
            Self::NotCidr => "NotCidr",
            Self::PrefixTooLong { .. } => "PrefixTooLong",
            Self::HostBits { .. } => "HostBits",
            Self::MappedV4 => "MappedV4",
            Self::MixedFamilies { .. } => "MixedFamilies",
            Self::ExceptOutside { .. } => "ExceptOutside",
            Self::BadPort => "BadPort",
            Self::EndBeforePort { .. } => "EndBeforePort",
            Self::EndWithoutPort => "EndWithoutPort",
            Self::PortWithoutPorts { .. } => "PortWithoutPorts",
            Self::BadPortName => "BadPortName",
            Self::EndOfName => "EndOfName",
            Self::TypeWithoutTypes { .. } => "TypeWithoutTypes",
            Self::CodeWithoutType => "CodeWithoutType",
            Self::BadType => "BadType",
            Self::NothingToLimit => "NothingToLimit",
            Self::BadRate { .. } => "BadRate",
            Self::LongBurst { .. } => "LongBurst",
            Self::NoValues { .. } => "NoValues",
            Self::UnexpectedValues { .. } => "UnexpectedValues",
            Self::NoKey => "NoKey",
            Self::BadLabelKey => "BadLabelKey",
            Self::BadLabelValue => "BadLabelValue",
        }
    }

    /// Returns the remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoName => "give it a name".into(),
            Self::BadRuleName => format!(
                "use 1 to {MAX_RULE_NAME} letters, digits, `-`, `_` and `.`, beginning and ending with a letter or \
                 digit"
            ),
            Self::DuplicateRule { .. } => "give each rule of the policy a unique name".into(),
            Self::BadPriority => format!("use a number from 0 (first) to {MAX_PRIORITY} (last)"),
            Self::BadMark => format!("use a number from 0 to {}", u32::MAX),
            Self::MarkWithoutRedirect => "remove the mark, or use `action: Redirect`".into(),
            Self::MarkNotAllowed { mask, .. } => format!(
                "use a mark with no bits outside {mask}, or ask the administrator to set `allowedMarkMask`"
            ),
            Self::EmptyPeer => {
                "add ipBlock, podSelector or namespaceSelector; for any source, leave out `from`".into()
            }
            Self::MixedPeer => "write them as two peers".into(),
            Self::NotCidr => "write an address and a prefix length: 198.51.100.0/24, 2001:db8::/32".into(),
            Self::PrefixTooLong { longest } => format!("use a prefix length from 0 to {longest}"),
            Self::HostBits { network } => format!("write `{network}`, or a longer prefix"),
            Self::MappedV4 => "write it as an IPv4 network".into(),
            Self::MixedFamilies { .. } => "put it under a cidr of its own family".into(),
            Self::ExceptOutside { .. } => "remove it, or use a network inside the cidr".into(),
            Self::BadPort => format!("use a number from 0 to {}", u16::MAX),
            Self::EndBeforePort { port } => format!("use a number from {port} to {}", u16::MAX),
            Self::EndWithoutPort => "add `port`, the first port of the range".into(),
            Self::PortWithoutPorts { .. } => {
                "remove `port` and `endPort`, or use TCP, UDP or SCTP; for a type of message \
                                               use `type`"
                    .into()
            }
            Self::BadPortName => format!(
                "use 1 to {MAX_PORT_NAME} lower-case letters, digits and single hyphens, with at least one letter, \
                 beginning and ending with a letter or digit; write a number without quotes"
            ),
            Self::EndOfName => "remove `endPort`, or use numbers".into(),
            Self::TypeWithoutTypes { .. } => "remove `type` and `code`, or use ICMP or ICMPv6".into(),
            Self::CodeWithoutType => "add `type`, the type of the message".into(),
            Self::BadType => format!("use a number from 0 to {}", u8::MAX),
            Self::NothingToLimit => {
                "remove the rate limit, or use `action: Redirect` or `action: Pass`".into()
            }
            Self::BadRate { largest } => format!("use a number from 1 to {largest}"),
            Self::LongBurst { largest } => {
                format!("use at most {largest}, 60 times packetsPerSecond")
            }
            Self::NoValues { .. } => "add a value, or use Exists or DoesNotExist".into(),
            Self::UnexpectedValues { .. } => "remove the values, or use In or NotIn".into(),
            Self::NoKey => "name the label".into(),
            Self::BadLabelKey => {
                "write `name` or `prefix/name`: a prefix is a DNS name, a name has 1 to 63 letters, \
                                  digits, `-`, `_` and `.`, beginning and ending with a letter or digit"
                    .into()
            }
            Self::BadLabelValue => {
                "use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a \
                                    letter or digit"
                    .into()
            }
        }
    }
}
