//! The most there may be of anything in one object.
//!
//! The API server needs them: without a bound it takes a list to be as long as a request can be, and refuses
//! the definition because its rules could cost too much. Rules, peers and excepts multiply: that an except
//! lies inside its cidr is estimated at 80 units, and [`RULES`] × [`PEERS`] × [`EXCEPTS`] times that is four
//! fifths of the 10 million units that a rule may cost (measured with Kubernetes 1.31 and 1.36; the rest is
//! for versions that estimate otherwise). What a node really has room for are other limits, which the agent
//! knows; the status says when one is exceeded.

/// Rules in a policy.
pub const RULES: usize = 100;
/// Peers in a rule.
pub const PEERS: usize = 64;
/// Networks left out of one peer.
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
/// Longest text of a network: IPv6 with an IPv4 tail, and its prefix length.
pub const NETWORK_TEXT: usize = 49;
/// Longest text of an address.
pub const ADDRESS_TEXT: usize = 45;
/// Pods with a problem, and other problems, in the state of a node.
pub const PROBLEMS: usize = 100;
