//! Facts about the node, read from the kernel: links, addresses, NICs, network namespaces, features.

pub(crate) mod clock;
pub mod ethtool;
mod exits;
pub mod kernel_log;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod readiness;
pub mod system;
