//! What the kernel says about the node: links, addresses, NICs, network namespaces, features.

pub mod ethtool;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod readiness;
pub mod system;
