//! Which interfaces get the program, and what is in the way.
//!
//! The reason for a refused attach goes to the kernel log, not to the caller (mlx5 5.15 to 7.1 use `netdev_warn`), so
//! what can be known before is checked before, and an errno is read together with the facts.

use crate::node::{
    ethtool::{
        Driver, {self},
    },
    netlink::{HostLink, NetlinkError, XdpState, genl},
};

mod preflight;
mod problem;
mod select;

pub use preflight::preflight;
pub use problem::{
    REPLY_PATH_NEEDS, attach_problem, generic_mode, linear_mtu_limit, no_reply_path, peer_refused, reason,
};
pub use select::{NicSelector, Selection, select};

/// What is known about an interface that may get the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicFacts {
    /// The interface.
    pub link: HostLink,
    /// Its driver; empty if it does not say.
    pub driver: Driver,
    /// `xdp-features`; `None` on kernels before 6.3.
    pub features: Option<u64>,
    /// Large receive offload is on.
    pub lro: bool,
    /// The bridge, bond or the like above it that has an XDP program, and that program.
    pub upper: Option<(String, XdpState)>,
}

/// Learn about the interfaces of the calling thread's namespace. What a driver does not answer stays empty.
pub fn nic_facts(links: &[HostLink]) -> Result<Vec<NicFacts>, NetlinkError> {
    let mut netdev = genl::Netdev::open()?;
    let describe = |link: &HostLink| NicFacts {
        link: link.clone(),
        driver: ethtool::driver(&link.name).unwrap_or_default(),
        features: netdev
            .as_mut()
            .and_then(|netdev| netdev.xdp_features(link.ifindex).ok()),
        lro: ethtool::lro(&link.name).unwrap_or_default(),
        upper: upper_program(link, links),
    };
    Ok(links.iter().map(describe).collect())
}

fn upper_program(link: &HostLink, links: &[HostLink]) -> Option<(String, XdpState)> {
    let upper = links.iter().find(|other| Some(other.ifindex) == link.master)?;
    upper.xdp.program_id.map(|_| (upper.name.clone(), upper.xdp))
}
