//! The node agent.

pub mod datapath;
pub mod ethtool;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod readiness;
pub mod system;
