//! Limits of the lists and texts in one object.
//!
//! The API server needs limits. Without one, it assumes that a list is as long as a request can be, and
//! refuses the CRD because its rules could cost too much. Rules, peers and excepts multiply: the check that
//! an except is inside its cidr costs 80 units, and [`RULES`] × [`PEERS`] × [`EXCEPTS`] times that is four
//! fifths of the 10 million units that a rule may cost (measured with Kubernetes 1.31 and 1.36; the rest is a
//! reserve for other versions). The capacity of a node has separate limits, in the agent. The status names an
//! exceeded one.

/// Rules in a policy.
pub const RULES: usize = 100;
/// Peers in a rule.
pub const PEERS: usize = 64;
/// Excluded networks of one peer.
pub const EXCEPTS: usize = 16;
/// Port entries in a rule.
pub const PORTS: usize = 64;
/// Labels in a selector.
pub const LABELS: usize = 32;
/// Conditions in a selector.
pub const EXPRESSIONS: usize = 32;
/// Values of a condition.
pub const VALUES: usize = 64;
/// Addresses in one slice of a peer set.
pub const ADDRESSES: usize = 1000;
/// The longest shown text of a selection, in characters.
pub const SELECTION_TEXT: usize = 1024;
/// The longest text of a network: IPv6 with an IPv4 tail, and its prefix length.
pub const NETWORK_TEXT: usize = 49;
/// The longest text of an address.
pub const ADDRESS_TEXT: usize = 45;
/// Pods with a problem in the state of a node, and other problems.
pub const PROBLEMS: usize = 100;
/// Restrictions by NetworkPolicies in the state of a policy on a node.
pub const RESTRICTIONS: usize = 8;
